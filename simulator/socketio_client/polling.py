"""The long-polling transport: a GET that always hangs, and POSTs one after another.

Keeps order both ways: one GET and one POST at a time, later packets wait in a bounded outbox. For an upgrade
it can fall silent between two requests without losing anything. Called by `session` and `upgrade`.
"""

import time
from collections.abc import Callable
from typing import Final

from ..wire.http_channel import HttpChannel
from .codec.engineio import (
    BASE64,
    CLOSE_PACKET,
    DEFAULT_MAX_PAYLOAD_BYTES,
    Handshake,
    decode_base64,
    join_payload,
    split_payload,
)
from .codec.http import Response
from .connector import Caller
from .errors import ProtocolError
from .transport import LinkFailure, LinkOwner
from .websocket import http_refusal

MAX_PACKETS_PER_POST: Final = 16  # python-engineio refuses more
MAX_OUTBOX_BYTES: Final = 256 * 1024


class PollingLink:
    """Two HTTP channels and an outbox."""

    __slots__ = (
        "_caller",
        "_closing",
        "_done",
        "_gets",
        "_max_post_bytes",
        "_on_silent",
        "_outbox",
        "_outbox_bytes",
        "_posts",
        "_sid",
        "_target",
        "owner",
    )

    def __init__(self, caller: Caller, owner: LinkOwner) -> None:
        self._caller = caller
        self.owner = owner
        self._gets = HttpChannel(caller, self._polled, self._failed)
        self._posts = HttpChannel(caller, self._posted, self._failed)
        self._target = caller.endpoint.target("polling")
        self._sid: str | None = None
        self._max_post_bytes = DEFAULT_MAX_PAYLOAD_BYTES
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._on_silent: Callable[[], None] | None = None
        self._closing = False
        self._done = False

    def open(self) -> None:
        """Ask for a session; the OPEN packet comes in the answer."""
        self._gets.request("GET", self._target)

    def handshaken(self, handshake: Handshake) -> None:
        """From now on requests carry the sid."""
        self._sid = handshake.sid
        self._target = self._caller.endpoint.target("polling", handshake.sid)
        self._max_post_bytes = handshake.max_payload_bytes

    def send(self, packet: bytes) -> bool:
        """Put a packet into the outbox; False if it is full or there is no session."""
        if self._sid is None or self._done or self._closing:
            return False
        if self._outbox_bytes + len(packet) > MAX_OUTBOX_BYTES:
            return False
        self._outbox.append(packet)
        self._outbox_bytes += len(packet) + 1
        self._flush()
        return True

    def _flush(self) -> None:
        if not self._outbox or self._posts.busy or self._on_silent is not None:
            return
        batch = [self._outbox[0]]
        size = len(batch[0])
        for packet in self._outbox[1:MAX_PACKETS_PER_POST]:
            size += 1 + len(packet)
            if size > self._max_post_bytes:
                break
            batch.append(packet)
        del self._outbox[: len(batch)]
        body = join_payload(batch)
        self._outbox_bytes -= len(body) + 1
        self._posts.request("POST", self._target, body)

    def _polled(self, response: Response, at_ns: int) -> None:
        if response.status != 200:
            self._failed(http_refusal(response), at_ns)
            return
        try:
            for packet in split_payload(response.body):
                if packet[0] == BASE64:
                    self.owner.binary(decode_base64(packet), at_ns)
                else:
                    self.owner.packet(packet, at_ns)
                if self._done:
                    return
        except ProtocolError as error:
            self._failed(LinkFailure("protocol error", str(error)), at_ns)
            return
        if self._on_silent is None and not self._closing and not self._gets.busy:
            self._gets.request("GET", self._target)
        self._fall_silent()

    def _posted(self, response: Response, at_ns: int) -> None:
        if response.status != 200:
            self._failed(http_refusal(response), at_ns)
        elif self._closing and not self._outbox:
            self._failed(LinkFailure("transport close", "closed by the client"), at_ns)
        else:
            self._flush()
            self._fall_silent()

    def silence(self, on_silent: Callable[[], None]) -> None:
        """Start no further request; call `on_silent` once the ones in flight are answered."""
        self._on_silent = on_silent
        self._fall_silent()

    def _fall_silent(self) -> None:
        if self._on_silent is not None and not self._gets.busy and not self._posts.busy:
            self._on_silent()

    def speak(self) -> None:
        """Go on after a silence that led to nothing."""
        self._on_silent = None
        if not self._done:
            if not self._gets.busy:
                self._gets.request("GET", self._target)
            self._flush()

    def retire(self) -> list[bytes]:
        """End without a word, and give the packets that were never sent."""
        self._done = True
        self._gets.close()
        self._posts.close()
        return self._outbox

    def pause_reading(self) -> None:
        """Leave the answers of polls in the kernel."""
        self._gets.pause_reading()

    def resume_reading(self) -> None:
        """Take them again."""
        self._gets.resume_reading()

    def close(self) -> None:
        """Post what is left and a CLOSE packet; `link_lost` follows with the answer."""
        if not self.send(CLOSE_PACKET):
            failure = LinkFailure("transport close", "closed before it was open")
            self._failed(failure, time.monotonic_ns())
        self._closing = True

    def _failed(self, failure: LinkFailure, at_ns: int) -> None:
        if not self._done:
            self.retire()
            self.owner.link_lost(self, failure, at_ns)

    def abort(self) -> None:
        """Reset both connections; nothing is called afterwards."""
        self._done = True
        self._gets.abort()
        self._posts.abort()

    async def settled(self) -> None:
        """Wait until what `close` or `abort` began is done."""
        await self._gets.settled()
        await self._posts.settled()
