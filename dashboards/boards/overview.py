"""Overview: is the service well, who is here, how much is going on?"""

from ..model import Board, Kind, Limit, Mark, Panel, Query, Row, Unit
from ..promql import JOB, NODE, busy, level, per_s, quantile, ratio

DRAINING = Mark(
    "Clients sent away", f'sum(increase(websocket_aborts_total{{{JOB},reason="draining"}}[1m])) > 0'
)
DOWN = Mark("Node down", f"up{{{JOB}}} == 0", "red")

_HTTP = "http_request_seconds"
_ERRORS = per_s(f"{_HTTP}_count", matching='status=~"5.."')

BOARD: Board = Board(
    "vouchstorm-overview",
    "Vouchstorm / Overview",
    "Is the service well, who is here, how much is going on? Start here, then follow the links.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Pushes within 250 ms",
                    "Share of pushes that were written to all their sockets within 250 ms of the accepted "
                    "request, "
                    "over five minutes. The service level asks for 99 %.",
                    Unit.SHARE,
                    (Query("1 - vouchstorm:push_slow:ratio_rate5m"),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                    limit=Limit(0.99, 0.95, low=True),
                ),
                Panel(
                    "Push p99",
                    "99th percentile from the accepted request to the write to the last socket.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "websocket_push_seconds")),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Users",
                    "Authenticated users with a socket, summed over the nodes: who is on two nodes counts "
                    "twice.",
                    Unit.COUNT,
                    (Query(level("websocket_connected_users")),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Sockets",
                    "Open sockets, whoever they belong to.",
                    Unit.COUNT,
                    (Query(level("websocket_connected_sockets")),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Nodes answering",
                    "Nodes whose metrics could be scraped, of those configured.",
                    Unit.SHARE,
                    (Query(f"sum(up{{{NODE}}}) / count(up{{{NODE}}})"),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                    limit=Limit(1, 0.5, low=True),
                ),
                Panel(
                    "HTTP errors",
                    "Share of requests answered with 5xx.",
                    Unit.SHARE,
                    (Query(ratio(_ERRORS, per_s(f"{_HTTP}_count"))),),
                    Kind.NUMBER,
                    width=4,
                    height=4,
                    limit=Limit(0.001, 0.01),
                ),
            ),
        ),
        Row(
            "Service level",
            (
                Panel(
                    "Push latency",
                    "From the accepted request until the event is written to the last of its sockets on "
                    "each node. "
                    "Durable: notifications. Snapshot: live counts and percentages.",
                    Unit.SECONDS,
                    (
                        Query(quantile(0.5, "websocket_push_seconds", by="class"), "p50 {{class}}"),
                        Query(quantile(0.99, "websocket_push_seconds", by="class"), "p99 {{class}}"),
                    ),
                    width=12,
                    limit=Limit(0.25, 1.0),
                ),
                Panel(
                    "Error budget burn",
                    "How many times faster than allowed the 1 % of slow pushes is used up; 1 lasts exactly "
                    "the month. "
                    "Above 14.4 over an hour, or 6 over six hours, somebody is woken.",
                    Unit.COUNT,
                    (
                        Query("vouchstorm:push_slow:ratio_rate5m / 0.01", "5 min"),
                        Query("vouchstorm:push_slow:ratio_rate1h / 0.01", "1 h"),
                        Query("vouchstorm:push_slow:ratio_rate6h / 0.01", "6 h"),
                    ),
                    width=12,
                    limit=Limit(6, 14.4),
                ),
            ),
        ),
        Row(
            "Traffic",
            (
                Panel(
                    "HTTP requests",
                    "Requests answered, by status.",
                    Unit.PER_SECOND,
                    (Query(per_s(f"{_HTTP}_count", by="status"), "{{status}}"),),
                    stacked=True,
                ),
                Panel(
                    "HTTP p99 by route",
                    "From the request's head to the last byte of its answer.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, _HTTP, by="route"), "{{route}}"),),
                    limit=Limit(0.5, 2.0),
                ),
                Panel(
                    "Requests in flight",
                    "Requests being answered at the moment of the scrape.",
                    Unit.COUNT,
                    (Query(level("http_requests_in_flight", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Events to clients",
                    "Events written, once per socket.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_events_emitted_total", by="event"), "{{event}}"),),
                    stacked=True,
                ),
                Panel(
                    "Events from clients",
                    "Events received, by name; `unknown` are names outside the contract.",
                    Unit.PER_SECOND,
                    (Query(per_s("websocket_events_received_total", by="event"), "{{event}}"),),
                    stacked=True,
                ),
                Panel(
                    "Refused",
                    "Client events refused by code, requests and events refused as too many by scope, and "
                    "HTTP clients that were too slow.",
                    Unit.PER_SECOND,
                    (
                        Query(busy("websocket_events_refused_total", by="code"), "event: {{code}}"),
                        Query(busy("rate_limited_total", by="scope"), "limit: {{scope}}"),
                        Query(per_s("http_abandoned_total"), "HTTP client too slow"),
                    ),
                ),
                Panel(
                    "Limits judged without the others",
                    "Requests that a node judged alone because the shared counts did not answer, and "
                    "newcomers who passed uncounted because too many are counted. 0 when all is well.",
                    Unit.PER_SECOND,
                    (
                        Query(per_s("rate_limits_alone_total"), "alone"),
                        Query(per_s("rate_limits_uncounted_total"), "uncounted"),
                    ),
                ),
            ),
        ),
        Row(
            "Resources",
            (
                Panel(
                    "CPU",
                    "Processor time per second; a node is one thread for most of its work, so 1 is full.",
                    Unit.COUNT,
                    (Query(per_s("process_cpu_seconds_total", by="instance"), "{{instance}}"),),
                    limit=Limit(0.7, 0.9),
                ),
                Panel(
                    "Memory",
                    "Resident memory of each node.",
                    Unit.BYTES,
                    (Query(level("process_resident_memory_bytes", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Event loop lag p99",
                    "How late the event loop runs what was due: the first thing that grows when a node is "
                    "full.",
                    Unit.SECONDS,
                    (Query(quantile(0.99, "event_loop_lag_seconds", by="instance"), "{{instance}}"),),
                    limit=Limit(0.05, 0.1),
                ),
                Panel(
                    "Open files",
                    "Open descriptors as a share of the limit: sockets are descriptors.",
                    Unit.SHARE,
                    (Query(f"process_open_fds{{{NODE}}} / process_max_fds{{{NODE}}}", "{{instance}}"),),
                    limit=Limit(0.7, 0.9),
                ),
                Panel(
                    "Tasks of the event loop",
                    "Tasks that live: follows the sockets; what grows while they do not is a leak.",
                    Unit.COUNT,
                    (Query(level("event_loop_tasks", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Blocks of the interpreter",
                    "Memory blocks that Python objects occupy: level in a long run, or something leaks.",
                    Unit.COUNT,
                    (Query(level("interpreter_blocks", by="instance"), "{{instance}}"),),
                ),
                Panel(
                    "Versions",
                    "Nodes by the build they run: two lines during a deploy, one otherwise.",
                    Unit.COUNT,
                    (Query(f"count by (version) (vouchstorm_build_info{{{NODE}}})", "{{version}}"),),
                ),
                Panel(
                    "Restarts",
                    "Times that a node's process began anew, over ten minutes.",
                    Unit.COUNT,
                    (
                        Query(
                            f"sum by (instance) (changes(process_start_time_seconds{{{NODE}}}[10m]))",
                            "{{instance}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
    (DRAINING, DOWN),
)
