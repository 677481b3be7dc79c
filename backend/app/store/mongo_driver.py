"""The only module that knows that there are two MongoDB drivers: motor, and PyMongo's own asyncio client.

What both share (collections, cursors with `to_list`, sessions as keyword) is used directly by the other
`mongo_*` modules; where they differ (making, starting a transaction, closing) they go through here: ADR 0001.
"""

from typing import Any, Literal

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from ..errors import SetupError

MongoDriver = Literal["motor", "pymongo"]

Client = Any
Session = Any

APPLICATION = "vouchstorm"
"""How our connections introduce themselves to the server."""

_MAJORITY = WriteConcern("majority", j=True)
_FOREIGN_TO_PROBES = ("auth", "replicaset", "directconnection", "loadbalanced")
"""Beginnings of options that a probe must not have: it speaks to one server, without a user."""


def make_client(url: str, driver: MongoDriver, timeout_s: float, **options: Any) -> Client:
    """A client that connects at its first call. Our durability options win over those of the URL.

    Raises:
        SetupError: the URL is not one (its text is not repeated: it may hold a password).
    """
    timeout_ms = max(1, round(timeout_s * 1000))
    kind: Any = AsyncIOMotorClient if driver == "motor" else AsyncMongoClient
    try:
        return kind(
            url,
            **{
                "appname": APPLICATION,
                "w": "majority",
                "journal": True,
                "readConcernLevel": "majority",
                "readPreference": "primary",
                "retryWrites": True,
                "retryReads": True,
                "timeoutMS": timeout_ms,
                "serverSelectionTimeoutMS": timeout_ms,
                "connectTimeoutMS": timeout_ms,
                **options,
            },
        )
    except (ConfigurationError, ValueError, TypeError) as error:
        raise SetupError(
            f"VOUCHSTORM_STORE_URL is not a usable MongoDB URL ({type(error).__name__}); it looks like "
            "mongodb://user:password@host:27017/vouchstorm?replicaSet=rs0, with special characters escaped."
        ) from error


def make_probe(url: str, driver: MongoDriver, timeout_s: float) -> Client | None:
    """A client that asks the first server of the URL alone, member of a set or not; None for `+srv` URLs."""
    if not url.startswith("mongodb://"):
        return None
    parsed = parse_uri(url, validate=False, warn=False)
    options = {
        name: value
        for name, value in parsed["options"].items()
        if not name.lower().startswith(_FOREIGN_TO_PROBES)
    }
    host, port = parsed["nodelist"][0]
    return make_client(f"mongodb://{host}:{port}/", driver, timeout_s, **options, directConnection=True)


async def start_transaction(client: Client, driver: MongoDriver) -> Session:
    """A new session inside a new transaction: snapshot reads, majority commit."""
    session = await client.start_session() if driver == "motor" else client.start_session()
    started = session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=_MAJORITY)
    if driver == "pymongo":
        await started
    return session


async def close_client(client: Client, driver: MongoDriver) -> None:
    """Close all connections."""
    closing = client.close()
    if driver == "pymongo":
        await closing
