"""One simulated client: between the wire, which calls it, and the books, which it keeps.

Profiles derive from `VirtualClient` and say what to send when connecting, what an event means and when the client
is ready. The base keeps presence and outages right whatever a profile does.
"""

import asyncio
from collections.abc import Mapping

from ..ledger.broadcasts import NEVER_NS
from ..ledger.disconnects import Disconnects
from ..ledger.ledger import Ledger
from ..socketio_client import LeanClient


class VirtualClient:
    """Client `index` of this process, `number` of the run.

    ready_ns: when it was first ready (connected, authenticated, let into its rooms); 0 before.
    here: connected and ready now. deaf_since_ns: when it stopped reading, NEVER_NS while it reads.
    leaving: the run is over, a lost connection is no outage any more.
    """

    __slots__ = (
        "_waiter",
        "client",
        "deaf_since_ns",
        "here",
        "index",
        "leaving",
        "ledger",
        "number",
        "outages",
        "ready_ns",
    )

    client: LeanClient

    def __init__(self, index: int, ledger: Ledger, outages: Disconnects) -> None:
        self.index = index
        self.number = ledger.rooms.first + index
        self.ledger = ledger
        self.outages = outages
        self.ready_ns = 0
        self.here = False
        self.leaving = False
        self.deaf_since_ns = NEVER_NS
        self._waiter: asyncio.Future[None] | None = None

    def auth(self) -> Mapping[str, object] | None:
        """The CONNECT payload, asked for afresh at each attempt."""
        return None

    def joined(self, at_ns: int) -> None:
        """The namespace accepted the client; call `ready` when everything else is set up as well."""
        self.ready(at_ns)
        self.caught_up(at_ns)

    def on_event(self, client: LeanClient, name: str, args: bytes, at_ns: int) -> None:
        """An event came in."""

    def lost(self, at_ns: int) -> None:
        """The connection is gone: forget what belongs to it."""

    def keepalive(self) -> None:
        """Called every half a minute, as a browser client pings: the moment to notice that one is behind."""

    @property
    def behind(self) -> bool:
        """Whether the client knows that it misses something."""
        return False

    def ready(self, at_ns: int) -> None:
        """The client is in its rooms; what is sent from now on is owed."""
        self.here = True
        self.ready_ns = self.ready_ns or at_ns
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fed(self, at_ns: int) -> None:
        """A message came in; cheap when the client was not away just now."""
        if self.index in self.outages.awaiting_event:
            self.outages.fed(self.index, at_ns)

    def caught_up(self, at_ns: int) -> None:
        """Nothing that was missed is missing any more."""
        if self.index in self.outages.open:
            self.outages.caught_up(self.index, at_ns)

    def on_connect(self, client: LeanClient, sid: str, at_ns: int) -> None:
        """The namespace accepted the client."""
        self.deaf_since_ns = NEVER_NS
        self.ledger.rooms.connected(self.index, at_ns)
        self.outages.connected(self.index, at_ns)
        self.joined(at_ns)

    def on_refused(self, client: LeanClient, body: bytes, at_ns: int) -> None:
        """The namespace refused the client; the policy decides whether it tries again."""

    def on_disconnect(self, client: LeanClient, reason: str, at_ns: int) -> None:
        """The connection is gone."""
        self.here = False
        if self.deaf_since_ns != NEVER_NS and not reason.startswith("client"):
            self.outages.thrown_out += 1
        self.ledger.rooms.disconnected(self.index, at_ns, self.deaf_since_ns)
        if not self.leaving and self.ready_ns:
            self.outages.cut(self.index, at_ns)
        self.lost(at_ns)

    async def until_ready(self, timeout_s: float) -> bool:
        """Wait until the client is ready for the first time; False at the deadline."""
        if self.ready_ns:
            return True
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(self._waiter, timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiter = None
        return True

    def cut(self, at_ns: int, away_s: float | None, *, silent: bool) -> bool:
        """Cut the connection, and stay away for a while; False if the client is away already."""
        if not self.here:
            return False
        self.outages.cut(self.index, at_ns, round((away_s or 0.0) * 1e9))
        if away_s is None:
            self.client.drop()
        else:
            self.client.go_offline(away_s, silent=silent)
        return True

    def deafen(self, at_ns: int) -> bool:
        """Stop reading; False if the client is away."""
        if not self.here:
            return False
        self.deaf_since_ns = at_ns
        self.client.pause_reading()
        return True

    def hear_again(self) -> None:
        """Read again what waits."""
        self.client.resume_reading()
