"""SocketCounts: what is counted, who is refused, and that nothing is left behind."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.app.realtime.admission import AdmissionLimits, Count, Refusal, SocketCounts


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

    def _count(self, address: str | None, *, unsettled: bool) -> int:
        return sum(
            1
            for where, settled in self.present
            if (address is None or where == address) and not (unsettled and settled)
        )

    @rule(address=ADDRESS)
    def come(self, address: str) -> None:
        room = (
            self._count(None, unsettled=False) < LIMITS.node
            and self._count(None, unsettled=True) < LIMITS.node_unsettled
            and self._count(address, unsettled=False) < LIMITS.address
            and self._count(address, unsettled=True) < LIMITS.address_unsettled
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
        assert self.counts.node == Count(
            self._count(None, unsettled=False),
            self._count(None, unsettled=True),
        )
        addresses = {address for address, _ in self.present}
        assert set(self.counts.addresses) == addresses
        for address in addresses:
            assert self.counts.addresses[address] == Count(
                self._count(address, unsettled=False),
                self._count(address, unsettled=True),
            )


Comings.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestComings = Comings.TestCase
