"""The observer of a running stack: Prometheus on its nodes, and a simulator that runs again and again.

`python -m dashboards.observe WISHES` is started by `vouchstorm up --observe` and ends with it: SIGTERM stops
Prometheus and the simulator. It prints one line of JSON, where to look, once Prometheus answers; when it
cannot observe, one sentence, and ends with status 3. Blocks.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulator import interrupts
from simulator.processes import Program, free_ports

from .prometheus_server import MissingPrometheusError, Prometheus, PrometheusError

SCENARIO = Path(__file__).with_name("observe.toml")
EXIT_SETUP = 3
INTERVAL_S = 2.0
STOP_TIMEOUT_S = 15.0
PAUSE_S = 2.0
PAGE_TIMEOUT_S = 5.0
ALERTS_PATHS = ("/alerts", "/classic/alerts")
PROMETHEUS_OFFSET, SIMULATOR_OFFSET, LOCUST_OFFSET = 90, 91, 92
"""Ports above the public one; all free ones where that was chosen by the system."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to observe. nodes: host:port of each. directory: where Prometheus and the simulator may write.

    port: the public port that was asked for; 0 takes free ports. tokens: of seeded users.
    """

    url: str
    nodes: Sequence[str]
    directory: str
    tokens: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look: what `up --observe` prints."""

    prometheus: str
    alerts: str
    simulator_metrics: str
    locust_metrics: str
    dashboards: str


def ports(public: int) -> tuple[int, int, int]:
    """Of Prometheus, of the simulator's page, of Locust's page."""
    if public:
        return public + PROMETHEUS_OFFSET, public + SIMULATOR_OFFSET, public + LOCUST_OFFSET
    prometheus, simulator, locust = free_ports(3)
    return prometheus, simulator, locust


def alerts_page(server_url: str) -> str:
    """Prometheus' page of alerts; Debian's package has it, with all pages for people, in another place."""
    for path in ALERTS_PATHS:
        with suppress(OSError), urllib.request.urlopen(server_url + path, timeout=PAGE_TIMEOUT_S):  # noqa: S310
            return server_url + path
    return server_url


def places(server_url: str, simulator: int, locust: int) -> Places:
    """Where everything is, for people."""
    return Places(
        prometheus=server_url,
        alerts=alerts_page(server_url),
        simulator_metrics=f"http://127.0.0.1:{simulator}/metrics",
        locust_metrics=f"http://127.0.0.1:{locust}/metrics",
        dashboards=str(Path(__file__).with_name("grafana")),
    )


def observe(wishes: Wishes) -> None:
    """Until SIGTERM. Raises MissingPrometheusError, PrometheusError."""
    server_port, simulator, locust = ports(wishes.port)
    targets = {
        "nodes": wishes.nodes,
        "simulator": [f"127.0.0.1:{simulator}"],
        "locust": [f"127.0.0.1:{locust}"],
    }
    home = Path(wishes.directory)
    with Prometheus(home / "prometheus", targets, interval_s=INTERVAL_S, port=server_port) as server:
        print(json.dumps(asdict(places(server.url, simulator, locust))), flush=True)  # noqa: T201
        number = 0
        while True:
            number += 1
            _round(wishes, home, simulator, number)
            time.sleep(PAUSE_S)


def _round(wishes: Wishes, home: Path, port: int, number: int) -> None:
    """One run of the simulator; its words and its result stay beside Prometheus' data."""
    words = [sys.executable, "-m", "cli", "simulate", str(SCENARIO), "--url", wishes.url]
    words += ["--tokens", wishes.tokens, "--seed", str(number), "--metrics-port", str(port), "--no-pin"]
    words += ["--json", str(home / "simulator.json")]
    log = home / "simulator.log"
    log.unlink(missing_ok=True)
    with Program(words, log=log).running(STOP_TIMEOUT_S) as child:
        child.wait()


def main() -> int:
    """Observe; the exit code."""
    said: dict[str, Any] = json.loads(sys.argv[1])
    try:
        with interrupts.cleaning_up():
            observe(Wishes(**said))
    except (MissingPrometheusError, PrometheusError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_SETUP
    return 0


if __name__ == "__main__":
    interrupts.program(main, "observe")
