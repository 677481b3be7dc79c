"""Commands of the stack: serve, seed, token, doctor, backup, restore, up, down, status.

Each parses, calls one function of the backend and prints what came of it. The command line registers `app`.
Imports happen inside the commands: `vouchstorm --help` answers at once.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from simulator import interrupts

from .plan import MAX_NODES

if TYPE_CHECKING:
    from ..app.settings import Settings
    from .up import StackSeed

app = typer.Typer()

EXIT_SETUP = 3
DEFAULT_NODES = 2
OBSERVED_USERS = 120
"""Seeded for the simulator of `up --observe`."""

DataDir = Annotated[Path | None, typer.Option(help="Directory of the embedded store [default: data].")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        help="`sqlite:///path` or `mongodb://...`; one with a password belongs into `VOUCHSTORM_STORE_URL`, "
        "for everybody on the machine can read a command line."
    ),
]


class Stack(StrEnum):
    EMBEDDED = "embedded"
    FULL = "full"


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Expected trouble becomes one sentence and an exit code. Import before it: it can be interrupted."""
    from ..app.errors import VouchstormError

    with interrupts.cleaning_up():
        try:
            yield
        except VouchstormError as error:
            typer.echo(f"vouchstorm: {error}", err=True)
            raise typer.Exit(EXIT_SETUP) from error


def _settings(data_dir: Path | None, store_url: str | None, log_level: str | None = None) -> "Settings":
    from ..app.observability.logs import configure_logging
    from ..app.settings import load_settings

    settings = load_settings(data_dir=data_dir, store_url=store_url, log_level=log_level)
    configure_logging(settings.log_level, settings.log_format, settings.node or "node")
    return settings


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
    workers: Annotated[int | None, typer.Option(hidden=True)] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one node, which is one process. SIGTERM sends the clients away in slices, then stops.

    Examples: `vouchstorm serve` · `vouchstorm serve --port 0 --data-dir /tmp/demo`

    Every other setting is an environment variable, see docs/SETTINGS.md.
    """
    if workers is not None:
        raise typer.BadParameter(
            "one node is one process, there are no workers any more; for several nodes use "
            "`vouchstorm up --nodes N`, or more replicas in your deployment (deploy/)."
        )
    from ..app.process.node import announce_ready, listen, serve_node

    with _one_sentence():
        settings = _settings(data_dir, store_url, log_level)
        served = serve_node(settings, listen(host, port), announce_ready, interrupts.heard)
        if signal.SIGINT in interrupts.run(served):
            raise KeyboardInterrupt


@app.command()
def seed(
    users: Annotated[int, typer.Option(min=0, max=200_000, help="How many users.")] = 100,
    claims: Annotated[int, typer.Option(min=0, max=100_000, help="How many claims.")] = 20,
    validations: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many answers.")] = 0,
    quorum: Annotated[int, typer.Option(min=1, max=100_000, help="Quorum of each claim.")] = 3,
    seed_number: Annotated[int, typer.Option("--seed", help="The same seed, the same data.")] = 1,
    prefix: Annotated[str, typer.Option(help="Start of each username.")] = "user",
    tokens: Annotated[Path | None, typer.Option(help="Write a token per user here (JSON lines).")] = None,
    claims_file: Annotated[Path | None, typer.Option(help="Write the claims here (JSON lines).")] = None,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Fill a store with users, claims and validations, and write the tokens that the simulator uses.

    Seeded users log in with the password `vouchstorm-demo`.

    Examples: `vouchstorm seed --users 300 --claims 40 --tokens data/tokens.jsonl` ·
    `vouchstorm seed --validations 200 --seed 7`
    """
    from ..app.main import seed_store
    from ..app.seeding import SeedSize

    size = SeedSize(users, claims, validations, quorum, prefix)
    with _one_sentence():
        settings = _settings(data_dir, store_url, "warning")
        summary = interrupts.run(
            seed_store(settings, size, seed_number, tokens, claims_file, progress=_progress())
        )
    typer.echo(summary)


def _progress() -> "_Progress":
    return _Progress()


class _Progress:
    """Counts on standard error where it is a terminal; silent otherwise."""

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{what}: {done}/{total}", nl=done == total, err=True)


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="A username.")],
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Print a token for a user, for curl and scripts (whoever holds the signing secret may do this).

    Example: `curl -H "Authorization: Bearer $(vouchstorm token user00000)" localhost:8000/api/auth/me`
    """
    from ..app.main import issue_token

    with _one_sentence():
        typer.echo(interrupts.run(issue_token(_settings(data_dir, store_url, "warning"), user)))


@app.command()
def doctor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port a node would use.")] = 8000,
    data_dir: DataDir = None,
    data: Annotated[bool, typer.Option("--data", help="Check what the store holds instead.")] = False,
    store_url: StoreUrl = None,
) -> None:
    """Look at this machine: limits, services, ports; say what is missing and how to get it.

    With `--data`: check the conservation laws of a store (embedded or MongoDB), in use or not: tallies are
    their validations, notifications have no holes, trust scores are the sum of their changes, each consensus
    is what its validations amount to. Nothing is changed: each finding says what to do. Exit code 1 when
    something is wrong.

    Examples: `vouchstorm doctor` · `vouchstorm doctor --data`
    """
    if data:
        _doctor_data(data_dir, store_url)
    from rich.console import Console
    from rich.table import Table

    from .doctor import Level, examine

    marks = {Level.OK: "[green]ok[/]", Level.WARN: "[yellow]warn[/]", Level.MISSING: "[red]missing[/]"}
    table = Table("", "what", "found", "needed for", box=None, pad_edge=False)
    for finding in examine(port, data_dir or _default_data_dir()):
        table.add_row(marks[finding.level], finding.name, finding.fact, finding.needed_for)
    Console().print(table)


def _default_data_dir() -> Path:
    """Where a node would keep its data; with bad settings it would not start, which is said."""
    from ..app.errors import SetupError

    try:
        return _settings(None, None, "warning").data_dir
    except SetupError as error:
        typer.echo(f"vouchstorm: {error}", err=True)
        return Path("data")


def _doctor_data(data_dir: Path | None, store_url: str | None) -> NoReturn:
    from .data_checks import examine_data, sentences

    with _one_sentence():
        settings = _settings(data_dir, store_url, "warning")
        examined = examine_data(settings.resolved_store_url)
    for line in sentences(examined):
        typer.echo(line)
    raise typer.Exit(1 if examined.findings else 0)


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Copy the embedded store to a file, consistent as of one moment; nodes may go on.

    Example: `vouchstorm backup backups/monday.db`
    """
    from .backup import backup as write_backup

    with _one_sentence():
        settings = _settings(data_dir, store_url, "warning")
        copied = write_backup(settings.resolved_store_url, path, force=force)
    typer.echo(f"Wrote {copied.path}: {copied.users} users, {copied.n_bytes} bytes, checked.")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the store that is there.")] = False,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Make the embedded store what a backup says; the node must not run.

    The backup is checked first; it may be of an older version, which the next start migrates.

    Example: `vouchstorm restore backups/monday.db --force`
    """
    from .backup import restore as read_backup

    with _one_sentence():
        settings = _settings(data_dir, store_url, "warning")
        copied = read_backup(settings.resolved_store_url, path, force=force)
    typer.echo(f"Restored {settings.store_place} from {copied.path}: {copied.users} users.")


@app.command()
def up(
    stack: Annotated[
        Stack, typer.Option(help="embedded: one node on SQLite; full: everything.")
    ] = Stack.FULL,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_NODES, help="Nodes behind the load balancer [default: 2; embedded: 1]."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Public port; 0 takes free ones.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Directory for all data and logs.")] = Path("data"),
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    seed_users: Annotated[
        int, typer.Option(min=0, max=200_000, help="Seed this many users before it is ready.")
    ] = 0,
    seed_claims: Annotated[int, typer.Option(min=0, max=100_000, help="Seed this many claims.")] = 0,
    seed_quorum: Annotated[int, typer.Option(min=1, max=100_000, help="Quorum of the seeded claims.")] = 3,
    seed_number: Annotated[int, typer.Option("--seed", help="Seed of the seeding.")] = 1,
    seed_prefix: Annotated[str, typer.Option("--prefix", help="Start of each seeded username.")] = "user",
    tokens: Annotated[Path | None, typer.Option(help="Write the seeded users' tokens here.")] = None,
    claims_file: Annotated[Path | None, typer.Option(help="Write the seeded claims here.")] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="With Prometheus on it, and a simulator loop to look at.")
    ] = False,
    roll: Annotated[
        bool, typer.Option("--roll", help="Replace the nodes of the stack that runs, one by one.")
    ] = False,
) -> None:
    """Run the whole stack on this machine: Redis, MongoDB, nodes, load balancer. Ctrl-C stops all of it.

    Examples: `vouchstorm up` · `vouchstorm up --nodes 3 --port 9000` · `vouchstorm up --observe` ·
    `vouchstorm up --detach`, later `vouchstorm status`, `vouchstorm up --roll` and `vouchstorm down`
    """
    from .observer import Observer
    from .plan import Kind, StackOptions
    from .up import StackSeed, roll_stack, run_up, start_detached

    if roll:
        with _one_sentence():
            roll_stack(data_dir, typer.echo)
        return
    if observe and detach:
        raise typer.BadParameter("the observer ends with the terminal; leave out --detach.")
    if stack is Stack.EMBEDDED and (nodes or 1) > 1:
        raise typer.BadParameter(
            "the embedded stack is one node, for it has no bus; use --stack full for several nodes."
        )
    observer = Observer()
    seeds = []
    if seed_users:
        seeds.append(
            StackSeed(seed_users, seed_claims, seed_quorum, seed_number, seed_prefix, tokens, claims_file)
        )
    observed = _observed_seed(data_dir)
    if observe:
        seeds.append(observed)

    def announce(facts: dict[str, Any]) -> None:
        for seed in seeds:
            _seed_running(facts, seed)
        if observe and observed.tokens is not None:
            facts["observe"] = observer.start(facts, port, observed.tokens)
        _print_ready(facts)

    count = 1 if stack is Stack.EMBEDDED else nodes or DEFAULT_NODES
    options = StackOptions(Kind(stack.value), count, port, data_dir)
    with _one_sentence():
        _settings(data_dir, None, "warning")
        if detach:
            start_detached(options, announce)
            return
        try:
            run_up(options, announce)
        finally:
            observer.stop()


def _observed_seed(data_dir: Path) -> "StackSeed":
    """Users for the simulator of `up --observe`, new ones at each start: what was seeded before stays."""
    from .up import StackSeed

    tokens = data_dir.absolute() / "observe-tokens.jsonl"
    return StackSeed(OBSERVED_USERS, prefix=f"observe-{int(time.time()):x}-", tokens=tokens)


def _seed_running(facts: dict[str, Any], seed: "StackSeed") -> None:
    """Raises typer.Exit where `seed` has said why it cannot, SetupError where it just ended."""
    from ..app.errors import SetupError
    from .up import seed_stack

    status = seed_stack(facts, seed)
    if status in (EXIT_SETUP, interrupts.INTERRUPTED):
        raise typer.Exit(status)
    if status:
        raise SetupError(f"The stack was stopped, for `vouchstorm seed` ended with status {status}.")


def _print_ready(facts: dict[str, Any]) -> None:
    if not sys.stdout.isatty():
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"The stack is ready on {facts['url']}  (web UI {facts['url']}/app/, API {facts['url']}/docs)")
    for node in facts["nodes"]:
        typer.echo(f"  {node['name']}  {node['url']}  pid {node['pid']}")
    for name in ("redis", "mongodb", "logs"):
        if facts.get(name):
            typer.echo(f"  {name}  {facts[name]}")
    for name, place in facts.get("observe", {}).items():
        typer.echo(f"  {name.replace('_', ' ')}  {place}")


@app.command()
def down(
    data_dir: Annotated[Path, typer.Option(help="The directory `up` was given.")] = Path("data"),
) -> None:
    """Stop what `vouchstorm up --detach` left running. Example: `vouchstorm down`"""
    from .up import stop_stack

    with _one_sentence():
        names = stop_stack(data_dir)
    typer.echo(f"Stopped {', '.join(names)}." if names else "Nothing was running.")


@app.command()
def status(
    data_dir: Annotated[Path, typer.Option(help="The directory `up` was given.")] = Path("data"),
) -> None:
    """What runs of a stack, as JSON. Example: `vouchstorm status`"""
    from .up import stack_status

    with _one_sentence():
        typer.echo(json.dumps(stack_status(data_dir), indent=2))
