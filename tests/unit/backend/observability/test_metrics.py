"""Metrics: names, units, and labels that stay bounded."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import backend.app
from backend.app.contracts.errors import Code
from backend.app.contracts.events import CLIENT_EVENTS, SERVER_EVENTS
from backend.app.contracts.types import DeliveryClass
from backend.app.observability.metrics import (
    ABORT_REASONS,
    BUS_DIRECTIONS,
    CONNECT_OUTCOMES,
    DROP_REASONS,
    HTTP_METHODS,
    RATE_LIMITED_SCOPES,
    Metrics,
)

CONTRACT_NAMES = {
    "websocket_connected_users",
    "websocket_connected_sockets",
    "websocket_connects",
    "websocket_disconnects",
    "websocket_events_received",
    "websocket_events_emitted",
    "websocket_events_refused",
    "websocket_emit_seconds",
    "websocket_fanout_sockets",
    "websocket_dropped",
    "websocket_slow_sockets",
    "websocket_aborts",
    "websocket_replayed",
    "websocket_recovery",
    "http_request_seconds",
    "store_call_seconds",
    "store_errors",
    "validations",
    "consensus",
    "notifications_created",
    "event_loop_lag_seconds",
    "vouchstorm_build_info",
    "websocket_connect_refusals",
    "websocket_push_seconds",
    "websocket_push_queue_events",
    "websocket_flushes",
    "websocket_flushed_events",
    "websocket_superseded",
    "websocket_slowed",
    "websocket_slow_bytes",
    "websocket_replay_notifications",
    "bus_connected",
    "bus_messages",
    "bus_queue_messages",
    "bus_gaps",
    "bus_gaps_closed",
    "bus_gap_open",
    "bus_heartbeat_seconds",
    "notifications_delivered",
    "notifications_pending",
    "rate_limited",
}
KNOWN_LABELS = {
    "action", "class", "code", "direction", "event", "generation", "implementation", "kind", "le",
    "major", "method", "minor", "node", "outcome", "patchlevel", "reason", "route", "scope", "status",
    "transport", "type", "version",
}  # fmt: skip
AN_ID = "01c2ac8bb8282f5f625fd42fb470cfe6"


SOURCES = "\n".join(path.read_text() for path in Path(backend.app.__file__).parent.rglob("*.py"))
WRITTEN = [
    (ABORT_REASONS, r"\babort\(\"(\w+)\"\)"),
    (DROP_REASONS, r"\bdrop(?:ped)?\(DeliveryClass\.\w+, \"(\w+)\""),
    (BUS_DIRECTIONS, r"bus_messages\.inc\(\"(\w+)\""),
    (CONNECT_OUTCOMES, r"(?:connects\.inc\(|_count_connect\(peer, )\"(\w+)\""),
    (RATE_LIMITED_SCOPES, r"(?:rate_limited\.inc\(|_over_s\(self\._\w+, \w+, )\"(\w+)\""),
]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0.1.0", "node-1")


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def samples(metrics: Metrics) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(metrics.render().decode())
    return [(item.name, dict(item.labels), item.value) for family in families for item in family.samples]


def test_every_metric_of_the_contract_is_exposed(metrics: Metrics) -> None:
    exposed = {family.name for family in metrics.registry.collect()}
    assert exposed >= CONTRACT_NAMES


def test_every_metric_has_a_help_text(metrics: Metrics) -> None:
    assert all(family.documentation for family in metrics.registry.collect())


def test_the_connected_users_gauge_exists_before_the_first_user(metrics: Metrics) -> None:
    assert sample(metrics, "websocket_connected_users") == 0


def test_labels_come_from_a_known_set(metrics: Metrics) -> None:
    metrics.http_request("GET", "/api/claims/{claim_id}", 200, 0.01)
    metrics.store_call("claim", 0.01)
    metrics.store_error("claim", "unavailable")
    assert {label for _, labels, _ in samples(metrics) for label in labels} <= KNOWN_LABELS


def test_ids_never_become_labels(metrics: Metrics) -> None:
    metrics.event_received(AN_ID)
    metrics.events_emitted.inc(AN_ID)
    metrics.events_refused.inc(AN_ID)
    metrics.connects.inc(AN_ID)
    metrics.disconnects.inc(AN_ID)
    metrics.connected_sockets.inc(AN_ID)
    metrics.aborts.inc(AN_ID)
    metrics.recovery.inc(AN_ID)
    metrics.rate_limited.inc(AN_ID)
    metrics.dropped(DeliveryClass.DURABLE, AN_ID)
    metrics.store_error("claim", AN_ID)
    metrics.http_request(AN_ID, "/", 200, 0.01)
    assert AN_ID not in metrics.render().decode()


def test_an_unknown_event_counts_as_unknown(metrics: Metrics) -> None:
    metrics.event_received("drop_tables")
    assert sample(metrics, "websocket_events_received_total", event="unknown") == 1


@pytest.mark.parametrize("event", CLIENT_EVENTS)
def test_every_client_event_is_counted_by_name(metrics: Metrics, event: str) -> None:
    metrics.event_received(event)
    assert sample(metrics, "websocket_events_received_total", event=event) == 1


@pytest.mark.parametrize("event", SERVER_EVENTS)
def test_every_server_event_is_counted_by_name(metrics: Metrics, event: str) -> None:
    metrics.events_emitted.inc(event, 3)
    assert sample(metrics, "websocket_events_emitted_total", event=event) == 3


@pytest.mark.parametrize("code", Code)
def test_every_code_is_counted_by_name(metrics: Metrics, code: Code) -> None:
    metrics.events_refused.inc(code)
    assert sample(metrics, "websocket_events_refused_total", code=code.value) == 1


def test_drops_are_counted_by_class_and_reason(metrics: Metrics) -> None:
    metrics.dropped(DeliveryClass.SNAPSHOT, "queue_full", 5)
    labels = {"class": "snapshot", "reason": "queue_full"}
    assert metrics.registry.get_sample_value("websocket_dropped_total", labels) == 5


@pytest.mark.parametrize("method", HTTP_METHODS)
def test_known_methods_are_named(metrics: Metrics, method: str) -> None:
    metrics.http_request(method, "/", 200, 0.01)
    assert sample(metrics, "http_request_seconds_count", method=method, route="/", status="200") == 1


def test_invented_methods_share_one_series(metrics: Metrics) -> None:
    for number in range(50):
        metrics.http_request(f"BREW{number}", "/", 405, 0.01)
    assert sample(metrics, "http_request_seconds_count", method="other", route="/", status="405") == 50


def test_created_series_are_left_out(metrics: Metrics) -> None:
    assert not [name for name, _, _ in samples(metrics) if name.endswith("_created")]


def test_durations_are_in_seconds(metrics: Metrics) -> None:
    timed = [family.name for family in metrics.registry.collect() if family.type == "histogram"]
    assert all(re.search(r"_(seconds|sockets|notifications)$", name) for name in timed)


def test_two_nodes_in_one_process_do_not_share_counts(metrics: Metrics) -> None:
    metrics.event_received("ping")
    assert sample(Metrics("0.1.0", "node-2"), "websocket_events_received_total", event="ping") == 0


def test_a_gauge_by_transport_goes_up_and_down(metrics: Metrics) -> None:
    metrics.connected_sockets.inc("websocket", 2)
    metrics.connected_sockets.dec("websocket")
    assert sample(metrics, "websocket_connected_sockets", transport="websocket") == 1


@pytest.mark.parametrize(("vocabulary", "pattern"), WRITTEN, ids=["abort", "drop", "bus", "connect", "rate"])
def test_what_the_code_counts_is_in_the_vocabulary(vocabulary: tuple[str, ...], pattern: str) -> None:
    written = set(re.findall(pattern, SOURCES))
    assert written <= set(vocabulary)
