"""What only the MongoDB store promises: no standalone servers, healing, several processes, clear errors."""

import asyncio
import gc
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from backend.app.contracts.errors import Code
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import RefusedError, SetupError, UnavailableError
from backend.app.ports import Recorded, Store
from backend.app.store.open import build_store
from backend.app.store.schema import MONGO_INDEXES
from simulator.processes import free_port
from tests.contract.store import store_files
from tests.contract.store.store_process import (
    acknowledged_to_all,
    acknowledged_until_killed,
    prepare,
    start_writer,
)
from tests.contract.store.store_records import (
    START,
    VERIFIED,
    StubClock,
    a_claim,
    a_user,
    a_validation,
    after,
    told,
)
from tests.support.services import Mongod, emptied, running_mongod

pytestmark = [
    pytest.mark.services,
    # PyMongo's asyncio monitor forgets to close its socket when it is cancelled in the middle of connecting.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    ),
]

DRIVERS = ("motor", "pymongo")
SHORT_S = 1.5
PATIENCE_S = 30.0

Opened = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def database(mongo_client: MongoClient[dict[str, Any]], driver: str) -> Database[dict[str, Any]]:
    """Behind the store's back."""
    return mongo_client[f"own_{driver}"]


@pytest.fixture
def url(mongod: Mongod, mongo_client: MongoClient[dict[str, Any]], driver: str) -> str:
    mongo_client.admin.command("killAllSessions", [])  # transactions of processes that were killed
    return mongod.url(emptied(mongo_client, f"own_{driver}"))


@pytest.fixture
def unopened(driver: Any) -> Callable[..., Store]:
    return lambda url, timeout_s=20.0: build_store(
        url, trust_policy=TrustPolicy(), clock=StubClock(), timeout_s=timeout_s, mongo_driver=driver
    )


@pytest.fixture
def opened(unopened: Callable[..., Store]) -> Opened:
    @asynccontextmanager
    async def open_store(url: str, timeout_s: float = 20.0) -> AsyncIterator[Store]:
        async with store_files.opened(unopened(url, timeout_s)) as store:
            yield store
        gc.collect()  # what the driver forgot is reported here, and not in the tests of others

    return open_store


# ------------------------------------------------------------------ processes


async def test_processes_that_share_a_claim_lose_nothing(url: str, opened: Opened, driver: str) -> None:
    async with opened(url) as store:
        await prepare(store)
        writers = [await start_writer(url, name, 60, driver) for name in ("left", "right", "third")]
        acknowledged = await acknowledged_to_all(writers)
        rows = await store.claims.participants(a_claim().id)
        assert {row.id for row in rows} == acknowledged
        assert [row.version for row in rows] == list(range(1, 181))
        assert await store.notifications.last_seqs([a_user("owner").id]) == {a_user("owner").id: 180}


async def test_a_killed_process_loses_no_acknowledged_write(url: str, opened: Opened, driver: str) -> None:
    async with opened(url) as store:
        await prepare(store)
        writer = await start_writer(url, "victim", 0, driver)
        acknowledged = await acknowledged_until_killed(writer, 60)
        stored = {row.id for row in await store.claims.participants(a_claim().id)}
        assert acknowledged <= stored


async def test_a_dead_process_does_not_block_the_others(url: str, opened: Opened, driver: str) -> None:
    async with opened(url) as store:
        await prepare(store)
        await acknowledged_until_killed(await start_writer(url, "victim", 0, driver), 1)
        recorded = await store.claims.record_validation(a_validation(a_claim(), "survivor"))
        claim = await store.claims.claim(a_claim().id)
        assert claim == recorded.claim


HOLDER = """
import sys
from pymongo import MongoClient
client = MongoClient(sys.argv[1], appname=sys.argv[2])
with client.start_session() as session, session.start_transaction():
    claims = client[sys.argv[3]].claims
    claims.update_one({"_id": "c1"}, {"$set": {"body": "held"}}, session=session)
    print("held", flush=True)
    sys.stdin.readline()
"""


async def hold_claim(url: str, application: str, database: str) -> Process:
    """A process that has an uncommitted change of claim c1."""
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, url, application, database), stdin=PIPE, stdout=PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    return holder


@pytest.mark.parametrize("call", ["record_validation", "settle"])
async def test_a_process_killed_in_mid_transaction_blocks_nobody(
    url: str, opened: Opened, driver: str, call: str
) -> None:
    async with opened(url) as store:
        await prepare(store)
        holder = await hold_claim(url, "vouchstorm", f"own_{driver}")
        holder.kill()
        await holder.wait()
        if call == "settle":
            assert await store.claims.settle(a_claim().id, 0, VERIFIED, START) is not None
        else:
            assert (await store.claims.record_validation(a_validation(a_claim(), "ann"))).claim.version == 1


async def test_transactions_of_other_programs_are_left_alone(url: str, opened: Opened, driver: str) -> None:
    async with opened(url, SHORT_S) as store:
        await prepare(store)
        holder = await hold_claim(url, "other", f"own_{driver}")
        with pytest.raises(UnavailableError):
            await store.claims.record_validation(a_validation(a_claim(), "ann"))
        await holder.communicate(b"commit\n")
        claim = await store.claims.claim(a_claim().id)
        assert claim is not None
        assert (holder.returncode, claim.body) == (0, "held")


async def test_two_nodes_share_a_hot_claim(url: str, opened: Opened) -> None:
    async with opened(url) as one, opened(url) as two:
        await prepare(one)
        stores = (one, two)
        recorded = await asyncio.gather(
            *(stores[n % 2].claims.record_validation(a_validation(a_claim(), f"u{n}")) for n in range(200))
        )
        assert sorted(item.validation.version for item in recorded) == list(range(1, 201))


# ------------------------------------------------------------------ batches


async def test_one_bad_row_does_not_disturb_its_batch(url: str, opened: Opened) -> None:
    async with opened(url) as store:
        await prepare(store)
        first = a_validation(a_claim(), "u0")
        await store.claims.record_validation(first)
        others = [a_validation(a_claim(), f"u{n}") for n in range(1, 6)]
        same_id = a_validation(a_claim(), "thief", id=first.id)
        tries = [store.claims.record_validation(item) for item in (*others[:2], same_id, *others[2:])]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert Counter(type(item) for item in outcomes) == {Recorded: 5, RefusedError: 1}
        assert len(await store.claims.participants(a_claim().id)) == 6


async def test_data_that_no_document_can_hold_is_refused(url: str, opened: Opened) -> None:
    async with opened(url) as store:
        await prepare(store)
        with pytest.raises(RefusedError) as refused:
            await store.effects.apply_effects([told("k", a_user("owner"), data={"huge": 2**70})])
        assert refused.value.code is Code.INVALID_INPUT


async def test_a_key_of_two_lists_at_once_is_returned_once(url: str, opened: Opened) -> None:
    async with opened(url) as store:
        await prepare(store)
        owner = a_user("owner")
        lists = [[told("shared", owner), told(f"own-{n}", owner)] for n in range(5)]
        made = await asyncio.gather(*(store.effects.apply_effects(effects) for effects in lists))
        keys = Counter(item.data["key"] for group in made for item in group)
        assert keys == {"shared": 1, **{f"own-{n}": 1 for n in range(5)}}


# ------------------------------------------------------------------ schema


async def test_expired_tokens_are_forgotten_by_the_server(url: str, opened: Opened) -> None:
    async with opened(url) as store:
        await store.users.revoke_token("old", after(-10_000_000))
        deadline_s = time.monotonic() + PATIENCE_S
        while await store.users.is_revoked("old"):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)


async def test_all_indexes_are_there(url: str, opened: Opened, database: Database[dict[str, Any]]) -> None:
    async with opened(url):
        for name, indexes in MONGO_INDEXES.items():
            found = database[name.value].index_information()
            assert {index.name for index in indexes} <= set(found)


async def test_lists_are_answered_from_indexes(
    url: str, opened: Opened, database: Database[dict[str, Any]]
) -> None:
    async with opened(url) as store:
        await prepare(store)
        plans = [
            database.users.find({"username_key": "x"}).explain(),
            database.users.find({}).sort([("trust_score", -1), ("validations", -1), ("_id", 1)]).explain(),
            database.claims.find({}).sort([("created_at_us", -1), ("_id", -1)]).explain(),
            database.claims.find({"owner_id": "x"}).sort([("created_at_us", -1), ("_id", -1)]).explain(),
            database.claims.find({"pending": True, "settled_at_us": {"$lt": 1}}).explain(),
            database.validations.find({"pending": True, "created_at_us": {"$lt": 1}}).explain(),
            database.validations.find({"claim_id": "x"}).sort("version", 1).explain(),
            database.notifications.find({"user_id": "x"}).sort("seq", -1).explain(),
            database.notifications.find({"user_id": "x", "read": False}).sort("seq", -1).explain(),
            database.effects.find({"claim_id": "x"}).sort("_id", 1).explain(),
        ]
        stages = [str(plan["queryPlanner"]["winningPlan"]) for plan in plans]
        assert not [stage for stage in stages if "COLLSCAN" in stage or "'SORT'" in stage]


async def failure_of_opening(store: Store) -> str:
    with pytest.raises(SetupError) as failed:
        await store.open()
    return str(failed.value)


async def test_a_newer_schema_is_a_clear_error(
    url: str, unopened: Callable[..., Store], database: Database[dict[str, Any]]
) -> None:
    database.meta.insert_one({"_id": "schema", "version": 99})
    assert "schema version 99" in await failure_of_opening(unopened(url))


async def test_a_foreign_index_of_our_name_is_a_clear_error(
    mongod: Mongod, unopened: Callable[..., Store], mongo_client: MongoClient[dict[str, Any]], driver: str
) -> None:
    database = f"foreign_{driver}"
    mongo_client[database].users.create_index([("other", 1)], name="users_by_name")
    assert "users has other indexes" in await failure_of_opening(unopened(mongod.url(database)))


# ------------------------------------------------------------------ set-up


@pytest.mark.parametrize(
    "bad", ["mongodb://", "mongodb://u:p%zz@h/", "mongodb://h:port/", "mongodb://u:se/cret@h/"]
)
async def test_a_bad_url_is_a_clear_error(bad: str, unopened: Callable[..., Store]) -> None:
    message = await failure_of_opening(unopened(bad))
    assert "not a usable MongoDB URL" in message
    assert "cret" not in message


async def test_a_wrong_password_is_a_clear_error(mongod: Mongod, unopened: Callable[..., Store]) -> None:
    url = mongod.url("x").replace("mongodb://", "mongodb://somebody:wrong@")
    message = await failure_of_opening(unopened(url))
    assert "refuses the user or password" in message
    assert "wrong" not in message


async def test_nothing_listening_is_unavailable(unopened: Callable[..., Store]) -> None:
    store = unopened(f"mongodb://127.0.0.1:{free_port()}/x", SHORT_S)
    with pytest.raises(UnavailableError, match="No primary"):
        await store.open()
    await store.close()
    gc.collect()


@pytest.fixture(scope="module")
def standalone(mongod: Mongod) -> Iterator[Mongod]:
    with running_mongod(replica_set=False) as server:
        yield server


@pytest.mark.parametrize("options", ["", "?replicaSet=rs0"])
async def test_a_standalone_server_is_refused(
    standalone: Mongod, options: str, unopened: Callable[..., Store]
) -> None:
    message = await failure_of_opening(unopened(f"{standalone.url('x')}{options}", SHORT_S))
    assert "--replSet" in message
    assert "rs.initiate()" in message


async def test_a_set_that_was_never_initiated_is_refused(
    standalone: Mongod, unopened: Callable[..., Store], tmp_path: Path
) -> None:
    server = await asyncio.to_thread(Ghost(tmp_path).start)
    try:
        message = await failure_of_opening(unopened(server.url("x"), SHORT_S))
    finally:
        await asyncio.to_thread(server.stop)
    assert "never initiated" in message


class Ghost(Mongod):
    """A member of a replica set that does not exist yet."""

    def answers(self) -> bool:
        with MongoClient(port=self.port, directConnection=True, serverSelectionTimeoutMS=500) as client:
            try:
                return bool(client.admin.command("hello")["isreplicaset"])
            except Exception:  # noqa: BLE001 - not up yet
                return False


# ------------------------------------------------------------------ trouble in mid-life


@pytest.fixture
def own_mongod(mongod: Mongod) -> Iterator[Mongod]:
    """A server of the test's own, to be broken."""
    with running_mongod() as server:
        yield server


CALLS: dict[str, Callable[[Store], Any]] = {
    "read": lambda store: store.users.user(a_user("owner").id),
    "write": lambda store: store.users.create_user(a_user("new"), "hash"),
    "record": lambda store: store.claims.record_validation(a_validation(a_claim(), "new")),
    "effects": lambda store: store.effects.apply_effects([told("new", a_user("owner"))]),
    "mark": lambda store: store.notifications.mark_all_read(a_user("owner").id, None),
    "ping": lambda store: store.ping(),
}


async def outcomes_of_all(store: Store) -> dict[str, type]:
    calls = [asyncio.wait_for(call(store), PATIENCE_S) for call in CALLS.values()]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return {name: type(outcome) for name, outcome in zip(CALLS, outcomes, strict=True)}


UNAVAILABLE = dict.fromkeys(CALLS, UnavailableError)


async def heals(store: Store) -> None:
    """Returns once the store answers again, without being reopened."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await store.ping()
        except UnavailableError:
            assert time.monotonic() < deadline_s


async def test_a_killed_server_is_unavailable_then_heals(own_mongod: Mongod, opened: Opened) -> None:
    async with opened(own_mongod.url("x"), SHORT_S) as store:
        await prepare(store)
        await store.claims.record_validation(a_validation(a_claim(), "ann"))
        await asyncio.to_thread(own_mongod.kill)
        assert await outcomes_of_all(store) == UNAVAILABLE
        await asyncio.to_thread(own_mongod.start)
        await heals(store)
        assert len(await store.claims.participants(a_claim().id)) >= 1
        assert (await store.claims.record_validation(a_validation(a_claim(), "ben"))).claim.version >= 2


async def test_a_stuck_server_is_unavailable_then_heals(own_mongod: Mongod, opened: Opened) -> None:
    async with opened(own_mongod.url("x"), SHORT_S) as store:
        await prepare(store)
        own_mongod.pause()
        assert await outcomes_of_all(store) == UNAVAILABLE
        own_mongod.resume()
        await heals(store)
        claim = await store.claims.claim(a_claim().id)
        assert claim is not None
        assert claim.tally.total == len(await store.claims.participants(claim.id))


async def test_a_crash_of_the_server_loses_no_acknowledged_write(own_mongod: Mongod, opened: Opened) -> None:
    async with opened(own_mongod.url("x"), SHORT_S) as store:
        await prepare(store)
        acknowledged: list[str] = []

        async def write(number: int) -> None:
            recorded = await store.claims.record_validation(a_validation(a_claim(), f"u{number}"))
            acknowledged.append(recorded.validation.id)
            if len(acknowledged) == 100:
                own_mongod.kill()

        await asyncio.gather(*(write(number) for number in range(400)), return_exceptions=True)
        await asyncio.to_thread(own_mongod.start)
        await heals(store)
        rows = await store.claims.participants(a_claim().id)
        assert set(acknowledged) <= {row.id for row in rows}
        assert [row.version for row in rows] == list(range(1, len(rows) + 1))


async def test_closing_while_the_server_is_gone_ends(
    own_mongod: Mongod, unopened: Callable[..., Store]
) -> None:
    store = unopened(own_mongod.url("x"), SHORT_S)
    await store.open()
    await asyncio.to_thread(own_mongod.kill)
    call = asyncio.create_task(store.claims.record_validation(a_validation(a_claim(), "ann")))
    await asyncio.sleep(0)  # let the call reach the store
    await asyncio.wait_for(store.close(), PATIENCE_S)
    with pytest.raises(UnavailableError):
        await call
    gc.collect()
