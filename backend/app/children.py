"""Ending child processes: politely, then for certain, and by their id only.

Called by the supervisor and the stack, each for the processes it started itself.
"""

import asyncio
import signal
from asyncio.subprocess import Process
from contextlib import suppress


async def end(process: Process, grace_s: float) -> bool:
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
        await kill(process)
        return True
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()  # nobody waits any longer
        raise


async def kill(process: Process) -> None:
    """SIGKILL and wait until it is gone. Idempotent."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def verdict(returncode: int | None) -> str:
    """What an exit code means, for a log line."""
    if returncode is None:
        return "is running"
    if returncode < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with code {returncode}"
