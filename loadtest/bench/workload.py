"""What every contestant is asked to do: the same event, the same rooms, the same tokens.

Pure. Each server is handed these values on its command line or reads them here; the crowd counts what
starts with `EVENT_PREFIX` and nothing else.
"""

import json
from dataclasses import dataclass
from typing import Any

SECRET = "bench-only-secret-of-at-least-32-characters"  # noqa: S105 - guards nothing
ROOM = "live"
EVENT = "consensus_update"
SOCKET_PATH = "/ws/socket.io/"
EVENT_PREFIX = b'42["consensus_update",'
FIRST_NUMBER = 1_000_000
"""Events are numbered from here, so that each has the same length."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """port: 0 takes a free one. users: known to the contestant that has a store."""

    port: int = 0
    users: int = 5_000
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    bus_url: str | None = None


def payload(number: int) -> dict[str, Any]:
    """The data of one event: about 150 bytes on the wire with its envelope."""
    return {
        "v": 1,
        "claim_id": "01JZX4M9Q7T2V5B8N3K6H1D0CF",
        "vouch": 61.5,
        "dispute": 30.8,
        "unsure": 7.7,
        "version": number,
        "status": "open",
    }


def notification(number: int) -> dict[str, Any]:
    """The data of one user's notification."""
    return {
        "v": 1,
        "id": f"01JZX4M9Q7T2V5B8{number:010d}",
        "seq": 1,
        "type": "system",
        "title": "Consensus reached",
        "message": "Your claim was verified with 66.7 % of 12 validations.",
        "priority": "medium",
        "action_url": "/claims/01JZX4M9Q7T2V5B8N3K6H1D0CF",
        "data": {},
        "read": False,
        "created_at": "2026-01-01T00:00:00+00:00",
    }


def absent_user_id(number: int) -> str:
    """A user who is connected to no node of the benchmark."""
    return f"bench-absent-{number:06d}"


def packet(number: int) -> bytes:
    """The event as an Engine.IO message, ready to be framed."""
    return b"4" + f'2["{EVENT}",{json.dumps(payload(number), separators=(",", ":"))}]'.encode()


def user_id(number: int) -> str:
    return f"bench-user-{number:06d}"
