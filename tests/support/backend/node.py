"""A node as a child process, for tests: started on a free loopback port, stopped, killed, restarted.

Handles block (use `asyncio.to_thread` where that matters). Nothing of the caller's environment reaches the
node but what a program needs to run.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

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


class NodeError(Exception):
    """The node did not start or stop in time; the message ends with its log."""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of a child: these settings as VOUCHSTORM_* and nothing else of that prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCHSTORM_")}
    wanted = {
        f"VOUCHSTORM_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
        if value is not None
    }
    return kept | wanted | {"PYTHONUNBUFFERED": "1"}


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
        self._process: subprocess.Popen[bytes] | None = None
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

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the process without waiting for anything."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self.settings),
                cwd=ROOT,
            )
        return self._process

    def start(self) -> Self:
        """Start and wait until the node says that it is ready."""
        process = self.launch()
        self.ready = self._announced(process)
        self.port = int(self.url.rpartition(":")[2])
        return self

    def _announced(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(START_DEADLINE_S):
                self.kill()
                raise NodeError(f"the node was not ready in time:\n{self.log()}")
        line = process.stdout.readline()
        if not line:
            code = process.wait(STOP_DEADLINE_S)
            self.kill()
            raise NodeError(f"the node ended with {code}:\n{self.log()}")
        announced: dict[str, Any] = json.loads(line)
        return announced

    def stop(self) -> int:
        """SIGTERM; the exit code. Raises NodeError when the node does not end in time."""
        process = self._process
        assert process is not None, "the node is not running"
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"the node did not end after SIGTERM:\n{self.log()}") from error
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class UvicornNode(Node):
    """The same application under plain uvicorn from `backend/`, with uvicorn's own websocket class."""

    def command(self) -> list[str]:
        where = ["--host", LOOPBACK, "--port", str(self.port), "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", "app.main:app", *where]

    def launch(self) -> "subprocess.Popen[bytes]":
        self.port = self.port or free_port()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment(self.settings | {"data_dir": self.data_dir}),
                cwd=ROOT / "backend",
            )
        return self._process

    def start(self) -> Self:
        process = self.launch()
        url = f"http://{LOOPBACK}:{self.port}"
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise NodeError(f"the node did not start:\n{self.log()}")
            time.sleep(0.02)
        self.ready = {"url": url, "pid": process.pid}
        return self


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
