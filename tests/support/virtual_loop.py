"""An event loop whose time stands still until a test moves it: timers without waiting."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self


class VirtualLoop(asyncio.SelectorEventLoop):
    """`settle` runs everything that can run now; `advance` moves the time and settles."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1_000.0
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self._now_s

    def settle(self) -> None:
        """Run until nothing is ready any more; fails if a callback or a task failed."""
        for _ in range(1_000):
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]
                break
        else:
            raise AssertionError("something keeps the loop busy for ever")
        assert not self.failures, self.failures

    def advance(self, seconds: float) -> None:
        """Move the time on, timer by timer."""
        end_s = self._now_s + seconds
        self.settle()
        while (due_s := self._next_due_s()) is not None and due_s <= end_s:
            self._now_s = max(self._now_s, due_s)
            self.settle()
        self._now_s = end_s
        self.settle()

    def _next_due_s(self) -> float | None:
        timers = [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min((timer.when() for timer in timers), default=None)

    def begin(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task and let it run as far as it gets."""
        task = self.create_task(work)
        self.settle()
        return task

    def __enter__(self) -> Self:
        asyncio.set_event_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        asyncio.set_event_loop(None)
        self.close()
