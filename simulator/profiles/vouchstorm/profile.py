"""How to speak to Vouchstorm: its events, its REST interface, what it owes, and its own truth at the end.

What a client is owed:

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
import contextlib
from typing import Any

import orjson

from backend.app.contracts import SOCKETIO_PATH
from backend.app.contracts.errors import Code

from ...errors import SetupError
from ...faults.hostile_clients import HostileInputs
from ...generator.publisher import Fact, Outcome
from ...ledger.durable import Cause, Truth
from ...result import Conservation
from ...scenario.schedule import Publication, Workload, stream
from ...target.http_client import Reply, RestError
from ..base import ClientFindings, Profile, Progress, Reconciled, Stage
from ..virtual_client import VirtualClient
from .api import Person, ask, read_claims, read_users, said, word
from .client import Shared, VouchstormMember, way_of
from .fixtures import ClaimRow, claim_row, claims, people, register_user
from .invariants import check
from .personas import plan_votes
from .scenario import VouchstormScenario

__all__ = ["SOCKETIO_PATH", "Vouchstorm"]

LEGITIMATE = frozenset((Code.ALREADY_VALIDATED, Code.CLAIM_SETTLED, Code.OWN_CLAIM))
SETTLE_S = 2.0
READING_S = 120.0
"""Tokens that would expire while the truth is read are renewed before."""
READS = 3
"""How often the truth is read at most: work that a crash interrupted is finished a little later."""
POSTS = ("/api/claims",)
PACKETS = (
    '42["watch_claim",{"claim_id":{"$ne":null}}]',
    '42["sync",{"after_seq":-99999999999999999999}]',
)


class Vouchstorm(Profile):
    """The profile of the built-in service."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        if not isinstance(stage.scenario, VouchstormScenario):
            raise TypeError("this profile wants its own tables in the scenario")
        self.scenario = stage.scenario
        self.shared = Shared(stage)
        self.people: list[Person] = []
        self.claims: list[ClaimRow] = []
        self._votes: list[str] = []  # of each publish of the schedule
        self._first_user = 0

    async def prepare(self, progress: Progress) -> Workload:
        """Users with tokens and open claims, from the seeding's files or made over REST."""
        scenario, live = self.scenario, self.shared.live_room
        await self._greet()
        self.people = await people(self.stage, progress)
        count, quorum = scenario.claims_needed, scenario.claims.quorum
        self._know(await claims(self.stage, self.people, live, count, quorum, progress))
        personas = enumerate(scenario.people(scenario.users))
        return Workload(
            scenario.publishers(scenario.users),
            barred=[claim.owner for claim in self.claims],
            per_room=quorum,
            burst=[user for user, persona in personas if persona == "brigade"],
        )

    def _know(self, rows: list[ClaimRow]) -> None:
        self.claims = rows
        self.shared.claims = {claim.claim_id: claim for claim in rows}

    async def _greet(self) -> None:
        reply = await ask(self.stage.rest, "GET", "/")
        if word(reply, "service") != "vouchstorm":
            raise SetupError(
                f"{self.stage.endpoint.authority} is not a Vouchstorm server (GET / says {said(reply)}); for "
                "other Socket.IO servers use --profile generic with a [server] table, or --profile echo."
            )

    async def hostile_inputs(self) -> HostileInputs:
        """An account of its own, where the server registers people; and what could make it stumble."""
        account = None
        with contextlib.suppress(SetupError):
            person = await register_user(self.stage.rest, f"stranger-{self.stage.run_id}")
            account = {"token": person.token}
        return HostileInputs(account, POSTS, PACKETS)

    def plan(self, workload: Workload) -> list[Publication]:
        """The schedule, and what each validation of it says."""
        scenario = self.scenario
        plan, self._votes = plan_votes(scenario, workload, scenario.people(scenario.users))
        return plan

    def brief(self, users: range) -> Any:
        """The people of another process, and all claims as they stand."""
        rows = [({"id": claim.claim_id, "version": claim.base}, claim.owner) for claim in self.claims]
        return users.start, self.people[users.start : users.stop], rows

    def take(self, brief: Any) -> None:
        """The same, entered in the books of this process."""
        self._first_user, self.people, rows = brief
        book, live = self.stage.ledger.rooms, self.shared.live_room
        self._know([claim_row(book, live, body, owner) for body, owner in rows])

    def member(self, index: int) -> VirtualClient:
        """Client n of the run belongs to user `n // sockets_per_user`."""
        scenario, number = self.stage.scenario, self.stage.ledger.rooms.first + index
        watches: tuple[ClaimRow, ...] = ()
        if self.shared.scope == "watched":
            wanted = min(scenario.live.watches, len(self.claims))
            watches = tuple(stream(scenario.seed, f"watches:{number}").sample(self.claims, wanted))
        person = self.people[number // scenario.sockets_per_user - self._first_user]
        return VouchstormMember(index, self.shared, person, watches, way_of(scenario, number))

    async def publish(self, item: Publication, intended_ns: int) -> Outcome:
        """Post one validation."""
        stage, person, claim = self.stage, self.people[item.user], self.claims[item.room]
        await self.shared.keyring.fresh(person)
        headers = person.bearer | {"Idempotency-Key": f"{stage.run_id}-{self.scenario.seed}-{item.n}"}
        try:
            reply = await stage.rest.request(
                "POST",
                f"/api/claims/{claim.claim_id}/validations",
                body={"action": self._votes[item.n]},
                headers=headers,
                timeout_s=stage.scenario.publish.timeout_s,
            )
        except RestError as error:
            return Outcome("failed", str(error))
        http_us = (reply.answered_ns - reply.sent_ns) // 1000
        if reply.status in (200, 201):
            return Outcome("accepted", http_us=http_us, fact=_fact(item, intended_ns, reply))
        code = word(reply, "code")
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

    async def reconcile(self, progress: Progress) -> Reconciled:
        """Read the truth back, again if a law seems broken: repairs may be under way."""
        rest, ids = self.stage.rest, [claim.claim_id for claim in self.claims]
        for person in self.people:
            await self.shared.keyring.fresh(person, READING_S)
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
        stored = {user.id: Truth([(note.seq, note.id) for note in user.notes]) for user in users}
        return Reconciled(stored, laws)

    def witness(self) -> ClientFindings:
        """What clients were shown that must not be."""
        self.shared.seen.renewed = self.shared.keyring.renewed
        return self.shared.seen

    async def close(self) -> None:
        """Cancel what is under way."""
        await self.shared.close()


def _fact(item: Publication, intended_ns: int, reply: Reply) -> Fact:
    """What an accepted validation makes known: the claim's new version, and the consensus if it settled."""
    body = orjson.loads(reply.body)
    validation, after = body["validation"], body["claim"]
    version = validation["version"]
    causes = [f"validation:{validation['id']}"]
    if after["status"] != "open" and after["version"] == version:
        causes.append(f"consensus:{after['id']}")
    measured = item.measured
    return Fact(item.room, version, intended_ns, reply.sent_ns, reply.answered_ns, measured, tuple(causes))
