"""Processes of the generator: those that started end with the block, and how one was lost is said."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import cast

import pytest

from simulator.errors import GeneratorLimitError
from simulator.generator.ipc import Channel, ChannelError, Slice, WorkerOrder
from simulator.generator.pool import RemoteWorker, WorkerLostError, start_all


class BrokenChannel:
    def send(self, message: object) -> None:
        raise ChannelError("the other process is gone")


async def test_how_it_ended_is_said_even_when_the_channel_breaks_first() -> None:
    gone: list[str] = []
    order = cast(
        WorkerOrder, SimpleNamespace(part=Slice(number=1, of=2, first=6, count=6, users=range(6, 12)))
    )
    worker = RemoteWorker(order, gone.append, lambda note: None)
    worker._channel = cast(Channel, BrokenChannel())

    async def listens() -> None:
        await asyncio.sleep(0)
        worker._lose("it ended with signal SIGKILL")

    worker._start(listens())
    with pytest.raises(WorkerLostError, match="SIGKILL"):
        await worker.ask("sample")
    assert gone == ["Process 2 of 2, which held 6 clients, was lost: it ended with signal SIGKILL."]


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
            await start_all(stack, cast(list[RemoteWorker], processes))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    assert [process.running for process in processes] == [False, False, False]


async def test_all_that_start_are_there_in_order() -> None:
    processes = [Process(9), Process(1)]
    async with contextlib.AsyncExitStack() as stack:
        assert await start_all(stack, cast(list[RemoteWorker], processes)) == cast(
            list[RemoteWorker], processes
        )
