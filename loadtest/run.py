"""`vouchstorm loadtest`: a service if none is given, Locust in a process of its own, a verdict, an exit code.

Never imports Locust or gevent: they patch the standard library of the process they live in.
"""

import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from simulator import interrupts, thresholds
from simulator.errors import InterruptedRunError, ScenarioError, SetupError, SimulatorError
from simulator.processes import Program, free_port
from simulator.report import print_result
from simulator.report.files import STDOUT, check_writable, read_result, write_json
from simulator.result import Result
from simulator.socketio_client import Endpoint
from simulator.target.http_client import RestClient, RestError
from simulator.target.server import Commands, ManagedServer
from simulator.verdict import ExitCode

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
STOP_TIMEOUT_S = 15
WORKERS_TIMEOUT_S = 60
"""How long a leader waits for the processes that it started itself."""
LOOPBACK = "127.0.0.1"
ROLES = ("", "master", "worker")


@dataclass(frozen=True, slots=True)
class LoadtestOptions:
    """What `vouchstorm loadtest` can be told.

    host: a running service, such as http://localhost:8000; None: one is started for the run and stopped.
    duration_s: None runs until Ctrl-C. spawn_rate: users per second; None: all within about five seconds.
    headless: False serves Locust's web page on `web_port` of loopback, where the test is started by hand; it
    asks nobody who they are, so another address is said in `extra` (--web-host).
    processes: users run in so many processes of this machine, which meet on `master_port` of loopback; 0: in
    one. role: `master` or `worker` of a run
    on several machines; a worker needs only `master_host` and `master_port`.
    slo: texts as `fanout_p99_ms=250,lost=0`. json: where the result document goes, `-` is standard output.
    csv: prefix of Locust's CSV files. html: Locust's HTML report. tokens: of seeded users; None registers.
    extra: further arguments for Locust, as they are.
    """

    host: str | None = None
    users: int = 200
    spawn_rate: float | None = None
    duration_s: float | None = 30.0
    headless: bool = True
    web_port: int = 8089
    processes: int = 0
    role: str = ""
    master_host: str = "127.0.0.1"
    master_port: int = 5557
    expect_workers: int = 1
    shape: str = ""
    seed: int = 1
    tokens: Path | None = None
    think_s: float = 2.0
    quorum: int = 5
    live: str = "all"
    drop_every_s: float = 0.0
    slo: Sequence[str] = ()
    json: str | None = None
    html: Path | None = None
    csv: str | None = None
    metrics_port: int = 0
    extra: Sequence[str] = field(default_factory=tuple)


def problems(options: LoadtestOptions) -> list[str]:
    """One sentence for each thing that is wrong; empty when all is well."""
    found = []
    if options.users < 1:
        found.append("--users: at least one user is needed.")
    if options.duration_s is not None and options.duration_s < 1:
        found.append("--duration: at least one second is needed.")
    if options.role not in ROLES:
        found.append(f"A load test leads (master) or follows (worker), it cannot be {options.role!r}.")
    if options.role and options.processes:
        found.append("--processes makes the workers itself; leave out --master and --worker.")
    if options.shape and options.duration_s is None:
        found.append("--shape spreads over the duration; give --duration.")
    return found


def command(options: LoadtestOptions, host: str, tokens: Path | None, result: Path) -> list[str]:
    """The arguments that start Locust."""
    base = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    if options.role == "worker":
        places = ["--master-host", options.master_host, "--master-port", str(options.master_port)]
        return [*base, "--worker", *places, *options.extra]
    rate = options.spawn_rate or max(1.0, options.users / 5)
    words: Mapping[str, object] = {
        "--host": host,
        "--users": options.users,
        "--spawn-rate": f"{rate:g}",
        "--stop-timeout": STOP_TIMEOUT_S,
        "--think": options.think_s,
        "--quorum": options.quorum,
        "--live": options.live,
        "--drop-every": options.drop_every_s,
        "--load-seed": options.seed,
        "--slo": ",".join(options.slo),
        "--result": result,
        "--metrics-port": options.metrics_port,
        "--run-time": None if options.duration_s is None else f"{round(options.duration_s)}s",
        "--tokens": tokens,
        "--shape": options.shape or None,
        "--html": options.html,
        "--csv": options.csv,
    }
    given = [f"{name}={value}" for name, value in words.items() if value is not None]
    return [*base, *given, *_mode(options), *options.extra]


def _mode(options: LoadtestOptions) -> list[str]:
    page = ["--web-host", LOOPBACK, "--web-port", str(options.web_port)]
    mode = ["--headless"] if options.headless else page
    if options.processes:
        mode += ["--processes", str(options.processes), "--expect-workers-max-wait", str(WORKERS_TIMEOUT_S)]
        mode += ["--master-host", LOOPBACK, "--master-port", str(options.master_port)]
        mode += ["--master-bind-host", LOOPBACK, "--master-bind-port", str(options.master_port)]
    elif options.role == "master":
        mode += ["--master", "--master-bind-port", str(options.master_port)]
        mode += ["--expect-workers", str(options.expect_workers)]
    return mode


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
        thresholds.parse(list(options.slo))
        check_writable(options.json)
        return interrupts.run(_run(options, commands or own_commands()))
    except InterruptedRunError as error:
        interrupts.say(str(error))
        return error.exit_code
    except SimulatorError as error:
        console.print(f"vouchstorm: {error}", markup=False, highlight=False)
        return error.exit_code


def own_commands() -> Commands:
    """How this package starts a service with the embedded store."""
    ours = [sys.executable, "-m", "cli"]
    data_dir = "{data_dir}/data"
    sizes = ["--users", "{users}", "--claims", "{claims}", "--quorum", "{quorum}", "--seed", "{seed}"]
    files = ["--tokens", "{tokens_file}", "--claims-file", "{rooms_file}"]
    return Commands(
        [*ours, "serve", "--port", "0", "--data-dir", data_dir, "--log-level", "warning"],
        [*ours, "seed", *sizes, *files, "--data-dir", data_dir],
    )


async def _run(options: LoadtestOptions, commands: Commands) -> int:
    with tempfile.TemporaryDirectory(prefix="vouchstorm-loadtest-") as scratch:
        written = Path(scratch) / "result.json"
        if options.role == "worker":
            locust = await _locust(command(options, "", None, written), options)
            if locust.told:
                raise InterruptedRunError("Interrupted.")
            return locust.status
        if options.processes:
            options = replace(options, master_port=free_port())
        async with _place(options, commands) as place:
            locust = await _locust(command(options, place.host, place.tokens, written), options)
            died = place.server.died if place.server is not None else ""
        if not written.exists():
            if not options.headless and (locust.told or locust.status == 0):
                return 0  # the web page was opened and nothing was run
            if locust.told:
                raise InterruptedRunError("Interrupted: ended without a result.")
            raise SetupError(
                f"Locust ended with status {locust.status} before a test was over; it said why above."
            )
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
    needs = {"users": options.users, "claims": 0, "quorum": options.quorum, "seed": options.seed}
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


@dataclass(frozen=True, slots=True)
class _Locust:
    """A Locust that ended. told: it was asked to."""

    status: int
    told: bool


async def _locust(words: Sequence[str], options: LoadtestOptions) -> _Locust:
    """Run Locust to its end. A signal asks it to end the test, the verdict follows; a second one kills it."""
    child = await Program(words, stdout=sys.stderr.fileno()).spawn()
    told: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        told.append(number)
        if len(told) > 1 or not _heeds(child.pid):
            child.signal_group(signal.SIGKILL)
        elif child.returncode is None:
            # Of SIGINT it makes a traceback where it is not prepared, and of SIGTERM no HTML report.
            child.send(signal.SIGINT if options.html else signal.SIGTERM)

    try:
        with interrupts.heard(end):
            return _Locust(await child.process.wait(), bool(told))
    finally:
        await child.kill()  # with workers that outlived their master


def _heeds(pid: int) -> bool:
    """Whether Locust is up: SIGTERM is the last thing it begins to listen to. Source: proc(5), `SigCgt`."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _with_death(result: Result, died: str) -> Result:
    """A service of ours that died during the run fails it, whatever was measured before."""
    if not died:
        return result
    server = result.server.model_copy(update={"died": died})
    reasons = [f"The server died during the run: {died}.", *result.reasons]
    changed = {"server": server, "verdict": "FAIL", "exit_code": int(ExitCode.FAIL), "reasons": reasons}
    return result.model_copy(update=changed)
