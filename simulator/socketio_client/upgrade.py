"""From long polling to websocket without loss or reorder.

Probe first, then let polling run dry, only then switch: `2probe` -> `3probe` -> both poll channels silent ->
`5` -> what was waiting. A probe that fails leaves polling as it was. Called by `session`.
"""

from collections.abc import Callable

from .codec.engineio import PROBE_PING, PROBE_PONG, UPGRADE_PACKET
from .codec.websocket import Familiar
from .connector import Caller
from .polling import PollingLink
from .transport import Link, LinkFailure
from .websocket import WebsocketLink


class Upgrade:
    """One attempt; owner of the probing websocket until the switch.

    switched(link): called in place of the old link, before any packet of the new one. failed(): polling goes
    on.
    """

    __slots__ = ("_failed", "_over", "_polling", "_probed", "_switched", "_websocket")

    def __init__(
        self,
        caller: Caller,
        polling: PollingLink,
        sid: str,
        switched: Callable[[WebsocketLink], None],
        failed: Callable[[], None],
        familiar: Familiar | None = None,
    ) -> None:
        self._polling = polling
        self._switched = switched
        self._failed = failed
        self._websocket = WebsocketLink(caller, self, sid, familiar)
        self._probed = False
        self._over = False

    def start(self) -> None:
        """Dial and probe."""
        self._websocket.open()

    def link_ready(self, link: Link, at_ns: int) -> None:
        """The WebSocket is open."""
        link.send(PROBE_PING)

    def packet(self, packet: bytes, at_ns: int) -> None:
        """Nothing but the answer to the probe may come."""
        if packet == PROBE_PONG and not self._probed:
            self._probed = True
            self._polling.silence(self._switch)
        else:
            self._give_up()

    def binary(self, payload: bytes, at_ns: int) -> None:
        """Not on a probe."""
        self._give_up()

    def link_lost(self, link: Link, failure: LinkFailure, at_ns: int) -> None:
        """The probe failed."""
        self._give_up()

    def _switch(self) -> None:
        if self._over:
            return
        self._over = True
        websocket = self._websocket
        websocket.send(UPGRADE_PACKET)
        for packet in self._polling.retire():
            websocket.send(packet)
        self._switched(websocket)

    def _give_up(self) -> None:
        if self._over:
            return
        self._over = True
        self._websocket.abort()
        self._polling.speak()
        self._failed()

    def cancel(self) -> None:
        """The session is over: stop probing and say nothing."""
        if not self._over:
            self._over = True
            self._websocket.abort()

    async def settled(self) -> None:
        """Wait until a cancelled probe has left nothing behind."""
        await self._websocket.settled()
