"""Letting go of the settled past changes no figure, and keeps a long run's memory flat."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.generator.worker import Retirement
from simulator.generator.worker_report import LedgerReport
from simulator.ledger.broadcast_audit import Bounds
from simulator.ledger.broadcasts import Kind, Stream
from simulator.ledger.ledger import Account, Ledger
from simulator.ledger.timeline import SecondCounts
from simulator.scenario.loader import build

MS = 1_000_000
NS = 1_000 * MS
CLIENTS = 5
SECONDS = 60
SCENARIO = build({"duration_s": 600, "windows": {"late_ms": 500, "grace_ms": 200}})
BOUNDS = (200 * MS, 500 * MS)


def ready(kind: Kind = Kind.SNAPSHOT, *, durable: bool = False) -> tuple[Ledger, Stream]:
    ledger = Ledger(CLIENTS)
    room = ledger.rooms.room("live", durable=durable)
    for client in range(CLIENTS):
        ledger.rooms.connected(client, 1)
        ledger.rooms.enter(room, client, 1)
    return ledger, ledger.rooms.stream("claim", kind, (room,), base=0)


def publish(stream: Stream, position: int, at_ns: int) -> None:
    stream.row(position).published(at_ns, at_ns, at_ns + 1, measured=True)


def history(seed: int) -> list[tuple[int, str, int, int]]:
    """(time, what, client, position) in order of time; receipts come early, late, twice, or never."""
    rng = random.Random(seed)
    events: list[tuple[int, str, int, int]] = []
    for position in range(1, 120):
        sent_ns = position * 500 * MS
        events.append((sent_ns, "publish", -1, position))
        for client in range(CLIENTS):
            if rng.random() < 0.01:
                continue
            came_ns = sent_ns + rng.randint(1, 700) * MS
            events.append((came_ns, "receive", client, position))
            if rng.random() < 0.05:
                events.append((came_ns + rng.randint(1, 40_000) * MS, "repeat", client, position))
    for client in range(CLIENTS):
        away_ns = rng.randint(5, 40) * NS
        events += [(away_ns, "leave", client, 0), (away_ns + 2 * NS, "return", client, 0)]
    return sorted(events)


def play(seed: int, kind: Kind, *, retiring: bool) -> tuple[LedgerReport, SecondCounts]:
    """The books and the seconds of a history. A client that is away receives nothing, and what it never got
    is not repeated to it."""
    ledger, stream = ready(kind)
    retirement = Retirement(ledger, SCENARIO, 0)
    book, room, away = ledger.rooms, ledger.rooms.rooms["live"], set[int]()
    came: set[tuple[int, int]] = set()
    for number, (at_ns, what, client, position) in enumerate(history(seed)):
        if what == "publish":
            publish(stream, position, at_ns)
        elif what == "leave":
            away.add(client)
            book.disconnected(client, at_ns)
        elif what == "return":
            away.discard(client)
            book.connected(client, at_ns)
            book.enter(room, client, at_ns)
        elif client not in away and (what == "receive" or (client, position) in came):
            came.add((client, position))
            stream.row(position).receive(client, at_ns)
        if retiring and number % 10 == 0:
            retirement.retire(at_ns)
    end_ns = 120 * NS
    account = ledger.close(Bounds(end_ns, *BOUNDS))
    books, pace = LedgerReport.of(account), SecondCounts.of(account, 0, SECONDS)
    retirement.add_to(books, pace)
    return books, pace


def judged(books: LedgerReport) -> dict[str, int]:
    """The classes. What came half a minute late to somebody who had been away is a repeat, or news: who can
    tell any more? Nobody is accused."""
    found = books.total.as_dict()
    found["unowed"] += found.pop("duplicate")
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(list(Kind)))
def test_every_figure_is_that_of_judging_at_the_end(seed: int, kind: Kind) -> None:
    early, early_pace = play(seed, kind, retiring=True)
    late, late_pace = play(seed, kind, retiring=False)
    assert (judged(early), early.balanced, early.lost) == (judged(late), True, late.lost)
    assert {name: h.latency() for name, h in early.latency.items()} == {
        name: h.latency() for name, h in late.latency.items()
    }
    assert early_pace.delivered.tolist() == late_pace.delivered.tolist()
    assert early_pace.latencies() == late_pace.latencies()


def steady(seconds: int, *, hole_at: int = 0, durable: bool = False) -> Ledger:
    """The ledger of a steady run, see `steady_run`."""
    return steady_run(seconds, hole_at=hole_at, durable=durable)[0]


def steady_run(seconds: int, *, hole_at: int = 0, durable: bool = False) -> tuple[Ledger, Retirement]:
    """Ten messages a second that everybody gets, but for one that one client never gets."""
    ledger, stream = ready(Kind.EVENT, durable=durable)
    retirement = Retirement(ledger, SCENARIO, 0)
    for position in range(1, 10 * seconds + 1):
        at_ns = position * 100 * MS
        publish(stream, position, at_ns)
        for client in range(CLIENTS - (position == hole_at)):
            stream.row(position).receive(client, at_ns + MS)
        if position % 20 == 0:
            retirement.retire(at_ns)
    return ledger, retirement


def rows(ledger: Ledger) -> int:
    return sum(len(stream.rows) for stream in ledger.rooms.streams.values())


def test_what_is_kept_does_not_grow_with_time() -> None:
    assert rows(steady(400)) == rows(steady(200)) < 300


def test_a_message_that_somebody_misses_stays_and_is_lost_at_the_end() -> None:
    ledger = steady(100, hole_at=50)
    assert rows(ledger) == 1_000 - 49
    assert ledger.close(Bounds(200 * NS, *BOUNDS)).total.lost == 1


def test_what_is_missed_for_good_is_lost_and_let_go_of_with_all_after_it() -> None:
    ledger, retirement = steady_run(400, hole_at=50)
    assert rows(ledger) < 300
    assert retirement.books is not None
    assert retirement.books.total.lost == 1
    assert retirement.books.lost == ["claim #50 at client 4, 5.0 s into the load"]


def test_what_a_durable_room_holds_stays() -> None:
    assert rows(steady(100, durable=True)) == 1_000


def test_a_repeat_of_what_was_let_go_is_a_duplicate() -> None:
    ledger = steady(100)
    ledger.rooms.streams["claim"].row(3).receive(2, 100 * NS)
    account: Account = ledger.close(Bounds(200 * NS, *BOUNDS))
    assert (account.total.duplicate, account.balanced) == (1, True)


def test_messages_that_the_server_numbers_by_itself_are_let_go_as_well() -> None:
    """The row of publish n takes the server's number as its position; what is held is held by n."""
    ledger, stream = ready(Kind.EVENT)
    retirement = Retirement(ledger, SCENARIO, 0)
    for n in range(1, 1_000):
        publish(stream, n, n * 100 * MS)
        stream.row(n).position = n * 7 + 5_000
        for client in range(CLIENTS):
            stream.row(n).receive(client, n * 100 * MS + MS)
        if n % 20 == 0:
            retirement.retire(n * 100 * MS)
    assert rows(ledger) < 300
    assert ledger.close(Bounds(200 * NS, *BOUNDS)).total.lost == 0


def test_what_comes_long_after_to_somebody_who_had_been_away_accuses_nobody() -> None:
    ledger, stream = ready(Kind.EVENT)
    retirement = Retirement(ledger, SCENARIO, 0)
    ledger.rooms.disconnected(4, NS)
    for position in range(1, 600):
        publish(stream, position, 2 * NS + position * 100 * MS)
        for client in range(CLIENTS - 1):
            stream.row(position).receive(client, 2 * NS + position * 100 * MS + MS)
        if position % 20 == 0:
            retirement.retire(2 * NS + position * 100 * MS)
    ledger.rooms.connected(4, 70 * NS)
    stream.row(3).receive(4, 71 * NS)
    total = ledger.close(Bounds(200 * NS, *BOUNDS)).total
    assert (total.unowed, total.duplicate, total.misrouted) == (1, 0, 0)


def test_rows_that_were_let_go_make_room_for_others() -> None:
    ledger, stream = ready(Kind.EVENT)
    ledger.rooms.rows_left = 300
    retirement = Retirement(ledger, SCENARIO, 0)
    for position in range(1, 2_000):
        publish(stream, position, position * 200 * MS)
        for client in range(CLIENTS):
            stream.row(position).receive(client, position * 200 * MS + MS)
        if position % 10 == 0:
            retirement.retire(position * 200 * MS)
    assert ledger.rooms.overflow == 0


@pytest.mark.parametrize(("base", "kept"), [(0, 2), (-1, 1)])
def test_a_version_nobody_has_seen_yet_is_waited_for(base: int, kept: int) -> None:
    ledger, _ = ready()
    room = ledger.rooms.rooms["live"]
    stream = ledger.rooms.stream("other", Kind.SNAPSHOT, (room,), base=base)
    for position in (2, 3):
        publish(stream, position, NS)
        for client in range(CLIENTS):
            stream.row(position).receive(client, NS + MS)
    stream.rows.pop(1, None)
    ledger.retire(Bounds(100 * NS, *BOUNDS), 50 * NS, 0, 10)
    assert len(stream.rows) == kept
