"""A client that comes back, whatever happens to its connections, and an account of what it was given.

By websocket, by long-polling, or by long-polling that is upgraded while events flow. It keeps the promises of
a client: it says where it stands, takes each seq once, and reads no faster than the test lets it.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PATH = "/ws/socket.io/?EIO=4&transport="
WAYS = ("websocket", "polling", "upgrade")
GIVE_UP_S = 4.0
"""A connection on which nothing came for so long is let go of, as a client does that misses its heartbeat."""
BREAKS = (aiohttp.ClientError, ConnectionError, TimeoutError, EOFError, ValueError)


@dataclass
class Account:
    """What one client was given, judged as it came."""

    taken: list[tuple[int, str]] = field(default_factory=list)
    """(seq, id) of each notification that had an effect, in that order."""
    repeated: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    """(last, seq) where something was skipped: on no connection may that be."""
    unrecovered: int = 0
    early: list[str] = field(default_factory=list)
    """What came before the socket was told whose it is."""
    connections: int = 0
    upgrades: int = 0

    @property
    def last(self) -> int:
        return self.taken[-1][0] if self.taken else 0

    def take(self, seq: int, notification_id: str) -> None:
        if seq <= self.last:
            self.repeated += 1
        elif seq == self.last + 1:
            self.taken.append((seq, notification_id))
        else:
            self.holes.append((self.last, seq))


class Reader:
    """One client of one user, on its own until `stop`. ports: it picks one each time it connects."""

    def __init__(self, token: str, ports: list[int], rng: random.Random, ways: Iterable[str] = WAYS) -> None:
        self.account = Account()
        self.reading = asyncio.Event()
        self.reading.set()
        self._token = token
        self._ports = ports
        self._rng = rng
        self._ways = tuple(ways)
        self._authenticated = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._live())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _live(self) -> None:
        while True:
            with contextlib.suppress(*BREAKS):
                async with aiohttp.ClientSession(
                    f"http://127.0.0.1:{self._rng.choice(self._ports)}",
                    connector=aiohttp.TCPConnector(force_close=False),
                ) as http:
                    # A poll that is asked again in silence loses what the first answer held: no client does.
                    http._retry_connection = False
                    self.account.connections += 1
                    await self._visit(http, self._rng.choice(self._ways))
            await asyncio.sleep(self._rng.uniform(0.01, 0.1))

    async def _visit(self, http: aiohttp.ClientSession, way: str) -> None:
        self._authenticated = False
        if way == "websocket":
            async with http.ws_connect(PATH + "websocket", max_msg_size=0) as socket:
                await self._read_socket(socket, greet=True)
            return
        async with asyncio.timeout(GIVE_UP_S), http.get(PATH + "polling") as answer:
            opening = await answer.text()
        where = f"{PATH}polling&sid={json.loads(opening[1:])['sid']}"
        await self._post(http, where, self._connect_packet())
        if way == "polling":
            await self._poll(http, where)
        else:
            await self._upgrade(http, where)

    def _connect_packet(self) -> str:
        return "40" + json.dumps({"token": self._token, "last_seq": self.account.last})

    # -------------------------------------------------------------- the ways

    async def _read_socket(self, socket: aiohttp.ClientWebSocketResponse, *, greet: bool) -> None:
        while True:
            await self.reading.wait()
            message = await socket.receive(timeout=GIVE_UP_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            packet: str = message.data
            if packet.startswith("0") and greet:
                await socket.send_str(self._connect_packet())
            elif packet == "2":
                await socket.send_str("3")
            elif packet == "1":
                return
            else:
                self._hear(packet)

    async def _post(self, http: aiohttp.ClientSession, where: str, packet: str) -> None:
        async with asyncio.timeout(GIVE_UP_S), http.post(where, data=packet) as answer:
            if answer.status != 200:
                raise EOFError
            await answer.read()

    async def _poll_once(self, http: aiohttp.ClientSession, where: str) -> bool:
        """Ask for what there is and take it; False if the server ended the session."""
        async with asyncio.timeout(GIVE_UP_S), http.get(where) as answer:
            if answer.status != 200:
                raise EOFError
            packets = (await answer.text()).split("\x1e")
        for packet in packets:
            if packet == "2":
                await self._post(http, where, "3")
            elif packet == "1":
                return False
            else:
                self._hear(packet)
        return True

    async def _poll(self, http: aiohttp.ClientSession, where: str) -> None:
        while True:
            await self.reading.wait()
            if not await self._poll_once(http, where):
                return

    async def _upgrade(self, http: aiohttp.ClientSession, where: str) -> None:
        """Poll on until the probe is answered; what comes by either road is taken in the order it came."""
        async with http.ws_connect(where.replace("polling", "websocket"), max_msg_size=0) as socket:
            await socket.send_str("2probe")
            probed = asyncio.create_task(socket.receive(timeout=GIVE_UP_S))
            try:
                while not probed.done():
                    if not await self._poll_once(http, where):
                        return
                if (await probed).data != "3probe":
                    return
            finally:
                probed.cancel()
                await asyncio.gather(probed, return_exceptions=True)
            await socket.send_str("5")
            self.account.upgrades += 1
            await self._read_socket(socket, greet=False)

    # -------------------------------------------------------------- what it is told

    def _hear(self, packet: str) -> None:
        if packet.startswith("44"):
            raise EOFError
        if not packet.startswith("42["):
            return
        name, data = json.loads(packet[2:])
        if name == "authenticated":
            self._authenticated = True
            self.account.unrecovered += data["recovered"] is not True or data["more"]
        elif name == "auth_error":
            raise EOFError
        elif name not in ("connection_established", "server_draining", "pong"):
            self._push(name, data)

    def _push(self, name: str, data: dict[str, Any]) -> None:
        if not self._authenticated:
            self.account.early.append(name)
        if name == "new_notification":
            self.account.take(data["seq"], data["id"])
