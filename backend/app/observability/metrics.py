"""Every metric of a node, declared once: name, help, base unit, labels and all values a label may take.

Labels never hold ids of users, claims or sockets: a value outside the vocabularies below is counted under
`other` (`unknown` for events). Every series exists before its first event, so that a rate never misses it.
The children of a label are made at start, so that the hot path is one dictionary look-up.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..contracts.errors import Code
from ..contracts.events import CLIENT_EVENTS, SERVER_EVENTS
from ..contracts.types import Action, ClaimStatus, DeliveryClass, NotificationType

OTHER = "other"


class CounterBy:
    """A counter whose last label has a closed vocabulary; `before` are the values of the labels before it."""

    __slots__ = ("_children", "_rest")

    def __init__(
        self, counter: Counter, values: Iterable[str], rest: str = OTHER, before: tuple[str, ...] = ()
    ) -> None:
        self._children = {value: counter.labels(*before, value) for value in values}
        self._rest = self._children.setdefault(rest, counter.labels(*before, rest))

    def inc(self, value: str, amount: int = 1) -> None:
        """Count; a value outside the vocabulary goes to the rest."""
        self._children.get(value, self._rest).inc(amount)


class GaugeBy:
    """A gauge with one label of a closed vocabulary."""

    __slots__ = ("_children", "_rest")

    def __init__(self, gauge: Gauge, values: Iterable[str], rest: str = OTHER) -> None:
        self._children = {value: gauge.labels(value) for value in values}
        self._rest = self._children.setdefault(rest, gauge.labels(rest))

    def inc(self, value: str, amount: int = 1) -> None:
        self._children.get(value, self._rest).inc(amount)

    def dec(self, value: str, amount: int = 1) -> None:
        self._children.get(value, self._rest).dec(amount)

    def set(self, value: str, level: float) -> None:
        self._children.get(value, self._rest).set(level)


class HistogramBy:
    """A histogram with one label whose values are few because code, not clients, chooses them."""

    __slots__ = ("_children", "_histogram")

    def __init__(self, histogram: Histogram, values: Iterable[str] = ()) -> None:
        self._histogram = histogram
        self._children: dict[str, Histogram] = {value: histogram.labels(value) for value in values}

    def observe(self, value: str, amount: float) -> None:
        child = self._children.get(value)
        if child is None:
            child = self._children[value] = self._histogram.labels(value)
        child.observe(amount)


class Reading(Collector):
    """A number that its owner keeps anyway, read at the scrape: free on the hot path.

    source: set by the owner; until then the metric stands at 0. Must be quick, and safe to call from the
    thread that scrapes.
    """

    def __init__(self, name: str, text: str, registry: CollectorRegistry, *, counter: bool) -> None:
        self._name = name
        self._text = text
        self._family = CounterMetricFamily if counter else GaugeMetricFamily
        self.source: Callable[[], float] = _nought
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        yield self._family(self._name, self._text, value=self.source())


def _nought() -> float:
    return 0.0


class WithoutCreated:
    """The registry without the `_created` series that would double the exposition and that nobody reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UNKNOWN_EVENT = "unknown"

TRANSPORTS = ("websocket", "polling")
CONNECT_OUTCOMES = ("accepted", "authenticated", "anonymous", "refused", "draining")
DOOR_REFUSALS = (
    "busy",
    "node_sockets",
    "node_unauthenticated",
    "address_sockets",
    "address_unauthenticated",
)
DISCONNECT_REASONS = (
    "client disconnect",
    "server disconnect",
    "ping timeout",
    "transport close",
    "transport error",
)
ABORT_REASONS = (
    "abuse",
    "auth_deadline",
    "binary",
    "draining",
    "flood",
    "overflow",
    "ping_timeout",
    "protocol",
    "stuck",
    "token_expired",
    "token_revoked",
    "too_many_sockets",
    "write_failed",
)
DROP_REASONS = ("queue_full", "paused", "stale", "bus_full", "bus_down")
RECOVERY_OUTCOMES = ("nothing_missed", "replayed", "partial", "unrecoverable", "failed")
RATE_LIMITED_SCOPES = (
    "socket_event",
    "handshake",
    "frames",
    "bytes",
    "password",
    "watch",
    "rest_address",
    "rest_user",
    "register",
    "login",
)
MEASURED_CLASSES = (DeliveryClass.DURABLE, DeliveryClass.SNAPSHOT)
BUS_DIRECTIONS = ("published", "received", "ignored", "failed")
STORE_ERROR_KINDS = ("refused", "unavailable", "bug")
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_FAST_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
_PUSH_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_HTTP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SOCKETS_BUCKETS = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
_REPLAY_BUCKETS = (0, 1, 2, 5, 10, 25, 50, 100, 200, 500)


class Metrics:
    """One node's metrics, in a registry of their own."""

    def __init__(self, version: str, node: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._declare_build(version, node)
        self._declare_sockets()
        self._declare_fanout()
        self._declare_bus()
        self._declare_http()
        self._declare_store()
        self._declare_domain()

    def render(self) -> bytes:
        """The exposition in Prometheus text format; serve it as `CONTENT_TYPE`."""
        return generate_latest(WithoutCreated(self.registry))

    def event_received(self, event: str) -> None:
        """Count an event from a client; a name that is not in the contract counts as `unknown`."""
        self.events_received.inc(event)

    def dropped(self, delivery: DeliveryClass, reason: str, amount: int = 1) -> None:
        """Count events that were not delivered: never in silence."""
        self._dropped[delivery].inc(reason, amount)

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Observe one HTTP request. route: the template of the route, never the path."""
        key = (method if method in HTTP_METHODS else OTHER, route, status)
        child = self._http_children.get(key)
        if child is None:
            child = self._http_children[key] = self._http.labels(*key)
        child.observe(seconds)

    def pushed(self, delivery: DeliveryClass, seconds: float) -> None:
        """Observe one event that is on all its sockets here. seconds: since the fact, by wall clock."""
        self._push_seconds.observe(delivery, max(0.0, seconds))

    def store_call(self, method: str, seconds: float) -> None:
        """Observe one store call, failed ones too."""
        self._store_calls.observe(method, seconds)

    def store_error(self, method: str, kind: str) -> None:
        """Count a store call that raised; kind: one of STORE_ERROR_KINDS."""
        self._store_errors.labels(method, kind if kind in STORE_ERROR_KINDS else OTHER).inc()

    # -------------------------------------------------------------- declarations

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _read_counter(self, name: str, text: str) -> Reading:
        return Reading(name, text, self.registry, counter=True)

    def _read_gauge(self, name: str, text: str) -> Reading:
        return Reading(name, text, self.registry, counter=False)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _declare_build(self, version: str, node: str) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        info = self._gauge("vouchstorm_build_info", "Always 1; which build runs here.", ("version", "node"))
        info.labels(version, node).set(1)
        self.event_loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop runs what was due.", _FAST_BUCKETS_S
        )
        self.event_loop_tasks = self._read_gauge("event_loop_tasks", "Tasks of the event loop.")
        self.interpreter_blocks = self._read_gauge(
            "interpreter_blocks", "Memory blocks that Python objects occupy: a leak makes it grow."
        )

    def _declare_sockets(self) -> None:
        self.connected_users = self._gauge(
            "websocket_connected_users", "Distinct authenticated users with a socket on this node."
        )
        self.connected_sockets = GaugeBy(
            self._gauge("websocket_connected_sockets", "Open sockets on this node.", ("transport",)),
            TRANSPORTS,
        )
        self.connects = CounterBy(
            self._counter("websocket_connects_total", "Connection attempts by outcome.", ("outcome",)),
            CONNECT_OUTCOMES,
        )
        self.refusals = CounterBy(
            self._counter("websocket_connect_refusals_total", "Refused connections by reason.", ("code",)),
            (*(code.value for code in Code), *DOOR_REFUSALS),
        )
        self.handshakes_waiting = self._read_gauge(
            "websocket_handshakes_waiting", "Openings that wait for their turn."
        )
        self.handshakes_at_work = self._read_gauge(
            "websocket_handshakes_at_work", "Sockets between their opening and the answer to CONNECT."
        )
        self.disconnects = CounterBy(
            self._counter("websocket_disconnects_total", "Closed sockets by reason.", ("reason",)),
            DISCONNECT_REASONS,
        )
        self.aborts = CounterBy(
            self._counter("websocket_aborts_total", "Sockets that this node ended, by reason.", ("reason",)),
            ABORT_REASONS,
        )
        self.slow_sockets = self._gauge(
            "websocket_slow_sockets", "Sockets that are paused because their peer does not read."
        )
        self.slowed = self._read_counter(
            "websocket_slowed_total", "Times that a socket was paused because its peer does not read."
        )
        self.slow_bytes = self._gauge("websocket_slow_bytes", "Bytes that wait for slow sockets.")
        self.rooms = self._read_gauge("websocket_rooms", "Rooms with a member on this node.")
        self.events_received = CounterBy(
            self._counter("websocket_events_received_total", "Events from clients.", ("event",)),
            CLIENT_EVENTS,
            UNKNOWN_EVENT,
        )
        self.events_refused = CounterBy(
            self._counter("websocket_events_refused_total", "Refused client events.", ("code",)),
            (code.value for code in Code),
        )
        self.replayed = self._counter("websocket_replayed_total", "Missed notifications sent again.")
        self.replay_size = self._histogram(
            "websocket_replay_notifications",
            "Notifications sent again to one client at once.",
            _REPLAY_BUCKETS,
        )
        self.holes = self._read_counter(
            "websocket_holes_total", "Missing notifications of a user that were looked up in the store."
        )
        self.behind = self._read_counter(
            "websocket_behind_total", "Users found behind by a comparison with the store, and caught up."
        )
        self.recovery = CounterBy(
            self._counter("websocket_recovery_total", "Outcomes of catching a client up.", ("outcome",)),
            RECOVERY_OUTCOMES,
        )
        self.rate_limited = CounterBy(
            self._counter("rate_limited_total", "Requests and events refused as too many.", ("scope",)),
            RATE_LIMITED_SCOPES,
        )
        self.limits_alone = self._counter(
            "rate_limits_alone_total",
            "Limits that this node judged alone because the shared counts did not answer in time.",
        )
        self.limits_uncounted = self._counter(
            "rate_limits_uncounted_total",
            "Newcomers who were let through because too many others are counted.",
        )

    def _declare_fanout(self) -> None:
        self.events_emitted = CounterBy(
            self._counter("websocket_events_emitted_total", "Events written, once per socket.", ("event",)),
            SERVER_EVENTS,
            UNKNOWN_EVENT,
        )
        self.emit_seconds = self._histogram(
            "websocket_emit_seconds",
            "From handing an event to the flusher until it is written to the last socket of its room.",
            _FAST_BUCKETS_S,
        )
        self._push_seconds = HistogramBy(
            self._histogram(
                "websocket_push_seconds",
                "From the accepted request until its event is written to the last of its sockets here.",
                _PUSH_BUCKETS_S,
                ("class",),
            ),
            MEASURED_CLASSES,
        )
        self.fanout_sockets = self._histogram(
            "websocket_fanout_sockets", "Sockets that one event was written to.", _SOCKETS_BUCKETS
        )
        dropped = self._counter(
            "websocket_dropped_total", "Events that were not delivered live.", ("class", "reason")
        )
        self._dropped = {
            delivery: CounterBy(dropped, DROP_REASONS, before=(delivery.value,)) for delivery in DeliveryClass
        }
        self.flushes = self._read_counter("websocket_flushes_total", "Writes of pending events to a room.")
        self.flushed_events = self._read_counter(
            "websocket_flushed_events_total",
            "Pushes in those writes: above one a write, they were coalesced.",
        )
        self.superseded = self._read_counter(
            "websocket_superseded_total", "Live updates that a newer version of the same claim replaced."
        )
        self.push_queue = self._gauge("websocket_push_queue_events", "Events waiting for fan-out.")

    def _declare_bus(self) -> None:
        self.bus_connected = self._gauge(
            "bus_connected", "1 while this node hears its own heartbeat through the bus, or has no bus."
        )
        self.bus_messages = CounterBy(
            self._counter("bus_messages_total", "Messages between nodes.", ("direction",)),
            BUS_DIRECTIONS,
        )
        self.bus_queue = self._read_gauge("bus_queue_messages", "Messages that wait to be published.")
        self.bus_nodes = self._read_gauge("bus_nodes", "Nodes that this node hears, itself included.")
        self.bus_gaps = self._counter("bus_gaps_total", "Times that bus messages may have been missed.")
        self.bus_gaps_closed = self._counter(
            "bus_gaps_closed_total", "Gaps after which everything was compared with the store and caught up."
        )
        self.bus_gap_open = self._gauge(
            "bus_gap_open", "1 from a gap until everything has been compared with the store."
        )
        self.bus_heartbeat_seconds = self._histogram(
            "bus_heartbeat_seconds", "Round trip of the heartbeat through the bus.", _FAST_BUCKETS_S
        )

    def _declare_http(self) -> None:
        self._http = self._histogram(
            "http_request_seconds",
            "From the request's head to the last byte of its answer.",
            _HTTP_BUCKETS_S,
            ("method", "route", "status"),
        )
        self._http_children: dict[tuple[str, str, int], Histogram] = {}
        self.http_abandoned = self._read_counter(
            "http_abandoned_total", "HTTP connections that were ended because their client took too long."
        )
        self.http_in_flight = self._gauge("http_requests_in_flight", "Requests being answered right now.")

    def _declare_store(self) -> None:
        self._store_calls = HistogramBy(
            self._histogram("store_call_seconds", "Duration of store calls.", _FAST_BUCKETS_S, ("method",))
        )
        self._store_errors = self._counter(
            "store_errors_total",
            "Store calls that raised: refused by a rule, unavailable, or a bug.",
            ("method", "kind"),
        )

    def _declare_domain(self) -> None:
        self.validations = CounterBy(
            self._counter("validations_total", "Accepted validations.", ("action",)),
            (a.value for a in Action),
        )
        self.consensus = CounterBy(
            self._counter("consensus_total", "Settled claims.", ("outcome",)),
            (status.value for status in ClaimStatus if status is not ClaimStatus.OPEN),
        )
        self.notifications_created = CounterBy(
            self._counter("notifications_created_total", "Notifications stored.", ("type",)),
            (kind.value for kind in NotificationType),
        )
        self.notifications_delivered = self._read_counter(
            "notifications_delivered_total",
            "Notifications written live to at least one socket of their user.",
        )
        self.notifications_pending = self._gauge(
            "notifications_pending",
            "Notifications that wait for an earlier one, or for a socket that does not read.",
        )
        self.repairs = self._read_counter(
            "repairs_total", "Unfinished validations and settlements that the reconciler completed."
        )
