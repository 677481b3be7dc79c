"""CPU time and memory of another process, read from outside: no contestant measures itself. Linux only."""

import time
from dataclasses import dataclass
from pathlib import Path

_SCHEDULER_CLOCK = 2


def cpu_s(pid: int) -> float:
    """User and system time of the whole process so far, nanosecond grained, ended threads included.

    Source: the kernel's clockid of a process, `~pid << 3 | CPUCLOCK_SCHED` (clock_getcpuclockid(3)).
    Raises ProcessLookupError or OSError when there is no such process.
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


@dataclass(frozen=True, slots=True)
class Memory:
    """rss: resident. private: resident and shared with no other process."""

    rss_kib: int
    private_kib: int


def memory(pid: int) -> Memory:
    """Resident memory of a process now."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        fields[name] = int(rest.split()[0])
    return Memory(fields["Rss"], fields["Private_Clean"] + fields["Private_Dirty"])
