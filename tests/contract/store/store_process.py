"""A process of its own that writes to a store: `python store_process.py URL NAME COUNT [DRIVER]`.

Validates claim `c1` as NAME-0, NAME-1 ... and tells `owner` about each; prints the validation's id once the
store has acknowledged both. COUNT 0 goes on until killed. Waits for a line on stdin before the first write.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from pathlib import Path

from backend.app.domain.trust import TrustPolicy
from backend.app.ports import Store
from backend.app.store.open import build_store
from tests.contract.store.store_records import StubClock, a_claim, a_user, a_validation, told

WRITERS = 8
ROOT = Path(__file__).parents[3]


async def prepare(store: Store) -> None:
    """The claim, and who is told."""
    await store.users.create_user(a_user("owner"), "hash")
    await store.claims.create_claim(a_claim(owner="someone", quorum=100_000))


async def start_writer(url: str, name: str, count: int, *driver: str) -> Process:
    """A writer process that is connected and waits for its line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, url, name, str(count), *driver),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def acknowledged_to_all(writers: Iterable[Process]) -> set[str]:
    """Let them write at the same time; the validations that were acknowledged."""
    outputs = await asyncio.gather(*(writer.communicate(b"go\n") for writer in writers))
    return {line for output, _ in outputs for line in output.decode().split()}


async def acknowledged_until_killed(writer: Process, count: int) -> set[str]:
    """Let it write, and SIGKILL it after so many; the validations that were acknowledged."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(b"go\n")
    lines = [await writer.stdout.readline() for _ in range(count)]
    writer.kill()
    lines += [line async for line in writer.stdout if line.endswith(b"\n")]
    await writer.wait()
    return {line.decode().strip() for line in lines}


async def _write(store: Store, name: str, numbers: "asyncio.Queue[int]") -> None:
    claim, owner = a_claim(), a_user("owner")
    while not numbers.empty():
        validation = a_validation(claim, f"{name}-{numbers.get_nowait()}")
        await store.claims.record_validation(validation)
        await store.effects.apply_effects(
            [told(f"validation:{validation.id}", owner)], finishes=validation.id
        )
        print(validation.id, flush=True)


async def main(url: str, name: str, count: int, driver: str) -> None:
    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(count or 1_000_000):
        numbers.put_nowait(number)
    store = build_store(
        url,
        trust_policy=TrustPolicy(),
        clock=StubClock(),
        timeout_s=30,
        mongo_driver=driver,  # type: ignore[arg-type]
    )
    await store.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(_write(store, name, numbers))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:] or ("motor",)))
