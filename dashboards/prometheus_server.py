"""A real Prometheus for a while: configured for given targets, started, asked, stopped.

Needs the `prometheus` program; where it is missing, `MissingPrometheusError` says how to get it. Blocks.
"""

import contextlib
import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simulator.processes import ProcessError, Program, free_port

HERE = Path(__file__).parent
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
QUERY_TIMEOUT_S = 15.0
SCRAPED_TIMEOUT_S = 60.0
"""Four intervals of the committed configuration."""
JOBS = {"nodes": "vouchstorm", "simulator": "simulator", "locust": "locust"}
"""Targets file -> job."""

Series = Mapping[str, Any]
"""labels by name under `metric`, [time, text] pairs under `values`."""


class MissingPrometheusError(Exception):
    """There is no Prometheus here; says how to get one."""


class PrometheusError(Exception):
    """Prometheus did not start, or refused a query; says why."""


def find_program(name: str = "prometheus") -> str:
    """The path of `prometheus` or `promtool`. Raises MissingPrometheusError."""
    found = shutil.which(name)
    if found is None:
        raise MissingPrometheusError(
            f"There is no {name} on PATH: install the package `prometheus` (Debian, Ubuntu: apt-get install "
            "prometheus) or a release of prometheus.io."
        )
    return found


def write_config(
    directory: Path, targets: Mapping[str, Sequence[str]], *, interval_s: float | None = None
) -> Path:
    """A copy of our configuration in `directory` that scrapes these targets; the path of its main file.

    targets: `nodes`, `simulator`, `locust` -> host:port; those left out are not scraped. interval_s: of
    scrapes and rules; None: as committed. `write_targets` says later that they have changed.
    """
    text = (HERE / "prometheus.yml").read_text(encoding="utf-8")
    if interval_s is not None:
        text = _with_intervals(text, interval_s)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "rules", directory / "rules", dirs_exist_ok=True)
    write_targets(directory, targets)
    path = directory / "prometheus.yml"
    path.write_text(text, encoding="utf-8")
    return path


def write_targets(directory: Path, targets: Mapping[str, Sequence[str]]) -> None:
    """Say anew where the targets are."""
    (directory / "targets").mkdir(parents=True, exist_ok=True)
    for name in JOBS:
        groups = [{"targets": list(targets[name])}] if targets.get(name) else []
        (directory / "targets" / f"{name}.json").write_text(json.dumps(groups), encoding="utf-8")


def _with_intervals(text: str, interval_s: float) -> str:
    changed = []
    for line in text.splitlines():
        name, colon, _ = line.partition(":")
        if name.strip() in ("scrape_interval", "scrape_timeout", "evaluation_interval", "refresh_interval"):
            line = f"{name}{colon} {round(interval_s * 1000)}ms"
        changed.append(line)
    return "\n".join(changed) + "\n"


class Prometheus:
    """`with Prometheus(directory, targets) as server:`. url: of its web page and API."""

    def __init__(
        self,
        directory: Path,
        targets: Mapping[str, Sequence[str]],
        *,
        interval_s: float | None = None,
        port: int = 0,
    ) -> None:
        """interval_s: of scrapes and rules; None: as committed. port: 0 takes a free one."""
        self._directory = directory
        self._port = port
        self._target_count = sum(map(len, targets.values()))
        self._program = find_program()
        self.config = write_config(directory, targets, interval_s=interval_s)
        self.url = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        address = f"127.0.0.1:{self._port or free_port()}"
        self.url = f"http://{address}"
        words = [self._program, f"--config.file={self.config}", f"--web.listen-address={address}"]
        words += [f"--storage.tsdb.path={self._directory / 'data'}", "--log.level=warn"]
        with contextlib.ExitStack() as stack:
            log = self._directory / "prometheus.log"
            log.unlink(missing_ok=True)
            child = stack.enter_context(Program(words, log=log).running(STOP_TIMEOUT_S))
            try:
                child.until(self._is_ready, READY_TIMEOUT_S)
            except ProcessError as error:
                raise PrometheusError(f"Prometheus did not start: {error}") from error
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _is_ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=2),  # noqa: S310 - our own URL
        ):
            return True
        return False

    # -------------------------------------------------------------- questions

    def ask(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer of the HTTP API. Raises PrometheusError with what was wrong."""
        query = urllib.parse.urlencode({name: str(value) for name, value in parameters.items()})
        url = f"{self.url}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=QUERY_TIMEOUT_S) as answer:  # noqa: S310 - our own URL
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(_refusal(error.read())) from error
        except OSError as error:
            raise PrometheusError(f"Prometheus does not answer: {error}") from error

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The series of a query over a time. Raises PrometheusError."""
        found: list[Series] = self.ask("query_range", query=expr, start=start_s, end=end_s, step=step_s)[
            "result"
        ]
        return found

    def query(self, expr: str) -> list[Series]:
        """The series of a query now; [time, text] under `value`. Raises PrometheusError."""
        found: list[Series] = self.ask("query", query=expr)["result"]
        return found

    def healthy_targets(self) -> dict[str, int]:
        """Job -> targets whose last scrape worked."""
        found: dict[str, int] = {}
        for target in self.ask("targets", state="active")["activeTargets"]:
            job = target["labels"]["job"]
            found[job] = found.get(job, 0) + (target["health"] == "up")
        return found

    def wait_scraped(self) -> None:
        """Return once every target given at the start has been scraped anew, whether it answered or not.

        Raises PrometheusError.
        """
        asked_s, until_s = time.time(), time.monotonic() + SCRAPED_TIMEOUT_S
        while time.monotonic() < until_s:
            targets = self.ask("targets", state="active")["activeTargets"]
            fresh = [target for target in targets if _epoch_s(target["lastScrape"]) > asked_s]
            if len(fresh) == self._target_count:
                return
            time.sleep(0.05)
        raise PrometheusError("Prometheus does not scrape its targets: see its log.")

    def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        return {
            alert["labels"]["alertname"]
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }


def _epoch_s(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _refusal(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
