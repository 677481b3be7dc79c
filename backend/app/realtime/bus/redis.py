"""Redis clients from a bus URL: plain, TLS, Sentinel, Cluster.

Pub/Sub of a Cluster reaches every node whichever one is asked, so a plain connection to any of the listed
hosts serves; Sentinel names the current master at each connect. The clients never retry by themselves: a
lost connection must be *seen*, because what was published meanwhile is gone.
"""

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ...errors import SetupError

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 1.0
SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

TROUBLE = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
"""RuntimeError: what uvloop says of a transport that was reset while the Redis library was using it."""


def connect(url: str, *, blocking: bool, attempt: int = 0) -> Redis:
    """A client that has not connected yet.

    blocking: for a subscriber, which waits for ever; otherwise each command has COMMAND_TIMEOUT_S.
    attempt: counts up; picks another of several listed hosts each time.
    Raises SetupError for a URL that means no Redis.
    """
    try:
        return _client(url, blocking, attempt)
    except ValueError:
        # Not chained: the libraries' words repeat what they took for a port, which may be of a password.
        raise SetupError(
            "VOUCHSTORM_BUS_URL is not a usable URL; it looks like redis://user:password@host:6379/0, "
            "with special characters escaped."
        ) from None


def _client(url: str, blocking: bool, attempt: int) -> Redis:
    """Raises SetupError, ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise SetupError(
            f"VOUCHSTORM_BUS_URL must start with one of {', '.join(s + '://' for s in SCHEMES)}."
        )
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": None if blocking else COMMAND_TIMEOUT_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
    }
    base, _, kind = parts.scheme.partition("+")
    if kind == "sentinel":
        return _sentinel(parts.netloc, parts.path, base, options)
    if kind == "cluster":
        hosts = parts.netloc.rpartition("@")[2]
        listed = hosts.split(",")
        url = _at(parts, listed[attempt % len(listed)])
    return Redis.from_url(url, **options)


def connect_member(url: str, host: str, port: int, *, blocking: bool) -> Redis:
    """As `connect`, to one member of the Cluster behind this URL."""
    shown = f"[{host}]" if ":" in host else host
    return connect(_at(urlsplit(url), f"{shown}:{port}"), blocking=blocking)


def _at(parts: SplitResult, address: str) -> str:
    """The plain URL of one member, with the credentials of the whole."""
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme.partition("+")[0], credentials + at + address, "", parts.query, ""))


async def let_go(*connections: Any) -> None:
    """Close clients and subscriptions, whatever they raise, and to the end even if this task is cancelled.

    The library closes connections in tasks of their own: cancelled before their first step, they stay open.
    """

    async def close() -> None:
        for connection in connections:
            with suppress(*TROUBLE):
                await connection.aclose()

    closing = asyncio.create_task(close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise


def _sentinel(netloc: str, path: str, scheme: str, options: dict[str, Any]) -> Redis:
    """`redis+sentinel://user:password@host:port,host:port/database/service`."""
    credentials, _, hosts = netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    database, _, service = path.strip("/").partition("/")
    if not service or not database.isdigit():
        raise SetupError("A Sentinel URL ends with /database/service, for example /0/mymaster.")
    addresses = []
    for host in hosts.split(","):
        name, _, port = host.partition(":")
        addresses.append((name, int(port or 26379)))
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        addresses, sentinel_kwargs={"socket_timeout": CONNECT_TIMEOUT_S}
    )
    client: Redis = sentinel.master_for(
        service,
        db=int(database),
        username=username or None,
        password=password or None,
        ssl=scheme == "rediss",
        **options,
    )
    return client
