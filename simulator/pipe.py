"""Messages between the processes of one run: length-prefixed pickles over a socket pair, within bounds.

Only between a process and the children it started itself, over descriptors nobody else has: a pickle from
anywhere else must never be read. Called by `remote_shard` and `shard_process`.
"""

import asyncio
import pickle
import socket
from typing import Any

HEAD_BYTES = 4
MAX_MESSAGE_BYTES = 2**30
MAX_BACKLOG_BYTES = 64 * 2**20
"""What may wait for a process that does not read; beyond it, it is given up."""


class PipeError(Exception):
    """The other process is gone, or does not read, or a message is too large."""


class Pipe:
    """One end. Messages arrive whole and in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Pipe":
        """The end that this socket is."""
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, message: object) -> None:
        """Send a message without waiting. Raises PipeError when the other end is gone or far behind."""
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(body) > MAX_MESSAGE_BYTES:
            raise PipeError(f"a message of {len(body)} bytes is too large")
        transport = self._writer.transport
        if transport.is_closing():
            raise PipeError("the other process is gone")
        if transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            raise PipeError("the other process does not keep up with what it is told")
        self._writer.write(len(body).to_bytes(HEAD_BYTES, "big") + body)

    async def flush(self) -> None:
        """Wait until the other process took what was sent. Raises PipeError."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise PipeError("the other process is gone") from error

    async def receive(self) -> Any:
        """The next message. Raises PipeError when there will be none."""
        try:
            size = int.from_bytes(await self._reader.readexactly(HEAD_BYTES), "big")
            if size > MAX_MESSAGE_BYTES:
                raise PipeError(f"a message of {size} bytes is too large")
            return pickle.loads(await self._reader.readexactly(size))  # noqa: S301 - see above
        except (OSError, asyncio.IncompleteReadError) as error:
            raise PipeError("the other process is gone") from error

    def close(self) -> None:
        """Close this end at once."""
        self._writer.transport.abort()
