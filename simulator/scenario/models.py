"""The tables of a scenario file: every field says its unit, range, default and what 0 or null means.

Pure data, frozen; unknown keys are refused. Put together by `scenario`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Transports(Table):
    """Mix of transports, as relative shares. upgrade: begins with polling, then upgrades to websocket."""

    websocket: float = Field(1.0, ge=0)
    polling: float = Field(0.0, ge=0)
    upgrade: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.websocket + self.polling + self.upgrade <= 0:
            raise ValueError("at least one share must be above 0")
        return self


class Live(Table):
    """Which live updates a client gets: `all`, or those of `watches` claims it watches."""

    scope: Literal["all", "watched"] = "all"
    watches: int = Field(3, ge=1, le=200)


class Claims(Table):
    """What is validated. count: 0 = as many as the schedule needs so that traffic does not dry out.

    quorum: validations per claim that the schedule plans at most, and the claim's own quorum.
    popularity_zipf: exponent of the popularity; 0 = all the same, 1 = a few get most.
    """

    count: int = Field(0, ge=0, le=100_000)
    quorum: int = Field(5, ge=1, le=100_000)
    popularity_zipf: float = Field(0.8, ge=0, le=5)


class Publish(Table):
    """The open model: times come from the start of the run, never from the last answer.

    workers: requests at once; a publish that finds none free is dropped and counted.
    timeout_s: per request. late_ms: a publish sent later than this after its time is counted late.
    """

    rate_per_s: float = Field(20.0, gt=0, le=100_000)
    arrival: Literal["constant", "poisson"] = "constant"
    workers: int = Field(64, ge=1, le=4_096)
    timeout_s: float = Field(10.0, gt=0, le=300)
    late_ms: float = Field(100.0, gt=0, le=60_000)


class Personas(Table):
    """Mix of validators, as relative shares; see `simulator/profiles/vouchstorm/personas.py` for what each does."""

    reliable: float = Field(0.7, ge=0)
    contrarian: float = Field(0.05, ge=0)
    careless: float = Field(0.1, ge=0)
    brigade: float = Field(0.05, ge=0)
    lurker: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.reliable + self.contrarian + self.careless <= 0:
            raise ValueError("reliable, contrarian or careless must be above 0: somebody has to validate")
        return self

    @property
    def everyday_share(self) -> float:
        """The share of users who validate in the ordinary course."""
        everyday = self.reliable + self.contrarian + self.careless
        return everyday / (everyday + self.brigade + self.lurker)


class Phases(Table):
    """Lengths in seconds; the load itself is `duration_s`.

    ramp_per_s: connections begun per second; connecting: how many at once at most.
    drain_s: fixed observation window after the last publish; those not back by then are censored.
    """

    setup_timeout_s: float = Field(120.0, gt=0, le=3_600)
    ramp_per_s: float = Field(400.0, gt=0, le=100_000)
    connecting: int = Field(100, ge=1, le=10_000)
    connect_timeout_s: float = Field(20.0, gt=0, le=300)
    warmup_s: float = Field(2.0, ge=0, le=3_600)
    drain_s: float = Field(5.0, ge=0, le=3_600)
    reconcile_timeout_s: float = Field(60.0, gt=0, le=3_600)


class Reconnect(Table):
    """How clients come back: `default` is socket.io-client's own (1 s, doubled up to 5 s, jitter 0.5),
    `tuned` what a large service should ask for (1.5 s, 30 s, 0.9), `none` has no back-off (at once, again
    and again), `never` stays away (`slo.censored` says how many may). The rest overrides."""

    policy: Literal["default", "tuned", "none", "never"] = "default"
    delay_s: float | None = Field(None, ge=0, le=600)
    delay_max_s: float | None = Field(None, ge=0, le=600)
    jitter: Share | None = None


class Tokens(Table):
    """How clients renew tokens that expire. ttl_s: their life, asked of a server that the run starts, in
    seconds; null: the server's own.

    reauth, login, never: relative shares of clients. `reauth` logs in when the server warns and prolongs its
    socket, `login` waits to be ended, logs in and connects anew, `never` is ended and stays away.
    password: of the users in the tokens file.
    """

    ttl_s: int | None = Field(None, ge=10, le=31_536_000)
    reauth: float = Field(1.0, ge=0)
    login: float = Field(0.0, ge=0)
    never: float = Field(0.0, ge=0)
    password: str = Field("vouchstorm-demo", max_length=200)

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if self.reauth + self.login + self.never <= 0:
            raise ValueError("at least one share must be above 0")
        return self


class Windows(Table):
    """Bounds of the ledger in ms. late_ms: a live receipt after this is late. grace_ms: how long a message
    may be under way before a client's absence no longer excuses it."""

    late_ms: float = Field(5_000.0, gt=0, le=600_000)
    grace_ms: float = Field(1_000.0, gt=0, le=60_000)


class HonestyBounds(Table):
    """Bounds of the generator's own trouble, above which the verdict is INVALID."""

    loop_lag_p90_ms: float = Field(50.0, gt=0)
    loop_lag_p99_ms: float = Field(250.0, gt=0)
    late_share: Share = 0.05
    dropped_share: Share = 0.01
    cpu_share: float = Field(0.9, gt=0)


class Timed(Table):
    """When: `at_s` from the start of the load, or `at_share` of its length; exactly one of them."""

    at_s: float | None = Field(None, ge=0)
    at_share: Share | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.at_s is None) == (self.at_share is None):
            raise ValueError("give exactly one of at_s and at_share")
        return self

    def starts_s(self, duration_s: float) -> float:
        """Seconds from the start of the load."""
        return self.at_s if self.at_s is not None else (self.at_share or 0.0) * duration_s


class TimedFault(Timed):
    """A trouble of a fraction of the clients; `breakages` has those of services."""

    fraction: float = Field(1.0, gt=0, le=1)


class Drop(TimedFault):
    """A fraction of the clients is cut off by a TCP reset and stays away for a time drawn from `away_s`.

    away_s: [least, most] seconds; null: the reconnect policy alone decides. spread_s: the cuts are spread
    over this long. silent: the server is not told (a laptop goes to sleep).
    """

    kind: Literal["drop"]
    away_s: tuple[float, float] | None = None
    spread_s: float = Field(0.0, ge=0)
    silent: bool = False


class Flap(TimedFault):
    """Each of a fraction of the clients is cut off again and again: every `every_s`, for `away_s`."""

    kind: Literal["flap"]
    every_s: float = Field(15.0, gt=0)
    away_s: tuple[float, float] = (2.0, 2.0)
    for_s: float | None = Field(None, gt=0)


class Slow(TimedFault):
    """A fraction of the clients stops reading for `for_s`: the server's send buffers fill.

    receive_buffer_bytes: SO_RCVBUF of their sockets from the start (the kernel takes twice that), so that the
    server notices soon; null: the kernel's own, some megabytes.
    """

    kind: Literal["slow"]
    for_s: float = Field(10.0, gt=0)
    receive_buffer_bytes: int | None = Field(2_048, ge=1_024, le=16_777_216)


class HalfOpen(TimedFault):
    """A fraction of the clients vanishes without a word and comes back on a new socket after `for_s`."""

    kind: Literal["half_open"]
    for_s: float = Field(10.0, gt=0)


Fault = Annotated[Drop | Flap | Slow | HalfOpen, Field(discriminator="kind")]
