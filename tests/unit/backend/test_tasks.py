"""Loops end when they are told to, also when an error comes in the place of the cancellation."""

import asyncio
import contextlib

import pytest

from backend.app import tasks as tasks_module
from backend.app.tasks import Tasks, end, heed_cancellation


class Stubborn:
    """A loop that turns the first `cancellations` into errors, and survives errors."""

    def __init__(self, cancellations: int, *, heeds: bool = False) -> None:
        self.left = cancellations
        self.heeds = heeds
        self.turns = 0

    async def run(self) -> None:
        while True:
            self.turns += 1
            try:
                await self._work()
            except OSError:
                if self.heeds:
                    heed_cancellation()

    async def _work(self) -> None:
        # Loses a cancellation to the error on every Python; `asyncio.TaskGroup` does so only before 3.13.
        await asyncio.gather(self._fail_when_cancelled())

    async def _fail_when_cancelled(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.left == 0:
                raise
            self.left -= 1
            raise ConnectionResetError from None


async def started(stubborn: Stubborn) -> asyncio.Task[None]:
    task = asyncio.create_task(stubborn.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_a_loop_that_heeds_ends_at_the_first_cancellation() -> None:
    stubborn = Stubborn(1, heeds=True)
    task = await started(stubborn)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert (task.cancelled(), stubborn.turns, stubborn.left) == (True, 1, 0)


async def test_a_loop_that_lost_its_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks_module, "CANCEL_AGAIN_S", 0.01)
    stubborn = Stubborn(2)
    task = await started(stubborn)
    await asyncio.wait_for(end([task]), 5)
    assert (task.done(), stubborn.turns) == (True, 3)
    assert "still running after a cancellation" in caplog.text


async def test_a_cancellation_that_a_task_group_met_with_an_error_ends_the_loop() -> None:
    lost = 0

    async def fail_when_cancelled() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
            raise ConnectionResetError from None

    async def survive() -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail_when_cancelled())
            except* OSError:
                heed_cancellation()

    task = asyncio.create_task(survive())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task]), 5)
    assert (task.cancelled(), lost) == (True, 1)


async def test_a_task_that_failed_is_ended_too() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await end([task])
    assert task.done()


async def test_kept_loops_are_not_started_again_after_their_end() -> None:
    stubborn = Stubborn(1)
    tasks = Tasks()

    async def loop() -> None:
        await stubborn._work()

    tasks.start("stubborn", loop)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.close(), 5)
    assert stubborn.left == 0


async def test_nothing_is_heeded_where_nobody_cancelled() -> None:
    heed_cancellation()
