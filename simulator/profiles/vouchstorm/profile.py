"""How to speak to Vouchstorm: its events, its REST interface, what it owes, and its own truth at the end.

The only file of the simulator that may import the backend's contracts. What a client is owed:

- Durable messages, keyed (user, seq): every client of a user is owed every seq above its baseline, whether
  it was away or not; the truth is `GET /api/notifications` at the end. A push with `seq <= last_seq` of
  its session's `authenticated` is a replay.
- Snapshots, keyed (claim, version), measured on `validation_count_update`: owed to every client that was
  in the room when the validation was posted. Versions never go back; of those overtaken the newest counts.
  A client of scope `all` is owed nothing that was published while it was away; a client of scope `watched`
  watches again on coming back, and the answer must not be older than what had been accepted before it
  asked.
"""

import asyncio
from array import array
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import orjson

from backend.app.contracts import SOCKETIO_PATH
from backend.app.contracts.errors import Code

from ...errors import SetupError
from ...generator.publisher import Fact, Outcome
from ...ledger.broadcasts import Kind, Row
from ...ledger.durable import Cause
from ...result import Conservation
from ...scenario.schedule import Publication, Workload, claims_needed, stream
from ...target.http_client import Reply, RestError
from ..base import Progress, Reconciled, Stage, Witness
from ..virtual_client import Member
from .api import notifications, read_claims, read_users, truth_of
from .client import VouchstormMember
from .fixtures import (
    ClaimRow,
    Keyring,
    Person,
    Share,
    ask,
    claim_row,
    claims,
    people,
    register_stranger,
    said,
    way_of,
)
from .invariants import check

__all__ = ["SOCKETIO_PATH", "Vouchstorm"]

LEGITIMATE = frozenset((Code.ALREADY_VALIDATED, Code.CLAIM_SETTLED, Code.OWN_CLAIM))
MAX_CACHED = 8_192
MAX_NAMED = 50
SETTLE_S = 2.0
READING_S = 120.0
"""Tokens that would expire while the truth is read are renewed before."""
READS = 3
"""How often the truth is read at most: work that a crash interrupted is finished a little later."""


class Vouchstorm:
    """The profile of the built-in service."""

    namespace = "/"
    at_clients = False

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.headers: dict[str, str] = {}
        self.scope = stage.scenario.live.scope
        self.live_room = stage.ledger.rooms.room("live")
        self.people: list[Person] = []
        self.claims: list[ClaimRow] = []
        self.counts: dict[bytes, Row] = {}
        self.shares: dict[bytes, Share] = {}
        self._by_claim: dict[str, ClaimRow] = {}
        self._held_shares: dict[str, array[int]] = {}
        self._regressions: list[str] = []
        self._regressed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_user = 0
        self.keyring = Keyring(stage.rest)
        self.expired = 0

    # ---------------------------------------------------------------- setting up

    async def prepare(self, progress: Progress) -> Workload:
        """Users with tokens and open claims, from the seeding's files or made over REST."""
        stage, scenario = self.stage, self.stage.scenario
        await self._greet()
        password = scenario.tokens.password
        self.people = await people(
            stage.rest, scenario.users, stage.tokens_file, stage.run_id, progress, password
        )
        self.claims = await claims(
            stage.rest,
            stage.ledger.rooms,
            self.people,
            live=self.live_room,
            count=claims_needed(scenario),
            quorum=scenario.claims.quorum,
            claims_file=stage.claims_file,
            run_id=stage.run_id,
            progress=progress,
        )
        self._by_claim = {claim.claim_id: claim for claim in self.claims}
        return Workload(
            users=len(self.people),
            owners=[claim.owner for claim in self.claims],
            per_claim=scenario.claims.quorum,
        )

    async def _greet(self) -> None:
        reply = await ask(self.stage.rest, "GET", "/")
        try:
            service = reply.json().get("service")
        except (RestError, AttributeError):
            service = None
        if service != "vouchstorm":
            raise SetupError(
                f"{self.stage.endpoint.authority} is not a Vouchstorm server (GET / says {said(reply)}); for "
                "other Socket.IO servers use --profile generic with a [server] table, or --profile echo."
            )

    async def stranger(self) -> Mapping[str, object] | None:
        """An account of its own, where the server registers people."""
        person = await register_stranger(self.stage.rest, self.stage.run_id)
        return {"token": person.token} if person is not None else None

    def expect(self, plan: Sequence[Publication]) -> None:
        """Nothing to note: the server's answers say what was published."""

    def brief(self, users: range) -> Any:
        """The people of another process, and all claims as they stand."""
        rows = [({"id": claim.claim_id, "version": claim.base}, claim.owner) for claim in self.claims]
        return users.start, self.people[users.start : users.stop], rows

    def take(self, brief: Any) -> None:
        """The same, entered in the books of this process."""
        self._first_user, self.people, rows = brief
        book = self.stage.ledger.rooms
        self.claims = [claim_row(book, self.live_room, body, owner) for body, owner in rows]
        self._by_claim = {claim.claim_id: claim for claim in self.claims}

    def member(self, index: int) -> Member:
        """Client n of the run belongs to user `n // sockets_per_user`."""
        scenario, number = self.stage.scenario, self.stage.ledger.rooms.first + index
        watches: tuple[ClaimRow, ...] = ()
        if self.scope == "watched":
            wanted = min(scenario.live.watches, len(self.claims))
            watches = tuple(stream(scenario.seed, f"watches:{number}").sample(self.claims, wanted))
        person = self.people[number // scenario.sockets_per_user - self._first_user]
        return VouchstormMember(index, self, person, watches, way_of(scenario, number))

    # ---------------------------------------------------------------- publishing

    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """Post one validation."""
        stage, person, claim = self.stage, self.people[item.user], self.claims[item.claim]
        await self.keyring.fresh(person)
        headers = person.bearer | {"Idempotency-Key": f"{stage.run_id}-{item.key}"}
        try:
            reply = await stage.rest.request(
                "POST",
                f"/api/claims/{claim.claim_id}/validations",
                body={"action": item.action},
                headers=headers,
                timeout_s=stage.scenario.publish.timeout_s,
            )
        except RestError as error:
            return Outcome("failed", str(error))
        http_us = (reply.answered_ns - reply.sent_ns) // 1000
        if reply.status in (200, 201):
            return Outcome("accepted", http_us=http_us, fact=_fact(item, intended_ns, reply))
        code = _code_of(reply)
        if reply.status == 409 and code in LEGITIMATE:
            return Outcome("refused", code, http_us)
        return Outcome("failed", f"status {reply.status} {code}".strip(), http_us)

    def published(self, fact: Fact) -> None:
        """Enter the new version of the claim, and what it makes."""
        claim = self.claims[fact.place]
        row = claim.stream.row(fact.position)
        row.published(fact.intended_ns, fact.sent_ns, fact.answered_ns, measured=fact.measured)
        claim.answered_version = max(claim.answered_version, fact.position)
        cause = Cause(fact.intended_ns, fact.measured)
        for name in fact.causes:
            self.stage.ledger.causes.setdefault(name, cause)

    # ---------------------------------------------------------------- what members ask

    def count_row(self, args: bytes) -> Row:
        """The row of a `validation_count_update`, remembered by its bytes."""
        body = orjson.loads(args)
        claim = self._by_claim.get(body["claim_id"])
        if claim is not None:
            live_stream = claim.stream
        else:
            book = self.stage.ledger.rooms
            live_stream = book.stream(f"claim {body['claim_id']}", Kind.SNAPSHOT, (self.live_room,))
        row = live_stream.row(body["version"])
        if len(self.counts) >= MAX_CACHED:
            self.counts.clear()
        self.counts[args] = row
        return row

    def share_of(self, args: bytes) -> Share:
        """What a `consensus_update` says, remembered by its bytes."""
        body = orjson.loads(args)
        claim_id, version = body["claim_id"], body["version"]
        held = self._held_shares.get(claim_id)
        if held is None:
            held = self._held_shares[claim_id] = array("q", [-1]) * self.stage.ledger.rooms.clients
        total = round(body["vouch"] + body["dispute"] + body["unsure"], 6)
        said_ = f"claim {claim_id}: consensus_update showed version {version}"
        if total not in (0.0, 100.0):
            self.regressed(f"{said_} with percentages that sum to {total}.")
        if len(self.shares) >= MAX_CACHED:
            self.shares.clear()
        share = self.shares[args] = Share(version, held, said_)
        return share

    def regressed(self, sentence: str) -> None:
        """Something a client saw that must not be: counted as a violation."""
        self._regressed += 1
        if len(self._regressions) < MAX_NAMED:
            self._regressions.append(sentence)

    def refused_watch(self, error: Any) -> None:
        """The server refused `watch_claim` or `sync`."""
        self.stage.note(f"The server refused a question of a client: {error.get('message', error)}")

    def refused_auth(self, member: VouchstormMember, body: Any) -> None:
        """The server said `auth_error`: the token expired, or it never was one."""
        if body.get("code") == Code.TOKEN_EXPIRED:
            self.expired += 1
            member.expired()
            return
        self.stage.note(f"The server refused a client: {body.get('message', body)}")

    def renew(self, member: VouchstormMember) -> None:
        """Get a new token for a client."""
        self._start(self._renew(member))

    async def _renew(self, member: VouchstormMember) -> None:
        if await self.keyring.renew(member.person):
            member.renewed()
        else:
            self.stage.note("A client could not log in anew to renew its token.")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reload(self, member: VouchstormMember) -> None:
        """The server said honestly that it cannot replay: read everything anew over REST."""
        outage = self.stage.outages.open.get(member.index)
        if outage is not None:
            outage.reloaded = True
        self._start(self._reload(member))

    async def _reload(self, member: VouchstormMember) -> None:
        try:
            items = await notifications(self.stage.rest, member.person, member.box.floor)
        except RestError as error:
            self.stage.note(f"A client could not reload its notifications: {error}.")
            return
        member.reloaded(items, self.stage.now_ns())

    # ---------------------------------------------------------------- the end

    async def reconcile(self, progress: Progress) -> Reconciled:
        """Read the truth back, again if a law seems broken: repairs may be under way."""
        rest, ids = self.stage.rest, [claim.claim_id for claim in self.claims]
        for person in self.people:
            await self.keyring.fresh(person, READING_S)
        try:
            for attempt in range(READS):
                facts = await read_claims(rest, ids, progress)
                users = await read_users(rest, self.people, progress)
                laws = check(facts, users)
                if not laws.violation_count or attempt == READS - 1:
                    break
                await asyncio.sleep(SETTLE_S)
        except RestError as error:
            note = f"The truth could not be read: {error}."
            return Reconciled(conservation=Conservation(note=note), unreachable=True)
        return Reconciled(truth_of(users), laws)

    def witness(self) -> Witness:
        """What clients were shown that must not be."""
        return Witness(
            violations=self._regressions,
            violation_count=self._regressed,
            expired=self.expired,
            renewed=self.keyring.renewed,
        )

    async def close(self) -> None:
        """Cancel what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keyring.close()


def _fact(item: Publication, intended_ns: int, reply: Reply) -> Fact:
    """What an accepted validation makes known: the claim's new version, and the consensus if it settled."""
    body = orjson.loads(reply.body)
    validation, after = body["validation"], body["claim"]
    version = validation["version"]
    causes = [f"validation:{validation['id']}"]
    if after["status"] != "open" and after["version"] == version:
        causes.append(f"consensus:{after['id']}")
    measured = item.measured
    return Fact(item.claim, version, intended_ns, reply.sent_ns, reply.answered_ns, measured, tuple(causes))


def _code_of(reply: Reply) -> str:
    try:
        return str(orjson.loads(reply.body).get("code", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ""
