"""Which store a URL means. Opens nothing."""

import random
from functools import partial
from pathlib import Path

from ..domain.trust import TrustPolicy
from ..errors import SetupError
from ..ports import Clock, Store
from .mongo.claims import MongoClaims
from .mongo.connection import Lookup, MongoConnection, MongoDriver
from .mongo.effects import MongoEffects
from .mongo.migrations import open_connection
from .mongo.notifications import MongoNotifications
from .mongo.users import MongoUsers
from .schema import Name
from .sqlite.claims import SqliteClaims
from .sqlite.connection import Database
from .sqlite.effects import SqliteEffects
from .sqlite.notifications import SqliteNotifications
from .sqlite.users import SqliteUsers

_SQLITE = "sqlite:///"
_MONGO = ("mongodb://", "mongodb+srv://")


def build_store(
    url: str,
    *,
    trust_policy: TrustPolicy,
    clock: Clock,
    timeout_s: float,
    mongo_driver: MongoDriver = "motor",
    rng: random.Random | None = None,
) -> Store:
    """A store that is not open yet.

    url: `sqlite:///relative/path`, `sqlite:////absolute/path`, `mongodb://...` or `mongodb+srv://...`.
    rng: spreads retries after write conflicts; None: seeded by the operating system, so that nodes differ.

    Raises:
        SetupError: no store is meant by this URL.
    """
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        if not path or path.startswith(":"):
            raise SetupError(
                "VOUCHSTORM_STORE_URL must name a file, for example sqlite:///data/vouchstorm.db."
            )
        return sqlite_store(Database(Path(path), timeout_s), trust_policy, clock)
    if url.startswith(_MONGO):
        connection = MongoConnection(url, mongo_driver, timeout_s, rng or random.Random())
        return _mongo_store(connection, trust_policy, clock)
    raise SetupError("VOUCHSTORM_STORE_URL must start with sqlite:/// or mongodb://.")


def sqlite_store(database: Database, trust_policy: TrustPolicy, clock: Clock) -> Store:
    return Store(
        open=database.open,
        close=database.close,
        ping=database.ping,
        users=SqliteUsers(database, clock),
        claims=SqliteClaims(database),
        effects=SqliteEffects(database, clock, trust_policy),
        notifications=SqliteNotifications(database),
    )


def _mongo_store(connection: MongoConnection, trust_policy: TrustPolicy, clock: Clock) -> Store:
    user_rows = Lookup(connection, Name.USERS, {"password_hash": 0})
    return Store(
        open=partial(open_connection, connection),
        close=connection.close,
        ping=connection.ping,
        users=MongoUsers(connection, user_rows),
        claims=MongoClaims(connection),
        effects=MongoEffects(connection, clock, trust_policy),
        notifications=MongoNotifications(connection, user_rows),
    )
