"""What each simulated client should hold, and what it does: one ledger per bell, one per watcher. Pure.

A bell's notifications are numbered, so that a hole is seen; a watcher's live counts are versioned, so that a
stale one is. At the end both are compared with the truth.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields


@dataclass(slots=True)
class Totals:
    """Counts of one kind of message, as in the simulator's result.

    expected = live + replayed + superseded + out_of_order + lost + unverified;
    received = live + replayed + out_of_order + duplicate + misrouted.
    """

    expected: int = 0
    live: int = 0
    replayed: int = 0
    superseded: int = 0
    lost: int = 0
    unverified: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    misrouted: int = 0
    received: int = 0

    def add(self, other: "Totals") -> None:
        """Sum up."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class BellLedger:
    """One socket's numbered notifications. floor: everything up to it is held; ahead: held beyond a hole."""

    __slots__ = ("_ids", "base", "counts", "floor", "highest")

    def __init__(self) -> None:
        self.base: int | None = None
        self.floor = 0
        self.highest = 0
        self._ids: dict[int, str] = {}
        self.counts = Totals()

    def begin(self, last_seq: int) -> None:
        """The socket is in its room; notifications after `last_seq` are owed to it from here on."""
        if self.base is None:
            self.base = self.floor = self.highest = last_seq

    @property
    def cursor(self) -> int | None:
        """The seq to say on reconnection; None before the first connection was through."""
        return self.floor if self.base is not None else None

    @property
    def behind(self) -> bool:
        """Whether a notification is missing that a later one followed."""
        return self.highest > self.floor

    def holds(self, seq: int) -> bool:
        """Whether the notification is here, or was before the beginning."""
        return seq in self._ids or (self.base is not None and seq <= self.base)

    def push(self, seq: int, row_id: str, *, live: bool = True) -> bool:
        """A notification came by the socket; whether it is new. live: False for replay and answers."""
        self.counts.received += 1
        if self.holds(seq):
            self.counts.duplicate += 1
            return False
        self._ids[seq] = row_id
        if not live:
            self.counts.replayed += 1
        elif seq < self.highest:
            self.counts.out_of_order += 1
        else:
            self.counts.live += 1
        self.highest = max(self.highest, seq)
        while self.floor + 1 in self._ids:
            self.floor += 1
        return True

    def missing(self, last_seq: int) -> int:
        """How many up to `last_seq` are not held."""
        if self.base is None:
            return 0
        return sum(1 for seq in range(self.floor + 1, last_seq + 1) if seq not in self._ids)

    def close(self, truth: Iterable[tuple[int, str]] | None, last_seq: int, asked_at: int) -> Totals:
        """Compare with the truth: (seq, id) of what the server has after `base`, and its newest seq.

        truth None: the server could not say; what is not held counts as unverified. asked_at: `highest` when
        the truth was asked for: what came since may be newer than the truth.
        """
        counts = self.counts
        if self.base is None:
            return counts
        missing = self.missing(last_seq)
        if truth is None:
            counts.unverified += missing
        else:
            counts.lost += missing
            self._find_strangers(dict(truth), last_seq, asked_at)
        counts.expected = (
            counts.live + counts.replayed + counts.out_of_order + counts.lost + counts.unverified
        )
        return counts

    def _find_strangers(self, ids: Mapping[int, str], last_seq: int, asked_at: int) -> None:
        """What is held under a seq that the server gave to another notification is somebody else's."""
        for seq, row_id in self._ids.items():
            if last_seq < seq <= asked_at or ids.get(seq, row_id) != row_id:
                self.counts.misrouted += 1
                self.counts.live -= 1
                self.counts.lost += seq <= last_seq


class WatchLedger:
    """One socket's live counts by claim: the newest version it saw of each."""

    __slots__ = ("_held", "_since_ns", "_told", "counts")

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._told: set[str] = set()  # claims whose version was an answer: the same may still come live
        self._since_ns = 0
        self.counts = Totals()

    def begin(self, at_ns: int) -> None:
        """The socket follows from here on; what it missed while it was away is not owed."""
        self._since_ns = at_ns
        self._held.clear()
        self._told.clear()

    def see(self, claim_id: str, version: int) -> None:
        """A live count arrived. Hot path."""
        counts = self.counts
        counts.received += 1
        held = self._held.get(claim_id)
        if held is None or version > held:
            counts.live += 1
            if held is not None:
                counts.superseded += version - held - 1
                self._told.discard(claim_id)
            self._held[claim_id] = version
        elif claim_id in self._told:
            counts.live += 1
        elif version == held:
            counts.duplicate += 1
        else:
            counts.out_of_order += 1
            counts.superseded -= 1

    def told(self, claim_id: str, version: int) -> None:
        """An answer to this client's own question showed the claim at a version."""
        if version > self._held.get(claim_id, -1):
            self._held[claim_id] = version
            self._told.add(claim_id)

    def behind(self, newest: Mapping[str, tuple[str, int]], before_ns: int) -> list[str]:
        """Claims whose newest version this socket should hold and does not.

        newest: claim id -> (version, intended ns). Owed is what was published after this socket began to
        follow, and before `before_ns`.
        """
        return [
            claim_id
            for claim_id, (version, intended_ns) in newest.items()
            if self._since_ns < intended_ns < before_ns and self._held.get(claim_id, 0) < int(version)
        ]

    def close(self, newest: Mapping[str, tuple[str, int]], before_ns: int) -> Totals:
        """Settle: a claim whose newest version never came is lost."""
        counts = self.counts
        counts.lost += len(self.behind(newest, before_ns))
        counts.expected = counts.live + counts.superseded + counts.out_of_order + counts.lost
        return counts


PATIENCE_S = 5.0
"""As long as the simulator's own window (`phases.drain_s`): whoever tried for longer was not let in."""


@dataclass(slots=True)
class Return:
    """One member's way back. allowed_ns: from when on it tries; 0 while it is not away.

    A Locust test stops its users wherever they are: no window follows in which they could come back, as it
    does in the simulator. So an absence may end because the test did, or because the server did not end it.
    """

    allowed_ns: int = 0

    def begin(self, now_ns: int, away_s: float) -> None:
        """Gone, for so long on purpose."""
        self.allowed_ns = now_ns + round(away_s * 1e9)

    def end(self) -> None:
        """Back."""
        self.allowed_ns = 0

    def cut_short(self, now_ns: int) -> bool:
        """Whether an absence that ends with the test says nothing: not, or hardly, allowed back yet."""
        return self.allowed_ns > 0 and now_ns < self.allowed_ns + round(PATIENCE_S * 1e9)
