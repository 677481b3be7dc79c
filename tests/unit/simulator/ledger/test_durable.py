"""Durable messages: one planted fault per class, and a model that replays whole sessions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.ledger.durable import Cause, Closed, DurableStream, Truth
from simulator.ledger.outcomes import OutcomeCounts

GENERAL, TYPED = 1, 2
LATE_NS = 1_000


def truth(last: int) -> Truth:
    return Truth([(seq, f"id{seq}") for seq in range(1, last + 1)])


def get(box: DurableStream, *seqs: int, at_ns: int = 10) -> None:
    for seq in seqs:
        box.push(seq, f"id{seq}", at_ns, GENERAL)


def close(
    box: DurableStream, last: int | None, *, away: bool = False, causes: dict[str, Cause] | None = None
) -> OutcomeCounts:
    closed = Closed()
    box.close(None if last is None else truth(last), causes or {}, LATE_NS, away=away, into=closed)
    assert closed.tally.balanced
    return closed.tally


def begun(last_seq: int = 0) -> DurableStream:
    box = DurableStream(0, "ann")
    assert box.cursor() is None
    box.begin(last_seq)
    return box


def test_messages_above_the_baseline_are_owed() -> None:
    box = begun(2)
    get(box, 3, 4)
    tally = close(box, 4)
    assert (tally.expected, tally.live) == (2, 2)


def test_one_message_as_two_events_counts_once() -> None:
    box = begun()
    assert box.push(1, "id1", 10, TYPED)
    assert not box.push(1, "id1", 11, GENERAL)
    tally = close(box, 1)
    assert (tally.live, tally.duplicate, tally.received) == (1, 0, 1)


CLASSES: dict[str, tuple[tuple[tuple[int, str], ...], int | None, dict[str, int]]] = {
    "the same event twice is a duplicate": (((1, "id1"), (1, "id1")), 1, {"duplicate": 1}),
    "a lower seq after a higher one": (((2, "id2"), (1, "id1")), 2, {"live": 1, "out_of_order": 1}),
    "what the truth has and the client has not": (((1, "id1"),), 3, {"lost": 2}),
    "without a truth nothing is accused": (((1, "id1"),), None, {"expected": 1, "live": 1}),
    "another user's message, and ours is lost": (((1, "other"),), 1, {"misrouted": 1, "lost": 1}),
    "a message beyond the truth": (((1, "id1"), (9, "id9")), 1, {"live": 1, "misrouted": 1}),
}


@pytest.mark.parametrize(("pushed", "last", "counts"), CLASSES.values(), ids=CLASSES)
def test_each_fault_has_its_class(
    pushed: tuple[tuple[int, str], ...], last: int | None, counts: dict[str, int]
) -> None:
    box = begun()
    for seq, row_id in pushed:
        box.push(seq, row_id, 10, GENERAL)
    tally = close(box, last).as_dict()
    assert {name: tally[name] for name in counts} == counts


def test_a_client_that_is_away_is_not_accused() -> None:
    box = begun()
    get(box, 1)
    tally = close(box, 3, away=True)
    assert (tally.unverified, tally.lost) == (2, 0)


def test_two_ids_for_one_seq_are_misrouted() -> None:
    box = begun()
    get(box, 1)
    box.push(1, "other", 11, TYPED)
    tally = close(box, 1)
    assert (tally.live, tally.misrouted) == (1, 1)


def test_up_to_the_sessions_start_it_is_a_replay() -> None:
    box = begun()
    get(box, 1)
    assert box.cursor() == 1
    box.begin(3)
    assert box.behind
    get(box, 2, 3, 4)
    assert not box.behind
    tally = close(box, 4)
    assert (tally.replayed, tally.live) == (2, 2)


def test_a_replay_of_what_the_client_named_as_held_is_a_duplicate() -> None:
    box = begun()
    get(box, 1, 2)
    box.cursor()
    box.begin(2)
    get(box, 2)
    assert close(box, 2).duplicate == 1


def test_a_replay_behind_a_gap_may_repeat_what_came_after_it() -> None:
    box = begun()
    get(box, 1, 3)
    assert box.cursor() == 1
    box.begin(3)
    get(box, 2, 3)
    tally = close(box, 3)
    assert (tally.duplicate, tally.reread) == (0, 1)


def test_a_gap_is_seen_and_filled_by_a_question() -> None:
    box = begun()
    get(box, 1, 3)
    assert box.behind
    assert box.fill(2, "id2", 20)
    assert not box.fill(3, "id3", 20)
    assert not box.behind
    tally = close(box, 3)
    assert (tally.live, tally.replayed, tally.reread) == (2, 1, 1)


@pytest.mark.parametrize(("measured", "samples"), [(True, [(900_000, 800)]), (False, [])])
def test_latency_counts_from_the_intended_time_of_a_cause_after_the_warm_up(
    measured: bool, samples: list[tuple[int, int]]
) -> None:
    box, closed = begun(), Closed()
    box.push(1, "id1", 900_000, GENERAL, "validation:7")
    box.close(truth(1), {"validation:7": Cause(100_000, measured)}, 10**9, away=False, into=closed)
    assert closed.samples == samples


def test_a_live_receipt_after_the_bound_is_late() -> None:
    box = begun()
    box.push(1, "id1", 5_000, GENERAL, "c")
    assert close(box, 1, causes={"c": Cause(0, True)}).late == 1


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(1, 9), max_size=30), st.integers(0, 8))
def test_first_receipts_agree_with_a_plain_reading_of_the_rules(
    baseline: int, seqs: list[int], last: int
) -> None:
    box = begun(baseline)
    get(box, *seqs)
    seen: list[int] = []
    want = OutcomeCounts(expected=max(0, last - baseline), received=len(seqs))
    for seq in seqs:
        if seq <= baseline:
            want.unowed += 1
        elif seq in seen:
            want.duplicate += 1
        elif seq > last:
            want.misrouted += 1
        elif any(other > seq for other in seen):
            want.out_of_order += 1
        else:
            want.live += 1
        if seq > baseline:
            seen.append(seq)
    want.lost = len(set(range(baseline + 1, last + 1)) - set(seen))
    assert close(box, last).as_dict() == want.as_dict()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_an_honest_server_never_looks_guilty(sessions: list[tuple[int, int]]) -> None:
    """Each session: so many messages are made while away, then so many live ones; all come in order."""
    box, last = begun(), 0
    for missed, live in sessions:
        cursor = box.cursor()
        last += missed
        box.begin(last)
        get(box, *range((cursor or 0) + 1, last + 1))
        get(box, *range(last + 1, last + live + 1))
        last += live
    tally = close(box, last)
    assert (tally.live + tally.replayed, tally.expected) == (last, last)
