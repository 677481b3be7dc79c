"""A node as a child process, for tests: started on a free loopback port, stopped, killed, restarted.

Handles block (use `asyncio.to_thread` where that matters). Nothing of the caller's environment reaches the
node but what a program needs to run.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from simulator.processes import PIPE, Child, ProcessError, Program, free_port

ROOT = Path(__file__).resolve().parents[3]
LOOPBACK = "127.0.0.1"
SECRET = "the-secret-of-nodes-under-test-0123456789"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
QUICK: dict[str, object] = {
    "jwt_secret": SECRET,
    "password_time_cost": 1,
    "password_memory_kib": 8,
    "drain_s": 0.2,
    "log_level": "info",
}
"""Settings that every node under test has unless told otherwise: cheap passwords, a short drain."""


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of a child: these settings as VOUCHSTORM_* and nothing else of that prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCHSTORM_")}
    wanted = {
        f"VOUCHSTORM_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
        if value is not None
    }
    return kept | wanted | {"PYTHONUNBUFFERED": "1"}


def _only(settings: Mapping[str, object]) -> dict[str, str | None]:
    """`environment` as changes of ours."""
    ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("VOUCHSTORM_")}
    return ours | environment(settings)


class Node:
    """One node on its own data directory.

    settings: by field name, None unsets one of `QUICK`. The port of the first start is kept by restarts, so
    that clients find the node again.
    """

    def __init__(self, data_dir: Path, *, port: int = 0, **settings: object) -> None:
        self.data_dir = data_dir
        self.port = port
        self.settings = QUICK | settings
        self.ready: dict[str, Any] = {}
        self._child: Child | None = None
        self._log = data_dir / "node.log"

    # -------------------------------------------------------------- what it is

    def command(self) -> list[str]:
        """The program and its arguments."""
        where = ["--port", str(self.port), "--data-dir", str(self.data_dir)]
        return [sys.executable, str(ROOT / "cli.py"), "serve", *where]

    @property
    def url(self) -> str:
        url: str = self.ready["url"]
        return url

    @property
    def pid(self) -> int:
        pid: int = self.ready["pid"]
        return pid

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for raw connections."""
        return LOOPBACK, self.port

    def log(self) -> str:
        """Everything the node wrote to its standard error so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def metrics(self) -> dict[str, float]:
        """The node's metrics now, by sample name with labels."""
        text = httpx.get(f"{self.url}/metrics").text
        lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    # -------------------------------------------------------------- its life

    def launch(self) -> Child:
        """Start the process without waiting for anything."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._child = self._program().start()
        return self._child

    def _program(self) -> Program:
        return Program(self.command(), env=_only(self.settings), cwd=ROOT, log=self._log, stdout=PIPE)

    def start(self) -> Self:
        """Start and wait until the node says that it is ready. Raises ProcessError."""
        child = self.launch()
        try:
            self.ready = self._announced(child)
        except ProcessError:
            self.kill()
            raise
        self.port = int(self.url.rpartition(":")[2])
        return self

    def _announced(self, child: Child) -> dict[str, Any]:
        return child.facts(START_DEADLINE_S)

    def stop(self) -> int:
        """SIGTERM; the exit code. Raises ProcessError when the node does not end in time."""
        assert self._child is not None, "the node is not running"
        self._child.send(signal.SIGTERM)
        try:
            return self._child.wait(STOP_DEADLINE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class UvicornNode(Node):
    """The same application under plain uvicorn from `backend/`, with uvicorn's own websocket class."""

    def command(self) -> list[str]:
        where = ["--host", LOOPBACK, "--port", str(self.port), "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", "app.main:app", *where]

    def _program(self) -> Program:
        self.port = self.port or free_port()
        env = _only(self.settings | {"data_dir": self.data_dir})
        return Program(self.command(), env=env, cwd=ROOT / "backend", log=self._log)

    def _announced(self, child: Child) -> dict[str, Any]:
        url = f"http://{LOOPBACK}:{self.port}"
        child.until(lambda: _answers(url), START_DEADLINE_S)
        return {"url": url, "pid": child.pid}


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def running_node(data_dir: Path, **settings: Any) -> Iterator[Node]:
    """A started node; killed on leaving if it still runs."""
    with Node(data_dir, **settings) as node:
        yield node
