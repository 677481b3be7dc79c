"""CPU time and memory of another process, read from outside: no contestant measures itself. Linux only."""

import os
import platform
import resource
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


# Facts about this machine and this program, for the report; and which core does what.


def two_cores() -> tuple[int | None, int | None]:
    """(core of the server, core of the crowd); (None, None) where only one may be used."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def facts() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    return {
        "cpus": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def raise_open_files(wanted: int) -> None:
    """Allow this many descriptors to this process and its children. Raises OSError when that is refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise OSError(f"{wanted} open files are needed, the limit is {hard}; raise it with ulimit -n")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
