"""Commands of the harness: simulate, report, compare, capacity.

Each parses, calls one function of the simulator and prints what came of it. The command line registers `app`
and puts its own start (`[python, cli.py]`) into `context.obj`, so that a run can start a server: nothing in
here knows the backend. Imports happen inside the commands: `vouchstorm --help` answers at once.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import interrupts

if TYPE_CHECKING:
    from .report.files import Outputs
    from .result import Result
    from .run.runner import RunOptions

app = typer.Typer()

EXIT_USAGE = 2
DEFAULT_NODES = 2
MAX_NODES = 32
"""What `up` takes. Its own constant is out of reach from here: a test holds the two together."""

DIVIDER = "\x00--"
"""Stands for the `--` of `compare`; no path can hold a NUL."""

Markdown = Annotated[
    str | None,
    typer.Option(help="Write Markdown here; - is the job summary of a GitHub job, else stdout."),
]
Url = Annotated[str | None, typer.Option(help="A running server; without it, one is started.")]
Limits = Annotated[list[str] | None, typer.Option("--slo", help="Limit, as key=value[,key=value].")]
Processes = Annotated[int | None, typer.Option(help="Processes that hold the clients; 0: as needed.")]
Tokens = Annotated[Path | None, typer.Option(help="Tokens that `seed` wrote, for --url.")]
Junit = Annotated[Path | None, typer.Option(help="Write JUnit XML for a CI here.")]
Json = Annotated[str | None, typer.Option("--json", help="Write the result here; - is stdout.")]
RoomsFile = Annotated[Path | None, typer.Option("--claims-file", help="Claims that `seed` wrote, for --url.")]


class Stack(StrEnum):
    EMBEDDED = "embedded"
    FULL = "full"


StartedStack = Annotated[Stack, typer.Option(help="What to start without --url.")]


class Quantity(StrEnum):
    CLIENTS = "clients"
    RATE = "rate"


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Expected trouble becomes one sentence and an exit code. Import before it: it can be interrupted."""
    from .errors import InterruptedRunError, SimulatorError

    with interrupts.cleaning_up():
        try:
            yield
        except InterruptedRunError as error:
            interrupts.say(str(error))
            raise typer.Exit(error.exit_code) from error
        except SimulatorError as error:
            typer.echo(f"vouchstorm: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


@app.command()
def simulate(
    context: typer.Context,
    scenario: Annotated[str | None, typer.Argument(help="A built-in name or a TOML file.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the built-in scenarios.")] = False,
    url: Url = None,
    path: Annotated[str | None, typer.Option(help="Engine.IO path [default: the profile's].")] = None,
    profile: Annotated[str | None, typer.Option(help="vouchstorm, generic or echo.")] = None,
    stack: StartedStack = Stack.EMBEDDED,
    nodes: Annotated[
        int | None, typer.Option(min=1, max=MAX_NODES, help="Nodes of `--stack full` [default: 2].")
    ] = None,
    clients: Annotated[int | None, typer.Option(help="Socket.IO clients.")] = None,
    processes: Processes = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of load.")] = None,
    rate: Annotated[float | None, typer.Option(help="Validations per second.")] = None,
    seed_number: Annotated[int | None, typer.Option("--seed", help="Same seed, same run.")] = None,
    slo: Limits = None,
    tokens: Tokens = None,
    rooms_file: RoomsFile = None,
    json_: Json = None,
    html: Annotated[Path | None, typer.Option(help="Write the HTML report here.")] = None,
    markdown: Markdown = None,
    junit: Junit = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Keep everything of the run in this fresh directory.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve Prometheus metrics here; 0 takes a free port.")
    ] = None,
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

    from .profiles.registry import server_commands
    from .report.files import Outputs, github_summary
    from .report.terminal import print_result
    from .run.runner import RunOptions
    from .scenario.loader import list_builtin, load, override
    from .thresholds import parse

    if list_ or scenario is None:
        for name, question in list_builtin().items():
            typer.echo(f"{name:18} {question}", err=not list_)
        raise typer.Exit(0 if list_ else EXIT_USAGE)
    with _one_sentence():
        wanted = override(
            load(scenario),
            clients=clients,
            processes=processes,
            duration_s=duration,
            rate_per_s=rate,
            seed=seed_number,
            profile=profile,
            slo=parse(slo or []),
        )
        count = nodes or _default_nodes(stack)
        _check_counts([count], stack, url)
        of_stack = count if stack is Stack.FULL else None
        commands = None if url else server_commands(context.obj, of_stack, wanted.tokens.ttl_s)
        outputs = Outputs(json_, html, markdown, junit, github_summary(os.environ))
        outputs.check()
        options = RunOptions(wanted, url, commands, path, tokens, rooms_file, pin)
        result, written = _watched(options, outputs, run_dir, metrics_port)
    print_result(result, Console(stderr=outputs.takes_stdout))
    for name in written:
        typer.echo(f"Wrote {name}", err=outputs.takes_stdout)
    raise typer.Exit(result.exit_code)


def _watched(
    options: "RunOptions", outputs: "Outputs", run_dir: Path | None, metrics_port: int | None
) -> "tuple[Result, list[str]]":
    """Run with everybody who watches, write what is wanted; the result and the names of what was written."""
    from rich.console import Console

    from .progress import Ui, Watchers
    from .report.files import RunDirectory
    from .report.prometheus import MetricsPage
    from .report.terminal import TerminalUi
    from .run.runner import run_scenario

    with ExitStack() as stack:
        kept = stack.enter_context(RunDirectory(run_dir, options.scenario, sys.argv)) if run_dir else None
        terminal = stack.enter_context(TerminalUi(Console(stderr=True)))
        watchers: list[Ui] = [terminal, *([kept.log] if kept else [])]
        if metrics_port is not None:
            page = stack.enter_context(MetricsPage(options.scenario, port=metrics_port))
            terminal.note(f"Metrics at http://127.0.0.1:{page.port}/metrics")
            watchers.append(page)
        result = run_scenario(options, Watchers(*watchers))
        terminal.close()
        written = outputs.write(result)
        if kept:
            kept.write(result)
            written.append(f"{kept.path}/")
    return result, written


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A result file that `simulate --json` wrote.")],
    html: Annotated[Path | None, typer.Option(help="Where to write it [default: beside the result].")] = None,
    markdown: Markdown = None,
    junit: Junit = None,
) -> None:
    """Write the reports of a finished run again: HTML, or those that are asked for.

    Examples: `vouchstorm report reports/demo.json` · `vouchstorm report run/result.json --markdown -`
    """
    from .report.files import Outputs, github_summary, read_result

    if markdown is None and junit is None:
        html = html or run.with_suffix(".html")
    outputs = Outputs(None, html, markdown, junit, github_summary(os.environ))
    with _one_sentence():
        written = outputs.write(read_result(run))
    for name in written:
        typer.echo(f"Wrote {name}", err=outputs.takes_stdout)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Baseline runs, `--`, candidate runs.")],
    baseline: Annotated[
        list[Path] | None, typer.Option(help="A baseline run, or a directory of them.")
    ] = None,
    min_effect: Annotated[float, typer.Option(min=0, max=10, help="Smaller changes are none.")] = 0.05,
    least_runs: Annotated[int, typer.Option(min=3, max=1000, help="Valid runs a side must have.")] = 5,
    json_: Json = None,
    markdown: Markdown = None,
) -> None:
    """Compare two sets of runs, knowing their noise: 5 runs a side or more. Exit 1: worse.

    Examples: `vouchstorm compare before/*.json -- after/*.json` ·
    `vouchstorm compare after --baseline before` (directories of runs)
    """
    import numpy as np

    from .compare import Rules
    from .compare import compare as compare_runs
    from .report.files import Outputs, github_summary, read_runs
    from .report.markdown import comparison_markdown

    with _one_sentence():
        left, right = _two_sides(runs, [str(path) for path in baseline or []])
        outputs = Outputs(json_, markdown=markdown, github_summary=github_summary(os.environ))
        outputs.check()
        comparison = compare_runs(
            read_runs([Path(path) for path in left]),
            read_runs([Path(path) for path in right]),
            Rules(min_effect=min_effect, least_runs=least_runs),
            np.random.default_rng(1),
        )
        _hand_out(outputs, comparison_markdown(comparison), comparison.model_dump_json(indent=2))
    raise typer.Exit(comparison.exit_code)


def _hand_out(outputs: "Outputs", text: str, document: str) -> None:
    """What several runs say: for people, unless a document takes standard output; and into the files."""
    from rich.console import Console

    from .report.terminal import print_markdown

    if not outputs.takes_stdout:
        print_markdown(text, Console())
    for name in outputs.write_texts({"json": document, "markdown": text}):
        typer.echo(f"Wrote {name}", err=True)


def _two_sides(runs: list[str], baseline: list[str]) -> tuple[list[str], list[str]]:
    """The shell hands `A... -- B...` over without the dashes once; `main` marks their place."""
    from .errors import ScenarioError

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
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="A built-in name or a TOML file.")] = "fanout",
    quantity: Annotated[Quantity, typer.Option(help="What is raised.")] = Quantity.CLIENTS,
    start: Annotated[float, typer.Option(min=1, help="The first load.")] = 100,
    limit: Annotated[float, typer.Option(min=1, help="The largest load to try.")] = 10_000,
    hold: Annotated[float, typer.Option(min=1, help="Seconds of load at each step.")] = 15,
    tolerance: Annotated[float, typer.Option(min=0.01, max=1, help="How near to the knee.")] = 0.1,
    processes: Processes = None,
    url: Url = None,
    stack: StartedStack = Stack.EMBEDDED,
    nodes: Annotated[
        str | None,
        typer.Option(help="Nodes of `--stack full` [default: 2]; several, as 1,2,4, fit a scaling law."),
    ] = None,
    slo: Limits = None,
    seed_number: Annotated[int | None, typer.Option("--seed", help="Seed of the first step.")] = None,
    tokens: Tokens = None,
    rooms_file: RoomsFile = None,
    json_: Json = None,
    markdown: Markdown = None,
) -> None:
    """Search the knee: the largest load that holds the service levels, and what gave way first.

    Examples: `vouchstorm capacity` · `vouchstorm capacity fanout --quantity rate --start 10 --limit 500` ·
    `vouchstorm capacity demo --slo fanout_p99_ms=250 --stack full` ·
    `vouchstorm capacity --stack full --nodes 1,2,4`
    """
    from rich.console import Console

    from .capacity.run import CapacityOptions, run_capacity, run_curve
    from .capacity.scalability import Curve, parse_counts
    from .capacity.search import Capacity, Plan, Step
    from .profiles.registry import server_commands
    from .report.files import Outputs, github_summary
    from .report.markdown import capacity_markdown, curve_markdown, step_line
    from .report.terminal import TerminalUi
    from .run.runner import RunOptions
    from .scenario.loader import load, override
    from .thresholds import parse

    def options_of(count: int) -> CapacityOptions:
        commands = None if url else server_commands(context.obj, count if stack is Stack.FULL else None)
        run = RunOptions(wanted, url, commands, None, tokens, rooms_file, pin=True)
        return CapacityOptions(run, plan, quantity.value, hold)

    found: Capacity | Curve
    with _one_sentence():
        outputs = Outputs(json_, markdown=markdown, github_summary=github_summary(os.environ))
        outputs.check()
        wanted = override(load(scenario), processes=processes, seed=seed_number, slo=parse(slo or []))
        counts = parse_counts(nodes or str(_default_nodes(stack)))
        _check_counts(counts, stack, url)
        plan = Plan(start=start, most=limit, tolerance=tolerance, whole=quantity is Quantity.CLIENTS)
        with TerminalUi(Console(stderr=True), many=True) as terminal:

            def tell(step: Step) -> None:
                terminal.say(step_line(step, quantity.value))

            if len(counts) > 1:
                found = run_curve(counts, options_of, terminal, tell)
            else:
                found = run_capacity(options_of(counts[0]), terminal, tell)
        text = curve_markdown(found) if isinstance(found, Curve) else capacity_markdown(found)
        _hand_out(outputs, text, found.model_dump_json(indent=2))
    raise typer.Exit(found.exit_code)


def _default_nodes(stack: Stack) -> int:
    return 1 if stack is Stack.EMBEDDED else DEFAULT_NODES


def _check_counts(counts: Sequence[int], stack: Stack, url: str | None) -> None:
    """Raises ScenarioError where these node counts make no sense."""
    from .errors import ScenarioError

    if len(counts) > 1 and (url or stack is Stack.EMBEDDED):
        raise ScenarioError(
            ["Several node counts need --stack full, and no --url: a stack is started for each."]
        )
    if max(counts) > MAX_NODES:
        raise ScenarioError([f"--nodes {max(counts)}: a stack has at most {MAX_NODES} nodes."])
    if max(counts) > 1 and stack is Stack.EMBEDDED and not url:
        raise ScenarioError(
            [f"--nodes {max(counts)}: the embedded stack is one node; use --stack full for several."]
        )
