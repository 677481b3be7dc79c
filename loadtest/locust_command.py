"""The Locust command line for the options of `vouchstorm loadtest`. Pure."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
