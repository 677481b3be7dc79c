"""The tables of a scenario file: every field says its unit, range, default and what 0 or null means.

Pure data, frozen; unknown keys are refused. Profiles may add tables of their own: see `profiles.registry`.
"""

from typing import Annotated, Any, Literal, Self

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
    """Which live updates a client gets: `all`, or those of `watches` rooms it watches."""

    scope: Literal["all", "watched"] = "all"
    watches: int = Field(3, ge=1, le=200)


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
    """A trouble of a fraction of the clients."""

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


# `target` of a fault names a service, or several by a pattern such as `node-*`.
SERVER = "server"
"""The target of a run as a whole, as far as clients see it."""


class NamedService(Table):
    """A service of a target that the run did not start, so that faults can name it.

    pid or pid_file: its process; the file is read again before each fault. url: where it answers (http or
    tcp), to see when it is back. restarts: somebody starts it again when it ends; kill, restart and deploy
    need that. proxy_to: `host:port` of the service; the run then listens on `listen` of 127.0.0.1 and passes
    everything on, and whoever uses the service must have been told to use that port.
    """

    pid: int | None = Field(None, gt=1)
    pid_file: str | None = None
    url: str = Field("", pattern=r"^$|^(https?|tcp)://\S+$")
    restarts: bool = False
    proxy_to: str = Field("", pattern=r"^$|^[^\s:/]+:\d+$")
    listen: int = Field(0, ge=0, le=65_535)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.pid is not None and self.pid_file is not None:
            raise ValueError("give pid or pid_file, not both")
        if bool(self.proxy_to) != bool(self.listen):
            raise ValueError("a proxy needs both proxy_to and listen")
        return self


class Kill(Timed):
    """SIGKILL, as a crash; whoever keeps the service starts it again."""

    kind: Literal["kill"]
    target: str = Field(min_length=1, max_length=100)
    back_within_s: float = Field(30.0, gt=0, le=600)


class Restart(Timed):
    """SIGTERM, as an upgrade; whoever keeps the service starts it again. Several go down together."""

    kind: Literal["restart"]
    target: str = Field(min_length=1, max_length=100)
    back_within_s: float = Field(60.0, gt=0, le=600)


class Deploy(Timed):
    """SIGTERM of one service after the other, each back before the next; gap_s: rest between two."""

    kind: Literal["deploy"]
    target: str = Field("node-*", min_length=1, max_length=100)
    gap_s: float = Field(1.0, ge=0, le=600)
    back_within_s: float = Field(60.0, gt=0, le=600)


class Reload(Timed):
    """SIGHUP: a stack replaces its nodes by itself, one by one, which is taken to last `for_s`."""

    kind: Literal["reload"]
    target: str = Field(SERVER, min_length=1, max_length=100)
    for_s: float = Field(10.0, gt=0, le=3_600)


class Pause(Timed):
    """SIGSTOP for `for_s`, then SIGCONT; `times` in all, `gap_s` apart: a service that flaps."""

    kind: Literal["pause"]
    target: str = Field(min_length=1, max_length=100)
    for_s: float = Field(3.0, gt=0, le=3_600)
    times: int = Field(1, ge=1, le=1_000)
    gap_s: float = Field(1.0, ge=0, le=3_600)


class Delay(Timed):
    """The line is slow: `ms` more each way, plus up to `jitter_ms`."""

    kind: Literal["delay"]
    target: str = Field(SERVER, min_length=1, max_length=100)
    for_s: float = Field(10.0, gt=0, le=3_600)
    ms: float = Field(ge=0, le=60_000)
    jitter_ms: float = Field(0.0, ge=0, le=60_000)


class Bandwidth(Timed):
    """The line is thin: each connection carries `bytes_per_s` each way."""

    kind: Literal["bandwidth"]
    target: str = Field(SERVER, min_length=1, max_length=100)
    for_s: float = Field(10.0, gt=0, le=3_600)
    bytes_per_s: float = Field(gt=0)


class Line(Timed):
    """The line breaks. cut: resets, also of new connections. stall: nothing moves, nothing breaks.
    half_close: the server seems to have ended, and hears still. refuse: new connections are never served."""

    kind: Literal["cut", "stall", "half_close", "refuse"]
    target: str = Field(SERVER, min_length=1, max_length=100)
    for_s: float = Field(5.0, gt=0, le=3_600)


class Hostile(Timed):
    """Strangers send nonsense, oversized messages and floods on `sockets` connections at once.

    inputs_per_s: of all of them together, at most.
    """

    kind: Literal["hostile"]
    sockets: int = Field(10, ge=1, le=1_000)
    for_s: float = Field(10.0, gt=0, le=3_600)
    inputs_per_s: float = Field(500.0, gt=0, le=100_000)


Signal = Kill | Restart | Deploy | Reload | Pause
Network = Delay | Bandwidth | Line
Breakage = Signal | Network | Hostile

Json = Any
Pointer = Annotated[
    str,
    Field(pattern=r"^(/[^/]*)*$", description="RFC 6901 pointer into the array of the event's arguments."),
]
EventName = Annotated[str, Field(min_length=1, max_length=200)]


class Join(Table):
    """An event emitted after CONNECT. ack: wait for the server's answer before anything is owed."""

    event: EventName
    args: list[Json] = []
    ack: bool = True


class Rooms(Table):
    """Where messages go. Client i is in rooms i, i+1 ... of `count`; one room holds everybody.

    durable: the server promises to replay what a member missed while away (its absence is no excuse).
    """

    count: int = Field(1, ge=1, le=100_000)
    per_client: int = Field(1, ge=1, le=1_000)
    name: str = Field("room-{n}", min_length=1, max_length=200)
    durable: bool = False


class PublishBySocket(Table):
    """Emitted by a socket of its own, in order. ack: the answer ends the publish, else none is awaited."""

    via: Literal["socket"]
    event: EventName
    args: list[Json]
    ack: bool = True


class PublishByHttp(Table):
    """Posted with the server's own HTTP interface. Any 2xx is accepted."""

    via: Literal["http"]
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    path: str = Field(pattern=r"^/\S*$")
    headers: dict[str, str] = {}
    body: Json = None


class Receive(Table):
    """How a pushed message tells what it is.

    id: of the message, as the publisher set it: `{id}`, unlike in any other run, or `{n}`, the number of the
    publish, for a server that carries only a number. Either leads to the intended time, so no stamp has to
    come back. seq: ascending per room, where the server numbers messages;
    without it order is judged by the publisher's own order, and only where one socket publishes.
    """

    event: EventName
    id: Pointer = "/0/id"
    seq: Pointer | None = None


class Recover(Table):
    """How a client that comes back is caught up, where the server can do that.

    auth_key: in the CONNECT payload, holding {room: newest seq held} (needs `receive.seq`). event: the
    server's word, per room, on whether it replayed; `room` and `recovered` point into it.
    """

    auth_key: str = Field(min_length=1, max_length=100)
    event: EventName
    room: Pointer = "/0/room"
    recovered: Pointer = "/0/recovered"


class ServerSpec(Table):
    """Any Socket.IO v4 server, as the generic profile sees it.

    Texts are templates: `{client}`, `{room}`, `{token}`, `{user_id}` when connecting and joining; `{id}`,
    `{room}`, `{n}` when publishing. A template that is only one name keeps the value's type.
    """

    path: str = Field("/socket.io/", pattern=r"^/\S*$")
    namespace: str = Field("/", pattern=r"^/\S*$")
    auth: dict[str, Json] | None = None
    headers: dict[str, str] = {}
    join: list[Join] = []
    rooms: Rooms = Rooms()
    recover: Recover | None = None
    publish: Annotated[PublishBySocket | PublishByHttp, Field(discriminator="via")]
    receive: Receive


HELD_S = 300.0
"""What is not settled after that time is lost, and rare."""
AnyFault = Annotated[Fault | Breakage, Field(discriminator="kind")]


class Scenario(Table):
    """One run, fully described. clients: sockets; users = clients / sockets_per_user, rounded up."""

    name: str = Field("unnamed", min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")
    question: str = Field("", description="What the run answers, in one sentence.")
    profile: str
    seed: int = Field(1, ge=0, le=2**31 - 1)
    clients: int = Field(300, ge=1, le=200_000)
    sockets_per_user: int = Field(1, ge=1, le=100)
    processes: int = Field(
        1, ge=0, le=64, description="Processes that hold the clients; 0: one per 5,000, up to the free cores."
    )
    duration_s: float = Field(30.0, gt=0, le=86_400)
    transports: Transports = Transports()
    live: Live = Live()
    publish: Publish = Publish()
    phases: Phases = Phases()
    reconnect: Reconnect = Reconnect()
    tokens: Tokens = Tokens()
    windows: Windows = Windows()
    honesty: HonestyBounds = HonestyBounds()
    faults: tuple[AnyFault, ...] = ()
    services: dict[str, NamedService] = Field({}, description="What faults may break at a --url target.")
    slo: dict[str, float] = Field({}, description="Limits by name; see simulator/thresholds.py.")
    server: ServerSpec | None = None

    @property
    def users(self) -> int:
        """How many users the clients belong to."""
        return -(-self.clients // self.sockets_per_user)

    @property
    def publishes(self) -> int:
        """How many publishes the constant schedule holds, warm-up included."""
        return round((self.duration_s + self.phases.warmup_s) * self.publish.rate_per_s)

    @property
    def publishes_held(self) -> int:
        """How many of them the ledger holds at most: what is settled is let go of, unless
        the server promises to keep it for those who are away."""
        keeps_all = self.server is not None and self.server.rooms.durable
        return self.publishes if keeps_all else min(self.publishes, round(HELD_S * self.publish.rate_per_s))

    @property
    def popularity_zipf(self) -> float:
        """Exponent of the rooms' popularity; 0 = all the same, 1 = a few get most."""
        return 0.0

    def publishers(self, users: int) -> list[int]:
        """Which of so many users publish in the ordinary course."""
        return list(range(users))

    def needs(self) -> dict[str, int]:
        """What a server started for the run must hold, by the placeholders of its commands."""
        return {"users": self.users, "seed": self.seed}

    def profile_problems(self) -> list[str]:
        """What only the profile knows to be wrong, a sentence each."""
        return []
