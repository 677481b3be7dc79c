"""What a run found, in short: a sound one of ten clients, to be changed where a test looks."""

from typing import Any

from simulator.result import Findings, Host


def findings(p99_ms: float = 20.0, **changes: Any) -> Findings:
    """p99_ms: of the fan-out. changes: whole tables (`ledger={...}`), or one value (`ledger__lost=1`)."""
    body: dict[str, Any] = {
        "scenario": {"name": "demo"},
        "seed": 7,
        "target": "http://127.0.0.1:1",
        "versions": {"vouchstorm": "1"},
        "host": Host(),
        "started_at": "2026-01-01T00:00:00Z",
        "connections": {"attempted": 10, "established": 10},
        "publishes": {"scheduled": 100, "sent": 100, "accepted": 100},
        "ledger": {"expected": 50, "live": 50, "received": 50},
        "latency_ms": {"fanout": {"count": 50, "p50": p99_ms / 5, "p99": p99_ms}},
    }
    for path, value in changes.items():
        table, _, name = path.partition("__")
        body[table] = {**body.get(table, {}), name: value} if name else value
    return Findings.model_validate(body)
