"""Reconnect storm: both sides of it on one time line."""

from ..model import Board, Kind, Limit, Mark, Panel, Query, Row, Unit
from ..promql import busy, level, per_s, quantile
from .overview import DOWN, DRAINING

SIMULATOR = 'job="simulator"'

BOARD: Board = Board(
    "vouchstorm-storm",
    "Vouchstorm / Reconnect storm",
    "What happens when many clients drop at once: the simulator's view above, the servers' below, one time "
    "line.",
    (
        Row(
            "Seen by the clients (simulator)",
            (
                Panel(
                    "Connected",
                    "Simulated clients: wanted, connected, and on their way back.",
                    Unit.COUNT,
                    (
                        Query(level("simulator_clients", scope=SIMULATOR), "wanted"),
                        Query(level("simulator_connected_clients", scope=SIMULATOR), "connected"),
                        Query(level("simulator_reconnecting_clients", scope=SIMULATOR), "reconnecting"),
                    ),
                ),
                Panel(
                    "Latency from the intended time",
                    "From the moment a message should have been published until a client received it, over "
                    "the last "
                    "two seconds.",
                    Unit.SECONDS,
                    (
                        Query(f'simulator_latency_seconds{{{SIMULATOR},quantile="0.5"}}', "p50"),
                        Query(f'simulator_latency_seconds{{{SIMULATOR},quantile="0.99"}}', "p99"),
                    ),
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Messages",
                    "Published and received by the simulator, and publishes that failed.",
                    Unit.PER_SECOND,
                    (
                        Query(per_s("simulator_published_total", scope=SIMULATOR), "published"),
                        Query(per_s("simulator_events_received_total", scope=SIMULATOR), "received"),
                        Query(per_s("simulator_publish_failures_total", scope=SIMULATOR), "failed"),
                    ),
                ),
                Panel(
                    "Fan-out, every receipt",
                    "The same latency, from the histogram of all receipts so far.",
                    Unit.SECONDS,
                    (
                        Query(quantile(0.5, "simulator_fanout_seconds", scope=SIMULATOR), "p50"),
                        Query(quantile(0.99, "simulator_fanout_seconds", scope=SIMULATOR), "p99"),
                    ),
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Receipts by kind",
                    "First receipts of messages. Overdue: did not come in time to clients that were there.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            per_s("simulator_messages_received_total", by="kind", scope=SIMULATOR), "{{kind}}"
                        ),
                        Query(per_s("simulator_overdue_messages_total", scope=SIMULATOR), "overdue"),
                    ),
                ),
                Panel(
                    "Is the harness itself in time?",
                    "Worst event loop lag of the generator: beyond the limit, do not blame the server.",
                    Unit.SECONDS,
                    (Query(f"max(simulator_loop_lag_seconds{{{SIMULATOR}}})", "loop lag"),),
                    width=4,
                    limit=Limit(0.025, 0.1),
                ),
                Panel(
                    "Late publishes",
                    "Publishes that the generator sent too late, by its own fault.",
                    Unit.PER_SECOND,
                    (Query(per_s("simulator_late_publishes_total", scope=SIMULATOR), "late"),),
                    width=4,
                ),
            ),
        ),
        Row(
            "Seen by the nodes",
            (
                Panel(
                    "Sockets",
                    "Open sockets by node and transport.",
                    Unit.COUNT,
                    (
                        Query(
                            level("websocket_connected_sockets", by="instance, transport"),
                            "{{instance}} {{transport}}",
                        ),
                    ),
                    stacked=True,
                ),
                Panel(
                    "Connects",
                    "Connection attempts by outcome.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_connects_total", by="outcome"), "{{outcome}}"),),
                ),
                Panel(
                    "Disconnects",
                    "Closed sockets by reason.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_disconnects_total", by="reason"), "{{reason}}"),),
                ),
                Panel(
                    "Handshakes",
                    "Sockets between their opening and the answer to CONNECT, and openings that wait for "
                    "their turn: only so many are let in at once, so that those inside do not suffer.",
                    Unit.COUNT,
                    (
                        Query(level("websocket_handshakes_at_work", by="instance"), "at work {{instance}}"),
                        Query(level("websocket_handshakes_waiting", by="instance"), "waiting {{instance}}"),
                    ),
                ),
                Panel(
                    "Refused connections",
                    "Refusals by code: expired tokens, a draining node, a full one.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_connect_refusals_total", by="code"), "{{code}}"),),
                ),
                Panel(
                    "Event loop lag p99",
                    "What the storm does to the clients that stayed.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "event_loop_lag_seconds", by="instance"), "{{instance}}"),),
                    limit=Limit(0.05, 0.1),
                ),
                Panel(
                    "Push p99",
                    "Push latency by node while the storm lasts.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "websocket_push_seconds", by="instance"), "{{instance}}"),),
                    limit=Limit(0.25, 1.0),
                ),
            ),
        ),
        Row(
            "Catching up",
            (
                Panel(
                    "Recoveries",
                    "How clients were caught up: nothing missed, replayed, the first part of it, or told to "
                    "reload.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_recovery_total", by="outcome"), "{{outcome}}"),),
                ),
                Panel(
                    "Replayed notifications",
                    "Notifications that were sent again because their client was away.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_replayed_total", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Replay size",
                    "Notifications sent to one client at once.",
                    Unit.COUNT,
                    (
                        Query(quantile(0.5, "websocket_replay_notifications"), "p50"),
                        Query(quantile(0.99, "websocket_replay_notifications"), "p99"),
                    ),
                ),
                Panel(
                    "Told to reload",
                    "Clients that could not be caught up and were told so, over five minutes. Never silent, "
                    "never good.",
                    Unit.COUNT,
                    (
                        Query(
                            'sum(increase(websocket_recovery_total{job="vouchstorm",instance=~"$node",'
                            'outcome="unrecoverable"}[5m]))'
                        ),
                    ),
                    Kind.NUMBER,
                    height=4,
                    limit=Limit(1, 10),
                ),
            ),
        ),
    ),
    (
        Mark("Clients away", f"simulator_reconnecting_clients{{{SIMULATOR}}} > 0", "purple"),
        Mark("Fault", f"simulator_fault{{{SIMULATOR}}} == 1", "red"),
        Mark("Phase", f"simulator_phase{{{SIMULATOR}}} == 1", "blue"),
        DRAINING,
        DOWN,
    ),
)
