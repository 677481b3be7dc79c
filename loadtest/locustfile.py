"""The locustfile: `locust -f loadtest/locustfile.py --host http://localhost:8000 --tokens data/tokens.jsonl`.

Wires users, shape, options, the exchange between processes, the verdict and the metrics page into Locust.
Works headless, with the web page, with `--processes`, and with `--master` / `--worker` on several machines
(each has this package installed). `vouchstorm loadtest` calls it with good defaults.
"""

import gc
from typing import Any

import gevent
from locust import LoadTestShape, events, runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import CSV_STATS_INTERVAL_SEC, StatsCSVFileWriter

from loadtest.distributed import MasterExchange, WorkerExchange
from loadtest.exporter import serve_metrics
from loadtest.options import LoadOptions, declare, wanted_shape
from loadtest.shapes import CURVES, users_at
from loadtest.shared_state import ATTRIBUTE, LoadRoom
from loadtest.users import BellUser, ValidatorUser, WatcherUser
from loadtest.verdict import Judge, Part

DEFAULT_USERS = 100
DEFAULT_DURATION_S = 60.0


def shape_class(name: str) -> type[LoadTestShape]:
    """The shape of this name; follows --users, --spawn-rate and --run-time. Raises KeyError."""
    curve = CURVES[name]

    class Shape(LoadTestShape):
        use_common_options = True
        abstract = False

        def tick(self) -> tuple[int, float] | None:
            """How many users there should be now; None: the run is over."""
            options = self.runner.environment.parsed_options if self.runner is not None else None
            wanted = getattr(options, "num_users", None) or DEFAULT_USERS
            duration_s = float(getattr(options, "run_time", None) or DEFAULT_DURATION_S)
            users = users_at(curve, float(self.get_run_time()), duration_s, wanted)  # type: ignore[no-untyped-call]
            rate = float(getattr(options, "spawn_rate", None) or max(1.0, wanted / 10))
            return None if users is None else (users, rate)

    Shape.__name__ = Shape.__qualname__ = f"{name.capitalize()}Shape"
    return Shape


__all__ = ["BellUser", "ValidatorUser", "WatcherUser"]

HEARTBEATS_MISSED = 20
"""Locust ends a run after three silent seconds of its workers; on a busy machine that is none."""

_locust: Any = runners
_locust.HEARTBEAT_LIVENESS = HEARTBEATS_MISSED

if wanted_shape():
    ChosenShape = shape_class(wanted_shape())


class Process:
    """What this process of a load test does at Locust's events: leads, runs users, or both."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = environment.runner
        self._leads = not isinstance(self._runner, WorkerRunner)
        self._judge = Judge()
        self._room = None if isinstance(self._runner, MasterRunner) else LoadRoom(environment)
        self._master = MasterExchange(self._runner) if isinstance(self._runner, MasterRunner) else None
        self._worker: WorkerExchange | None = None
        self._page: Any = None
        if self._room is not None:
            setattr(environment, ATTRIBUTE, self._room)
            if isinstance(self._runner, WorkerRunner):
                self._worker = WorkerExchange(self._runner, self._room.book, self._own_part)
                self._worker.start()

    def listen(self) -> None:
        """Attach to Locust's events."""
        hooks: Any = self._environment.events
        hooks.test_start.add_listener(self._begin)
        hooks.spawning_complete.add_listener(self._spawned)
        hooks.test_stopping.add_listener(self._stopping)
        hooks.test_stop.add_listener(self._end)
        hooks.quitting.add_listener(self._quit)
        hooks.quit.add_listener(stop_csv_writer)
        options = LoadOptions.of(self._environment.parsed_options)
        if self._leads and options.metrics_port:
            self._page = serve_metrics(self._environment, options.metrics_port)

    def _begin(self, environment: Environment, **_: object) -> None:
        parsed: Any = environment.parsed_options
        options = LoadOptions.of(parsed)
        processes = max(1, int(getattr(parsed, "expect_workers", 1) or 1)) if self._worker else 1
        if self._room is not None:
            self._room.begin(options, max(0, self._runner.worker_index), processes)
        if self._master is not None:
            self._master.begin()
        if self._leads:
            users = getattr(parsed, "num_users", None) or self._runner.target_user_count
            run_time_s = getattr(parsed, "run_time", None)
            self._judge.begin(options, {"host": environment.host, "users": users, "run_time_s": run_time_s})

    def _spawned(self, **_: object) -> None:
        if self._room is not None:
            self._room.ramp_over()

    def _stopping(self, environment: Environment, **_: object) -> None:
        if self._room is not None:
            self._room.stopping()
        if self._master is not None:
            self._master.finish()

    def _end(self, environment: Environment, **_: object) -> None:
        if self._leads and getattr(environment.parsed_options, "csv_prefix", None):
            # What users entered while they stopped (losses above all) would be missing in the files.
            gevent.sleep(CSV_STATS_INTERVAL_SEC + 0.5)
        if self._room is not None:
            self._room.end()
        if self._master is not None:
            parts = [Part.model_validate(part) for part in self._master.parts.values()]
            self._judge.verdict(parts, self._master.silent)
        elif self._leads and self._room is not None:
            self._judge.verdict([self._room.part()])

    def _own_part(self) -> dict[str, Any]:
        """A worker's counts, once its users have stopped."""
        if self._room is None:
            return {}
        if self._worker is not None:
            self._room.clock_error_ns = self._worker.clock.error_ns or 0
        return self._room.part().model_dump()

    def _quit(self, environment: Environment, **_: object) -> None:
        if self._leads and self._judge.running:
            # Locust stops at the end of the run time before it quits: so this is a signal.
            self._judge.interrupted = bool(getattr(environment.parsed_options, "run_time", None))
            self._runner.stop()
        if self._judge.result is not None:
            environment.process_exit_code = self._judge.result.exit_code
        if self._page is not None:
            self._page.stop()


def stop_csv_writer(**_: object) -> None:
    """End Locust's own writer before Locust closes its files under it, which would end in a traceback.

    Locust keeps the greenlet to itself; what it has to write is written by now.
    """
    for thing in gc.get_objects():
        if isinstance(thing, gevent.Greenlet) and isinstance(
            getattr(getattr(thing, "_run", None), "__self__", None), StatsCSVFileWriter
        ):
            thing.kill()


def _declare(parser: Any, **_: object) -> None:
    declare(parser)


def _init(environment: Environment, **_: object) -> None:
    Process(environment).listen()


_hooks: Any = events
_hooks.init_command_line_parser.add_listener(_declare)
_hooks.init.add_listener(_init)
