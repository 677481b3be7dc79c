"""`vouchstorm`: parse, call, exit code. No logic lives here.

Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 target unreachable or set-up failed, 4 INVALID, 130 interrupted.
Imports happen inside the commands: `vouchstorm --help` answers at once.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backend.app.settings import Settings

app = typer.Typer(
    name="vouchstorm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A load-testable reference stack for real-time web applications, with its simulation harness.",
)

EXIT_SETUP = 3
EXIT_INTERRUPTED = 130

DataDir = Annotated[Path | None, typer.Option(help="Directory of the embedded store [default: data].")]
StoreUrl = Annotated[str | None, typer.Option(help="`sqlite:///path` or `mongodb://...`.")]


@app.callback()
def _vouchstorm() -> None:
    """Keeps subcommands subcommands, however few there are."""


def _fail(message: str, code: int = EXIT_SETUP) -> typer.Exit:
    typer.echo(f"vouchstorm: {message}", err=True)
    return typer.Exit(code)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Expected trouble becomes one sentence and an exit code."""
    from backend.app.errors import VouchstormError

    try:
        yield
    except VouchstormError as error:
        raise _fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _settings(data_dir: Path | None, store_url: str | None, log_level: str | None = None) -> "Settings":
    from backend.app.logs import configure_logging
    from backend.app.settings import load_settings

    settings = load_settings(data_dir=data_dir, store_url=store_url, log_level=log_level)
    configure_logging(settings.log_level, settings.log_format, settings.node or "node")
    return settings


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the port.")] = 1,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one node, or several workers on one port (they need a bus: set `VOUCHSTORM_BUS_URL`).

    SIGTERM sends the clients away in slices, then stops. SIGHUP replaces the workers one by one.

    Examples: `vouchstorm serve` · `vouchstorm serve --port 0 --data-dir /tmp/demo` ·
    `VOUCHSTORM_BUS_URL=redis://localhost vouchstorm serve --workers 2`

    Every other setting is an environment variable, see docs/SETTINGS.md.
    """
    from backend.app.node import announce_ready, listen, run_node
    from backend.app.supervisor import run_workers

    with _one_sentence():
        settings = _settings(data_dir, store_url, log_level)
        if workers > 1:
            run_workers(settings, host, port, workers, announce_ready)
        else:
            run_node(settings, listen(host, port), announce_ready)


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
    from backend.app.main import seed_store
    from backend.app.seeding import SeedSize

    size = SeedSize(users, claims, validations, quorum, prefix)
    with _one_sentence():
        settings = _settings(data_dir, store_url, "warning")
        summary = asyncio.run(
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
    from backend.app.main import issue_token

    with _one_sentence():
        typer.echo(asyncio.run(issue_token(_settings(data_dir, store_url, "warning"), user)))


@app.command()
def doctor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port a node would use.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="The directory the store would use.")] = Path("data"),
) -> None:
    """Look at this machine: limits, services, ports; say what is missing and how to get it.

    Example: `vouchstorm doctor`
    """
    from rich.console import Console
    from rich.table import Table

    from backend.stack.doctor import Level, examine

    marks = {Level.OK: "[green]ok[/]", Level.WARN: "[yellow]warn[/]", Level.MISSING: "[red]missing[/]"}
    table = Table("", "what", "found", "needed for", box=None, pad_edge=False)
    findings = examine(port, data_dir)
    for finding in findings:
        table.add_row(marks[finding.level], finding.name, finding.fact, finding.needed_for)
    Console().print(table)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
