"""The machine and the processes of a run: facts, CPU and memory from /proc, event-loop lag.

Reads, never changes anything but the affinity of processes it is told to pin. Called by the runner.
"""

import asyncio
import os
import platform
import resource
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import GeneratorLimitError
from .histogram import Histogram
from .result import Host

LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
}
PROBE_S = 0.01
NS = 1_000_000_000


def describe() -> Host:
    """What this machine is, at this moment."""
    return Host(
        cpus=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        limits={name: _limit(kind) for name, kind in LIMITS.items()},
        load_average=round(os.getloadavg()[0], 2),
    )


def _limit(kind: int) -> int:
    soft, _ = resource.getrlimit(kind)
    return -1 if soft == resource.RLIM_INFINITY else soft


def raise_open_files(wanted: int) -> int:
    """Raise this process's descriptor limit as far as allowed; the limit that now holds (-1: none)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return _limit(resource.RLIMIT_NOFILE)


def own_pid() -> int:
    """Of this process."""
    return os.getpid()


def own_cpu_s() -> float:
    """CPU seconds this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 when it is gone."""
    return sum(rss_of(each) for each in family(pid))


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its living descendants; 0 when it is gone."""
    return sum(spent.cpu_s for each in family(pid) if (spent := spent_by(each)))


def family(pid: int) -> list[int]:
    """A process and its descendants, as far as they are alive."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found, waiting = [], [pid] if _stat(pid) else []
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += parents.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone. Source: proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU of one process. started: clock ticks after boot, which tells it from a later one of its number."""

    started: int
    cpu_s: float


def spent_by(pid: int) -> Spent | None:
    """What a process used so far, without its children; None when it is gone."""
    stat = _stat(pid)
    if not stat:
        return None
    return Spent(int(stat[19]), (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"))


class FamilyCpu:
    """CPU of a process and of all descendants that were ever seen, also of those that ended since.

    What one used between the last look and its end is not known: look often.
    """

    def __init__(
        self,
        pid: int,
        *,
        family: Callable[[int], Sequence[int]] = family,
        spent: Callable[[int], Spent | None] = spent_by,
    ) -> None:
        self.pid = pid
        self._family = family
        self._spent = spent
        self._newest: dict[tuple[int, int], float] = {}
        first = spent(pid)
        self._started = first.started if first is not None else None

    def look(self, members: Collection[int]) -> None:
        """Read these, and again those that were seen before: one whose parent ended is in no family."""
        for pid in {*members, *(pid for pid, _ in self._newest)}:
            if (spent := self._spent(pid)) is not None:
                known_s = self._newest.get((pid, spent.started))
                if known_s is not None or pid in members:
                    self._newest[pid, spent.started] = max(spent.cpu_s, known_s or 0.0)

    def total_s(self) -> float:
        """All CPU seconds so far; never less than before."""
        self.look(self._family(self.pid))
        return sum(self._newest.values())

    def alive(self) -> bool:
        """Whether the first process still is the one it was."""
        spent = self._spent(self.pid)
        return spent is not None and spent.started == self._started


def rss_of(pid: int) -> int:
    """Resident memory of one process alone; 0 when it is gone."""
    stat = _stat(pid)
    return int(stat[21]) * os.sysconf("SC_PAGE_SIZE") if stat else 0


def pin(pid: int, cpus: set[int]) -> bool:
    """Keep a process on some processors; False where that is not allowed."""
    try:
        os.sched_setaffinity(pid, cpus)
    except OSError:
        return False
    return True


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class LoopLag:
    """Measures how late the event loop wakes up, every ten milliseconds while it runs."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._worst_us = 0

    def take_worst_ms(self) -> float:
        """The worst since it was last asked for."""
        worst_us, self._worst_us = self._worst_us, 0
        return worst_us / 1000

    async def run(self, since_ns: int, until_ns: int) -> None:
        """Probe until cancelled. since_ns, until_ns: the load; what was due outside of it is not counted."""
        while True:
            due_ns = time.monotonic_ns() + int(PROBE_S * NS)
            await asyncio.sleep(PROBE_S)
            self.woke(due_ns, time.monotonic_ns(), counted=since_ns <= due_ns <= until_ns)

    def woke(self, due_ns: int, now_ns: int, *, counted: bool = True) -> None:
        """The loop ran at `now_ns` what was due at `due_ns`."""
        late_us = max(0, now_ns - due_ns) // 1000
        self._worst_us = max(self._worst_us, late_us)
        if counted:
            self.histogram.record_many(latenesses_us(late_us, round(PROBE_S * 1e6)))


def latenesses_us(late_us: int, every_us: int) -> list[int]:
    """What a probe that woke up late saw, and what those would have seen that were due meanwhile.

    A probe sleeps again only after it woke up, so a loop that stands still for a second is seen once where it
    was due a hundred times. Source: HdrHistogram's correction by the expected interval.
    """
    return [late_us, *range(late_us - every_us, 0, -every_us)]


# What a process may use: descriptors and processors. Called by the course and by the processes it
# starts.

DESCRIPTORS_TO_SPARE = 512


def allow_sockets(count: int) -> None:
    """Raise this process's limit so that `count` sockets fit. Raises GeneratorLimitError when they do not."""
    allowed = raise_open_files(count + DESCRIPTORS_TO_SPARE)
    if 0 <= allowed < count + DESCRIPTORS_TO_SPARE // 4:
        raise GeneratorLimitError(
            f"{count} sockets do not fit into the {allowed} open files this process may have: raise the "
            "limit (ulimit -n), or use fewer clients or more --processes."
        )


def split_processors(processes: int) -> tuple[set[int] | None, set[int] | None]:
    """Processors of the generator, one for each of its processes, and the rest, at least one, for the server;
    nothing to split on a single one."""
    allowed = sorted(os.sched_getaffinity(0))
    mine = max(1, min(processes, len(allowed) - 1))
    return (set(allowed[:mine]), set(allowed[mine:])) if len(allowed) > 1 else (None, None)


def free_processors(*, managed: bool) -> int:
    """Processors that the generator may fill; managed: the server is on this machine and needs one too."""
    return max(1, len(os.sched_getaffinity(0)) - managed)
