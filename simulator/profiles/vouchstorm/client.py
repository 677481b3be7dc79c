"""A bell and a live page, as one of ours: connects with its cursor, watches claims, asks when it is behind.

Behaves as the browser client does: sends the seq up to which nothing is missing, counts a message once
that comes as two events, asks `sync` after a gap, reloads over REST when the server says it cannot replay.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ...ledger.durable import Mailbox
from ...socketio_client import ClientState, LeanClient
from ..virtual_client import Member

if TYPE_CHECKING:
    from .fixtures import ClaimRow, Person, Renewal
    from .profile import Vouchstorm

GENERAL, TYPED = 1, 2
TYPED_EVENTS = frozenset(("validation_received", "consensus_reached", "badge_earned", "trust_score_update"))
SYNC_LIMIT = 200
GAP_S = 0.1
"""A gap that does not close by itself in this time (replay under way) is asked for."""
NO_DATA: Mapping[str, object] = {}


class VouchstormMember(Member):
    """One socket of one user."""

    __slots__ = ("_gap_timer", "_renewal", "_syncing", "_unanswered", "box", "person", "profile", "watches")

    def __init__(
        self,
        index: int,
        profile: "Vouchstorm",
        person: "Person",
        watches: "tuple[ClaimRow, ...]",
        renewal: "Renewal" = "reauth",
    ) -> None:
        super().__init__(index, profile.stage.ledger, profile.stage.outages)
        self.profile = profile
        self.person = person
        self.watches = watches
        self._renewal = renewal
        self.box: Mailbox = self.ledger.mailbox(index, person.user_id)
        self._unanswered = 0
        self._syncing = False
        self._gap_timer: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> bool:
        """Whether the client knows that it misses a notification."""
        return self.box.behind

    # ---------------------------------------------------------------- connecting

    def auth(self) -> Mapping[str, object]:
        """Token, scope, and where this client stands."""
        scope = self.profile.scope
        if scope == "all":
            self.ledger.rooms.ask(self.profile.live_room, self.index, self.profile.stage.now_ns())
        payload: dict[str, object] = {"token": self.person.token, "live": scope}
        cursor = self.box.cursor()
        return payload if cursor is None else payload | {"last_seq": cursor}

    def joined(self, at_ns: int) -> None:
        """Connected; the server says `authenticated` when the socket is in its rooms."""

    def lost(self, at_ns: int) -> None:
        """Forget what was under way."""
        self._syncing = False
        self._unanswered = 0
        if self._gap_timer is not None:
            self._gap_timer.cancel()
            self._gap_timer = None

    def _authenticated(self, body: Any, at_ns: int) -> None:
        self.box.begin(body["last_seq"])
        if self.profile.scope == "all":
            self.ledger.rooms.enter(self.profile.live_room, self.index, at_ns)
        if body["recovered"] is False:
            self.profile.reload(self)
        self._unanswered = len(self.watches)
        for claim in self.watches:
            self._watch(claim, at_ns)
        self._settled(at_ns)

    def _watch(self, claim: "ClaimRow", at_ns: int) -> None:
        self.ledger.rooms.ask(claim.room, self.index, at_ns)
        owed = claim.answered_version

        def answered(args: bytes, at_ns: int) -> None:
            self._watched(claim, owed, orjson.loads(args), at_ns)

        self.client.emit("watch_claim", {"claim_id": claim.claim_id}, ack=answered)

    def _watched(self, claim: "ClaimRow", owed: int, body: Any, at_ns: int) -> None:
        self._unanswered -= 1
        if "error" in body:
            self.profile.refused_watch(body["error"])
        else:
            version = body["version"]
            if version < owed:
                self.profile.regressed(
                    f"claim {claim.claim_id}: watch_claim said version {version} after {owed} was accepted."
                )
            self.ledger.rooms.enter(claim.room, self.index, at_ns)
            if version > claim.base:
                claim.stream.row(version).reread(self.index, at_ns)
        self._settled(at_ns)

    def _settled(self, at_ns: int) -> None:
        """Ready once every watch is answered; caught up once nothing is missing either."""
        if self._unanswered > 0:
            return
        if not self.here:
            self.ready(at_ns)
        if not self.box.behind:
            self.caught_up(at_ns)
        elif self._gap_timer is None and not self._syncing:
            self._await_gap()

    # ---------------------------------------------------------------- events

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """Hot path: the two live events are looked up by their bytes, for everybody gets the same ones."""
        profile = self.profile
        if name == "validation_count_update":
            row = profile.counts.get(args)
            if row is None:
                row = profile.count_row(args)
            row.receive(self.index, at_ns)
        elif name == "consensus_update":
            share = profile.shares.get(args)
            if share is None:
                share = profile.share_of(args)
            held = share.held
            if share.version >= held[self.index]:
                held[self.index] = share.version
            else:
                profile.regressed(f"{share.said} at client {self.number} after version {held[self.index]}.")
        elif name == "new_notification":
            self._durable(args, at_ns, GENERAL)
        elif name in TYPED_EVENTS:
            self._durable(args, at_ns, TYPED)
        else:
            self._control(name, args, at_ns)
            return
        if self.index in self.outages.hungry:
            self.outages.fed(self.index, at_ns)

    def _durable(self, args: bytes, at_ns: int, event: int) -> None:
        body = orjson.loads(args)
        self.box.push(body["seq"], body["id"], at_ns, event, cause_of(body) if event == GENERAL else None)
        if self.box.behind or self.index in self.outages.open:
            self._settled(at_ns)

    def _control(self, name: str, args: bytes, at_ns: int) -> None:
        if name == "authenticated":
            self._authenticated(orjson.loads(args), at_ns)
        elif name == "pong":
            last_seq = orjson.loads(args)["last_seq"]
            if last_seq is not None and last_seq > self.box.floor:
                self._sync()
        elif name == "auth_error":
            self.profile.refused_auth(self, orjson.loads(args))
        elif name == "token_expiring" and self._renewal == "reauth":
            self.profile.renew(self)

    # ---------------------------------------------------------------- tokens that expire

    def expired(self) -> None:
        """The server ends this socket, for its token has expired; who never renews it stays away for good."""
        if self._renewal == "never":
            self.leaving = True
        else:
            self.profile.renew(self)

    def renewed(self) -> None:
        """There is a new token: prolong the socket with it, or come back."""
        if self.client.state is ClientState.STOPPED:
            self.client.start()
        else:
            self.client.emit("reauth", {"token": self.person.token}, ack=self._prolonged)

    def _prolonged(self, args: bytes, at_ns: int) -> None:
        body = orjson.loads(args)
        if "error" in body:
            self.profile.refused_watch(body["error"])

    # ---------------------------------------------------------------- catching up

    def keepalive(self) -> None:
        """Ping: the answer tells the newest seq."""
        self.client.emit("ping", NO_DATA)

    def _await_gap(self) -> None:
        floor = self.box.floor
        self._gap_timer = asyncio.get_running_loop().call_later(GAP_S, self._gap_stands, floor)

    def _gap_stands(self, floor: int) -> None:
        self._gap_timer = None
        if not self.box.behind:
            return
        if self.box.floor == floor:
            self._sync()
        else:
            self._await_gap()

    def _sync(self) -> None:
        if not self._syncing:
            question = {"after_seq": self.box.floor, "limit": SYNC_LIMIT}
            self._syncing = self.client.emit("sync", question, ack=self._synced)

    def _synced(self, args: bytes, at_ns: int) -> None:
        self._syncing = False
        body = orjson.loads(args)
        if "error" in body:
            self.profile.refused_watch(body["error"])
        elif not body["recovered"]:
            self.profile.reload(self)
        else:
            for item in body["items"]:
                self.box.fill(item["seq"], item["id"], at_ns, cause_of(item))
            if body["more"] and body["items"]:
                self._sync()
        self._settled(at_ns)

    def reloaded(self, items: list[Any], at_ns: int) -> None:
        """The notifications were read anew over REST."""
        for item in items:
            self.box.fill(item["seq"], item["id"], at_ns, cause_of(item))
        if self.here:
            self._settled(at_ns)


def cause_of(notification: Any) -> str | None:
    """What made a notification: a validation, or the one that settled a claim; None for the rest."""
    data = notification["data"]
    if notification["type"] == "validation_received":
        return f"validation:{data['validation_id']}"
    if notification["type"] == "consensus_reached":
        return f"consensus:{data['claim_id']}"
    return None
