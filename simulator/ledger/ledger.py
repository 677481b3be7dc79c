"""The ledger of a run: what every client was owed, what it got, and how each pair ended.

Two books: `rooms` for messages with a large audience, `mailboxes` for what a server stores and numbers per
user. The classes and the sums that must hold are in `outcomes`. Pure.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .broadcast_audit import Bounds, Ints, Judged, close_rooms, retire_rooms
from .broadcasts import NEVER_NS, Kind, RoomBook
from .durable import MAX_ARRIVALS, Cause, Closed, DurableStream, Item, Truth
from .outcomes import OutcomeCounts


@dataclass(slots=True)
class Samples:
    """Latencies with the times of their receipts; both arrays have the same length."""

    at_ns: Ints
    latency_us: Ints


@dataclass(slots=True)
class Account:
    """The closed ledger. `lost` names the first lost pairs; `delivered_ns`: times of all first receipts."""

    total: OutcomeCounts
    by_kind: dict[str, OutcomeCounts]
    samples: dict[str, Samples]
    replay_us: Ints
    delivered_ns: Ints
    lost: list[str]
    overflow: int
    holes: dict[int, int]
    """Clients that lost durable messages -> when the newest of them was sent; NEVER_NS if that is unknown."""

    @property
    def balanced(self) -> bool:
        """Whether the sums hold for the total and for each kind, and nothing was left out."""
        return self.overflow == 0 and all(tally.balanced for tally in (self.total, *self.by_kind.values()))


class Ledger:
    """Both books of one generator process. clients: how many, numbered from 0.

    first: the number in the whole run of client 0. arrivals: durable messages as they come, for watchers, who
    take them out; the oldest fall out when nobody does.
    """

    def __init__(self, clients: int, first: int = 0) -> None:
        self.rooms = RoomBook(clients, first)
        self.mailboxes: dict[int, DurableStream] = {}
        self.causes: dict[str, Cause] = {}
        self.arrivals: deque[Item] = deque(maxlen=MAX_ARRIVALS)

    def mailbox(self, client: int, user: str) -> DurableStream:
        """The mailbox of a client, made when first named; a client belongs to one user."""
        box = self.mailboxes.get(client)
        if box is None:
            box = self.mailboxes[client] = DurableStream(
                client, user, client + self.rooms.first, self.arrivals
            )
        return box

    def close(
        self,
        bounds: Bounds,
        truth: Mapping[str, Truth] | None = None,
        away: frozenset[int] | set[int] = frozenset(),
    ) -> Account:
        """Judge everything.

        truth: per user the server's own list; users missing in it are not accused.
        away: clients that were not there, or not caught up, when the observation ended.
        """
        judged = close_rooms(self.rooms, bounds)
        closed = Closed()
        holes: dict[int, int] = {}
        for found in judged.values():
            for client, sent_ns in found.holes.items():
                holes[client] = max(sent_ns, holes.get(client, 0))
        for client, box in self.mailboxes.items():
            rows = (truth or {}).get(box.user)
            if box.close(rows, self.causes, bounds.late_ns, away=client in away, into=closed):
                holes[client] = NEVER_NS
        return self._account(judged, closed, holes)

    def retire(self, bounds: Bounds, before_ns: int, given_up_ns: int, limit: int) -> Account:
        """Judge and let go of messages of rooms that are settled; what they came to is in the account.

        before_ns: only messages to which nothing happened since. given_up_ns: what was sent before it and is
        missed is lost. limit: of messages. Durable messages of mailboxes stay: only the truth at the end can
        judge them.
        """
        found = retire_rooms(self.rooms, bounds, before_ns, given_up_ns, limit)
        return self._account(found, Closed(), {})

    def _account(self, judged: dict[Kind, Judged], closed: Closed, holes: dict[int, int]) -> Account:
        by_kind = {kind.value: found.tally for kind, found in judged.items()} | {"durable": closed.tally}
        total = OutcomeCounts()
        for tally in by_kind.values():
            total.add(tally)
        samples = {
            kind.value: Samples(np.concatenate(found.at_ns), np.concatenate(found.latency_us))
            for kind, found in judged.items()
            if found.at_ns
        }
        if closed.samples:
            pairs = np.array(closed.samples, dtype=np.int64)
            samples["durable"] = Samples(pairs[:, 0], pairs[:, 1])
        delivered = [column for found in judged.values() for column in found.delivered_ns]
        return Account(
            total=total,
            by_kind={name: tally for name, tally in by_kind.items() if tally.expected or tally.received},
            samples=samples,
            replay_us=np.array(closed.replay_us, dtype=np.int64),
            delivered_ns=np.concatenate([*delivered, np.array(closed.delivered_ns, dtype=np.int64)]),
            lost=[name for found in judged.values() for name in found.lost] + closed.lost,
            overflow=self.rooms.overflow,
            holes=holes,
        )
