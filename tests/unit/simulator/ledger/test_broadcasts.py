"""The book of rooms against a brute-force oracle, and one planted fault per class."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.broadcasts import Kind, Row, Stream
from simulator.ledger.ledger import Ledger
from simulator.ledger.outcomes import OutcomeCounts

MS = 1_000_000
GRACE_NS = 100 * MS
LATE_NS = 50 * MS
CLIENTS = 4


def stream_of(ledger: Ledger, kind: Kind = Kind.SNAPSHOT, *, durable: bool = False) -> Stream:
    room = ledger.rooms.room("live", durable=durable)
    return ledger.rooms.stream("claim", kind, (room,), base=0)


def everybody_in(ledger: Ledger, at_ns: int = 1) -> None:
    for client in range(CLIENTS):
        ledger.rooms.connected(client, at_ns)
        ledger.rooms.enter(ledger.rooms.rooms["live"], client, at_ns)


def publish(stream: Stream, position: int, at_ns: int) -> Row:
    row = stream.row(position)
    row.published(at_ns, at_ns, at_ns + 1, measured=True)
    return row


def received(row: Row, at_ns: int, first: int = 0) -> None:
    for client in range(first, CLIENTS):
        row.receive(client, at_ns)


def close(ledger: Ledger, closed_ns: int = 10_000 * MS) -> OutcomeCounts:
    account = ledger.close(Bounds(closed_ns, GRACE_NS, LATE_NS))
    assert account.balanced
    return account.total


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(CLIENTS)


def ready(ledger: Ledger, kind: Kind = Kind.SNAPSHOT, *, durable: bool = False) -> Stream:
    stream = stream_of(ledger, kind, durable=durable)
    everybody_in(ledger)
    return stream


def test_every_member_gets_it_live(ledger: Ledger) -> None:
    row = publish(ready(ledger), 1, 10 * MS)
    received(row, 11 * MS)
    tally = close(ledger)
    assert (tally.expected, tally.live) == (CLIENTS, CLIENTS)


def test_a_missing_receipt_is_lost(ledger: Ledger) -> None:
    row = publish(ready(ledger, Kind.EVENT), 1, 10 * MS)
    row.receive(0, 11 * MS)
    assert close(ledger).lost == CLIENTS - 1


def test_a_second_receipt_is_a_duplicate(ledger: Ledger) -> None:
    row = publish(ready(ledger), 1, 10 * MS)
    assert row.receive(0, 11 * MS)
    assert not row.receive(0, 12 * MS)
    tally = close(ledger)
    assert (tally.live, tally.duplicate) == (1, 1)


@pytest.mark.parametrize("kind", [Kind.SNAPSHOT, Kind.EVENT])
def test_an_older_one_after_a_newer_one_is_out_of_order(ledger: Ledger, kind: Kind) -> None:
    stream = ready(ledger, kind)
    first, second = publish(stream, 1, 10 * MS), publish(stream, 2, 11 * MS)
    second.receive(0, 12 * MS)
    first.receive(0, 13 * MS)
    tally = close(ledger)
    assert (tally.out_of_order, tally.live) == (1, 1)


def test_a_skipped_version_is_superseded_not_lost(ledger: Ledger) -> None:
    stream = ready(ledger)
    publish(stream, 1, 10 * MS)
    second = publish(stream, 2, 11 * MS)
    received(second, 12 * MS)
    tally = close(ledger)
    assert (tally.superseded, tally.live, tally.lost) == (CLIENTS, CLIENTS, 0)


def test_a_superseded_version_counts_its_latency_until_the_newer_one_came(ledger: Ledger) -> None:
    stream = ready(ledger)
    publish(stream, 1, 10 * MS)
    publish(stream, 2, 30 * MS).receive(0, 31 * MS)
    account = ledger.close(Bounds(10_000 * MS, GRACE_NS, LATE_NS))
    assert sorted(account.samples["snapshot"].latency_us.tolist()) == [1_000, 21_000]


def test_the_last_version_must_be_held(ledger: Ledger) -> None:
    stream = ready(ledger)
    publish(stream, 1, 10 * MS).receive(0, 11 * MS)
    publish(stream, 2, 20 * MS)
    tally = close(ledger)
    assert (tally.live, tally.lost) == (1, 2 * CLIENTS - 1)


def test_a_receipt_after_the_late_bound_is_late(ledger: Ledger) -> None:
    row = publish(ready(ledger), 1, 10 * MS)
    row.receive(0, 10 * MS + LATE_NS + 1)
    assert close(ledger).late == 1


def test_a_receipt_outside_the_room_is_misrouted(ledger: Ledger) -> None:
    stream = stream_of(ledger)
    row = publish(stream, 1, 10 * MS)
    row.receive(3, 11 * MS)
    tally = close(ledger)
    assert (tally.expected, tally.misrouted) == (0, 1)


def test_a_receipt_while_joining_is_unowed(ledger: Ledger) -> None:
    stream = stream_of(ledger)
    room = ledger.rooms.rooms["live"]
    ledger.rooms.ask(room, 0, 9 * MS)
    publish(stream, 1, 10 * MS).receive(0, 11 * MS)
    ledger.rooms.enter(room, 0, 12 * MS)
    tally = close(ledger)
    assert (tally.expected, tally.unowed) == (0, 1)


@pytest.mark.parametrize(
    ("after_ns", "unverified", "lost"),
    [(MS, CLIENTS, 0), (2 * GRACE_NS, 0, CLIENTS)],
    ids=["before", "after"],
)
def test_who_left_before_it_could_come_is_not_verified_and_who_left_long_after_lost_it(
    ledger: Ledger, after_ns: int, unverified: int, lost: int
) -> None:
    publish(ready(ledger, Kind.EVENT), 1, 10 * MS)
    for client in range(CLIENTS):
        ledger.rooms.disconnected(client, 10 * MS + after_ns)
    tally = close(ledger)
    assert (tally.unverified, tally.lost) == (unverified, lost)


def test_an_absent_member_of_a_durable_room_is_owed(ledger: Ledger) -> None:
    stream = ready(ledger, Kind.EVENT, durable=True)
    ledger.rooms.disconnected(0, 5 * MS)
    row = publish(stream, 1, 10 * MS)
    ledger.rooms.connected(0, 20 * MS)
    received(row, 11 * MS, first=1)
    tally = close(ledger)
    assert (tally.expected, tally.lost) == (CLIENTS, 1)


def test_a_replay_after_an_absence_is_replayed(ledger: Ledger) -> None:
    stream = ready(ledger, Kind.EVENT, durable=True)
    row = publish(stream, 1, 10 * MS)
    row.receive_replayed(0, 30 * MS)
    assert close(ledger).replayed == 1


def test_a_durable_member_that_never_came_back_is_unverified(ledger: Ledger) -> None:
    stream = ready(ledger, Kind.EVENT, durable=True)
    ledger.rooms.disconnected(0, 5 * MS)
    row = publish(stream, 1, 10 * MS)
    received(row, 11 * MS, first=1)
    tally = close(ledger)
    assert (tally.unverified, tally.lost) == (1, 0)


def test_a_question_answered_with_a_missed_version_is_replayed(ledger: Ledger) -> None:
    stream = ready(ledger)
    row = publish(stream, 1, 10 * MS)
    assert row.reread(0, 11 * MS)
    assert close(ledger).replayed == 1


def test_a_push_racing_with_the_answer_is_not_a_duplicate(ledger: Ledger) -> None:
    row = publish(ready(ledger), 1, 10 * MS)
    row.reread(0, 11 * MS)
    row.receive(0, 12 * MS)
    row.receive(0, 13 * MS)
    tally = close(ledger)
    assert (tally.reread, tally.duplicate) == (1, 1)


def test_an_answer_behind_what_is_held_is_told_to_the_caller(ledger: Ledger) -> None:
    stream = ready(ledger)
    publish(stream, 2, 10 * MS).receive(0, 11 * MS)
    assert not stream.row(1).reread(0, 12 * MS)


def test_receipts_may_come_before_the_publishers_answer(ledger: Ledger) -> None:
    stream = ready(ledger)
    stream.row(1).receive(0, 11 * MS)
    publish(stream, 1, 10 * MS)
    assert close(ledger).live == 1


def test_more_rows_than_the_bound_unbalance_the_account() -> None:
    ledger = Ledger(1)
    ledger.rooms.rows_left = 1
    stream = stream_of(ledger)
    for position in (1, 2):
        stream.row(position).receive(0, 1)
    assert not ledger.close(Bounds(10, 1, 1)).balanced


# ---------------------------------------------------------------- model


@dataclass
class Oracle:
    """Keeps the whole history of each pair and judges it by the words of the tally's docstring."""

    base: int = 0
    stays: list[list[int]] = field(default_factory=list)
    open: dict[int, list[int]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    got: list[tuple[int, int, int]] = field(default_factory=list)

    def classes(self, closed_ns: int) -> OutcomeCounts:
        tally = OutcomeCounts(received=len(self.got))
        for position, sent_ns in self.sent.items():
            for client in range(CLIENTS):
                self.pair(tally, position, sent_ns, client, closed_ns)
        for position, client in sorted({(p, c) for p, c, _ in self.got if p not in self.sent}):
            self.hostile_inputs(tally, position, client, closed_ns)
        return tally

    def stays_of(self, client: int, closed_ns: int) -> list[tuple[int, int]]:
        return [(start, min(end, closed_ns)) for who, start, end in self.stays if who == client]

    def hostile_inputs(self, tally: OutcomeCounts, position: int, client: int, closed_ns: int) -> None:
        """A pair that nobody owed: judged by the right the client had when it, or a newer one, first came."""
        times = sum((p, c) == (position, client) for p, c, _ in self.got)
        if not times:
            return
        at_ns = min(at for p, c, at in self.got if c == client and p >= position)
        if any(start <= at_ns <= end + GRACE_NS for start, end in self.stays_of(client, closed_ns)):
            tally.unowed += 1
            tally.duplicate += times - 1
        else:
            tally.misrouted += times

    def pair(self, tally: OutcomeCounts, position: int, sent_ns: int, client: int, closed_ns: int) -> None:
        mine = [(index, at) for index, (p, c, at) in enumerate(self.got) if (p, c) == (position, client)]
        owed = [end for start, end in self.stays_of(client, closed_ns) if start <= sent_ns < end]
        if not owed:
            self.hostile_inputs(tally, position, client, closed_ns)
            return
        tally.expected += 1
        tally.duplicate += max(0, len(mine) - 1)
        if mine:
            index, at_ns = mine[0]
            newer = any(p > position for p, c, _ in self.got[:index] if c == client)
            if newer:
                tally.out_of_order += 1
            elif at_ns - sent_ns > LATE_NS:
                tally.late += 1
            else:
                tally.live += 1
        elif any(p > position for p, c, _ in self.got if c == client):
            tally.superseded += 1
        elif owed[0] < sent_ns + 1 + GRACE_NS:
            tally.unverified += 1
        else:
            tally.lost += 1


STEP = st.one_of(
    st.tuples(st.just("in"), st.integers(0, CLIENTS - 1), st.just(0)),
    st.tuples(st.just("out"), st.integers(0, CLIENTS - 1), st.just(0)),
    st.tuples(st.just("publish"), st.just(0), st.just(0)),
    st.tuples(st.just("get"), st.integers(0, CLIENTS - 1), st.integers(1, 6)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(STEP, st.integers(1, 60)), max_size=60))
def test_the_book_agrees_with_the_oracle(steps: list[tuple[tuple[str, int, int], int]]) -> None:
    ledger, oracle = Ledger(CLIENTS), Oracle()
    stream, room = stream_of(ledger), ledger.rooms.rooms["live"]
    now_ns, published = 0, 0
    for (verb, client, position), pause_ms in steps:
        now_ns += pause_ms * MS
        if verb == "in" and client not in oracle.open:
            oracle.open[client] = [client, now_ns, 2**62]
            oracle.stays.append(oracle.open[client])
            ledger.rooms.enter(room, client, now_ns)
        elif verb == "out" and client in oracle.open:
            oracle.open.pop(client)[2] = now_ns
            ledger.rooms.disconnected(client, now_ns)
        elif verb == "publish":
            published += 1
            oracle.sent[published] = now_ns
            publish(stream, published, now_ns)
        elif verb == "get":
            oracle.got.append((position, client, now_ns))
            stream.row(position).receive(client, now_ns)
    now_ns += 5 * MS
    assert close(ledger, now_ns).as_dict() == oracle.classes(now_ns).as_dict()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8), st.booleans()), max_size=80))
def test_both_sums_hold_whatever_comes_in(receipts: list[tuple[int, int, bool]]) -> None:
    ledger = Ledger(CLIENTS)
    stream = ready(ledger, Kind.SNAPSHOT)
    for position in range(1, 5):
        publish(stream, position, position * MS)
    for moment, (client, position, asked) in enumerate(receipts):
        row = stream.row(position)
        (row.reread if asked else row.receive)(client, (10 + moment) * MS)
    close(ledger)


def test_a_client_that_stopped_reading_before_it_was_cut_off_is_owed_nothing_from_then_on(
    ledger: Ledger,
) -> None:
    stream = ready(ledger, Kind.EVENT)
    row = publish(stream, 1, 500 * MS)
    received(row, 501 * MS, first=1)
    ledger.rooms.disconnected(0, 5_000 * MS, deaf_since_ns=400 * MS)
    tally = close(ledger)
    assert (tally.expected, tally.lost) == (CLIENTS - 1, 0)


def test_what_such_a_client_still_got_is_unowed_not_misrouted(ledger: Ledger) -> None:
    stream = ready(ledger, Kind.EVENT)
    publish(stream, 1, 500 * MS).receive(0, 4_000 * MS)
    ledger.rooms.disconnected(0, 5_000 * MS, deaf_since_ns=400 * MS)
    tally = close(ledger)
    assert (tally.unowed, tally.misrouted) == (1, 0)
