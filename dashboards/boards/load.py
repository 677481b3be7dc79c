"""Load test: what Locust sees, beside what the nodes say of the same seconds."""

from ..model import Board, Limit, Panel, Query, Row, Unit
from ..promql import level, per_s, quantile, ratio

LOCUST = 'job="locust"'
ALL_NODES = 'job="vouchstorm"'

BOARD: Board = Board(
    "vouchstorm-load",
    "Vouchstorm / Load test",
    "A load test by Locust: users, requests, pushes as the users saw them, and the nodes' own figures "
    "beside them.",
    (
        Row(
            "Locust",
            (
                Panel(
                    "Users and workers",
                    "Simulated users that are running, and the processes that run them.",
                    Unit.COUNT,
                    (
                        Query(level("locust_users", scope=LOCUST), "users"),
                        Query(level("locust_workers", scope=LOCUST), "workers"),
                    ),
                ),
                Panel(
                    "Requests",
                    "Requests, socket events and pushes by entry.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            per_s("locust_requests_total", by="type, name", scope=LOCUST), "{{type}} {{name}}"
                        ),
                    ),
                ),
                Panel(
                    "Failures",
                    "Failures as a share of all entries, losses that the ledgers found included.",
                    Unit.SHARE,
                    (
                        Query(
                            ratio(
                                per_s("locust_failures_total", scope=LOCUST),
                                per_s("locust_requests_total", scope=LOCUST),
                            )
                        ),
                    ),
                    limit=Limit(0.001, 0.01),
                ),
            ),
        ),
        Row(
            "The same from both sides",
            (
                Panel(
                    "Push p99",
                    "Locust: from the intended publishing to the receipt. Nodes: from the accepted request "
                    "to the write. "
                    "The difference is the network, the clients and the way of the request.",
                    Unit.SECONDS,
                    (
                        Query(
                            quantile(
                                0.99,
                                "locust_response_seconds",
                                by="name",
                                matching='type="PUSH"',
                                scope=LOCUST,
                            ),
                            "Locust {{name}}",
                        ),
                        Query(
                            quantile(0.99, "websocket_push_seconds", by="class", scope=ALL_NODES),
                            "nodes {{class}}",
                        ),
                    ),
                    width=12,
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Posting a validation p99",
                    "Seen by Locust and by the nodes.",
                    Unit.SECONDS,
                    (
                        Query(
                            quantile(
                                0.99,
                                "locust_response_seconds",
                                matching='name="POST /api/claims/[id]/validations"',
                                scope=LOCUST,
                            ),
                            "Locust",
                        ),
                        Query(
                            quantile(
                                0.99,
                                "http_request_seconds",
                                matching='method="POST",route="/api/claims/{claim_id}/validations"',
                                scope=ALL_NODES,
                            ),
                            "nodes",
                        ),
                    ),
                    width=12,
                    limit=Limit(0.5, 2.0),
                ),
                Panel(
                    "Connecting p99",
                    "Connecting, authenticating and catching up, as Locust's users saw it.",
                    Unit.SECONDS,
                    (
                        Query(
                            quantile(
                                0.99,
                                "locust_response_seconds",
                                by="name",
                                matching='name=~"connect|authenticate|replay"',
                                scope=LOCUST,
                            ),
                            "{{name}}",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    "Acknowledgements p99",
                    "Questions over the socket, as Locust's users saw them.",
                    Unit.SECONDS,
                    (
                        Query(
                            quantile(
                                0.99,
                                "locust_response_seconds",
                                by="name",
                                matching='name=~"ack:.*"',
                                scope=LOCUST,
                            ),
                            "{{name}}",
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
    ),
    by_node=False,
)
