"""The classes of the ledger and the two sums that must hold over them.

Every *owed pair* (a message, a client that was to get it) ends in exactly one class:

    live           pushed while connected, in order, within the late bound
    late           the same, but after the late bound
    replayed       got by recovery after an absence or a gap: server replay, `sync`, reload, re-watch
    out_of_order   got, but behind a newer message of the same stream
    superseded     a snapshot overtaken by a newer version that this client did get; snapshots only
    lost           never got, though the client was there (or came back) to get it
    unverified     never got, and the client was provably away, or the run ended too soon to say

Every *receipt* (a message coming in at a client) is counted once as well. Beside the classes above, which
each take one receipt (superseded, lost and unverified take none):

    duplicate      a repeat of something the client already had and did not ask for
    misrouted      received by a client that nobody owed it to and that had no right to it
    unowed         received by a client that had a right to it, though nobody owed it: joining just then,
                   or published by somebody else
    reread         not a receipt: the answer to a client's own question for what it already held

So: expected = live + late + replayed + out_of_order + superseded + lost + unverified, and
received = live + late + replayed + out_of_order + duplicate + misrouted + unowed. A run whose ledger breaks
either sum is INVALID: `expected` and `received` are counted apart from the classes.
"""

from dataclasses import asdict, dataclass, fields
from enum import IntEnum


class Class(IntEnum):
    """How an owed pair ended, or what a receipt was when no pair was owed."""

    LIVE = 1
    REPLAYED = 2
    OUT_OF_ORDER = 3


@dataclass(slots=True)
class OutcomeCounts:
    """Counts per class; see the module for what each means."""

    expected: int = 0
    live: int = 0
    replayed: int = 0
    superseded: int = 0
    out_of_order: int = 0
    late: int = 0
    lost: int = 0
    unverified: int = 0
    duplicate: int = 0
    misrouted: int = 0
    unowed: int = 0
    received: int = 0
    reread: int = 0

    def add(self, other: "OutcomeCounts") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def count(self, kind: Class) -> None:
        """Count one receipt that served an owed pair."""
        match kind:
            case Class.LIVE:
                self.live += 1
            case Class.REPLAYED:
                self.replayed += 1
            case Class.OUT_OF_ORDER:
                self.out_of_order += 1

    @property
    def served(self) -> int:
        """Owed pairs that took a receipt."""
        return self.live + self.late + self.replayed + self.out_of_order

    @property
    def balanced(self) -> bool:
        """Whether both sums hold."""
        owed = self.served + self.superseded + self.lost + self.unverified
        came = self.served + self.duplicate + self.misrouted + self.unowed
        return self.expected == owed and self.received == came

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
