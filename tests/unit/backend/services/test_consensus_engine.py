"""The consensus engine on a real store: what is stored, what is pushed, who wins when many answer at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.app.clock import SortableIds
from backend.app.contracts.errors import Code
from backend.app.contracts.types import Action, ClaimId, ClaimStatus, DeliveryClass, UserId, ValidationId
from backend.app.domain.consensus import ConsensusPolicy
from backend.app.domain.records import Claim, Progress, User, Validation
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import RefusedError, UnavailableError
from backend.app.ports import Recorded, Store
from backend.app.services.consensus_engine import ConsensusEngine, Processed
from backend.app.services.reconciler import BATCH, Reconciler
from backend.app.services.websocket_service import WebSocketService
from backend.app.store.metered import Method, wrapped
from backend.app.store.open import sqlite_store
from backend.app.store.sqlite.connection import Database
from tests.support.backend import conservation
from tests.support.backend.cuts import CrashError, CutStore, When
from tests.support.backend.rest_app import ManualClock, RecordingEmitter


def hooked(store: Store, **before: Callable[..., Awaitable[None]]) -> Store:
    """A store that does something else first, or instead, at chosen calls."""

    def hook(name: str, method: Method) -> Method:
        if name not in before:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            await before[name](*args, **kwargs)
            return await method(*args, **kwargs)

        return call

    return wrapped(store, hook)


class Room:
    """A store, a clock, and engines of any number of nodes; `emitter` records what they push."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.ids = SortableIds(clock)
        self.emitter = RecordingEmitter()
        self.people: list[User] = []
        self.claims: list[Claim] = []

    def engine(self, store: Any = None, **options: Any) -> ConsensusEngine:
        sockets = WebSocketService(self.emitter)
        return ConsensusEngine(
            store or self.store, sockets, self.clock, self.ids, ConsensusPolicy(), **options
        )

    async def users(self, count: int, **progress: Any) -> list[User]:
        made = [
            User(
                UserId(self.ids.new()),
                f"u{len(self.people) + n}",
                f"U {n}",
                self.clock.now(),
                Progress(**progress),
            )
            for n in range(count)
        ]
        await self.store.users.create_users(made, "hash")
        self.people += made
        return made

    async def claim(self, owner: User, quorum: int = 3) -> Claim:
        claim = Claim(
            ClaimId(self.ids.new()), owner.id, owner.display_name, "Title", "", (), quorum, self.clock.now()
        )
        await self.store.claims.create_claim(claim)
        self.claims.append(claim)
        return claim

    async def validate(
        self, who: User, claim: Claim, action: Action = Action.VOUCH, *, store: Any = None, **options: Any
    ) -> Processed:
        self.clock.advance(0.001)
        return await self.engine(store).process_validation(
            claim_id=claim.id, user=who, action=action, **options
        )

    def reconciler(self, store: Any = None, interval_s: float = 5.0) -> Reconciler:
        return Reconciler(store or self.store, self.engine(store), self.clock, interval_s)

    async def check(self) -> None:
        await conservation.check(self.store, [claim.id for claim in self.claims], self.people)

    def statuses(self, claim: Claim) -> list[tuple[int, str]]:
        """(version, status) of the claim's live percentages, as they were pushed to those who watch it."""
        pushed = [
            data
            for push in self.emitter.pushes
            for name, data in push.events
            if name == "consensus_update" and push.room == f"claim:{claim.id}"
        ]
        return [(data["version"], data["status"]) for data in pushed]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    clock = ManualClock()
    store = sqlite_store(Database(tmp_path / "store.db", 20), TrustPolicy(), clock)
    await store.open()
    try:
        yield Room(store, clock)
    finally:
        await store.close()


def refusal(outcome: object) -> Code | None:
    return outcome.code if isinstance(outcome, RefusedError) else None


# ---------------------------------------------------------------- one after the other


async def test_the_claim_stays_open_below_the_quorum(room: Room) -> None:
    owner, ann, ben = await room.users(3)
    claim = await room.claim(owner)
    await room.validate(ann, claim)
    assert (await room.validate(ben, claim)).claim.status is ClaimStatus.OPEN


async def test_the_quorum_settles_the_claim(room: Room) -> None:
    owner, *others = await room.users(4)
    claim = await room.claim(owner)
    answers = [await room.validate(who, claim) for who in others]
    assert [answer.claim.status for answer in answers][-1] is ClaimStatus.VERIFIED


async def test_a_divided_claim_stays_open_until_the_threshold(room: Room) -> None:
    owner, *others = await room.users(6)
    claim = await room.claim(owner)
    actions = [Action.VOUCH, Action.DISPUTE, Action.UNSURE, Action.DISPUTE, Action.DISPUTE]
    statuses = [(await room.validate(w, claim, a)).claim.status for w, a in zip(others, actions, strict=True)]
    assert statuses == [ClaimStatus.OPEN] * 4 + [ClaimStatus.REFUTED]


async def test_trust_weighting_counts_the_authors_score(room: Room) -> None:
    (owner,) = await room.users(1)
    low = await room.users(2, trust_score=10)
    (high,) = await room.users(1, trust_score=100)
    claim = await room.claim(owner)
    engine = room.engine(weighting="trust")
    for who, action in ((low[0], Action.DISPUTE), (low[1], Action.DISPUTE), (high, Action.VOUCH)):
        last = await engine.process_validation(claim_id=claim.id, user=who, action=action)
    assert last.claim.status is ClaimStatus.VERIFIED


async def test_authors_without_any_trust_count_equally(room: Room) -> None:
    (owner,) = await room.users(1)
    others = await room.users(3, trust_score=0)
    claim = await room.claim(owner)
    engine = room.engine(weighting="trust")
    for who in others:
        last = await engine.process_validation(claim_id=claim.id, user=who, action=Action.VOUCH)
    assert last.claim.status is ClaimStatus.VERIFIED


async def test_each_refusal_has_its_code(room: Room) -> None:
    owner, ann, ben = await room.users(3)
    claim, settled = await room.claim(owner), await room.claim(owner, quorum=1)
    await room.validate(ann, claim)
    await room.validate(ann, settled)
    outcomes = await asyncio.gather(
        room.validate(ann, claim),
        room.validate(owner, claim),
        room.validate(ben, settled),
        room.engine().process_validation(claim_id=ClaimId("none"), user=ann, action=Action.VOUCH),
        return_exceptions=True,
    )
    assert [refusal(outcome) for outcome in outcomes] == [
        Code.ALREADY_VALIDATED,
        Code.OWN_CLAIM,
        Code.CLAIM_SETTLED,
        Code.CLAIM_NOT_FOUND,
    ]


async def test_a_refused_validation_changes_nothing(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner)
    await room.validate(ann, claim)
    with pytest.raises(RefusedError):
        await room.validate(ann, claim, Action.DISPUTE)
    await room.check()


async def test_a_repeated_key_answers_with_the_first(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner, quorum=1)
    first = await room.validate(ann, claim, idempotency_key="k")
    again = await room.validate(ann, claim, idempotency_key="k")
    assert (again.validation, again.replayed, first.replayed) == (first.validation, True, False)


async def test_a_key_with_another_answer_is_refused(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner)
    await room.validate(ann, claim, idempotency_key="k")
    with pytest.raises(RefusedError) as caught:
        await room.validate(ann, claim, Action.DISPUTE, idempotency_key="k")
    assert caught.value.code is Code.IDEMPOTENCY_KEY_REUSED


# ---------------------------------------------------------------- what is pushed


async def test_every_stored_notification_is_pushed_in_order(room: Room) -> None:
    owner, *others = await room.users(4)
    claim = await room.claim(owner)
    for who in others:
        await room.validate(who, claim)
    for person in room.people:
        pushed = [
            push.version
            for push in room.emitter.pushes
            if push.room == f"user:{person.id}" and push.delivery is DeliveryClass.DURABLE
        ]
        assert pushed == [row.seq for row in await conservation.bell(room.store, person.id)]


async def test_each_version_is_pushed_once_and_the_last_with_the_consensus(room: Room) -> None:
    owner, *others = await room.users(4)
    claim = await room.claim(owner)
    for who in others:
        await room.validate(who, claim)
    assert room.statuses(claim) == [(1, "open"), (2, "open"), (3, "verified")]


async def recorded_undecided(room: Room, who: User, claim: Claim) -> Recorded:
    """A validation whose claim was left open, as under a stricter policy."""
    wanted = Validation(
        ValidationId(room.ids.new()), claim.id, who.id, who.display_name, Action.VOUCH, room.clock.now()
    )
    return await room.store.claims.record_validation(wanted)


async def test_a_claim_left_open_under_another_policy_is_settled_by_the_repair(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner, quorum=1)
    await recorded_undecided(room, ann, claim)
    room.clock.advance(60)
    await room.reconciler().repair()
    assert room.statuses(claim) == [(1, "verified")]
    await room.check()


async def test_whoever_loses_the_race_to_settle_does_not_reopen_the_claim_for_those_who_watch(
    room: Room,
) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner, quorum=1)

    async def overtaken(*_: Any) -> None:
        """Somebody repairs this very validation while its own request hangs."""
        room.clock.advance(60)
        await room.reconciler().repair()

    recorded = await recorded_undecided(room, ann, claim)
    await room.engine(hooked(room.store, settle=overtaken)).complete(recorded)
    assert room.statuses(claim) == [(1, "verified")]


async def test_an_answer_that_got_lost_does_not_reopen_the_claim_for_those_who_watch(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner, quorum=1)
    recorded = await recorded_undecided(room, ann, claim)
    with pytest.raises(UnavailableError):
        await room.engine(CutStore(room.store, 1, When.AFTER)).complete(recorded)
    room.clock.advance(60)
    await room.reconciler().repair()
    assert room.statuses(claim)[-1] == (1, "verified")


async def test_a_claim_that_a_repair_settles_is_pushed(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner, quorum=1)
    with pytest.raises(CrashError):
        await room.validate(ann, claim, store=CutStore(room.store, 1, When.AFTER, CrashError))
    room.clock.advance(60)
    await room.reconciler().repair()
    assert room.statuses(claim) == [(1, "verified")]


# ---------------------------------------------------------------- at the same time


@pytest.mark.parametrize("quorum", [1, 3, 30])
async def test_many_at_once_reach_exactly_one_consensus(room: Room, quorum: int) -> None:
    owner, *others = await room.users(31)
    claim = await room.claim(owner, quorum)
    outcomes = await asyncio.gather(*(room.validate(who, claim) for who in others), return_exceptions=True)
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Processed)]
    assert {refusal(outcome) for outcome in outcomes} - {None} <= {Code.CLAIM_SETTLED}
    assert len(accepted) == quorum
    await room.check()


async def test_many_nodes_at_once_on_many_claims(room: Room) -> None:
    owner, *others = await room.users(9)
    claims = [await room.claim(owner) for _ in range(6)]
    actions = list(Action)
    await asyncio.gather(
        *(
            room.validate(who, claim, actions[(number + index) % 3 if index % 2 else 0])
            for number, who in enumerate(others)
            for index, claim in enumerate(claims)
        ),
        return_exceptions=True,
    )
    await room.check()


async def test_the_same_person_at_once_is_counted_once(room: Room) -> None:
    owner, ann = await room.users(2)
    claim = await room.claim(owner)
    outcomes = await asyncio.gather(*(room.validate(ann, claim) for _ in range(10)), return_exceptions=True)
    assert [refusal(outcome) for outcome in outcomes].count(Code.ALREADY_VALIDATED) == 9
    await room.check()


async def test_repairs_beside_requests_do_nothing_twice(room: Room) -> None:
    owner, *others = await room.users(21)
    claim = await room.claim(owner, quorum=15)

    async def repair() -> None:
        for _ in range(10):
            await room.reconciler().repair(older_than_s=-1)

    await asyncio.gather(*(room.validate(who, claim) for who in others), repair(), return_exceptions=True)
    await room.check()


# ---------------------------------------------------------------- repairs


async def left_undone(room: Room, count: int) -> list[Claim]:
    """Claims with one validation each, of which nothing but the row was written."""
    owner, ann = await room.users(2)
    claims = [await room.claim(owner) for _ in range(count)]
    for claim in claims:
        with pytest.raises(CrashError):
            await room.validate(ann, claim, store=CutStore(room.store, 1, When.AFTER, CrashError))
    return claims


async def test_young_work_is_left_to_its_request(room: Room) -> None:
    await left_undone(room, 1)
    assert await room.reconciler().repair() == 0


async def test_old_work_is_finished(room: Room) -> None:
    await left_undone(room, 3)
    room.clock.advance(6)
    assert await room.reconciler().repair() == 3
    await room.check()


async def test_more_than_one_batch_is_finished(room: Room) -> None:
    await left_undone(room, BATCH + 5)
    room.clock.advance(6)
    await room.reconciler().repair()
    await room.check()


async def test_an_outage_ends_a_repair_and_the_next_one_goes_on(room: Room) -> None:
    await left_undone(room, 3)
    room.clock.advance(6)
    with pytest.raises(UnavailableError):
        await room.reconciler(CutStore(room.store, 4)).repair()
    await room.reconciler().repair()
    await room.check()


async def test_an_item_that_cannot_be_finished_does_not_hold_up_the_others(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    claims = await left_undone(room, 3)
    room.clock.advance(6)
    (poison,) = await room.store.claims.participants(claims[0].id)

    async def refuse(effects: Any, finishes: Any = None) -> None:
        if finishes == poison.id:
            raise RefusedError("There is no such user.", Code.USER_NOT_FOUND)

    await room.reconciler(hooked(room.store, apply_effects=refuse)).repair()
    pending = await room.store.claims.pending_validations(room.clock.now() + timedelta(days=1), 10)
    assert [row.id for row in pending] == [poison.id]


async def test_a_batch_of_hopeless_items_ends(room: Room) -> None:
    await left_undone(room, BATCH + 1)
    room.clock.advance(6)

    async def refuse(effects: Any, finishes: Any = None) -> None:
        raise RefusedError("There is no such user.", Code.USER_NOT_FOUND)

    async with asyncio.timeout(10):
        assert await room.reconciler(hooked(room.store, apply_effects=refuse)).repair() == 0
