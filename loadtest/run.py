"""`vouchstorm loadtest`: a service if none is given, Locust in a process of its own, a verdict, an exit code.

Never imports Locust or gevent: they patch the standard library of the process they live in. Called by the
command line and by tests.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from simulator import slo as levels
from simulator.errors import ScenarioError, SetupError, SimulatorError
from simulator.report import print_result
from simulator.report.files import STDOUT, check_writable, read_result, write_json
from simulator.rest import RestClient, RestError
from simulator.result import Result
from simulator.target import Commands, ManagedServer, Needs
from simulator.verdict import ExitCode
from simulator.wire import Endpoint

from .locust_command import LoadtestOptions, command, problems

__all__ = ["LoadtestOptions", "run"]

READY_TIMEOUT_S = 10.0
SEED_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    tokens: Path | None
    server: ManagedServer | None = None


def run(options: LoadtestOptions, commands: Commands | None = None) -> int:
    """Run a load test to its end; the exit code of its verdict (0, 1, 2, 3, 4, 130).

    commands: how to start a service when no host is given; None: this package's own, with the embedded store.
    Progress and tables go to standard error when the result goes to standard output.
    """
    console = Console(stderr=True)
    try:
        wrong = problems(options)
        if wrong:
            raise ScenarioError(wrong)
        levels.parse(list(options.slo))
        check_writable(options.json)
        return asyncio.run(_run(options, commands or own_commands()))
    except SimulatorError as error:
        console.print(f"vouchstorm: {error}", markup=False, highlight=False)
        return error.exit_code


def own_commands() -> Commands:
    """How this package starts a service with the embedded store."""
    ours = [sys.executable, "-m", "cli"]
    data_dir = "{data_dir}/data"
    sizes = ["--users", "{users}", "--claims", "{claims}", "--quorum", "{quorum}", "--seed", "{seed}"]
    files = ["--tokens", "{tokens_file}", "--claims-file", "{claims_file}"]
    return Commands(
        [*ours, "serve", "--port", "0", "--data-dir", data_dir, "--log-level", "warning"],
        [*ours, "seed", *sizes, *files, "--data-dir", data_dir],
    )


async def _run(options: LoadtestOptions, commands: Commands) -> int:
    with tempfile.TemporaryDirectory(prefix="vouchstorm-loadtest-") as scratch:
        written = Path(scratch) / "result.json"
        if options.role == "worker":
            return await _locust(command(options, "", None, written))
        if options.processes:
            options = replace(options, master_port=_free_port())
        async with _place(options, commands) as place:
            status = await _locust(command(options, place.host, place.tokens, written))
            died = place.server.died if place.server is not None else ""
        if not written.exists():
            if not options.headless and status in (0, ExitCode.INTERRUPTED):
                return 0  # the web page was opened and nothing was run
            raise SetupError(f"Locust ended with status {status} before a test was over; it said why above.")
        result = _with_death(read_result(written), died)
    write_json(result, options.json)
    print_result(result, Console(stderr=options.json == STDOUT))
    return result.exit_code


@contextlib.asynccontextmanager
async def _place(options: LoadtestOptions, commands: Commands) -> AsyncIterator[_Place]:
    """A service that answers: the given one, or one of our own for this run. Raises SetupError."""
    if options.host is not None:
        await _check(options.host)
        yield _Place(options.host.rstrip("/"), options.tokens)
        return
    needs = Needs(users=options.users, claims=0, quorum=options.quorum, seed=options.seed)
    async with ManagedServer(commands, needs, timeout_s=SEED_TIMEOUT_S) as server:
        yield _Place(server.url, server.tokens_file, server)


async def _check(host: str) -> None:
    try:
        client = RestClient(Endpoint.parse(host.rstrip("/")))
    except ValueError as error:
        raise ScenarioError([f"--host: {error}."]) from error
    try:
        reply = await client.request("GET", "/readyz", timeout_s=READY_TIMEOUT_S)
    except RestError as error:
        raise SetupError(f"{host} does not answer: {error}.") from error
    finally:
        await client.close()
    if reply.status != 200:
        raise SetupError(f"{host} is not ready: /readyz answered with status {reply.status}.")


async def _locust(words: Sequence[str]) -> int:
    """Run Locust; its exit status. A signal is handed on: Locust ends the test, the verdict follows."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno(), start_new_session=True
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _hand_on, process, number)
    try:
        return await process.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        _end_group(process.pid)


def _free_port() -> int:
    """Where the processes of this run meet: on Locust's usual port those of two runs would mix."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _hand_on(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _end_group(pid: int) -> None:
    """Workers that outlived their master."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _with_death(result: Result, died: str) -> Result:
    """A service of ours that died during the run fails it, whatever was measured before."""
    if not died:
        return result
    server = result.server.model_copy(update={"died": died})
    reasons = [f"The server died during the run: {died}.", *result.reasons]
    changed = {"server": server, "verdict": "FAIL", "exit_code": int(ExitCode.FAIL), "reasons": reasons}
    return result.model_copy(update=changed)
