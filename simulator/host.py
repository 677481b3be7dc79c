"""The machine and the processes of a run: facts, limits, CPU and memory, processors, event-loop lag."""

import asyncio
import os
import platform
import resource
import signal
import time
from collections.abc import Callable, Collection, Sequence

import psutil

from .errors import GeneratorLimitError
from .histogram import Histogram
from .result import Host

LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
}
DESCRIPTORS_TO_SPARE = 512
PROBE_S = 0.01
NS = 1_000_000_000


def describe() -> Host:
    """What this machine is, at this moment."""
    return Host(
        cpus=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        memory_bytes=psutil.virtual_memory().total,
        limits={name: _limit(kind) for name, kind in LIMITS.items()},
        load_average=round(os.getloadavg()[0], 2),
    )


def _limit(kind: int) -> int:
    soft, _ = resource.getrlimit(kind)
    return -1 if soft == resource.RLIM_INFINITY else soft


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants, as far as they are alive."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds that one process used so far, without its children; 0 when it is gone."""
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return used.user + used.system


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its living descendants; 0 when it is gone."""
    return sum(map(cpu_of, family(pid)))


def rss_of(process: psutil.Process) -> int:
    """Resident memory of one process alone; 0 when it is gone."""
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 when it is gone."""
    return sum(map(rss_of, family(pid)))


def own_rss_bytes() -> int:
    """Resident memory of this process alone."""
    return rss_of(psutil.Process())


class FamilyCpu:
    """CPU of a process and of all descendants that were ever seen, also of those that ended since.

    What one used between the last look and its end is not known: look often.
    """

    def __init__(self, pid: int, *, family: Callable[[int], Sequence[psutil.Process]] = family) -> None:
        self.pid = pid
        self._family = family
        self._newest: dict[psutil.Process, float] = {}  # a number that is used again is another process
        self._first = next(iter(family(pid)), None)

    def look(self, members: Collection[psutil.Process]) -> None:
        """Read these, and again those that were seen before: one whose parent ended is in no family."""
        for process in {*members, *self._newest}:
            if process.is_running():
                self._newest[process] = max(cpu_of(process), self._newest.get(process, 0.0))

    def total_s(self) -> float:
        """All CPU seconds so far; never less than before."""
        self.look(self._family(self.pid))
        return sum(self._newest.values())

    def alive(self) -> bool:
        """Whether the first process still is the one it was."""
        return self._first is not None and self._first.is_running()


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


def allow_sockets(count: int) -> None:
    """Raise this process's limit so that `count` sockets fit. Raises GeneratorLimitError when they do not."""
    wanted = count + DESCRIPTORS_TO_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    allowed = _limit(resource.RLIMIT_NOFILE)
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
