"""Which store a URL means. Called by the composition root; opens nothing."""

import random
from pathlib import Path

from ..domain.trust import TrustPolicy
from ..errors import SetupError
from ..ports import Clock, Store
from .mongo.connection import MongoDriver
from .mongo.store import MongoStore
from .sqlite.store import SqliteStore

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
        return SqliteStore(Path(path), trust_policy, clock, timeout_s)
    if url.startswith(_MONGO):
        return MongoStore(url, trust_policy, clock, timeout_s, mongo_driver, rng or random.Random())
    raise SetupError("VOUCHSTORM_STORE_URL must start with sqlite:/// or mongodb://.")
