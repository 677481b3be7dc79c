"""What the processes of a distributed run tell each other, over Locust's own message channel.

Stamps go from each worker to the master and from there to the other workers, so that a push is measured
wherever it is received; times are told on the master's clock. At the end the master asks everybody to finish
and collects what they counted. Not needed where one process does everything.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from .latency import ClockOffset, StampBook, boot_id

log = logging.getLogger(__name__)

STAMPS, CLOCK, FINISH, FINDINGS = "load_stamps", "load_clock", "load_finish", "load_findings"
STAMPS_INTERVAL_S = 0.1
CLOCK_FAST_S, CLOCK_SLOW_S, CLOCK_FAST_QUESTIONS = 0.1, 5.0, 10
FINISH_TIMEOUT_S = 45.0
LAST_STAMPS_S = 0.5


class WorkerExchange:
    """A worker's side. part: what this process counted, asked for once its users have stopped."""

    def __init__(self, runner: WorkerRunner, book: StampBook, part: Callable[[], dict[str, Any]]) -> None:
        self._runner = runner
        self._book = book
        self._part = part
        self.clock = ClockOffset(boot_id())
        runner.register_message(STAMPS, self._learn)
        runner.register_message(CLOCK, self._hear_clock)
        runner.register_message(FINISH, self._finish, concurrent=True)

    def start(self) -> None:
        """Start telling stamps and asking the time."""
        self._runner.greenlet.spawn(self._tell)
        self._runner.greenlet.spawn(self._ask)

    def _ask(self) -> None:
        questions = 0
        while True:
            self._runner.send_message(CLOCK, {"asked_ns": time.monotonic_ns()})
            questions += 1
            gevent.sleep(CLOCK_FAST_S if questions < CLOCK_FAST_QUESTIONS else CLOCK_SLOW_S)

    def _hear_clock(self, environment: Environment, msg: Any) -> None:
        said = msg.data
        self.clock.answer(said["asked_ns"], said["master_ns"], time.monotonic_ns(), said["boot_id"])

    def _tell(self) -> None:
        while True:
            gevent.sleep(STAMPS_INTERVAL_S)
            self.flush()

    def flush(self) -> None:
        """Tell what was published here since the last time."""
        if not self.clock.known:
            return
        rows = [[key, self.clock.to_master(at_ns)] for key, at_ns in self._book.take_fresh()]
        if rows:
            self._runner.send_message(STAMPS, {"rows": rows})

    def _learn(self, environment: Environment, msg: Any) -> None:
        self._book.learn((key, self.clock.from_master(at_ns)) for key, at_ns in msg.data["rows"])

    def _finish(self, environment: Environment, msg: Any) -> None:
        self._runner.stop()
        self.flush()
        gevent.sleep(LAST_STAMPS_S)  # the others' last stamps
        stats: dict[str, Any] = {}
        hooks: Any = self._runner.environment.events
        hooks.report_to_master.fire(client_id=self._runner.client_id, data=stats)
        self._runner.send_message(
            "stats", stats
        )  # now: Locust's next report may come after the files are closed
        self._runner.send_message(FINDINGS, self._part())


class MasterExchange:
    """The master's side. parts: what each worker counted, by worker."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._boot_id = boot_id()
        self._came = Event()
        self.parts: dict[str, dict[str, Any]] = {}
        self.silent: list[str] = []
        runner.register_message(STAMPS, self._relay)
        runner.register_message(CLOCK, self._tell_clock)
        runner.register_message(FINDINGS, self._collect)

    def _relay(self, environment: Environment, msg: Any) -> None:
        for client_id in list(self._runner.clients):
            if client_id != msg.node_id:
                self._runner.send_message(STAMPS, msg.data, client_id)

    def _tell_clock(self, environment: Environment, msg: Any) -> None:
        answer = msg.data | {"master_ns": time.monotonic_ns(), "boot_id": self._boot_id}
        self._runner.send_message(CLOCK, answer, msg.node_id)

    def _collect(self, environment: Environment, msg: Any) -> None:
        self.parts[msg.node_id] = msg.data
        self._came.set()

    def begin(self) -> None:
        """A test begins: forget the last one."""
        self.parts.clear()
        self.silent.clear()

    def finish(self) -> None:
        """Have all workers stop their users, and wait for what they counted; `silent` names those that said
        nothing.

        Before Locust's own stop: that one does not wait for the last counts of a worker that takes a while.
        """
        runner = self._runner
        asked = [worker.id for worker in runner.clients.all]
        runner.send_message(FINISH)
        until_s = time.monotonic() + FINISH_TIMEOUT_S
        while missing := [worker for worker in asked if worker not in self.parts]:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not any(map(self._lives, missing)):
                log.error("no findings from: %s", ", ".join(missing))
                self.silent = missing
                return
            self._came.clear()
            self._came.wait(min(left_s, 1.0))

    def _lives(self, worker: str) -> bool:
        """Whether the worker may still answer: it has not left, and was heard of lately."""
        node = self._runner.clients.get(worker)
        return node is not None and node.state != "missing"
