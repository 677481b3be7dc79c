"""The pure corners of the store room: cursors, times, history, which URL means which store."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.contracts.types import ClaimStatus
from backend.app.domain.effects import advance
from backend.app.domain.records import Progress
from backend.app.domain.trust import TrustPolicy
from backend.app.errors import RefusedError, SetupError
from backend.app.store import rows
from backend.app.store.mongo.users import MongoUsers
from backend.app.store.open import build_store
from backend.app.store.sqlite.users import SqliteUsers
from tests.contract.store.store_records import StubClock, a_claim, a_user, told

MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
LISTING = rows.Listing("kind", {"number": int, "text": str}, dict)


@given(number=st.integers(-(2**63) + 1, 2**63 - 1), text=st.text(max_size=60))
def test_a_cursor_reads_back(number: int, text: str) -> None:
    cursor = LISTING.page([{"number": number, "text": text}, {}], 1).next_cursor
    assert cursor is not None
    if len(cursor) <= 512:
        assert LISTING.position(cursor) == (number, text)


@given(st.text(max_size=80))
def test_no_text_from_outside_breaks_the_cursor_reader(text: str) -> None:
    with pytest.raises(RefusedError):
        LISTING.position(text)


@pytest.mark.parametrize(
    "content",
    [
        '["other",1,"a"]',
        '["kind","1","a"]',
        '["kind",true,"a"]',
        '["kind",1.0,"a"]',
        '["kind",9223372036854775808,"a"]',
        '["kind",1]',
        '["kind",1,"a",2]',
        "{}",
        "NaN",
        "[" * 300,
    ],
)
def test_a_cursor_of_another_shape_is_refused(content: str) -> None:
    cursor = base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")
    with pytest.raises(RefusedError):
        LISTING.position(cursor)


@given(MOMENTS)
def test_times_read_back_to_the_microsecond(moment: datetime) -> None:
    assert rows.from_us(rows.to_us(moment)) == moment


@given(MOMENTS, MOMENTS)
def test_times_sort_as_stored(one: datetime, other: datetime) -> None:
    assert (one < other) == (rows.to_us(one) < rows.to_us(other))


@pytest.mark.parametrize("status", list(ClaimStatus))
def test_a_claim_reads_back_in_every_status(status: ClaimStatus) -> None:
    claim = a_claim(status=status)
    assert rows.claim_record(rows.claim_document(claim)) == claim


def _stored(*seqs: int) -> list[rows.Document]:
    (row,) = advance(Progress(), told("k", a_user("ann")), TrustPolicy(), StubClock().now()).notifications
    return [{**rows.notification_document(row), "seq": seq} for seq in seqs]


@pytest.mark.parametrize(
    ("seqs", "after_seq", "last_seq", "expected", "complete"),
    [
        ((3, 4, 5), 2, 5, [3, 4, 5], True),
        ((3, 4), 2, 9, [3, 4], True),
        ((), 5, 5, [], True),
        ((), 6, 5, [], False),
        ((), 2, 5, [], False),
        ((4, 5), 2, 5, [], False),
        ((3, 5), 2, 5, [3], False),
    ],
)
def test_history_is_the_unbroken_run(
    seqs: tuple[int, ...], after_seq: int, last_seq: int, expected: list[int], complete: bool
) -> None:
    history = rows.history_of(_stored(*seqs), after_seq, last_seq)
    assert ([item.seq for item in history.items], history.complete) == (expected, complete)


@pytest.mark.parametrize(("asked", "given_rows"), [(-1, 1), (0, 1), (1, 1), (1_000, 1_000), (10**9, 1_000)])
def test_every_limit_is_bounded(asked: int, given_rows: int) -> None:
    assert rows.bounded(asked) == given_rows


def test_an_sqlite_url_means_the_embedded_store(tmp_path: Path) -> None:
    store = build_store(
        f"sqlite:///{tmp_path / 'x.db'}", trust_policy=TrustPolicy(), clock=StubClock(), timeout_s=1
    )
    assert isinstance(store.users, SqliteUsers)


@pytest.mark.parametrize("url", ["mongodb://localhost/x", "mongodb+srv://cluster.example/x"])
def test_a_mongodb_url_means_the_shared_store(url: str) -> None:
    store = build_store(url, trust_policy=TrustPolicy(), clock=StubClock(), timeout_s=1)
    assert isinstance(store.users, MongoUsers)


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "postgres://x", "", "mongodb:/x"])
def test_a_url_that_means_no_store_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="VOUCHSTORM_STORE_URL"):
        build_store(url, trust_policy=TrustPolicy(), clock=StubClock(), timeout_s=1)
