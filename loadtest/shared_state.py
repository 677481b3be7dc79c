"""What the users of one load process share: people, claims, stamps, counts. One per process and test.

Made by `locustfile` where users run (never on a master of workers), reached by the users through
`room_of(environment)`. Everything here belongs to one gevent hub, so nothing needs a lock.
"""

import os
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import gevent
import numpy as np
from locust.env import Environment
from locust.stats import RequestStats, StatsEntry, bucket_response_time
from numpy.typing import NDArray

from simulator import host, result
from simulator.histogram import Histogram
from simulator.socketio_client.endpoint import Endpoint

from .fixtures import ClaimBook, Deal, Person, read_people
from .latency import StampBook
from .ledger import Totals
from .options import LoadOptions
from .verdict import Part

PUSH = "PUSH"
ENTRY = "push:"
"""Before the event's name, in Locust's tables."""
FINE_BELOW_MS = 100


class PushStats:
    """Latencies of pushes in Locust's statistics. histograms: by event name, exact, kept for the verdict.

    Locust's own way, one `request` event for each, takes longer than receiving the message. Here many are
    merged into its entries at once, by its own `extend`, which serves percentiles, CSV, HTML and web page.
    """

    def __init__(self, environment: Environment, *, each: bool = False) -> None:
        """each: fire Locust's `request` event for every push, for listeners that want them one by one."""
        self._environment = environment
        self._each = each
        self.histograms: dict[str, Histogram] = {}

    def add(self, name: str, latencies_ns: Iterable[int]) -> None:
        """Enter latencies of pushes."""
        values_ns: NDArray[np.int64] = np.fromiter(latencies_ns, dtype=np.int64)
        if not values_ns.size:
            return
        values_ns = np.maximum(values_ns, 0)
        self.histograms.setdefault(name, Histogram()).record_many(values_ns // 1000)
        values_ms = values_ns / 1e6
        if self._each:
            self._fire(name, values_ms)
            return
        self._merge(name, values_ms.size, total_ms=float(values_ms.sum()), values_ms=values_ms)

    def add_unmeasured(self, counts: Mapping[str, int]) -> None:
        """Enter pushes that came, and of which nobody knows when they were published."""
        for name, count in counts.items():
            self._merge(name, count, total_ms=0.0, values_ms=None)

    def _fire(self, name: str, values_ms: NDArray[np.float64]) -> None:
        for value_ms in values_ms.tolist():
            self._environment.events.request.fire(
                request_type=PUSH,
                name=ENTRY + name,
                response_time=value_ms,
                response_length=0,
                exception=None,
                context={},
            )  # type: ignore[no-untyped-call]

    def _merge(
        self, name: str, count: int, *, total_ms: float, values_ms: NDArray[np.float64] | None
    ) -> None:
        stats = self._environment.stats
        batch: Any = StatsEntry(RequestStats(use_response_times_cache=False), ENTRY + name, PUSH)
        batch.num_requests = count
        batch.last_request_timestamp = time.time()
        batch.num_reqs_per_sec[int(batch.last_request_timestamp)] = count
        if values_ms is None:
            batch.num_none_requests = count
        else:
            batch.total_response_time = total_ms
            batch.min_response_time = float(values_ms.min())
            batch.max_response_time = float(values_ms.max())
            batch.response_times = buckets(values_ms)
        stats.entries[(ENTRY + name, PUSH)].extend(batch)
        stats.total.extend(batch)


def buckets(values_ms: NDArray[np.float64]) -> dict[float, int]:
    """Counts by rounded latency: to a tenth of a millisecond below 100 ms, as Locust rounds above."""
    fine = values_ms < FINE_BELOW_MS
    found: dict[float, int] = {}
    tenths, counts = np.unique(
        np.maximum(np.rint(values_ms[fine] * 10), 1).astype(np.int64), return_counts=True
    )
    for tenth, count in zip(tenths.tolist(), counts.tolist(), strict=True):
        found[tenth / 10] = count
    for value_ms in values_ms[~fine].tolist():
        key = bucket_response_time(value_ms)
        found[key] = found.get(key, 0) + 1
    return found


PUMP_S = 0.25
LAG_PROBE_S = 0.02
SOCKET_PATH = "/ws/socket.io/"
ATTRIBUTE = "load_room"
MAX_NAMED = 50


def room_of(environment: Environment) -> "LoadRoom":
    """The load room of this process."""
    room: LoadRoom = getattr(environment, ATTRIBUTE)
    return room


class LoadRoom:
    """begin -> users run -> end -> part."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.book = StampBook()
        self._greenlets: list[Any] = []
        self._lag_probe: Any = None
        self._clear(LoadOptions())

    def _clear(self, options: LoadOptions) -> None:
        self.options = options
        self.book.clear()
        self.claims = ClaimBook()
        self.pushes = PushStats(self.environment, each=options.each_push)
        self.totals: dict[str, Totals] = {"durable": Totals(), "snapshot": Totals()}
        self.publishes = {"scheduled": 0, "sent": 0, "accepted": 0, "refused": 0, "failed": 0, "late": 0}
        self.refusals: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.connects = {"attempted": 0, "established": 0, "refused": 0}
        self.connect_failures: dict[str, int] = {}
        self.recoveries = {"drops": 0, "reconnected": 0, "full": 0, "reloaded": 0, "silent_holes": 0}
        self.handler_errors = 0
        self.clock_error_ns = 0
        self.notes: list[str] = []
        self._histograms: dict[str, Histogram] = {"loop_lag": Histogram()}
        self._unmeasured: dict[str, int] = {}
        self._open = self._peak = 0
        self._deal: Deal | None = None
        self._warm = False
        self._numbers = 0
        self._index = 0
        self._run_id = f"{random.getrandbits(32):08x}"
        self._cpu_s = self._wall_s = 0.0
        self.endpoint: Endpoint | None = None

    # -------------------------------------------------------------- life

    def begin(self, options: LoadOptions, index: int, processes: int) -> None:
        """A test begins. index: of this process among `processes`. Raises PeopleError, ValueError."""
        self._clear(options)
        self.endpoint = Endpoint.parse((self.environment.host or "").rstrip("/"), SOCKET_PATH)
        if options.tokens is not None:
            self._deal = Deal(read_people(options.tokens), index, processes)
        self._index = index
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self._lag_probe = gevent.spawn(self._probe_lag)
        self._greenlets = [gevent.spawn(self._pump), self._lag_probe]

    def ramp_over(self) -> None:
        """All users are there for the first time: what was timed until now was the warm-up, and is forgotten.

        The ledgers are not: nothing may be lost while users arrive, either.
        """
        if self._warm:
            return
        self._warm = True
        self._flush()
        self.pushes.histograms.clear()
        self._histograms["loop_lag"] = Histogram()
        self._histograms.pop("http", None)
        self.publishes["late"] = 0

    def stopping(self) -> None:
        """Users are about to be stopped: from here on nothing is on time, and need not be."""
        self._warm = True
        self._lag_probe.kill()

    def end(self) -> None:
        """All users have stopped."""
        gevent.killall(self._greenlets)
        self._greenlets = []
        self._cpu_s, self._wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._wall_s

    def part(self) -> Part:
        """What this process counted; call once, after `end`."""
        self.book.give_up()
        self._flush()
        histograms = self._histograms | self.pushes.histograms
        failed = self.connects["attempted"] - self.connects["established"]
        return Part(
            connections=result.Connections(
                **self.connects, failed=failed, peak=self._peak, failures=self.connect_failures
            ),
            publishes=result.Publishes(**self.publishes, refusals=self.refusals, failures=self.failures),
            totals={kind: asdict(totals) for kind, totals in self.totals.items()},
            histograms={name: histogram.encode() for name, histogram in histograms.items()},
            unmeasured=self._unmeasured,
            **self.recoveries,
            handler_errors=self.handler_errors,
            cpu_s=self._cpu_s,
            wall_s=self._wall_s,
            rss_bytes=host.rss_bytes(os.getpid()),
            clock_error_ns=self.clock_error_ns,
            notes=self.notes[:MAX_NAMED],
        )

    def _pump(self) -> None:
        while True:
            gevent.sleep(PUMP_S)
            self._flush()

    def _flush(self) -> None:
        for name, latencies_ns in self.book.take_latencies_ns().items():
            self.pushes.add(name, latencies_ns)
        unmeasured = self.book.take_unstamped()
        self.pushes.add_unmeasured(unmeasured)
        for name, count in unmeasured.items():
            self._unmeasured[name] = self._unmeasured.get(name, 0) + count

    def _probe_lag(self) -> None:
        while True:
            due_ns = time.monotonic_ns() + int(LAG_PROBE_S * 1e9)
            gevent.sleep(LAG_PROBE_S)
            late_us = max(0, time.monotonic_ns() - due_ns) // 1000
            self._histograms["loop_lag"].record_many(host.latenesses_us(late_us, round(LAG_PROBE_S * 1e6)))

    # -------------------------------------------------------------- for the users

    def number(self) -> int:
        """The next user's number in this process."""
        self._numbers += 1
        return self._numbers

    def rng(self, kind: str, number: int) -> random.Random:
        """The dice of one user: the same for the same seed, others in every process."""
        return random.Random(f"{self.options.seed}:{self._index}:{kind}:{number}")

    def person(self) -> Person | None:
        """Who the next user is; None: register somebody."""
        return self._deal.next() if self._deal is not None else None

    def new_username(self, number: int) -> str:
        """A name that no other user of any run has."""
        return f"load-{self._run_id}-{self._index}-{number}"

    def measure(self, kind: str, name: str, took_ns: int, error: Exception | None = None) -> None:
        """One entry in Locust's statistics, and in the verdict's histograms unless it failed."""
        if error is None:
            self._histograms.setdefault(name.removeprefix("ack:"), Histogram()).record(took_ns // 1000)
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=took_ns / 1e6,
            response_length=0,
            exception=error,
            context={},
        )  # type: ignore[no-untyped-call]

    def time_of(self, name: str, took_ns: int) -> None:
        """One value for the verdict's histograms only."""
        self._histograms.setdefault(name, Histogram()).record(took_ns // 1000)

    def fail(self, kind: str, name: str, error: Exception, times: int = 1) -> None:
        """Enter failures that took no time; at most a thousand are told one by one."""
        for _ in range(min(times, 1_000)):
            self.measure(kind, name, 0, error)

    def opened(self) -> None:
        """A connection is open."""
        self._open += 1
        self._peak = max(self._peak, self._open)

    def closed(self) -> None:
        """A connection that was open is not any more."""
        self._open -= 1

    def note(self, sentence: str) -> None:
        """Something a reader of the result should know."""
        if len(self.notes) < MAX_NAMED:
            self.notes.append(sentence)


def count(table: dict[str, int], key: str) -> None:
    """Add one; the table stays small whatever the server says."""
    if key in table or len(table) < MAX_NAMED:
        table[key] = table.get(key, 0) + 1
