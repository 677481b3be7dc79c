"""What of a node must be as before once the churn is over, and what memory a connection may leave behind.

Sizes of rooms, tasks and queues must return to the base line exactly or nearly; of memory the growth per
connection is bounded, since allocators keep what they once had. Pure; called by the soak and its tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Sample = Mapping[str, float]

RESTING = {
    "websocket_rooms": 0,
    "websocket_connected_users": 0,
    "websocket_push_queue_events": 0,
    "websocket_slow_sockets": 0,
    "websocket_slow_bytes": 0,
    "websocket_handshakes_at_work": 0,
    "websocket_handshakes_waiting": 0,
    "notifications_pending": 0,
    "bus_queue_messages": 0,
    "event_loop_tasks": 2,
    "process_open_fds": 2,
}
"""Gauge -> how far it may be from its base line."""
SOCKETS = "websocket_connected_sockets"
BLOCKS = "interpreter_blocks"
MEMORY = "process_resident_memory_bytes"
BLOCKS_PER_CONNECTION = 1.0
"""A forgotten session is dozens of objects; caches that fill while it runs are not as many as connections."""
BLOCKS_TO_SPARE = 15_000
"""What 60 users, 30 claims and their caches are, for runs too short to fill them before the base line."""
BYTES_PER_CONNECTION = 2_048
BYTES_TO_SPARE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Growth:
    """Of the node over the churn. slope: resident bytes per hour over the second half, for the report."""

    connections: int
    minutes: float
    blocks: int
    resident_bytes: int
    slope_bytes_per_h: float
    tasks: int
    descriptors: int
    rooms: int

    def document(self) -> dict[str, Any]:
        """As it stands in the report."""
        return asdict(self)


def sockets(sample: Sample) -> float:
    """Open sockets of all transports."""
    return sum(value for name, value in sample.items() if name.startswith(SOCKETS))


def is_at_rest(sample: Sample) -> bool:
    """Has everybody left?"""
    return sockets(sample) == 0 and sample["websocket_handshakes_at_work"] == 0


def growth(base: Sample, end: Sample, series: Sequence[tuple[float, Sample]], connections: int) -> Growth:
    """series: (seconds since the beginning, sample) during the churn, in order."""
    half = series[len(series) // 2 :]
    return Growth(
        connections=connections,
        minutes=round(series[-1][0] / 60, 2) if series else 0.0,
        blocks=round(end[BLOCKS] - base[BLOCKS]),
        resident_bytes=round(end[MEMORY] - base[MEMORY]),
        slope_bytes_per_h=round(3_600 * _slope([(at_s, each[MEMORY]) for at_s, each in half])),
        tasks=round(end["event_loop_tasks"] - base["event_loop_tasks"]),
        descriptors=round(end["process_open_fds"] - base["process_open_fds"]),
        rooms=round(end["websocket_rooms"] - base["websocket_rooms"]),
    )


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def leaks(base: Sample, end: Sample, connections: int) -> list[str]:
    """Sentences about what did not return; none for a node that forgets."""
    found = [
        f"{name} was {base[name]:g} and is {end[name]:g} after {connections} connections"
        for name, tolerance in RESTING.items()
        if end[name] - base[name] > tolerance
    ]
    blocks = end[BLOCKS] - base[BLOCKS]
    if blocks > BLOCKS_TO_SPARE + connections * BLOCKS_PER_CONNECTION:
        found.append(f"{blocks:.0f} objects more after {connections} connections")
    resident = end[MEMORY] - base[MEMORY]
    if resident > BYTES_TO_SPARE + connections * BYTES_PER_CONNECTION:
        found.append(f"{resident / 1024:.0f} KiB of memory more after {connections} connections")
    return found
