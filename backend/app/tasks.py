"""The long-running loops of a process: held, restarted after a failure, ended together."""

import asyncio
import logging
import random
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

CANCEL_AGAIN_S = 2.0
"""How long a task that was cancelled may tidy up before it is cancelled again."""


class Tasks:
    """Owns loops that are meant to run for ever."""

    RESTART_S = 1.0

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop()`; if it raises, log it and run it again after a pause."""
        task = asyncio.get_running_loop().create_task(self._keep(name, loop), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await loop()
                return
            except Exception:
                heed_cancellation()
                log.exception("the loop %r failed and is started again", name)
                await asyncio.sleep(self.RESTART_S)

    async def close(self) -> None:
        """Cancel all loops and wait until they are gone."""
        await end(self._tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone, whatever they raise.

    Asked again and again: an error that happens at the moment of a cancellation comes in its place (from
    `gather`; from `asyncio.TaskGroup` before Python 3.13), and a loop that survives errors would survive
    its end.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()
        if pending:
            log.warning("still running after a cancellation: %s", sorted(task.get_name() for task in pending))


def heed_cancellation() -> None:
    """For loops that survive errors, in their `except`: raises CancelledError if this task is to end.

    Why the error may have come instead of the cancellation: see `end`.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


# Ending child processes: politely, then for certain, and by their id only.
#
# Called by the supervisor and the stack, each for the processes it started itself.


async def end_process(process: Process, grace_s: float) -> bool:
    """SIGTERM, wait up to `grace_s`, SIGKILL; True when it had to be killed. Idempotent.

    A stopped process is woken, so that it can end in order; when this is cancelled, it is killed at once.
    """
    if process.returncode is not None:
        return False
    with suppress(ProcessLookupError):
        process.terminate()
        process.send_signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
        return False
    except TimeoutError:
        await kill_process(process)
        return True
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()  # nobody waits any longer
        raise


async def kill_process(process: Process) -> None:
    """SIGKILL and wait until it is gone. Idempotent."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def exit_reason(returncode: int | None) -> str:
    """What an exit code means, for a log line."""
    if returncode is None:
        return "is running"
    if returncode < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with code {returncode}"


class Backoff:
    """Waits that double from `first_s` to `longest_s`, each shortened by up to `jitter` (a share, 0..1)."""

    def __init__(
        self, rng: random.Random, *, first_s: float = 0.1, longest_s: float = 10.0, jitter: float = 0.5
    ) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    def next_s(self) -> float:
        """Count a failure; the seconds to wait before the next try."""
        # The exponent is bounded so that a process that fails for weeks does not overflow the float.
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 64))
        self._failures += 1
        return wait_s * (1 - self._jitter * self._rng.random())

    def reset(self) -> None:
        """It works again: the next failure starts over."""
        self._failures = 0
