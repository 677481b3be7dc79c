"""The command line that every contestant understands."""

import argparse
import socket

from ..plan import ServerOptions


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--ping-interval-s", type=float, default=25.0)
    parser.add_argument("--ping-timeout-s", type=float, default=20.0)
    parser.add_argument("--bus-url", default=None)
    return parser


def server_options(arguments: argparse.Namespace) -> ServerOptions:
    return ServerOptions(
        arguments.port,
        arguments.users,
        arguments.ping_interval_s,
        arguments.ping_timeout_s,
        arguments.bus_url,
    )


def listen(port: int) -> socket.socket:
    """A bound loopback socket with a backlog for storms."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(4_096)
    return sock
