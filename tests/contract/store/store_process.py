"""A process of its own that writes to a store: `python store_process.py URL NAME COUNT [DRIVER]`.

Validates claim `c1` as NAME-0, NAME-1 ... and tells `owner` about each; prints the validation's id once the
store has acknowledged both. COUNT 0 goes on until killed. Waits for a line on stdin before the first write.
"""

import asyncio
import sys

from backend.app.domain.trust import TrustPolicy
from backend.app.ports import Store
from backend.app.store.open import build_store
from tests.contract.store.store_records import StubClock, a_claim, a_user, a_validation, told

WRITERS = 8


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
