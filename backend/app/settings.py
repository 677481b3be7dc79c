"""All settings of a node: the only place that reads the environment (prefix `VOUCHSTORM_`).

Every field says its unit, range, default and what 0 or None means. `docs/SETTINGS.md` is generated from it.
"""

import os
import re
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .domain.consensus import ConsensusPolicy
from .domain.trust import TrustPolicy
from .errors import SetupError

MIN_SECRET_CHARS = 32
REPLAY_SPARE_PACKETS = 100
_PLAIN_URL = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^\s?#@]*)?")


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Failed logins in `lockout_s` seconds; 0: no limit."""

    per_pair: int = 10
    per_address: int = 100
    per_account: int = 100
    lockout_s: int = 900


class Mode(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Frozen settings of one node."""

    model_config = SettingsConfigDict(
        env_prefix="VOUCHSTORM_", frozen=True, extra="forbid", env_file=None, hide_input_in_errors=True
    )

    mode: Mode = Field(Mode.DEVELOPMENT, description="`production` refuses to start without `jwt_secret`.")
    data_dir: Path = Field(
        Path("data"), description="Directory for the embedded store and the development secret."
    )
    node: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Name of this node in logs, metrics and `status`; None: made from host and pid.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["pretty", "json"] = Field("pretty", description="`json` for log collectors.")

    traces_url: str | None = Field(
        None,
        description="OTLP/HTTP endpoint for OpenTelemetry spans, `http(s)://host:4318/v1/traces`; None: off. "
        "Needs the extra `otel`.",
    )

    # store and bus
    store_url: SecretStr | None = Field(
        None, description="`sqlite:///path` or `mongodb://...`; None: SQLite in `data_dir`."
    )
    store_timeout_s: float = Field(5.0, gt=0, le=60, description="Longest wait for one store call, seconds.")
    mongo_driver: Literal["motor", "pymongo"] = Field(
        "motor", description="Driver for `mongodb://`: motor, or PyMongo's own asyncio client."
    )
    bus_url: SecretStr | None = Field(
        None,
        description="`redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`; None: single node.",
    )

    # tokens and passwords
    jwt_secret: SecretStr | None = Field(
        None,
        description="HS256 key, at least 32 characters; None: random per data directory (development only).",
    )
    jwt_retired_secrets: SecretStr | None = Field(
        None,
        description="Other HS256 keys that verify tokens but never sign, comma separated: to change "
        "`jwt_secret` without logging anybody out.",
    )
    token_ttl_s: int = Field(86_400, ge=10, le=31_536_000, description="Life of a token, seconds.")
    password_time_cost: int = Field(2, ge=1, le=20, description="argon2id passes.")
    password_memory_kib: int = Field(19_456, ge=8, le=1_048_576, description="argon2id memory, KiB.")

    # domain
    default_quorum: int = Field(3, ge=1, le=100_000, description="Quorum of a claim that names none.")
    consensus_threshold_percent: float = Field(
        60.0, gt=50, le=100, multiple_of=0.1, description="Share that settles a claim, percent."
    )
    consensus_weighting: Literal["equal", "trust"] = Field(
        "equal", description="`trust`: each validation counts its author's trust score at that time."
    )
    trust_agreed_gain: int = Field(2, ge=0, le=100, description="Points for a validator who agreed.")
    trust_disagreed_loss: int = Field(3, ge=0, le=100, description="Points a validator who disagreed loses.")
    trust_owner_gain: int = Field(3, ge=0, le=100, description="Points for the owner of a verified claim.")
    trust_owner_loss: int = Field(4, ge=0, le=100, description="Points the owner of a refuted claim loses.")
    reconcile_interval_s: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="Pause between repairs of unfinished work, seconds; older work is repaired.",
    )

    retention_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Age at which notifications, and the record that an effect was applied, are forgotten, "
        "days; 0: never. A key of `create_notification` is known for that long. Trust changes are kept.",
    )

    # HTTP
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Allowed browser origins, comma separated; empty: same origin. No `*` in production.",
    )
    max_body_bytes: int = Field(65_536, ge=1_024, le=16_777_216, description="Largest REST body, bytes.")
    request_deadline_s: float = Field(
        20.0,
        gt=0,
        le=600,
        description="A client whose HTTP request is not whole by then, or who takes nothing of an answer, "
        "is ended, seconds.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Addresses whose X-Forwarded-* headers are believed, comma separated; empty: none.",
    )
    requests_per_user_per_min: int = Field(
        6_000,
        ge=0,
        le=10_000_000,
        description="REST requests of one user in a minute, all nodes; 0: no limit.",
    )
    requests_per_address_per_min: int = Field(
        120_000,
        ge=0,
        le=100_000_000,
        description="REST requests of one address (IPv6: /64) in a minute, all nodes; 0: no limit.",
    )
    registrations_per_address_per_min: int = Field(
        12_000,
        ge=0,
        le=10_000_000,
        description="New users from one address in a minute, all nodes; 0: no limit. Lower it in the open.",
    )
    failed_logins_per_pair: int = Field(
        10, ge=0, le=1_000_000, description="Failed logins of one address at one account; 0: no limit."
    )
    failed_logins_per_address: int = Field(
        100, ge=0, le=1_000_000, description="Failed logins of one address at all accounts; 0: no limit."
    )
    failed_logins_per_account: int = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Failed logins at one account before only addresses known to it get in; 0: no limit.",
    )
    lockout_s: int = Field(
        900, ge=1, le=86_400, description="Window in which failed logins are counted, seconds."
    )
    static_dir: Path | None = Field(
        None, description="Built web UI; None: the repository's or package's own."
    )

    # sockets
    anonymous_live: bool = Field(False, description="May sockets without a token watch public live updates?")
    auth_deadline_s: float = Field(
        10.0, gt=0, le=300, description="A socket that has not authenticated by then is closed, seconds."
    )
    ping_interval_s: float = Field(15.0, ge=0.2, le=300, description="Engine.IO heartbeat, seconds.")
    ping_timeout_s: float = Field(
        10.0, ge=0.2, le=300, description="Wait for the heartbeat's answer, seconds."
    )
    max_message_bytes: int = Field(
        65_536, ge=1_024, le=1_048_576, description="Largest message from a client, bytes."
    )
    max_watches: int = Field(200, ge=1, le=10_000, description="Claims that one socket may watch.")
    events_per_s: float = Field(50.0, gt=0, le=100_000, description="Sustained events per second and socket.")
    events_burst: int = Field(100, ge=1, le=100_000, description="Events at once above the sustained rate.")
    abuse_limit: int = Field(
        20,
        ge=1,
        le=100_000,
        description="Refused events (within ten seconds) after which the transport is aborted.",
    )
    replay_limit: int = Field(
        200, ge=1, le=500, description="Notifications replayed on reconnect; the rest by `sync`."
    )

    max_sockets_per_user: int = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Sockets of one user on this node; one more ends the oldest, which is told. 0: no limit.",
    )
    max_sockets_per_address: int = Field(
        20_000,
        ge=0,
        le=10_000_000,
        description="Sockets of one address (IPv6: /64) on this node; 0: no limit. Lower it in the open.",
    )
    max_unauthenticated_per_address: int = Field(
        12_000,
        ge=0,
        le=10_000_000,
        description="Of them those that wait or have not authenticated; 0: no limit. Lower it in the open.",
    )
    max_sockets: int = Field(50_000, ge=0, le=10_000_000, description="Sockets of this node; 0: no limit.")
    max_unauthenticated: int = Field(
        20_000,
        ge=0,
        le=10_000_000,
        description="Of them those that wait or have not authenticated; 0: no limit.",
    )
    handshakes_at_once: int = Field(
        512,
        ge=0,
        le=100_000,
        description="Sockets between opening and the answer to CONNECT; more wait; 0: any number at once.",
    )
    handshake_queue: int = Field(
        10_000,
        ge=0,
        le=1_000_000,
        description="Openings that wait, addresses in turn; more get 503 with Retry-After. 0: nobody waits.",
    )
    handshake_wait_s: float = Field(
        10.0, gt=0, le=300, description="An opening that has waited so long gets 503, seconds."
    )
    handshake_retry_s: int = Field(
        10, ge=1, le=300, description="Retry-After of refused openings is random from 1 to this, seconds."
    )
    frames_per_s: float = Field(
        200.0, gt=0, le=1_000_000, description="Sustained frames per second from one socket."
    )
    frames_burst: int = Field(
        2_000, ge=1, le=10_000_000, description="Frames at once above the sustained rate."
    )
    bytes_per_s: float = Field(
        262_144.0, gt=0, le=1e12, description="Sustained bytes per second from one socket."
    )
    bytes_burst: int = Field(
        4_194_304, ge=65_536, le=1_000_000_000_000, description="Bytes at once above the sustained rate."
    )

    # fan-out
    fast_fanout: bool = Field(
        True, description="Write pre-built frames straight to the sockets; false: the library's way."
    )
    coalesce_ms: float = Field(
        2.0, ge=0, le=50, description="Longest collecting of events under load, ms; 0: never collect."
    )
    snapshot_hz: float = Field(
        20.0, ge=1, le=1000, description="Live updates per second and claim under pressure; the latest wins."
    )
    socket_queue_packets: int = Field(
        1_000, ge=16, le=1_000_000, description="Packets waiting for one slow socket."
    )
    socket_queue_bytes: int = Field(
        1_048_576, ge=65_536, le=1_073_741_824, description="Bytes waiting for one slow socket."
    )
    slow_abort_s: float = Field(
        10.0, gt=0, le=300, description="A socket that takes nothing for this long is aborted, seconds."
    )
    push_queue_events: int = Field(
        100_000,
        ge=100,
        le=10_000_000,
        description="Events waiting for fan-out on this node; more are dropped, counted, healed by replay.",
    )

    # shutdown
    drain_s: float = Field(
        2.0,
        ge=0,
        le=300,
        description="Time over which clients are sent away at shutdown, seconds; 0: at once.",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_CHARS:
            raise ValueError("must have at least 32 characters; make one with: openssl rand -hex 32")
        return value

    @field_validator("jwt_retired_secrets")
    @classmethod
    def _long_retired_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(len(key) < MIN_SECRET_CHARS for key in _listed(value)):
            raise ValueError("each must have at least 32 characters, as it had as jwt_secret")
        return value

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, value: SecretStr | None) -> SecretStr | None:
        known = ("sqlite:///", "mongodb://", "mongodb+srv://")
        if value is not None and not value.get_secret_value().startswith(known):
            raise ValueError("must start with sqlite:/// or mongodb://")
        return value

    @field_validator("traces_url")
    @classmethod
    def _plain_traces_url(cls, value: str | None) -> str | None:
        if value is not None and not _PLAIN_URL.fullmatch(value):
            raise ValueError("must look like http://host:4318/v1/traces, without user, password or query")
        return value

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.mode is Mode.PRODUCTION:
            if self.jwt_secret is None:
                raise ValueError(
                    "VOUCHSTORM_JWT_SECRET is required in production; make one with: openssl rand -hex 32"
                )
            if "*" in self.cors_origins:
                raise ValueError("VOUCHSTORM_CORS_ORIGINS must not contain * in production; list the origins")
        return self

    @model_validator(mode="after")
    def _replay_fits_the_queue(self) -> Self:
        # Two events per notification, and room for what is live meanwhile: otherwise a client on
        # long-polling is ended by its own replay, again and again.
        if self.socket_queue_packets < 2 * self.replay_limit + REPLAY_SPARE_PACKETS:
            raise ValueError(
                "VOUCHSTORM_SOCKET_QUEUE_PACKETS must be at least twice VOUCHSTORM_REPLAY_LIMIT plus "
                f"{REPLAY_SPARE_PACKETS}"
            )
        return self

    @property
    def retired_secrets(self) -> tuple[str, ...]:
        """Keys that still verify tokens; `signing_secret` is not among them."""
        return () if self.jwt_retired_secrets is None else tuple(_listed(self.jwt_retired_secrets))

    @property
    def login_limits(self) -> LoginLimits:
        return LoginLimits(
            self.failed_logins_per_pair,
            self.failed_logins_per_address,
            self.failed_logins_per_account,
            self.lockout_s,
        )

    @property
    def consensus_policy(self) -> ConsensusPolicy:
        return ConsensusPolicy(round(self.consensus_threshold_percent * 10))

    @property
    def trust_policy(self) -> TrustPolicy:
        return TrustPolicy(
            self.trust_agreed_gain, self.trust_disagreed_loss, self.trust_owner_gain, self.trust_owner_loss
        )

    @property
    def resolved_store_url(self) -> str:
        """The store to open: as set, or the embedded default in the data directory. May hold a password."""
        if self.store_url is not None:
            return self.store_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'vouchstorm.db'}"

    @property
    def store_place(self) -> str:
        """The store as a sentence may name it: without user, password and options."""
        scheme, _, rest = self.resolved_store_url.partition("://")
        if scheme == "sqlite":
            return self.resolved_store_url
        where, _, options = rest.partition("?")
        # An @ behind the question mark: a password that is not escaped. Where it ends, nobody knows.
        return f"{scheme}://{'...' if '@' in options else where.rpartition('@')[2]}"


def _listed(secrets_: SecretStr) -> list[str]:
    return [part.strip() for part in secrets_.get_secret_value().split(",") if part.strip()]


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, overridden by what the caller names; None means not given.

    Raises:
        SetupError: one line per bad setting, naming the variable.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"{'VOUCHSTORM_' + str(item['loc'][0]).upper() + ': ' if item['loc'] else ''}"
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise SetupError("Bad settings. " + "; ".join(lines)) from error


def signing_secret(settings: Settings) -> str:
    """The JWT key: as set, or in development a random one kept in the data directory (mode 0600).

    Raises:
        SetupError: the data directory cannot be written.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    path = settings.data_dir / "jwt-secret"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_secret(path)
        secret = path.read_text().strip()
    except OSError as error:
        raise SetupError(
            f"Cannot write to the data directory {settings.data_dir} ({error.strerror}); "
            "choose another with --data-dir or VOUCHSTORM_DATA_DIR."
        ) from error
    if len(secret) < MIN_SECRET_CHARS:
        raise SetupError(f"{path} does not hold a secret; delete it, and a new one is made (tokens end).")
    return secret


def _write_secret(path: Path) -> None:
    """The file appears whole or not at all, and the first one stays: several nodes may start at once."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".jwt-secret-") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)
