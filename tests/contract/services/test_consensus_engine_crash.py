"""A validation cut at every store call, by an outage or by death: a repair makes everything whole, once."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backend.app.clock import SortableIds
from backend.app.contracts.types import Action, ClaimStatus
from backend.app.domain.consensus import ConsensusPolicy
from backend.app.domain.records import Claim, Progress
from backend.app.errors import RefusedError, UnavailableError
from backend.app.ports import Store
from backend.app.services.consensus_engine import ConsensusEngine
from backend.app.services.reconciler import Reconciler
from backend.app.services.websocket_service import WebSocketService
from tests.contract.store.store_records import StubClock, a_claim, a_user
from tests.support.backend import conservation
from tests.support.backend.cuts import CrashError, CutStore, When
from tests.support.backend.rest_app import RecordingEmitter

CALLS = ["record_validation", "apply_effects", "participants", "apply_effects"]
"""The store calls of the validation that brings the consensus."""
REPAIR_CALLS = ["pending_validations", "claim", *CALLS[1:], "pending_settlements"]
NAMES = ("ann", "ben", "cid", "dan", "owner")


embedded_only = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For what depends on the engine alone; the store's own promises are tested on all of them."""


@pytest.fixture(params=["sqlite", pytest.param("motor", marks=pytest.mark.services)])
def backend(request: pytest.FixtureRequest) -> str:
    """One driver stands for MongoDB here."""
    name: str = request.param
    return name


class Town:
    """People about to earn badges, one claim with quorum 3, two of three validations made."""

    def __init__(self, store: Store, clock: StubClock) -> None:
        self.store = store
        self.clock = clock
        self.ids = SortableIds(clock)
        # One step before: ten validations, a streak of ten, being trusted.
        ready = Progress(trust_score=79, validations=9, accurate_streak=9, consensus_count=0)
        self.people = {name: a_user(name, progress=ready) for name in NAMES}
        self.claim: Claim = replace(a_claim(), quorum=3)

    async def settle_in(self) -> None:
        await self.store.users.create_users(list(self.people.values()), "hash")
        await self.store.claims.create_claim(self.claim)
        for name in ("ann", "ben"):
            await self.validate(self.store, name)

    def engine(self, store: Any) -> ConsensusEngine:
        """A node's engine on this store, with sockets that nobody hears."""
        sockets = WebSocketService(RecordingEmitter())
        return ConsensusEngine(store, sockets, self.clock, self.ids, ConsensusPolicy())

    async def validate(self, store: Any, name: str, action: Action = Action.VOUCH) -> Any:
        self.clock.moment += timedelta(seconds=1)
        return await self.engine(store).process_validation(
            claim_id=self.claim.id, user=self.people[name], action=action, idempotency_key=f"key-{name}"
        )

    async def repair(self, through: Store | None = None) -> int:
        """What the next start of any node does."""
        store = through or self.store
        self.clock.moment += timedelta(minutes=1)
        return await Reconciler(store, self.engine(store), self.clock, 5.0).repair()

    async def check(self) -> None:
        await conservation.check(self.store, [self.claim.id], self.people.values())

    async def status(self) -> ClaimStatus:
        claim = await self.store.claims.claim(self.claim.id)
        assert claim is not None
        return claim.status


@pytest.fixture
async def town(build: Callable[[], Store], clock: StubClock) -> AsyncIterator[Town]:
    store = build()
    await store.open()
    try:
        made = Town(store, clock)
        await made.settle_in()
        yield made
    finally:
        await store.close()


async def test_the_calls_of_a_validation_that_settles(town: Town) -> None:
    store = CutStore(town.store)
    await town.validate(store, "cid")
    assert store.calls == CALLS


async def test_without_a_cut_everything_is_whole(town: Town) -> None:
    await town.validate(town.store, "cid")
    await town.check()


cuts = pytest.mark.parametrize(
    ("at", "when"),
    [(at, when) for at in range(1, len(CALLS) + 1) for when in When],
    ids=str,
)


@cuts
async def test_a_crash_is_repaired(town: Town, at: int, when: When) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, at, when, CrashError), "cid")
    await town.repair()
    await town.check()


@cuts
async def test_an_outage_is_repaired(town: Town, at: int, when: When) -> None:
    await validate_through(town, CutStore(town.store, at, when, UnavailableError))
    await town.repair()
    await town.check()


async def validate_through(town: Town, store: CutStore) -> None:
    """Only the first write may fail the request."""
    try:
        await town.validate(store, "cid")
    except UnavailableError:
        assert store.calls == CALLS[:1]


@embedded_only
@cuts
async def test_the_client_that_repeats_its_request_is_counted_once(town: Town, at: int, when: When) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, at, when, CrashError), "cid")
    await town.validate(town.store, "cid")
    await town.repair()
    await town.check()
    assert (await town.status(), len(await town.store.claims.participants(town.claim.id))) == (
        ClaimStatus.VERIFIED,
        3,
    )


@embedded_only
@cuts
async def test_repairs_at_the_same_time_as_another_validation(town: Town, at: int, when: When) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, at, when, CrashError), "cid")
    try:
        await town.validate(town.store, "dan", Action.DISPUTE)
    except RefusedError:
        assert await town.status() is not ClaimStatus.OPEN
    await town.repair()
    await town.check()


async def test_the_calls_of_a_repair(town: Town) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, 1, When.AFTER, CrashError), "cid")
    store: Any = CutStore(town.store)
    await town.repair(store)
    assert store.calls == REPAIR_CALLS


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("at", range(1, len(REPAIR_CALLS) + 1))
async def test_a_repair_that_is_cut_itself_is_repaired(town: Town, at: int, when: When) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, 1, When.AFTER, CrashError), "cid")
    cut: Any = CutStore(town.store, at, when, CrashError)
    with pytest.raises(CrashError):
        await town.repair(cut)
    await town.repair()
    await town.check()


@embedded_only
@cuts
async def test_two_repairs_do_nothing_twice(town: Town, at: int, when: When) -> None:
    with pytest.raises(CrashError):
        await town.validate(CutStore(town.store, at, when, CrashError), "cid")
    await town.repair()
    again = await town.repair()
    await town.check()
    assert again == 0
