"""What a stack consists of: ports, command lines, environments, directories, logs. Pure.

Starts and binds nothing; `processes.py` carries it out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..app.errors import SetupError
from .balancer import caddyfile

LOOPBACK = "127.0.0.1"
MAX_NODES = 32
REDIS_OFFSET = 98
MONGODB_OFFSET = 99
DATABASE = "vouchstorm"
REPLICA_SET = "rs0"
NODE_GRACE_S = 20.0
"""Drain time plus uvicorn's own wait for open requests."""
SERVICE_GRACE_S = 10.0


class Kind(StrEnum):
    """embedded: one node with SQLite and no bus. full: MongoDB, Redis, nodes, load balancer."""

    EMBEDDED = "embedded"
    FULL = "full"


class Role(StrEnum):
    REDIS = "redis"
    MONGODB = "mongodb"
    NODE = "node"
    BALANCER = "balancer"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the user asked for.

    port: of the public URL; 0 lets the system choose all ports.
    drain_s: how long each node takes to send its clients away; part of its grace time.
    """

    kind: Kind = Kind.FULL
    nodes: int = 2
    port: int = 8000
    data_dir: Path = Path("data")
    drain_s: float = 2.0

    def checked(self) -> "StackOptions":
        """Itself. Raises SetupError when the wishes do not fit together."""
        if not 1 <= self.nodes <= MAX_NODES:
            raise SetupError(f"--nodes must be between 1 and {MAX_NODES}.")
        if self.kind is Kind.EMBEDDED and self.nodes > 1:
            raise SetupError(
                "The embedded stack is one node, for it has no bus; use --stack full for several nodes."
            )
        if self.port and self.port + MONGODB_OFFSET > 65_535:
            raise SetupError(
                f"--port must be at most {65_535 - MONGODB_OFFSET}: the stack takes ports above it."
            )
        return self


@dataclass(frozen=True, slots=True)
class Ports:
    """redis, mongodb: 0 when the stack has none. An embedded stack's only node has the public port."""

    public: int
    nodes: tuple[int, ...]
    redis: int = 0
    mongodb: int = 0

    def named(self) -> Iterator[tuple[str, int]]:
        """(what the port is for, port), each port once."""
        if self.public not in self.nodes:
            yield "the load balancer", self.public
        yield from ((f"node-{number}", port) for number, port in enumerate(self.nodes, 1))
        if self.redis:
            yield "Redis", self.redis
        if self.mongodb:
            yield "MongoDB", self.mongodb


def fixed_ports(options: StackOptions) -> Ports:
    """The ports that belong to a public port P: nodes P+1 ..., Redis P+98, MongoDB P+99."""
    public = options.port
    if options.kind is Kind.EMBEDDED:
        return Ports(public, (public,))
    nodes = tuple(public + number for number in range(1, options.nodes + 1))
    return Ports(public, nodes, public + REDIS_OFFSET, public + MONGODB_OFFSET)


@dataclass(frozen=True, slots=True)
class Programs:
    """vouchstorm: our own command line. The three services: None where the stack does not need them."""

    vouchstorm: tuple[str, ...]
    valkey: str | None = None
    mongod: str | None = None
    caddy: str | None = None


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One child process.

    environment: on top of ours; None removes a variable. directories: made before the start.
    """

    name: str
    role: Role
    command: tuple[str, ...]
    port: int
    log: Path
    grace_s: float = SERVICE_GRACE_S
    environment: Mapping[str, str | None] = field(default_factory=dict)
    directories: tuple[Path, ...] = ()

    @property
    def url(self) -> str:
        """Where its clients find it."""
        match self.role:
            case Role.REDIS:
                return f"redis://{LOOPBACK}:{self.port}/0"
            case Role.MONGODB:
                return f"mongodb://{LOOPBACK}:{self.port}/{DATABASE}?replicaSet={REPLICA_SET}"
            case _:
                return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True, slots=True)
class StackPlan:
    """services: in starting order; those of one stage (`stages`) may start at the same time."""

    kind: Kind
    data_dir: Path
    url: str
    services: tuple[ServicePlan, ...]
    files: Mapping[Path, str] = field(default_factory=dict)

    def stages(self) -> tuple[tuple[ServicePlan, ...], ...]:
        """Who waits for whom: the services first, then nodes, then the load balancer."""
        order = ((Role.REDIS, Role.MONGODB), (Role.NODE,), (Role.BALANCER,))
        return tuple(
            stage for roles in order if (stage := tuple(s for s in self.services if s.role in roles))
        )

    def with_role(self, role: Role) -> tuple[ServicePlan, ...]:
        return tuple(service for service in self.services if service.role is role)


def plan_stack(options: StackOptions, ports: Ports, programs: Programs, jwt_secret: str) -> StackPlan:
    """The plan. `options` were `checked`; `programs` has what this kind of stack needs."""
    data_dir = options.data_dir.absolute()
    logs = data_dir / "logs"
    grace_s = options.drain_s + NODE_GRACE_S
    if options.kind is Kind.EMBEDDED:
        store_url = f"sqlite:///{data_dir / 'vouchstorm.db'}"
        node = _node(1, ports.public, programs, logs, grace_s, _shared(data_dir, store_url, None, jwt_secret))
        return StackPlan(options.kind, data_dir, node.url, (node,))
    redis = _redis(programs, ports.redis, data_dir, logs)
    mongodb = _mongodb(programs, ports.mongodb, data_dir, logs)
    shared = _shared(data_dir, mongodb.url, redis.url, jwt_secret)
    nodes = [
        _node(number, port, programs, logs, grace_s, shared) for number, port in enumerate(ports.nodes, 1)
    ]
    balancer, files = _balancer(programs, ports.public, ports.nodes, data_dir, logs)
    return StackPlan(options.kind, data_dir, balancer.url, (redis, mongodb, *nodes, balancer), files)


def _shared(data_dir: Path, store_url: str, bus_url: str | None, secret: str) -> dict[str, str | None]:
    """What all nodes have in common, whatever the environment of the user says."""
    return {
        "VOUCHSTORM_DATA_DIR": str(data_dir),
        "VOUCHSTORM_STORE_URL": store_url,
        "VOUCHSTORM_BUS_URL": bus_url,
        "VOUCHSTORM_JWT_SECRET": secret,
    }


def _node(
    number: int, port: int, programs: Programs, logs: Path, grace_s: float, shared: Mapping[str, str | None]
) -> ServicePlan:
    name = f"node-{number}"
    return ServicePlan(
        name=name,
        role=Role.NODE,
        command=(*programs.vouchstorm, "serve", "--host", LOOPBACK, "--port", str(port)),
        port=port,
        log=logs / f"{name}.log",
        grace_s=grace_s,
        environment={**shared, "VOUCHSTORM_NODE": name},
    )


def _redis(programs: Programs, port: int, data_dir: Path, logs: Path) -> ServicePlan:
    home = data_dir / "redis"
    options = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(home))
    return ServicePlan(
        name="redis",
        role=Role.REDIS,
        command=(_found(programs.valkey), *_at(port, "--bind"), *options),
        port=port,
        log=logs / "redis.log",
        directories=(home,),
    )


def _mongodb(programs: Programs, port: int, data_dir: Path, logs: Path) -> ServicePlan:
    home = data_dir / "mongodb"
    options = (
        *("--dbpath", str(home), "--replSet", REPLICA_SET, "--nounixsocket", "--quiet"),
        *("--wiredTigerCacheSizeGB", "0.25", "--networkMessageCompressors", "disabled"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    )
    return ServicePlan(
        name="mongodb",
        role=Role.MONGODB,
        command=(_found(programs.mongod), *_at(port, "--bind_ip"), *options),
        port=port,
        log=logs / "mongodb.log",
        directories=(home,),
    )


def _balancer(
    programs: Programs, port: int, node_ports: Sequence[int], data_dir: Path, logs: Path
) -> tuple[ServicePlan, dict[Path, str]]:
    home = data_dir / "caddy"
    file = home / "Caddyfile"
    plan = ServicePlan(
        name="balancer",
        role=Role.BALANCER,
        command=(
            *(_found(programs.caddy), "run"),
            *("--config", str(file), "--adapter", "caddyfile"),
        ),
        port=port,
        log=logs / "balancer.log",
        environment={"XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home), "HOME": str(home)},
        directories=(home,),
    )
    return plan, {file: caddyfile(port, node_ports)}


def _at(port: int, bind: str) -> tuple[str, ...]:
    return ("--port", str(port), bind, LOOPBACK)


def _found(program: str | None) -> str:
    if program is None:
        raise ValueError("a full stack needs all three services")
    return program
