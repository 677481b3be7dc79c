"""The observer beside a stack, for `vouchstorm up --observe`: a process of its own, known by its name only.

The stack knows nothing of Prometheus; `dashboards.observe` does. It is tied to our life like all children of
a stack, and says in one line of JSON where to look. Called by the command line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..app.errors import SetupError
from .programs import ROOT

LAUNCHER = Path(__file__).with_name("launch.py")
STOP_TIMEOUT_S = 30.0


class Observer:
    """`start` when the stack is ready, `stop` when it ends. Blocks for as long as Prometheus takes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, facts: Mapping[str, Any], port: int, tokens: Path) -> dict[str, Any]:
        """Observe the stack of these ready facts; where to look.

        port: the public port that was asked for, 0 for any. Raises SetupError.
        """
        home = Path(facts["data_dir"]) / "observe"
        home.mkdir(parents=True, exist_ok=True)
        wishes = {
            "url": facts["url"],
            "nodes": [node["url"].removeprefix("http://") for node in facts["nodes"]],
            "directory": str(home),
            "tokens": str(tokens),
            "port": port,
        }
        words = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        words += [sys.executable, "-m", "dashboards.observe", json.dumps(wishes)]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (home / "observe.log").open("w+") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            line = self._process.stdout.readline() if self._process.stdout is not None else ""
            if not line:
                self._process.wait()
                log.seek(0)
                raise SetupError(f"Cannot observe the stack: {log.read().strip()[-600:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def stop(self) -> None:
        """End Prometheus and the simulator, if they were started."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
