"""CPU time and memory of another process, read from outside, and facts about this machine. Linux only."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from simulator import host

_SCHEDULER_CLOCK = 2


def cpu_s(pid: int) -> float:
    """User and system time of the whole process so far, nanosecond grained, ended threads included.

    Not `simulator.host.cpu_s`: that counts in clock ticks of 10 ms, and the bus trial is about less.
    Source: the kernel's clockid of a process, `~pid << 3 | CPUCLOCK_SCHED` (clock_getcpuclockid(3)).
    Raises ProcessLookupError or OSError when there is no such process.
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


@dataclass(frozen=True, slots=True)
class Memory:
    """rss: resident. private: resident and shared with no other process."""

    rss_kib: float
    private_kib: float


def memory(pid: int) -> Memory:
    """Memory of a process now, summed up over its mappings: the kernel's own sum may be off by 256 KiB."""
    maps = psutil.Process(pid).memory_maps()
    private = sum(each.private_clean + each.private_dirty for each in maps)
    return Memory(sum(each.rss for each in maps) / 1024, private / 1024)


def two_cores() -> tuple[int | None, int | None]:
    """(core of what is measured, core of this program); (None, None) where only one may be used."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def facts() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    about = host.describe()
    return {
        "cpus": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "kernel": platform.release(),
        "python": about.python,
        "open_files": about.limits["open_files"],
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
