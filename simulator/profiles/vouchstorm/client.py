"""A bell and a live page, as one of ours: connects with its cursor, watches claims, asks when it is behind.

Behaves as the browser client does: sends the seq up to which nothing is missing, counts a message once
that comes as two events, asks `sync` after a gap, reloads over REST when the server says it cannot replay.
"""

import asyncio
from array import array
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from backend.app.contracts.errors import Code

from ...ledger.broadcasts import Kind, Row
from ...ledger.durable import DurableStream
from ...scenario.models import Scenario
from ...scenario.schedule import stream
from ...socketio_client import ClientState, LeanClient
from ...target.http_client import RestError
from ..base import ClientFindings, Stage
from ..virtual_client import VirtualClient
from .api import Keyring, Person, notifications
from .fixtures import ClaimRow
from .personas import ACTIONS

MAX_CACHED = 8_192
MAX_NAMED = 50
GENERAL, TYPED = 1, 2
TYPED_EVENTS = frozenset(("validation_received", "consensus_reached", "badge_earned", "trust_score_update"))
SYNC_LIMIT = 200
GAP_S = 0.1
"""A gap that does not close by itself in this time (replay under way) is asked for."""
NO_DATA: Mapping[str, object] = {}
Renewal = Literal["reauth", "login", "never"]
WAYS: tuple[Renewal, ...] = ("reauth", "login", "never")


def way_of(scenario: Scenario, client: int) -> Renewal:
    """How a client of the run renews its token; the same for each seed, however many processes there are."""
    tokens = scenario.tokens
    shares = [tokens.reauth, tokens.login, tokens.never]
    if shares[1:] == [0, 0]:
        return "reauth"
    return stream(scenario.seed, f"tokens:{client}").choices(WAYS, shares)[0]


@dataclass(slots=True)
class Share:
    """One `consensus_update`: version and, per client, the newest version it showed."""

    version: int
    held: "array[int]"
    said: str


class Shared:
    """What the clients of one process have in common: the books, who renews tokens, what must not be seen.

    claims: by id. count_row, share_of: what the two live events say, remembered by their bytes, for everybody
    gets the same ones.
    seen: what they saw that must not be, and tokens that expired.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.scope = stage.scenario.live.scope
        self.live_room = stage.ledger.rooms.room("live")
        self.keyring = Keyring(stage.rest)
        self.claims: dict[str, ClaimRow] = {}
        self.count_row = lru_cache(MAX_CACHED)(self._count_row)
        self.share_of = lru_cache(MAX_CACHED)(self._share_of)
        self.seen = ClientFindings()
        self._held_shares: dict[str, array[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _count_row(self, args: bytes) -> Row:
        body = orjson.loads(args)
        claim = self.claims.get(body["claim_id"])
        if claim is not None:
            return claim.stream.row(body["version"])
        book = self.stage.ledger.rooms
        live_stream = book.stream(f"claim {body['claim_id']}", Kind.SNAPSHOT, (self.live_room,))
        return live_stream.row(body["version"])

    def _share_of(self, args: bytes) -> Share:
        body = orjson.loads(args)
        claim_id, version = body["claim_id"], body["version"]
        held = self._held_shares.get(claim_id)
        if held is None:
            held = self._held_shares[claim_id] = array("q", [-1]) * self.stage.ledger.rooms.clients
        total = round(sum(body[action] for action in ACTIONS), 6)
        said_ = f"claim {claim_id}: consensus_update showed version {version}"
        if total not in (0.0, 100.0):
            self.complain(f"{said_} with percentages that sum to {total}.")
        return Share(version, held, said_)

    def complain(self, sentence: str) -> None:
        """Something a client saw that must not be: counted as a violation."""
        self.seen.violation_count += 1
        if len(self.seen.violations) < MAX_NAMED:
            self.seen.violations.append(sentence)

    def refused_question(self, error: Any) -> None:
        """The server refused `watch_claim` or `sync`."""
        self.stage.note(f"The server refused a question of a client: {error.get('message', error)}")

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it until it ends, or the run does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keyring.close()


class VouchstormMember(VirtualClient):
    """One socket of one user."""

    __slots__ = ("_gap_timer", "_renewal", "_syncing", "_unanswered", "box", "person", "shared", "watches")

    def __init__(
        self, index: int, shared: Shared, person: Person, watches: tuple[ClaimRow, ...], renewal: Renewal
    ) -> None:
        super().__init__(index, shared.stage.ledger, shared.stage.outages)
        self.shared = shared
        self.person = person
        self.watches = watches
        self._renewal = renewal
        self.box: DurableStream = self.ledger.mailbox(index, person.user_id)
        self._unanswered = 0
        self._syncing = False
        self._gap_timer: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> bool:
        """Whether the client knows that it misses a notification."""
        return self.box.behind

    def auth(self) -> Mapping[str, object]:
        """Token, scope, and where this client stands."""
        scope = self.shared.scope
        if scope == "all":
            self.ledger.rooms.ask(self.shared.live_room, self.index, self.shared.stage.now_ns())
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
        if self.shared.scope == "all":
            self.ledger.rooms.enter(self.shared.live_room, self.index, at_ns)
        if body["recovered"] is False:
            self._reload()
        self._unanswered = len(self.watches)
        for claim in self.watches:
            self._watch(claim, at_ns)
        self._settled(at_ns)

    def _watch(self, claim: ClaimRow, at_ns: int) -> None:
        self.ledger.rooms.ask(claim.room, self.index, at_ns)
        owed = claim.answered_version

        def answered(args: bytes, at_ns: int) -> None:
            self._watched(claim, owed, orjson.loads(args), at_ns)

        self.client.emit("watch_claim", {"claim_id": claim.claim_id}, ack=answered)

    def _watched(self, claim: ClaimRow, owed: int, body: Any, at_ns: int) -> None:
        self._unanswered -= 1
        if "error" in body:
            self.shared.refused_question(body["error"])
        else:
            version = body["version"]
            if version < owed:
                self.shared.complain(
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

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """Hot path."""
        shared = self.shared
        if name == "validation_count_update":
            shared.count_row(args).receive(self.index, at_ns)
        elif name == "consensus_update":
            share = shared.share_of(args)
            held = share.held
            if share.version >= held[self.index]:
                held[self.index] = share.version
            else:
                shared.complain(f"{share.said} at client {self.number} after version {held[self.index]}.")
        elif name == "new_notification":
            self._durable(args, at_ns, GENERAL)
        elif name in TYPED_EVENTS:
            self._durable(args, at_ns, TYPED)
        else:
            self._control(name, args, at_ns)
            return
        if self.index in self.outages.awaiting_event:
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
            self._refused(orjson.loads(args))
        elif name == "token_expiring" and self._renewal == "reauth":
            self.shared.start(self._renew())

    def _refused(self, body: Any) -> None:
        """The token expired, or it never was one; who never renews it stays away for good."""
        if body.get("code") != Code.TOKEN_EXPIRED:
            self.shared.stage.note(f"The server refused a client: {body.get('message', body)}")
            return
        self.shared.seen.expired += 1
        if self._renewal == "never":
            self.leaving = True
        else:
            self.shared.start(self._renew())

    async def _renew(self) -> None:
        """Log in anew; then prolong the socket with the new token, or come back."""
        if not await self.shared.keyring.renew(self.person):
            self.shared.stage.note("A client could not log in anew to renew its token.")
        elif self.client.state is ClientState.STOPPED:
            self.client.start()
        else:
            self.client.emit("reauth", {"token": self.person.token}, ack=self._prolonged)

    def _prolonged(self, args: bytes, at_ns: int) -> None:
        body = orjson.loads(args)
        if "error" in body:
            self.shared.refused_question(body["error"])

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
            self.shared.refused_question(body["error"])
        elif not body["recovered"]:
            self._reload()
        else:
            for item in body["items"]:
                self.box.fill(item["seq"], item["id"], at_ns, cause_of(item))
            if body["more"] and body["items"]:
                self._sync()
        self._settled(at_ns)

    def _reload(self) -> None:
        """The server said honestly that it cannot replay: read everything anew over REST."""
        outage = self.outages.open.get(self.index)
        if outage is not None:
            outage.reloaded = True
        self.shared.start(self._read_anew())

    async def _read_anew(self) -> None:
        stage = self.shared.stage
        try:
            items = await notifications(stage.rest, self.person, self.box.floor)
        except RestError as error:
            stage.note(f"A client could not reload its notifications: {error}.")
            return
        at_ns = stage.now_ns()
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
