"""The tables of faults that break services, lines and manners: what, when, for how long.

Pure data, frozen; unknown keys are refused. `target` names a service, or several by a pattern such as
`node-*`. Carried out by `sabotage`; the troubles of clients are in `tables`.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from .scenario.models import Table, Timed

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
    """SIGHUP: a supervisor replaces its workers by itself, which is taken to last `for_s`."""

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
