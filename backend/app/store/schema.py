"""Every table, collection, column and index name, and the migrations of the embedded store.

SQLite tables and MongoDB collections carry the same names and the same columns (`id` is `_id` there). Times
are whole microseconds since 1970 in UTC (`*_at_us`), exact in both stores and sortable. Holds no logic beyond
building statements from these names.

`claims.owner_id` and `validations.user_id` are no foreign keys: the port names no refusal for them, and
MongoDB would have none. What effects write does refer to its user.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

APPLICATION_ID = 0x564F5543
"""Marks an SQLite file as ours (`PRAGMA application_id`)."""

MAX_PAGE_ROWS = 1_000
"""The most rows that one bounded call returns, whatever was asked."""

TRIMMED_ROWS_PER_USER = 1_000
"""The most notifications of one user that one slice of forgetting removes."""

DEFAULT_DATABASE = "vouchstorm"
"""MongoDB database where the URL names none."""


class Name(StrEnum):
    """Tables, which are collections in MongoDB."""

    USERS = "users"
    CLAIMS = "claims"
    VALIDATIONS = "validations"
    NOTIFICATIONS = "notifications"
    EFFECTS = "effects"
    REVOKED_TOKENS = "revoked_tokens"
    META = "meta"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns in stored order; `json_columns` hold lists or objects, as JSON text in SQLite."""

    name: Name
    columns: tuple[str, ...]
    json_columns: frozenset[str] = frozenset()

    @property
    def insert_sql(self) -> str:
        """An INSERT of one row by position."""
        marks = ", ".join("?" for _ in self.columns)
        return " ".join(("INSERT INTO", self.name, "(", ", ".join(self.columns), ") VALUES (", marks, ")"))

    def select_sql(self, rest: str) -> str:
        """A SELECT of all columns; `rest` is literal SQL: WHERE, ORDER BY, LIMIT."""
        return " ".join(("SELECT", ", ".join(self.columns), "FROM", self.name, rest))


def _columns(names: str) -> tuple[str, ...]:
    return tuple(names.split())


PROGRESS_COLUMNS = _columns(
    "trust_score validations consensus_count accurate_streak claims_verified badges last_seq"
)
USERS = Table(
    Name.USERS,
    (
        *_columns("id username username_key display_name password_hash created_at_us"),
        *PROGRESS_COLUMNS,
        *_columns("unread trimmed_seq"),
    ),
    frozenset({"badges"}),
)
CLAIMS = Table(
    Name.CLAIMS,
    _columns(
        "id owner_id owner_name title body evidence_urls quorum created_at_us status vouch dispute unsure "
        "vouch_weight dispute_weight unsure_weight version decision_action decision_percentage settled_at_us "
        "idempotency_key pending"
    ),
    frozenset({"evidence_urls"}),
)
VALIDATIONS = Table(
    Name.VALIDATIONS,
    _columns(
        "id claim_id user_id validator_name action created_at_us version weight comment idempotency_key "
        "pending"
    ),
)
NOTIFICATIONS = Table(
    Name.NOTIFICATIONS,
    _columns("id user_id seq type title message priority action_url data created_at_us read"),
    frozenset({"data"}),
)
EFFECTS = Table(Name.EFFECTS, _columns("key user_id claim_id old_score new_score applied_at_us"))
"""One row per applied effect; claim and scores are its trust change, None for effects without one."""

_VERSION_1 = (
    """CREATE TABLE users (
        id TEXT NOT NULL PRIMARY KEY,
        username TEXT NOT NULL,
        username_key TEXT NOT NULL,
        display_name TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        trust_score INTEGER NOT NULL,
        validations INTEGER NOT NULL,
        consensus_count INTEGER NOT NULL,
        accurate_streak INTEGER NOT NULL,
        claims_verified INTEGER NOT NULL,
        badges TEXT NOT NULL,
        last_seq INTEGER NOT NULL,
        unread INTEGER NOT NULL CHECK (unread >= 0)
    )""",
    "CREATE UNIQUE INDEX users_by_name ON users (username_key)",
    "CREATE INDEX users_by_rank ON users (trust_score DESC, validations DESC, id)",
    """CREATE TABLE claims (
        id TEXT NOT NULL PRIMARY KEY,
        owner_id TEXT NOT NULL,
        owner_name TEXT NOT NULL,
        title TEXT NOT NULL,
        body TEXT NOT NULL,
        evidence_urls TEXT NOT NULL,
        quorum INTEGER NOT NULL,
        created_at_us INTEGER NOT NULL,
        status TEXT NOT NULL,
        vouch INTEGER NOT NULL,
        dispute INTEGER NOT NULL,
        unsure INTEGER NOT NULL,
        vouch_weight INTEGER NOT NULL,
        dispute_weight INTEGER NOT NULL,
        unsure_weight INTEGER NOT NULL,
        version INTEGER NOT NULL,
        decision_action TEXT,
        decision_percentage REAL,
        settled_at_us INTEGER,
        idempotency_key TEXT,
        pending INTEGER NOT NULL
    )""",
    "CREATE INDEX claims_by_age ON claims (created_at_us, id)",
    "CREATE INDEX claims_by_status ON claims (status, created_at_us, id)",
    "CREATE INDEX claims_by_owner ON claims (owner_id, created_at_us, id)",
    """CREATE UNIQUE INDEX claims_by_idempotency_key ON claims (owner_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL""",
    "CREATE INDEX claims_pending ON claims (settled_at_us, id) WHERE pending = 1",
    """CREATE TABLE validations (
        id TEXT NOT NULL PRIMARY KEY,
        claim_id TEXT NOT NULL REFERENCES claims (id),
        user_id TEXT NOT NULL,
        validator_name TEXT NOT NULL,
        action TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        version INTEGER NOT NULL,
        weight INTEGER NOT NULL,
        comment TEXT,
        idempotency_key TEXT,
        pending INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX validations_by_author ON validations (claim_id, user_id)",
    "CREATE UNIQUE INDEX validations_by_version ON validations (claim_id, version)",
    "CREATE INDEX validations_by_age ON validations (created_at_us, claim_id)",
    "CREATE INDEX validations_pending ON validations (created_at_us, id) WHERE pending = 1",
    """CREATE TABLE notifications (
        id TEXT NOT NULL,
        user_id TEXT NOT NULL REFERENCES users (id),
        seq INTEGER NOT NULL,
        type TEXT NOT NULL,
        title TEXT NOT NULL,
        message TEXT NOT NULL,
        priority TEXT NOT NULL,
        action_url TEXT,
        data TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        read INTEGER NOT NULL,
        PRIMARY KEY (user_id, seq)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX notifications_by_id ON notifications (id)",
    "CREATE INDEX notifications_unread ON notifications (user_id, seq) WHERE read = 0",
    """CREATE TABLE effects (
        key TEXT NOT NULL PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES users (id),
        claim_id TEXT,
        old_score INTEGER,
        new_score INTEGER
    ) WITHOUT ROWID""",
    "CREATE INDEX effects_by_claim ON effects (claim_id, key) WHERE claim_id IS NOT NULL",
    """CREATE TABLE revoked_tokens (
        jti TEXT NOT NULL PRIMARY KEY,
        expires_at_us INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at_us)",
    """CREATE TABLE meta (
        key TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
)

_VERSION_2 = (
    # Rows up to this seq were forgotten (`trim_notifications`).
    "ALTER TABLE users ADD COLUMN trimmed_seq INTEGER NOT NULL DEFAULT 0",
    # When older effects were applied is not known: they count from now on. NULL: written by an older node
    # that shares the file; never forgotten.
    "ALTER TABLE effects ADD COLUMN applied_at_us INTEGER",
    "UPDATE effects SET applied_at_us = CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2)
"""Statements that bring an SQLite file from version n to n + 1; never edited once released, only appended."""


@dataclass(frozen=True, slots=True)
class MongoIndex:
    """columns: (name, 1 or -1). only: which documents are indexed. expires: the column is a time to live."""

    name: str
    columns: tuple[tuple[str, int], ...]
    unique: bool = False
    only: dict[str, Any] | None = None
    expires: bool = False


MONGO_VERSION = 2
"""Kept in the document `schema` of the collection `meta`; `mongo.migrations` has the steps."""

MONGO_INDEXES: dict[Name, tuple[MongoIndex, ...]] = {
    Name.USERS: (
        MongoIndex("users_by_name", (("username_key", 1),), unique=True),
        MongoIndex("users_by_rank", (("trust_score", -1), ("validations", -1), ("_id", 1))),
    ),
    Name.CLAIMS: (
        MongoIndex("claims_by_age", (("created_at_us", 1), ("_id", 1))),
        MongoIndex("claims_by_status", (("status", 1), ("created_at_us", 1), ("_id", 1))),
        MongoIndex("claims_by_owner", (("owner_id", 1), ("created_at_us", 1), ("_id", 1))),
        MongoIndex(
            "claims_by_idempotency_key",
            (("owner_id", 1), ("idempotency_key", 1)),
            unique=True,
            only={"idempotency_key": {"$type": "string"}},
        ),
        MongoIndex("claims_pending", (("settled_at_us", 1), ("_id", 1)), only={"pending": True}),
    ),
    Name.VALIDATIONS: (
        MongoIndex("validations_by_author", (("claim_id", 1), ("user_id", 1)), unique=True),
        MongoIndex("validations_by_version", (("claim_id", 1), ("version", 1)), unique=True),
        MongoIndex("validations_by_age", (("created_at_us", 1), ("claim_id", 1))),
        MongoIndex("validations_pending", (("created_at_us", 1), ("_id", 1)), only={"pending": True}),
    ),
    Name.NOTIFICATIONS: (
        MongoIndex("notifications_by_seq", (("user_id", 1), ("seq", 1)), unique=True),
        MongoIndex("notifications_unread", (("user_id", 1), ("seq", 1), ("read", 1)), only={"read": False}),
    ),
    Name.EFFECTS: (
        MongoIndex("effects_by_claim", (("claim_id", 1), ("_id", 1)), only={"claim_id": {"$type": "string"}}),
    ),
    Name.REVOKED_TOKENS: (MongoIndex("revoked_tokens_by_expiry", (("expires_at", 1),), expires=True),),
}
