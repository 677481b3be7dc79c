"""Fan-out: from one event to many sockets, and what slow clients cost."""

from ..model import Board, Limit, Panel, Query, Row, Unit
from ..promql import busy, level, per_s, quantile
from .overview import DOWN, DRAINING

BOARD: Board = Board(
    "vouchstorm-fanout",
    "Vouchstorm / Fan-out",
    "From one event to many sockets: how fast, how many at once, how much is saved, and what slow clients "
    "cost.",
    (
        Row(
            "Speed",
            (
                Panel(
                    "Push latency",
                    "From the accepted request until the event is written to the last of its sockets here.",
                    Unit.SECONDS,
                    (
                        Query(quantile(0.5, "websocket_push_seconds"), "p50"),
                        Query(quantile(0.95, "websocket_push_seconds"), "p95"),
                        Query(quantile(0.99, "websocket_push_seconds"), "p99"),
                    ),
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Flush duration",
                    "The part of it that is ours: from handing an event to the flusher until it is written.",
                    Unit.SECONDS,
                    (
                        Query(quantile(0.5, "websocket_emit_seconds"), "p50"),
                        Query(quantile(0.99, "websocket_emit_seconds"), "p99"),
                    ),
                    limit=Limit(0.05, 0.25),
                ),
                Panel(
                    "Sockets per event",
                    "How many sockets one flush wrote to.",
                    Unit.COUNT,
                    (
                        Query(quantile(0.5, "websocket_fanout_sockets"), "p50"),
                        Query(quantile(0.99, "websocket_fanout_sockets"), "p99"),
                    ),
                ),
            ),
        ),
        Row(
            "Work",
            (
                Panel(
                    "Writes",
                    "Events written, once per socket, by node.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_events_emitted_total", by="instance"), "{{instance}}"),),
                    stacked=True,
                ),
                Panel(
                    "Events per flush",
                    "How many pushes left in one write: 1 when idle, more under load. This is what "
                    "coalescing saves.",
                    Unit.COUNT,
                    (
                        Query(
                            f"{per_s('websocket_flushed_events_total', by='instance')}"
                            f" / ({per_s('websocket_flushes_total', by='instance')} > 0)",
                            "{{instance}}",
                        ),
                    ),
                ),
                Panel(
                    "Live updates spared",
                    "Live counts that a newer version of the same claim replaced before they were sent.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_superseded_total", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Waiting for fan-out",
                    "Events in the flusher's queue at the moment of the scrape; bounded by "
                    "`push_queue_events`.",
                    Unit.COUNT,
                    (Query(level("websocket_push_queue_events", by="instance"), "{{instance}}"),),
                    limit=Limit(1_000, 50_000),
                ),
                Panel(
                    "Dropped",
                    "Events not delivered live, by class and reason. Durable ones come again by replay.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_dropped_total", by="class, reason"), "{{class}} {{reason}}"),),
                    limit=Limit(0.1, 10),
                ),
                Panel(
                    "Rooms",
                    "Rooms with a member on the node. It must come back down when people leave.",
                    Unit.COUNT,
                    (Query(level("websocket_rooms", by="instance"), "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "Slow clients",
            (
                Panel(
                    "Paused sockets",
                    "Sockets whose peer does not read: nothing more is written until it does, or is aborted.",
                    Unit.COUNT,
                    (Query(level("websocket_slow_sockets", by="instance"), "{{instance}}"),),
                    limit=Limit(10, 100),
                ),
                Panel(
                    "Pauses",
                    "Times that a socket became slow.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_slowed_total", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Bytes held for slow sockets",
                    "Memory that waits for peers which do not read; bounded per socket.",
                    Unit.BYTES,
                    (Query(level("websocket_slow_bytes", by="instance"), "{{instance}}"),),
                    limit=Limit(50e6, 500e6),
                ),
                Panel(
                    "Aborted sockets",
                    "Sockets that the node ended, by reason: `stuck` and `overflow` are slow clients.",
                    Unit.PER_SECOND,
                    (Query(busy("websocket_aborts_total", by="reason"), "{{reason}}"),),
                    width=12,
                ),
                Panel(
                    "Notifications waiting",
                    "Notifications that wait for an earlier one of their user, or for a socket that does "
                    "not read.",
                    Unit.COUNT,
                    (Query(level("notifications_pending", by="instance"), "{{instance}}"),),
                    width=12,
                ),
            ),
        ),
    ),
    (DRAINING, DOWN),
)
