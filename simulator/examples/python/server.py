"""A chat-like Socket.IO server on python-socketio and uvicorn, as their documentation would have it.

    pip install python-socketio uvicorn && python server.py [--port 3000]

`join {room}` -> ack {room}. `say {room, id, stamp}` sends `message {id, stamp, seq}` to the room, numbered
from 1, and acks {seq}. `echo` -> ack of the same. Prints one JSON line when it listens.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections import Counter
from typing import Any

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
newest: Counter[str] = Counter()


async def join(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    """Let a client in; every later message of the room will come."""
    await sio.enter_room(sid, data["room"])
    return {"room": data["room"]}


async def say(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    """Send a message to a room."""
    room = data["room"]
    newest[room] += 1
    seq = newest[room]
    await sio.emit("message", {"id": data["id"], "stamp": data["stamp"], "seq": seq}, room=room)
    return {"seq": seq}


async def echo(sid: str, *args: Any) -> Any:
    """For the profile `echo`."""
    return args


async def main() -> None:
    """Listen until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="a chat-like Socket.IO server")
    parser.add_argument("--port", type=int, default=3000)
    for handler in (join, say, echo):
        sio.on(handler.__name__, handler)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", parser.parse_args().port))
    server = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio), log_level="warning"))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.listen(1024)
    sys.stdout.write(json.dumps({"ready": True, "url": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
