"""One time line for the processes of a run: each tells times on the master's monotonic clock.

On one machine (equal boot ids) the clocks are the same and nothing is estimated. Across machines the offset
comes from question and answer, as in NTP; the best of many has the shortest way, and half of that way bounds
the error. Pure. Called by `exchange`.
"""

from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What is equal in two processes exactly when they share one monotonic clock; empty if unknown."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class ClockOffset:
    """How far the master's monotonic clock is ahead of ours. error_ns: its bound, None: not known yet."""

    own_boot_id: str
    offset_ns: int = 0
    error_ns: int | None = None

    def answer(self, asked_ns: int, master_ns: int, heard_ns: int, master_boot_id: str) -> None:
        """An answer came. asked_ns, heard_ns: on our clock; master_ns: on the master's, in between."""
        if master_boot_id and master_boot_id == self.own_boot_id:
            self.offset_ns, self.error_ns = 0, 0
            return
        error_ns = (heard_ns - asked_ns) // 2
        if self.error_ns is None or error_ns <= self.error_ns:
            self.offset_ns, self.error_ns = master_ns - (asked_ns + error_ns), error_ns

    @property
    def known(self) -> bool:
        """Whether times can be told apart at all."""
        return self.error_ns is not None

    def to_master(self, own_ns: int) -> int:
        """A time of ours on the master's clock."""
        return own_ns + self.offset_ns

    def from_master(self, master_ns: int) -> int:
        """A time of the master's on our clock."""
        return master_ns - self.offset_ns
