"""What a session needs of a transport, and what a transport tells its owner: two Protocols and a failure.

A link carries Engine.IO packets. It calls its owner from the event loop only; after `link_lost`, or after
its owner called `abort`, it says nothing more.
"""

from dataclasses import dataclass
from typing import Protocol

from .codec.engineio import Handshake


@dataclass(frozen=True, slots=True)
class LinkFailure:
    """Why a link ended. reason: one of the words in `ClientHandler.on_disconnect`; detail: one sentence.

    status: the HTTP status that refused it, else None. retry_after_s: the server's hint with a 503.
    """

    reason: str
    detail: str
    status: int | None = None
    retry_after_s: float | None = None


class LinkOwner(Protocol):
    """Who a link works for."""

    def link_ready(self, link: "Link", at_ns: int) -> None:
        """The transport is up; packets may be sent. Polling links are ready from the start."""

    def packet(self, packet: bytes, at_ns: int) -> None:
        """One Engine.IO packet came."""

    def binary(self, payload: bytes, at_ns: int) -> None:
        """One binary Engine.IO message came."""

    def link_lost(self, link: "Link", failure: LinkFailure, at_ns: int) -> None:
        """The transport is gone; called once at most."""


class Link(Protocol):
    """A way to the server. owner may be exchanged at any time."""

    owner: LinkOwner

    def open(self) -> None:
        """Begin to connect."""

    def handshaken(self, handshake: Handshake) -> None:
        """The owner read the OPEN packet: its sid and bounds hold from now on."""

    def send(self, packet: bytes) -> bool:
        """Send one text packet; False if the write buffer is full or the link is not up: nothing is kept."""

    def pause_reading(self) -> None:
        """Leave incoming bytes in the kernel."""

    def resume_reading(self) -> None:
        """Take them again."""

    def close(self) -> None:
        """End in the transport's polite way; `link_lost` follows when the server went along."""

    def abort(self) -> None:
        """Reset the connections now; nothing is called afterwards."""

    async def settled(self) -> None:
        """Wait until what `close` or `abort` began is done: no connection and no task is left."""
