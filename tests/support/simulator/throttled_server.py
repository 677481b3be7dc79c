"""A Socket.IO server that answers `echo` at a known rate and no faster. Only for tests.

    python -m tests.support.simulator.throttled_server --rate 70 [--port 0]

Prints one JSON line {"port": ..., "pid": ...} when it listens. Stops on SIGTERM or when standard input ends.
Answers are given one after the other, 1 / rate seconds apart: a queue with one clerk, its limit the rate.
"""

import argparse
import asyncio
from typing import Any

import socketio

from tests.support.simulator.stock_server import serve


class ThrottledServer:
    """Echoes, one at a time."""

    def __init__(self, rate_per_s: float) -> None:
        self.sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
        self.each_s = 1 / rate_per_s
        self.free_at_s = 0.0
        self.sio.on("echo", self.on_echo)

    async def on_echo(self, sid: str, *args: Any) -> Any:
        """The turn is computed, not measured: late timers do not add up."""
        now_s = asyncio.get_running_loop().time()
        self.free_at_s = max(now_s, self.free_at_s) + self.each_s
        await asyncio.sleep(self.free_at_s - now_s)
        return args


def main() -> None:
    parser = argparse.ArgumentParser(description="a server with a known limit, for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    asyncio.run(serve(socketio.ASGIApp(ThrottledServer(options.rate).sio), options.port))


if __name__ == "__main__":
    main()
