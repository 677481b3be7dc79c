"""Bus and nodes: do the nodes hear each other, is the load spread, does the store keep up?"""

from ..model import Board, Limit, Mark, Panel, Query, Row, Unit
from ..promql import JOB, NODE, level, lowest, per_s, quantile
from .overview import DOWN, DRAINING

_STORE_ERRORS = per_s("store_errors_total", by="kind")
_NO_ERRORS = f'label_replace(0 * {per_s("store_call_seconds_count")}, "kind", "none", "", "")'
"""Errors have no series before the first one."""

BOARD: Board = Board(
    "vouchstorm-bus",
    "Vouchstorm / Bus and nodes",
    "Do the nodes hear each other, is the load spread over them, does the store keep up?",
    (
        Row(
            "Bus",
            (
                Panel(
                    "Hears itself",
                    "1 while the node's heartbeat comes back through the bus (or there is no bus). 0: it is "
                    "deaf (one of its workers is), its "
                    "clients get other nodes' events late, by comparison with the store.",
                    Unit.COUNT,
                    (Query(lowest("bus_connected", by="instance"), "{{instance}}"),),
                    limit=Limit(1, 1, low=True),
                ),
                Panel(
                    "Heartbeat round trip p99",
                    "How long a message takes through the bus and back.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "bus_heartbeat_seconds", by="instance"), "{{instance}}"),),
                    limit=Limit(0.05, 0.5),
                ),
                Panel(
                    "Nodes heard",
                    "How many nodes each node hears, itself included: equal lines when all is well.",
                    Unit.COUNT,
                    (Query(lowest("bus_nodes", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Messages",
                    "Messages between nodes: published, received for a room with members, ignored, failed.",
                    Unit.PER_SECOND,
                    (Query(per_s("bus_messages_total", by="direction"), "{{direction}}"),),
                ),
                Panel(
                    "Waiting to be published",
                    "Messages in the publisher's queue; grows while Redis does not answer.",
                    Unit.COUNT,
                    (Query(level("bus_queue_messages", by="instance"), "{{instance}}"),),
                    limit=Limit(1_000, 25_000),
                ),
                Panel(
                    "Gaps",
                    "Times that messages may have been missed, and gaps closed from the store, over five "
                    "minutes; open: workers that are not caught up yet.",
                    Unit.COUNT,
                    (
                        Query(
                            f"sum by (instance) (increase(bus_gaps_total{{{NODE}}}[5m]))", "gap {{instance}}"
                        ),
                        Query(
                            f"sum by (instance) (increase(bus_gaps_closed_total{{{NODE}}}[5m]))",
                            "closed {{instance}}",
                        ),
                        Query(level("bus_gap_open", by="instance"), "open {{instance}}"),
                    ),
                ),
                Panel(
                    "Users found behind",
                    "Users that a comparison with the store found behind, and caught up.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_behind_total", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Holes looked up",
                    "Notifications that came before an earlier one, which was then read from the store.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_holes_total", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Push p99 by node",
                    "A node that is far above the others is overloaded, or hears the bus late.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "websocket_push_seconds", by="instance"), "{{instance}}"),),
                    limit=Limit(0.25, 1.0),
                ),
            ),
        ),
        Row(
            "Balance",
            (
                Panel(
                    "Users by node",
                    "Authenticated users with a socket on the node.",
                    Unit.COUNT,
                    (Query(level("websocket_connected_users", by="instance"), "{{instance}}"),),
                    stacked=True,
                ),
                Panel(
                    "Sockets of the fullest node",
                    "Sockets of the node with most of them over the average: 1 is perfect balance.",
                    Unit.COUNT,
                    (Query("vouchstorm:sockets:imbalance"),),
                    limit=Limit(1.5, 2.0),
                ),
                Panel(
                    "Scrape duration",
                    "What reading the metrics costs each node.",
                    Unit.SECONDS,
                    (Query(f"scrape_duration_seconds{{{NODE}}}", "{{instance}}"),),
                    limit=Limit(0.1, 1.0),
                ),
            ),
        ),
        Row(
            "Store",
            (
                Panel(
                    "Store p99",
                    "Duration of store calls, by method; the slowest that are called often decide a write's "
                    "latency.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "store_call_seconds", by="method"), "{{method}}"),),
                    limit=Limit(0.1, 1.0),
                ),
                Panel(
                    "Store calls",
                    "Calls by method.",
                    Unit.PER_SECOND,
                    (Query(per_s("store_call_seconds_count", by="method"), "{{method}}"),),
                    stacked=True,
                ),
                Panel(
                    "Store errors",
                    "Calls that raised: refused by a rule (normal), unavailable, or a bug.",
                    Unit.PER_SECOND,
                    (Query(f"{_STORE_ERRORS} or {_NO_ERRORS}", "{{kind}}"),),
                ),
            ),
        ),
    ),
    (Mark("Deaf node", f"bus_connected{{{JOB}}} == 0", "red"), DRAINING, DOWN),
)
