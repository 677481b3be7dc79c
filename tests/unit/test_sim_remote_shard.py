"""Processes of the generator that do not all start: those that did are ended with the block."""

import asyncio
import contextlib
from typing import cast

import pytest

from simulator.errors import GeneratorLimitError
from simulator.remote_shard import RemoteShard, start_all


class Process:
    """Starts after some turns of the loop, or fails to."""

    def __init__(self, turns: int, *, fails: bool = False) -> None:
        self.turns, self.fails, self.running = turns, fails, False

    async def __aenter__(self) -> "Process":
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.fails:
            raise GeneratorLimitError("A process of the generator did not start.")
        self.running = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.running = False


async def test_none_is_left_running_when_another_does_not_start() -> None:
    processes = [Process(1), Process(2, fails=True), Process(50)]
    with pytest.raises(GeneratorLimitError):
        async with contextlib.AsyncExitStack() as stack:
            await start_all(stack, cast(list[RemoteShard], processes))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    assert [process.running for process in processes] == [False, False, False]


async def test_all_that_start_are_there_in_order() -> None:
    processes = [Process(9), Process(1)]
    async with contextlib.AsyncExitStack() as stack:
        assert await start_all(stack, cast(list[RemoteShard], processes)) == cast(
            list[RemoteShard], processes
        )
