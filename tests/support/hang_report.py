"""What is said of a test that ran out of time: where each task of its loop waits, and the ends of the logs.

A plugin of pytest around pytest-timeout, whose alarm it also repeats: what the alarm raises may end in a task
that nobody awaits, and pytest-timeout forgets its timer at a failure, though the teardown may hang too.
"""

import asyncio
import gc
import os
import signal
import stat
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

AGAIN_S = 30.0
"""After an alarm, the next one."""
LOG_BYTES = 4_000

_settings = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Iterator[None]:
    yield
    item.stash[_settings] = settings
    if threading.current_thread() is not threading.main_thread():
        return
    fail = signal.getsignal(signal.SIGALRM)
    if not callable(fail):
        return

    def alarm(number: int, frame: FrameType | None) -> None:
        item.add_report_section("hang", "tasks", tasks_report())
        item.add_report_section("hang", "logs", logs_report(item))
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        fail(number, frame)

    signal.signal(signal.SIGALRM, alarm)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    # pytest-timeout does so after the report is made; an alarm within that would end the whole run.
    if call.excinfo is not None:
        item.ihook.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    settings = item.stash.get(_settings, None)
    if settings is not None and not settings.func_only:
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def tasks_report() -> str:
    """Each task of the running loop with the stack of what it awaits; empty where no loop runs."""
    try:
        tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    except RuntimeError:
        return ""
    return "\n".join(f"{task!r}\n{''.join(_awaited(task))}" for task in tasks)


def _awaited(task: "asyncio.Task[Any]") -> Iterator[str]:
    """From the outermost frame to the innermost; `Task.print_stack` knows only the first."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        if type(awaited).__name__ == "async_generator_asend":  # says nothing but whose it is
            awaited = gc.get_referents(awaited)[0]
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None or (frame := getattr(awaited, f"{kind}_frame")) is None:
            return
        yield from traceback.format_stack(frame, limit=1)
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def logs_report(item: pytest.Item) -> str:
    """The ends of the files that child processes write to, and of the logs under the test's tmp_path."""
    own = {_inode(Path(f"/proc/self/fd/{number}")) for number in (1, 2)}
    found: dict[tuple[int, int], str] = {}
    for path, name in (*_outputs_of_children(), *_logs_under(getattr(item, "funcargs", {}).get("tmp_path"))):
        inode = _inode(path)
        if inode is not None and inode not in own and inode not in found:
            found[inode] = f"{name}\n{_end(path)}"
    return "\n".join(found.values())


def _outputs_of_children() -> Iterator[tuple[Path, str]]:
    for process in map(Path, _descendants()):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        for number in (2, 1):
            yield process / "fd" / str(number), f"{process.name}: {command}"


def _descendants() -> list[str]:
    """/proc directories of the processes under this one, parents before children."""
    children: dict[str, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            continue
        children.setdefault(parent, []).append(path.parent.name)
    found = [str(os.getpid())]
    for pid in found:
        found.extend(children.get(pid, ()))
    return [f"/proc/{pid}" for pid in found[1:]]


def _logs_under(directory: Path | None) -> Iterator[tuple[Path, str]]:
    if directory is not None:
        for path in sorted(directory.rglob("*log")):
            yield path, str(path.relative_to(directory))


def _inode(path: Path) -> tuple[int, int] | None:
    """None where it is no regular file: pipes have readers of their own."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _end(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(-min(LOG_BYTES, path.stat().st_size), os.SEEK_END)
            return file.read(LOG_BYTES).decode(errors="replace")
    except OSError as error:
        return str(error)
