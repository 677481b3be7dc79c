"""The queue in front of a node: bounded, fair between addresses, first come first served within one."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.app.realtime.admission import HandshakeQueue

Ticket = tuple[str, int]


def line(queue: HandshakeQueue[Ticket], address: str, count: int, now_s: float = 0.0) -> list[Ticket | None]:
    """So many of one address come and wait; whom each pushed out."""
    start = len(queue._lines.get(address, ()))
    tickets = [(address, start + number) for number in range(count)]
    return [queue.wait(ticket, address, now_s) for ticket in tickets]


def served(queue: HandshakeQueue[Ticket], count: int) -> list[Ticket | None]:
    found = []
    for _ in range(count):
        found.append(queue.next())
        if found[-1] is not None:
            queue.at_work -= 1
    return found


def test_one_address_is_served_first_come_first_served() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 10, 5.0)
    line(queue, "a", 3)
    assert served(queue, 4) == [("a", 0), ("a", 1), ("a", 2), None]


def test_addresses_take_turns() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 10, 5.0)
    line(queue, "a", 3)
    line(queue, "b", 2)
    assert served(queue, 5) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]


def test_a_newcomer_waits_behind_one_of_each_address_only() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 5_000, 5.0)
    line(queue, "flood", 4_000)
    line(queue, "b", 1)
    assert served(queue, 2)[1] == ("b", 0)


def test_no_more_are_at_work_than_there_is_room() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(2, 10, 5.0)
    line(queue, "a", 3)
    assert [queue.next(), queue.next(), queue.next()] == [("a", 0), ("a", 1), None]


def test_zero_hands_are_any_number_of_hands() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(0, 10, 5.0)
    line(queue, "a", 5)
    assert None not in [queue.next() for _ in range(5)]


def test_who_fills_the_queue_is_turned_away_himself() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 2, 5.0)
    assert line(queue, "flood", 4) == [None, None, ("flood", 2), ("flood", 3)]


def test_a_full_queue_has_room_for_another_address() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 3, 5.0)
    line(queue, "flood", 3)
    assert line(queue, "b", 1) == [("flood", 2)]


def test_an_empty_queue_lets_nobody_wait() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 0, 5.0)
    assert line(queue, "a", 1) == [("a", 0)]


def test_who_waited_too_long_is_told() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 10, 5.0)
    line(queue, "a", 1, now_s=0.0)
    line(queue, "b", 1, now_s=2.0)
    assert (queue.late(5.0), queue.waiting) == ([(("a", 0), "a")], 1)


def test_who_left_is_not_served() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 10, 5.0)
    line(queue, "a", 2)
    queue.leave(("a", 0), "a")
    assert served(queue, 2) == [("a", 1), None]


def test_leaving_twice_changes_nothing() -> None:
    queue: HandshakeQueue[Ticket] = HandshakeQueue(1, 10, 5.0)
    line(queue, "a", 2)
    assert [queue.leave(("a", 0), "a") for _ in range(2)] == [True, False]
    assert queue.waiting == 1


AT_ONCE, QUEUE, WAIT_S = 3, 8, 10.0
ADDRESS = st.sampled_from(["a", "b", "c", "d"])


class Queueing(RuleBasedStateMachine):
    """Everybody who waits is kept in a plain list; every promise is checked against it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: HandshakeQueue[Ticket] = HandshakeQueue(AT_ONCE, QUEUE, WAIT_S)
        self.waiting: list[tuple[Ticket, float]] = []
        self.now_s = 0.0
        self.numbers = 0
        self.at_work = 0
        self.passed_over: Counter[str] = Counter()

    def _lengths(self) -> Counter[str]:
        return Counter(ticket[0] for ticket, _ in self.waiting)

    @rule(address=ADDRESS)
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
