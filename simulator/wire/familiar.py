"""What many clients read at the same time: a read of a fan-out is the same bytes for all, taken apart once.

One for all clients of a process, like the sweep. Bounded: forgets everything when full, and never remembers
long reads. Called by `websocket` (frames of a read) and `session` (name and arguments of a packet).
"""

from typing import Final

MAX_READS: Final = 4_096
MAX_READ_BYTES: Final = 2_048


class Familiar:
    """frames: a read -> its text messages, of reads that hold whole text frames only. events: a packet ->
    name and raw arguments, of plain events of the one namespace that all clients of a process share."""

    __slots__ = ("events", "frames")

    def __init__(self) -> None:
        self.frames: dict[bytes, tuple[tuple[int, bytes], ...]] = {}
        self.events: dict[bytes, tuple[str, bytes]] = {}

    def note_read(self, data: bytes, messages: tuple[tuple[int, bytes], ...]) -> None:
        """The whole text frames of a read."""
        if len(data) <= MAX_READ_BYTES:
            if len(self.frames) >= MAX_READS:
                self.frames.clear()
            self.frames[data] = messages

    def note_event(self, packet: bytes, event: tuple[str, bytes]) -> None:
        """Name and arguments of a packet."""
        if len(packet) <= MAX_READ_BYTES:
            if len(self.events) >= MAX_READS:
                self.events.clear()
            self.events[packet] = event
