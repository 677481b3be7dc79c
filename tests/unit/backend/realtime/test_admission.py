"""Admission: whose connection it is, how many may be there, who waits, and who is turned away."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.app.realtime.admission import (
    PATIENCE_S,
    PER_TURN,
    UNKNOWN,
    Admission,
    AdmissionLimits,
    Count,
    HandshakeQueue,
    Permit,
    Proxies,
    Refusal,
    SocketCounts,
)

PROXIES = Proxies("127.0.0.1, ::1, 10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", [b"198.51.100.1"], "203.0.113.7"),
        ("10.1.2.3", [b"198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [b"1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("127.0.0.1", [b"1.2.3.4", b"198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", [b"10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        (None, [b"198.51.100.1"], UNKNOWN),
    ],
    ids=[
        "the peer, without a proxy",
        "a stranger is not believed",
        "a trusted proxy is believed",
        "what the client wrote itself does not count",
        "several headers are one list",
        "of trusted hops only the first",
        "no address",
    ],
)
def test_whose_connection_it_is(peer: str | None, headers: Sequence[bytes], client: str) -> None:
    assert PROXIES.client(peer, headers) == client


@pytest.mark.parametrize("hop", [b"", b"unknown", b"not an address", b"999.1.1.1", b"\xff\xfe", b"1.2.3"])
def test_beyond_what_is_no_address_nothing_is_believed(hop: bytes) -> None:
    assert PROXIES.client("127.0.0.1", [b"198.51.100.1, " + hop]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (b"198.51.100.1:4711", "198.51.100.1"),
        (b"[2001:db8::1]:4711", "2001:db8::/64"),
        (b"[2001:db8::1]", "2001:db8::/64"),
        (b"2001:db8::1", "2001:db8::/64"),
        (b"::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_ports_and_brackets_are_left_out(hop: bytes, address: str) -> None:
    assert PROXIES.client("127.0.0.1", [hop]) == address


def test_one_ipv6_site_is_one_address() -> None:
    assert PROXIES.client("2001:db8::1", ()) == PROXIES.client("2001:db8::ffff", ())


def test_two_ipv6_sites_are_two() -> None:
    assert PROXIES.client("2001:db8:0:1::1", ()) != PROXIES.client("2001:db8:0:2::1", ())


def test_a_star_believes_everybody() -> None:
    assert Proxies("*").client("203.0.113.7", [b"1.2.3.4, 198.51.100.1"]) == "1.2.3.4"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies("").client("127.0.0.1", [b"1.2.3.4"]) == "127.0.0.1"


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_no_header_is_too_odd(values: list[bytes]) -> None:
    assert PROXIES.client("127.0.0.1", values)


# ---------------------------------------------------------------- caps


def full(counts: SocketCounts, address: str, count: int) -> list[Refusal | None]:
    return [counts.come(address) for _ in range(count)]


def test_without_limits_everybody_is_let_in() -> None:
    assert set(full(SocketCounts(AdmissionLimits()), "a", 1_000)) == {None}


def test_an_address_has_its_share() -> None:
    assert full(SocketCounts(AdmissionLimits(address=2)), "a", 3) == [None, None, Refusal.ADDRESS_SOCKETS]


def test_other_addresses_have_theirs() -> None:
    counts = SocketCounts(AdmissionLimits(address=2))
    full(counts, "a", 3)
    assert counts.come("b") is None


def test_settled_sockets_count_on() -> None:
    counts = SocketCounts(AdmissionLimits(address=1))
    counts.come("a")
    counts.settle("a", settled=True)
    assert counts.come("a") is Refusal.ADDRESS_SOCKETS


def test_an_address_has_fewer_unsettled_ones() -> None:
    counts = SocketCounts(AdmissionLimits(address_unsettled=1))
    first = counts.come("a")
    second = counts.come("a")
    counts.settle("a", settled=True)
    assert (first, second, counts.come("a")) == (None, Refusal.ADDRESS_UNSETTLED, None)


def test_the_node_has_its_bounds() -> None:
    counts = SocketCounts(AdmissionLimits(node=2, node_unsettled=1))
    counts.come("a")
    unsettled = counts.come("b")
    counts.settle("a", settled=True)
    counts.come("b")
    assert (unsettled, counts.come("c")) == (Refusal.NODE_UNSETTLED, Refusal.NODE_SOCKETS)


def test_who_is_gone_makes_room() -> None:
    counts = SocketCounts(AdmissionLimits(address=1))
    counts.come("a")
    counts.go("a", settled=False)
    assert counts.come("a") is None


def test_who_is_refused_is_not_counted() -> None:
    counts = SocketCounts(AdmissionLimits(address=1))
    full(counts, "a", 5)
    assert counts.addresses["a"] == Count(1, 1)


LIMITS = AdmissionLimits(node=9, node_unsettled=6, address=5, address_unsettled=3)
ADDRESS = st.sampled_from(["a", "b", "c"])


class Comings(RuleBasedStateMachine):
    """Sockets come, settle, unsettle and go; the model is the plain list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = SocketCounts(LIMITS)
        self.present: list[tuple[str, bool]] = []

    def _count(self, address: str | None = None) -> Count:
        here = [settled for where, settled in self.present if address in (None, where)]
        return Count(len(here), here.count(False))

    @rule(address=ADDRESS)
    def come(self, address: str) -> None:
        node, here = self._count(), self._count(address)
        room = (
            node.sockets < LIMITS.node
            and node.unsettled < LIMITS.node_unsettled
            and here.sockets < LIMITS.address
            and here.unsettled < LIMITS.address_unsettled
        )
        refusal = self.counts.come(address)
        assert (refusal is None) == room, refusal
        if refusal is None:
            self.present.append((address, False))

    @precondition(lambda self: bool(self.present))
    @rule(data=st.data())
    def settle_or_unsettle(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.present) - 1))
        address, settled = self.present[index]
        self.counts.settle(address, settled=not settled)
        self.present[index] = (address, not settled)

    @precondition(lambda self: bool(self.present))
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        address, settled = self.present.pop(data.draw(st.integers(0, len(self.present) - 1)))
        self.counts.go(address, settled=settled)

    @invariant()
    def counts_are_those_of_who_is_there(self) -> None:
        assert self.counts.node == self._count()
        addresses = {address for address, _ in self.present}
        assert self.counts.addresses == {address: self._count(address) for address in addresses}


Comings.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestComings = Comings.TestCase


# ---------------------------------------------------------------- the queue


Ticket = tuple[str, int]
Queue = HandshakeQueue[Ticket]


def line(queue: Queue, address: str, count: int, now_s: float = 0.0) -> list[Ticket | None]:
    """So many of one address come and wait; whom each pushed out."""
    start = len(queue._lines.get(address, ()))
    tickets = [(address, start + number) for number in range(count)]
    return [queue.wait(ticket, address, now_s) for ticket in tickets]


def served(queue: Queue, count: int) -> list[Ticket | None]:
    found = []
    for _ in range(count):
        found.append(queue.next())
        if found[-1] is not None:
            queue.at_work -= 1
    return found


def test_one_address_is_served_first_come_first_served() -> None:
    queue = Queue(1, 10, 5.0)
    line(queue, "a", 3)
    assert served(queue, 4) == [("a", 0), ("a", 1), ("a", 2), None]


def test_addresses_take_turns() -> None:
    queue = Queue(1, 10, 5.0)
    line(queue, "a", 3)
    line(queue, "b", 2)
    assert served(queue, 5) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]


def test_a_newcomer_waits_behind_one_of_each_address_only() -> None:
    queue = Queue(1, 5_000, 5.0)
    line(queue, "flood", 4_000)
    line(queue, "b", 1)
    assert served(queue, 2)[1] == ("b", 0)


def test_no_more_are_at_work_than_there_is_room() -> None:
    queue = Queue(2, 10, 5.0)
    line(queue, "a", 3)
    assert [queue.next(), queue.next(), queue.next()] == [("a", 0), ("a", 1), None]


def test_zero_hands_are_any_number_of_hands() -> None:
    queue = Queue(0, 10, 5.0)
    line(queue, "a", 5)
    assert None not in [queue.next() for _ in range(5)]


def test_who_fills_the_queue_is_turned_away_himself() -> None:
    queue = Queue(1, 2, 5.0)
    assert line(queue, "flood", 4) == [None, None, ("flood", 2), ("flood", 3)]


def test_a_full_queue_has_room_for_another_address() -> None:
    queue = Queue(1, 3, 5.0)
    line(queue, "flood", 3)
    assert line(queue, "b", 1) == [("flood", 2)]


def test_an_empty_queue_lets_nobody_wait() -> None:
    queue = Queue(1, 0, 5.0)
    assert line(queue, "a", 1) == [("a", 0)]


def test_who_waited_too_long_is_told() -> None:
    queue = Queue(1, 10, 5.0)
    line(queue, "a", 1, now_s=0.0)
    line(queue, "b", 1, now_s=2.0)
    assert (queue.late(5.0), queue.waiting) == ([(("a", 0), "a")], 1)


def test_who_left_is_not_served() -> None:
    queue = Queue(1, 10, 5.0)
    line(queue, "a", 2)
    queue.leave(("a", 0), "a")
    assert served(queue, 2) == [("a", 1), None]


def test_leaving_twice_changes_nothing() -> None:
    queue = Queue(1, 10, 5.0)
    line(queue, "a", 2)
    assert [queue.leave(("a", 0), "a") for _ in range(2)] == [True, False]
    assert queue.waiting == 1


AT_ONCE, QUEUE, WAIT_S = 3, 8, 10.0
OF_FOUR = st.sampled_from(["a", "b", "c", "d"])


class Queueing(RuleBasedStateMachine):
    """Everybody who waits is kept in a plain list; every promise is checked against it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(AT_ONCE, QUEUE, WAIT_S)
        self.waiting: list[tuple[Ticket, float]] = []
        self.now_s = 0.0
        self.numbers = 0
        self.at_work = 0
        self.passed_over: Counter[str] = Counter()

    def _lengths(self) -> Counter[str]:
        return Counter(ticket[0] for ticket, _ in self.waiting)

    @rule(address=OF_FOUR)
    def come(self, address: str) -> None:
        self.numbers += 1
        ticket = (address, self.numbers)
        self.waiting.append((ticket, self.now_s))
        pushed_out = self.queue.wait(ticket, address, self.now_s)
        assert (pushed_out is None) == (len(self.waiting) <= QUEUE)
        if pushed_out is not None:
            lengths = self._lengths()
            assert lengths[pushed_out[0]] == max(lengths.values())
            assert pushed_out == max(item for item, _ in self.waiting if item[0] == pushed_out[0])
            self._gone(pushed_out)

    def _gone(self, ticket: Ticket) -> None:
        self.waiting = [entry for entry in self.waiting if entry[0] != ticket]

    @rule()
    def serve(self) -> None:
        ticket = self.queue.next()
        assert (ticket is None) == (not self.waiting or self.at_work == AT_ONCE)
        if ticket is None:
            return
        self.at_work += 1
        assert ticket == min(item for item, _ in self.waiting if item[0] == ticket[0])
        others = {address for address in self._lengths() if address != ticket[0]}
        self._gone(ticket)
        self.passed_over = Counter({address: self.passed_over[address] + 1 for address in others})
        # Nobody is passed over while others are served twice.
        assert all(count < 4 for count in self.passed_over.values())

    @precondition(lambda self: self.at_work > 0)
    @rule()
    def finish(self) -> None:
        self.at_work -= 1
        self.queue.at_work -= 1

    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket, _ = data.draw(st.sampled_from(self.waiting))
        assert self.queue.leave(ticket, ticket[0])
        self._gone(ticket)
        if not self._lengths()[ticket[0]]:
            self.passed_over.pop(ticket[0], None)

    @rule(seconds=st.sampled_from([0.5, 4.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        late = {ticket for ticket, _ in self.queue.late(self.now_s)}
        assert late == {ticket for ticket, since_s in self.waiting if self.now_s - since_s >= WAIT_S}
        self.waiting = [entry for entry in self.waiting if entry[0] not in late]
        for address in list(self.passed_over):
            if not self._lengths()[address]:
                del self.passed_over[address]

    @invariant()
    def counts_agree(self) -> None:
        assert (self.queue.waiting, self.queue.at_work) == (len(self.waiting), self.at_work)
        lengths = self._lengths()
        assert {address: len(line) for address, line in self.queue._lines.items()} == lengths
        by_length = {address: length for length, names in self.queue._by_length.items() for address in names}
        assert by_length == lengths
        if lengths:
            assert self.queue._longest == max(lengths.values())


Queueing.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestQueueing = Queueing.TestCase


# ---------------------------------------------------------------- the entrance


class Guest:
    def __init__(self) -> None:
        self.permit: Permit | None = None
        self.refusal: Refusal | None = None
        self.retry_after_s = 0

    def admit(self, permit: Permit) -> None:
        self.permit = permit

    def refuse(self, refusal: Refusal, retry_after_s: int) -> None:
        self.refusal, self.retry_after_s = refusal, retry_after_s


def new_admission(
    at_once: int = 2, queue: int = 100, wait_s: float = 5.0, retry_s: int = 10, address: int = 0
) -> Admission:
    limits = AdmissionLimits(address=address, at_once=at_once, queue=queue, wait_s=wait_s, retry_s=retry_s)
    return Admission(limits, Proxies(""), random.Random(1))


def guests(admission: Admission, count: int, address: str = "a") -> list[Guest]:
    found = [Guest() for _ in range(count)]
    for guest in found:
        admission.come(address, guest)
    return found


def counted(admission: Admission) -> tuple[int, int]:
    """(sockets, unsettled ones) of the address `a`."""
    count = admission.counts.addresses["a"]
    return count.sockets, count.unsettled


def inside(found: list[Guest]) -> int:
    return sum(1 for guest in found if guest.permit is not None)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_finds_room_enters_at_once() -> None:
    assert inside(guests(new_admission(), 2)) == 2


async def test_who_finds_none_waits() -> None:
    admission = new_admission()
    found = guests(admission, 5)
    await turns()
    assert (inside(found), admission.queue.waiting) == (2, 3)


async def test_a_handshake_that_is_over_lets_the_next_in() -> None:
    admission = new_admission()
    found = guests(admission, 3)
    assert found[0].permit is not None
    found[0].permit.done()
    await turns()
    assert inside(found) == 3


async def test_done_twice_lets_one_in() -> None:
    admission = new_admission()
    found = guests(admission, 5)
    assert found[0].permit is not None
    found[0].permit.done()
    found[0].permit.leave()
    await turns()
    assert inside(found) == 3


async def test_only_a_few_begin_in_one_turn() -> None:
    admission = new_admission(at_once=0)
    found = guests(admission, 3 * PER_TURN)
    at_once = inside(found)
    await turns()
    assert (at_once, inside(found)) == (PER_TURN, 3 * PER_TURN)


async def test_who_is_gone_while_waiting_is_forgotten() -> None:
    admission = new_admission()
    guests(admission, 2)
    waiting = Guest()
    permit = admission.come("a", waiting)
    assert permit is not None
    permit.leave()
    assert (admission.queue.waiting, counted(admission)) == (0, (2, 2))


async def test_the_silent_are_no_work_any_more() -> None:
    admission = new_admission()
    found = guests(admission, 3)
    admission.sweep(asyncio.get_running_loop().time() + PATIENCE_S)
    await turns()
    assert inside(found) == 3


async def test_the_silent_are_still_counted() -> None:
    admission = new_admission()
    guests(admission, 2)
    admission.sweep(asyncio.get_running_loop().time() + PATIENCE_S)
    assert counted(admission) == (2, 2)


async def test_who_waited_too_long_is_turned_away_and_not_counted() -> None:
    admission = new_admission(at_once=1, wait_s=0.5)
    found = guests(admission, 2)
    admission.sweep(asyncio.get_running_loop().time() + 0.6)
    assert (found[1].refusal, counted(admission)) == (Refusal.BUSY, (1, 1))


async def test_who_finds_the_queue_full_is_turned_away() -> None:
    admission = new_admission(queue=1)
    found = guests(admission, 4)
    assert [guest.refusal for guest in found] == [None, None, None, Refusal.BUSY]


async def test_refusals_are_spread_over_time() -> None:
    admission = new_admission(queue=0)
    found = guests(admission, 60)
    assert {guest.retry_after_s for guest in found[2:]} == set(range(1, 11))


async def test_a_cap_is_told_by_its_name() -> None:
    admission = new_admission(address=1)
    assert [guest.refusal for guest in guests(admission, 2)] == [None, Refusal.ADDRESS_SOCKETS]


async def test_who_settled_is_neither_work_nor_unsettled() -> None:
    admission = new_admission()
    (guest,) = guests(admission, 1)
    assert guest.permit is not None
    guest.permit.settle(True)
    guest.permit.settle(True)
    assert (admission.queue.at_work, counted(admission)) == (0, (1, 0))


@pytest.mark.parametrize("settled", [True, False])
async def test_who_left_leaves_nothing_behind(settled: bool) -> None:
    admission = new_admission()
    (guest,) = guests(admission, 1)
    assert guest.permit is not None
    guest.permit.settle(settled)
    guest.permit.leave()
    guest.permit.leave()
    guest.permit.settle(not settled)
    node = admission.counts.node
    assert (admission.queue.at_work, node.sockets, node.unsettled) == (0, 0, 0)
