"""Domain: what people do, and what the service makes of it."""

from ..model import Board, Kind, Panel, Query, Row, Unit
from ..promql import NODE, per_s

BOARD: Board = Board(
    "vouchstorm-domain",
    "Vouchstorm / Domain",
    "What people do and what comes of it: validations, consensuses, notifications.",
    (
        Row(
            "Claims",
            (
                Panel(
                    "Validations",
                    "Accepted validations by answer.",
                    Unit.PER_SECOND,
                    (Query(per_s("validations_total", by="action"), "{{action}}"),),
                    stacked=True,
                ),
                Panel(
                    "Consensuses",
                    "Claims that were settled, by outcome.",
                    Unit.PER_SECOND,
                    (Query(per_s("consensus_total", by="outcome"), "{{outcome}}"),),
                    stacked=True,
                ),
                Panel(
                    "Validations per consensus",
                    "How many answers a settled claim took, over ten minutes.",
                    Unit.COUNT,
                    (
                        Query(
                            f"sum(increase(validations_total{{{NODE}}}[10m]))"
                            f" / (sum(increase(consensus_total{{{NODE}}}[10m])) > 0)"
                        ),
                    ),
                    Kind.NUMBER,
                ),
            ),
        ),
        Row(
            "Notifications",
            (
                Panel(
                    "Stored",
                    "Notifications stored, by type; exactly one for each effect, whatever was tried twice.",
                    Unit.PER_SECOND,
                    (Query(per_s("notifications_created_total", by="type"), "{{type}}"),),
                    stacked=True,
                ),
                Panel(
                    "Delivered live and replayed",
                    "Written live to at least one socket of their user, and sent again after an absence. "
                    "The rest are "
                    "of people who are not here.",
                    Unit.PER_SECOND,
                    (
                        Query(per_s("notifications_created_total"), "stored"),
                        Query(per_s("notifications_delivered_total"), "delivered live"),
                        Query(per_s("websocket_replayed_total"), "replayed"),
                    ),
                ),
                Panel(
                    "Repairs",
                    "Validations and settlements that a crash or an outage left unfinished and the "
                    "reconciler finished.",
                    Unit.PER_SECOND,
                    (Query(per_s("repairs_total", by="instance"), "{{instance}}"),),
                ),
            ),
        ),
    ),
)
