"""The figures of the client bench: medians, ratios, targets, Markdown. Pure."""

import statistics
from collections.abc import Mapping
from typing import Any

from .thresholds import Bound

Results = dict[str, list[dict[str, Any]]]
"""Client -> its repetitions, each with its figures or with the reason why it is `invalid`."""
TITLES = {
    "floor": "floor: one read, no client",
    "lean": "ours, without ledger",
    "ledger": "ours, with ledger",
    "picows": "picows, Socket.IO by hand",
    "asyncclient": "socketio.AsyncClient",
    "locust_ours": "our Locust user",
    "locust_own": "Locust's SocketIOUser",
    "artillery": "Artillery",
}
CLIENT_TARGETS = (
    Bound("ledger_cpu_us", "ours with ledger, us per message", 7),
    Bound("ledger_kib", "ours with ledger, KiB per connection", 20),
    Bound("locust_own_over_ours", "Locust's SocketIOUser / our Locust user", 5, True),
)


def summary(results: Results) -> dict[str, dict[str, float]]:
    """Client -> figure -> median of the valid repetitions."""
    figures = {}
    for name, found in results.items():
        valid = [result for result in found if "invalid" not in result]
        if valid:
            figures[name] = {
                key: round(statistics.median(result[key] for result in valid), 2)
                for key in ("cpu_us_per_message", "kib_per_connection")
            }
    return figures


def ratios(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """What the targets are about, as far as it was measured."""
    found = {}
    if "ledger" in figures:
        found["ledger_cpu_us"] = figures["ledger"]["cpu_us_per_message"]
        found["ledger_kib"] = figures["ledger"]["kib_per_connection"]
    if "locust_own" in figures and "locust_ours" in figures:
        own, ours = (figures[name]["cpu_us_per_message"] for name in ("locust_own", "locust_ours"))
        found["locust_own_over_ours"] = round(own / ours, 2)
    return found


def table(clients: Mapping[str, Any]) -> list[str]:
    """The Markdown of that part; no lines when clients were not measured."""
    if not clients:
        return []
    plan = clients["plan"]
    pushes = f"{plan['clients']:,} connections, {plan['per_s']:g} pushes a second to each"
    lines = [
        "",
        f"Clients: {pushes}, medians of {plan['repetitions']} alternating repetitions.",
        "",
        "| client | CPU us per received message | KiB per connection |",
        "|---|---:|---:|",
    ]
    for name, figure in clients["figures"].items():
        cpu_us, kib = figure["cpu_us_per_message"], figure["kib_per_connection"]
        lines.append(f"| {TITLES[name]} | {cpu_us:.1f} | {kib:.1f} |")
    lines += ["", "| target | wanted | measured | |", "|---|---:|---:|---|"]
    for target in CLIENT_TARGETS:
        figure = clients["ratios"].get(target.name)
        if figure is not None:
            met = "met" if target.met(figure) else "missed"
            lines.append(f"| {target.title} | {target.wanted} | {figure:.2f} | {met} |")
    lines += [f"\nNot measured: {name}: {reason}." for name, reason in clients["absent"].items()]
    source = clients.get("source")
    if source is not None:
        lines += ["", f"- `{source['command']}` ({source['commit']}, {source['started_at']})."]
    return lines
