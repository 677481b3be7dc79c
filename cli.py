"""`vouchstorm`: parse, call, exit code. No logic lives here.

Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 target unreachable or set-up failed, 4 INVALID, 130 interrupted.
Imports happen inside the commands: `vouchstorm --help` answers at once.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from backend.app.settings import Settings
    from simulator.target import Commands

app = typer.Typer(
    name="vouchstorm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A load-testable reference stack for real-time web applications, with its simulation harness.",
)

EXIT_USAGE = 2
EXIT_SETUP = 3
EXIT_INTERRUPTED = 130


class Stack(StrEnum):
    EMBEDDED = "embedded"
    FULL = "full"


class Quantity(StrEnum):
    CLIENTS = "clients"
    RATE = "rate"


DIVIDER = "\x00--"
"""Stands for the `--` of `compare`; no path can hold a NUL."""

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


@app.command()
def up(
    stack: Annotated[
        Stack, typer.Option(help="embedded: one node on SQLite; full: everything.")
    ] = Stack.FULL,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Nodes behind the load balancer.")] = 2,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Public port; 0 takes free ones.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Directory for all data and logs.")] = Path("data"),
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    seed_users: Annotated[int, typer.Option(min=0, help="Seed this many users before it is ready.")] = 0,
    seed_claims: Annotated[int, typer.Option(min=0, help="Seed this many claims.")] = 0,
    seed_quorum: Annotated[int, typer.Option(min=1, help="Quorum of the seeded claims.")] = 3,
    seed_number: Annotated[int, typer.Option("--seed", help="Seed of the seeding.")] = 1,
    tokens: Annotated[Path | None, typer.Option(help="Write the seeded users' tokens here.")] = None,
    claims_file: Annotated[Path | None, typer.Option(help="Write the seeded claims here.")] = None,
) -> None:
    """Run the whole stack on this machine: Redis, MongoDB, nodes, load balancer. Ctrl-C stops all of it.

    Examples: `vouchstorm up` · `vouchstorm up --nodes 3 --port 9000` · `vouchstorm up --detach`, later
    `vouchstorm status` and `vouchstorm down`
    """
    from backend.stack.plan import Kind, StackOptions
    from backend.stack.up import run_up, start_detached

    def announce(facts: dict[str, Any]) -> None:
        if seed_users:
            _seed_stack(
                facts, data_dir, seed_users, seed_claims, seed_quorum, seed_number, tokens, claims_file
            )
        _print_ready(facts)

    options = StackOptions(Kind(stack.value), 1 if stack is Stack.EMBEDDED else nodes, port, data_dir)
    with _one_sentence():
        _settings(data_dir, None, "warning")
        if detach:
            announce(start_detached(options))
        else:
            run_up(options, announce)


def _seed_stack(
    facts: dict[str, Any],
    data_dir: Path,
    users: int,
    claims: int,
    quorum: int,
    number: int,
    tokens: Path | None,
    claims_file: Path | None,
) -> None:
    """In a process of its own: the stack's event loop must not wait for it in this one."""
    words = [sys.executable, "-m", "cli", "seed", "--users", str(users), "--claims", str(claims)]
    words += ["--quorum", str(quorum), "--seed", str(number), "--data-dir", str(data_dir)]
    words += ["--store-url", facts["mongodb"]] if facts.get("mongodb") else []
    words += ["--tokens", str(tokens)] if tokens else []
    words += ["--claims-file", str(claims_file)] if claims_file else []
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent)


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


@app.command()
def down(
    data_dir: Annotated[Path, typer.Option(help="The directory `up` was given.")] = Path("data"),
) -> None:
    """Stop what `vouchstorm up --detach` left running. Example: `vouchstorm down`"""
    from backend.stack.down import stop_stack

    with _one_sentence():
        names = stop_stack(data_dir)
    typer.echo(f"Stopped {', '.join(names)}." if names else "Nothing was running.")


@app.command()
def status(
    data_dir: Annotated[Path, typer.Option(help="The directory `up` was given.")] = Path("data"),
) -> None:
    """What runs of a stack, as JSON. Example: `vouchstorm status`"""
    from backend.stack.down import stack_status

    with _one_sentence():
        typer.echo(json.dumps(stack_status(data_dir), indent=2))


@app.command()
def simulate(
    scenario: Annotated[str | None, typer.Argument(help="A built-in name or a TOML file.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the built-in scenarios.")] = False,
    url: Annotated[str | None, typer.Option(help="A running server; without it, one is started.")] = None,
    path: Annotated[str | None, typer.Option(help="Engine.IO path [default: the profile's].")] = None,
    profile: Annotated[str | None, typer.Option(help="vouchstorm, generic or echo.")] = None,
    stack: Annotated[Stack, typer.Option(help="What to start without --url.")] = Stack.EMBEDDED,
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Nodes of `--stack full`.")] = 2,
    clients: Annotated[int | None, typer.Option(help="Socket.IO clients.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of load.")] = None,
    rate: Annotated[float | None, typer.Option(help="Validations per second.")] = None,
    seed_number: Annotated[int | None, typer.Option("--seed", help="Same seed, same run.")] = None,
    slo: Annotated[list[str] | None, typer.Option(help="Limit, as key=value[,key=value].")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Tokens that `seed` wrote, for --url.")] = None,
    claims_file: Annotated[Path | None, typer.Option(help="Claims that `seed` wrote, for --url.")] = None,
    json_: Annotated[str | None, typer.Option("--json", help="Write the result here; - is stdout.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    pin: Annotated[bool, typer.Option(help="Server and generator on different cores.")] = True,
) -> None:
    """Run a scenario: fake validators and Socket.IO clients, a ledger of every message, one verdict.

    Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 target unreachable or set-up failed, 4 INVALID (the harness could
    not keep up: do not believe the figures), 130 interrupted.

    Examples: `vouchstorm simulate demo` · `vouchstorm simulate fanout --clients 1000 --json -` ·
    `vouchstorm simulate bell --url http://localhost:8000 --tokens data/tokens.jsonl` ·
    `vouchstorm simulate demo --stack full --nodes 2 --slo lost=0`
    """
    from rich.console import Console

    from simulator.errors import ScenarioError, SetupError
    from simulator.report.files import STDOUT, check_writable, write_html, write_json
    from simulator.report.terminal import TerminalUi, print_result
    from simulator.runner import RunOptions, run_scenario
    from simulator.scenario import list_builtin, load, override
    from simulator.slo import parse

    if list_ or scenario is None:
        for name, question in list_builtin().items():
            typer.echo(f"{name:18} {question}", err=not list_)
        raise typer.Exit(0 if list_ else EXIT_USAGE)
    try:
        wanted = override(
            load(scenario),
            clients=clients,
            duration_s=duration,
            rate_per_s=rate,
            seed=seed_number,
            profile=profile,
            slo=parse(slo or []),
        )
        commands = None if url else _server_commands(stack, nodes)
        check_writable(json_)
        check_writable(html)
        options = RunOptions(wanted, url, commands, path, tokens, claims_file, pin)
        with TerminalUi(Console(stderr=True)) as terminal:
            result = run_scenario(options, terminal)
        write_json(result, json_)
        write_html(result, html)
    except ScenarioError as error:
        raise _fail(str(error), EXIT_USAGE) from error
    except SetupError as error:
        raise _fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    print_result(result, Console(stderr=json_ == STDOUT))
    for written in (html, json_):
        if written not in (None, STDOUT):
            typer.echo(f"Wrote {written}", err=json_ == STDOUT)
    raise typer.Exit(result.exit_code)


def _server_commands(stack: Stack, nodes: int) -> "Commands":
    """How the simulator starts a server of ours."""
    from simulator.target import Commands

    ours = [sys.executable, str(Path(__file__).resolve())]
    data_dir = "{data_dir}/data"
    files = ["--tokens", "{tokens_file}", "--claims-file", "{claims_file}"]
    if stack is Stack.EMBEDDED:
        serving = [*ours, "serve", "--port", "0", "--data-dir", data_dir, "--log-level", "warning"]
        sizes = ["--users", "{users}", "--claims", "{claims}", "--quorum", "{quorum}", "--seed", "{seed}"]
        return Commands(serving, [*ours, "seed", *sizes, *files, "--data-dir", data_dir])
    sizes = ["--seed-users", "{users}", "--seed-claims", "{claims}", "--seed-quorum", "{quorum}"]
    sizes += ["--seed", "{seed}"]
    wanted = ["--stack", "full", "--nodes", str(nodes), "--port", "0", "--data-dir", data_dir]
    return Commands([*ours, "up", *wanted, *sizes, *files])


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A result file that `simulate --json` wrote.")],
    html: Annotated[Path | None, typer.Option(help="Where to write it [default: beside the result].")] = None,
) -> None:
    """Write the HTML report of a finished run again.

    Example: `vouchstorm report reports/demo.json`
    """
    from simulator.errors import SimulatorError
    from simulator.report.files import read_result, write_html

    target = html or run.with_suffix(".html")
    try:
        write_html(read_result(run), target)
    except SimulatorError as error:
        raise _fail(str(error), EXIT_USAGE) from error
    typer.echo(f"Wrote {target}.")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Baseline runs, `--`, candidate runs.")],
    baseline: Annotated[list[Path] | None, typer.Option(help="A baseline run; repeat it.")] = None,
    min_effect: Annotated[float, typer.Option(min=0, max=10, help="Smaller changes are none.")] = 0.05,
    json_: Annotated[
        str | None, typer.Option("--json", help="Write the comparison here; - is stdout.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the Markdown here, too.")] = None,
) -> None:
    """Compare two sets of runs, knowing their noise: at least 3, better 5 runs a side. Exit 1: worse.

    Examples: `vouchstorm compare before/*.json -- after/*.json` ·
    `vouchstorm compare after/*.json --baseline before/1.json --baseline before/2.json ...`
    """
    import numpy as np

    from simulator.compare import compare as compare_runs
    from simulator.errors import SimulatorError
    from simulator.report.files import STDOUT, check_writable
    from simulator.report.markdown import comparison_markdown
    from simulator.report.runs import read_runs
    from simulator.significance import Rules

    try:
        left, right = _two_sides(runs, [str(path) for path in baseline or []])
        check_writable(json_)
        check_writable(markdown)
        comparison = compare_runs(
            read_runs([Path(path) for path in left]),
            read_runs([Path(path) for path in right]),
            Rules(min_effect=min_effect),
            np.random.default_rng(1),
        )
    except SimulatorError as error:
        raise _fail(str(error), EXIT_USAGE) from error
    text = comparison_markdown(comparison)
    if json_ == STDOUT:
        typer.echo(comparison.model_dump_json(indent=2))
    else:
        typer.echo(text)
        if json_:
            Path(json_).write_text(comparison.model_dump_json(indent=2))
    if markdown:
        markdown.write_text(text)
    raise typer.Exit(comparison.exit_code)


def _two_sides(runs: list[str], baseline: list[str]) -> tuple[list[str], list[str]]:
    """The shell hands `A... -- B...` over without the dashes once; `main` marks their place."""
    from simulator.errors import ScenarioError

    if baseline:
        return baseline, runs
    if DIVIDER not in runs:
        raise ScenarioError(
            ["Say which runs are the baseline: vouchstorm compare before/*.json -- after/*.json."]
        )
    place = runs.index(DIVIDER)
    return runs[:place], runs[place + 1 :]


@app.command()
def capacity(
    scenario: Annotated[str, typer.Argument(help="A built-in name or a TOML file.")] = "fanout",
    quantity: Annotated[Quantity, typer.Option(help="What is raised.")] = Quantity.CLIENTS,
    start: Annotated[float, typer.Option(min=1, help="The first load.")] = 100,
    limit: Annotated[float, typer.Option(min=1, help="The largest load to try.")] = 10_000,
    hold: Annotated[float, typer.Option(min=1, help="Seconds of load at each step.")] = 15,
    tolerance: Annotated[float, typer.Option(min=0.01, max=1, help="How near to the knee.")] = 0.1,
    url: Annotated[str | None, typer.Option(help="A running server; without it, one is started.")] = None,
    stack: Annotated[Stack, typer.Option(help="What to start without --url.")] = Stack.EMBEDDED,
    nodes: Annotated[int, typer.Option(min=1, max=32, help="Nodes of `--stack full`.")] = 2,
    slo: Annotated[list[str] | None, typer.Option(help="Limit, as key=value[,key=value].")] = None,
    seed_number: Annotated[int | None, typer.Option("--seed", help="Seed of the first step.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Tokens that `seed` wrote, for --url.")] = None,
    claims_file: Annotated[Path | None, typer.Option(help="Claims that `seed` wrote, for --url.")] = None,
    json_: Annotated[str | None, typer.Option("--json", help="Write the search here; - is stdout.")] = None,
) -> None:
    """Search the knee: the largest load that holds the service levels, and what gave way first.

    Examples: `vouchstorm capacity` · `vouchstorm capacity fanout --quantity rate --start 10 --limit 500` ·
    `vouchstorm capacity demo --slo fanout_p99_ms=250 --stack full`
    """
    from rich.console import Console

    from simulator.capacity import CapacityOptions, run_capacity
    from simulator.errors import ScenarioError, SetupError
    from simulator.report.files import STDOUT, check_writable
    from simulator.report.markdown import capacity_markdown
    from simulator.report.terminal import TerminalUi
    from simulator.runner import RunOptions
    from simulator.scenario import load, override
    from simulator.search import Plan
    from simulator.slo import parse

    try:
        check_writable(json_)
        wanted = override(load(scenario), seed=seed_number, slo=parse(slo or []))
        commands = None if url else _server_commands(stack, nodes)
        run = RunOptions(wanted, url, commands, None, tokens, claims_file, pin=True)
        plan = Plan(start=start, most=limit, tolerance=tolerance, whole=quantity is Quantity.CLIENTS)
        with TerminalUi(Console(stderr=True)) as terminal:
            found = run_capacity(CapacityOptions(run, plan, quantity.value, hold), terminal)
    except ScenarioError as error:
        raise _fail(str(error), EXIT_USAGE) from error
    except SetupError as error:
        raise _fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if json_ == STDOUT:
        typer.echo(found.model_dump_json(indent=2))
    else:
        typer.echo(capacity_markdown(found))
        if json_:
            Path(json_).write_text(found.model_dump_json(indent=2))
    raise typer.Exit(found.exit_code)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def loadtest(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="A running service; without it, one is started.")] = None,
    users: Annotated[int, typer.Option(min=1, help="Simulated users.")] = 200,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of load.")] = 30,
    headless: Annotated[bool, typer.Option(help="Without Locust's web page.")] = True,
    processes: Annotated[int, typer.Option(min=0, help="Processes on this machine; 0: one.")] = 0,
    master: Annotated[bool, typer.Option("--master", help="Direct workers on other machines.")] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Run users for a master.")] = False,
    master_host: Annotated[str, typer.Option(help="Where a worker finds its master.")] = "127.0.0.1",
    expect_workers: Annotated[int, typer.Option(min=1, help="Workers a master waits for.")] = 1,
    shape: Annotated[str, typer.Option(help="ramp, spike, storm or soak; empty: constant.")] = "",
    slo: Annotated[list[str] | None, typer.Option(help="Limit, as key=value[,key=value].")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Tokens that `seed` wrote.")] = None,
    json_: Annotated[str | None, typer.Option("--json", help="Write the result here; - is stdout.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write Locust's HTML report here.")] = None,
    csv: Annotated[str | None, typer.Option(help="Prefix of Locust's CSV files.")] = None,
) -> None:
    """Locust with our users: pushes measured from the publisher's stamp, losses reported as failures.

    What is not listed here is handed to Locust.

    Examples: `vouchstorm loadtest --users 200 --duration 30` · `vouchstorm loadtest --processes 2` ·
    `vouchstorm loadtest --master --expect-workers 2`, elsewhere
    `vouchstorm loadtest --worker --master-host HOST`
    """
    from loadtest.run import LoadtestOptions, run

    if master and worker:
        raise _fail("a process is --master or --worker, not both.", EXIT_USAGE)
    options = LoadtestOptions(
        host=host,
        users=users,
        duration_s=duration,
        headless=headless,
        processes=processes,
        role="master" if master else "worker" if worker else "",
        master_host=master_host,
        expect_workers=expect_workers,
        shape=shape,
        slo=slo or (),
        tokens=tokens,
        json=json_,
        html=html,
        csv=csv,
        extra=context.args,
    )
    raise typer.Exit(run(options))


def main() -> None:
    """Entry point of the console script."""
    words = sys.argv[1:]
    if words[:1] == ["compare"] and "--" in words:
        # Click swallows the first `--`; here it divides the baseline from the candidate.
        words[words.index("--")] = DIVIDER
    app(words)


if __name__ == "__main__":
    main()
