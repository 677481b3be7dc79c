"""The observer beside a stack, for `vouchstorm up --observe`: a process of its own, known by its name only.

The stack knows nothing of Prometheus; `dashboards.observe` does. It says in one line of JSON where to look.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.processes import PIPE, Child, ProcessError, Program

from ..app.errors import SetupError
from .programs import ROOT

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


def environment() -> dict[str, str]:
    """For modules of ours that are started from any directory."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


class Observer:
    """`start` when the stack is ready, `stop` when it ends. Blocks for as long as Prometheus takes."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self, facts: Mapping[str, Any], port: int, tokens: Path) -> dict[str, Any]:
        """Observe the stack of these ready facts; where to look.

        port: the public port that was asked for, 0 for any. Raises SetupError.
        """
        home = Path(facts["data_dir"]) / "observe"
        home.mkdir(parents=True, exist_ok=True)
        log = home / "observe.log"
        log.unlink(missing_ok=True)
        wishes = {
            "url": facts["url"],
            "nodes": [node["url"].removeprefix("http://") for node in facts["nodes"]],
            "directory": str(home),
            "tokens": str(tokens),
            "port": port,
        }
        words = [sys.executable, "-m", "dashboards.observe", json.dumps(wishes)]
        self._child = Program(words, env=environment(), log=log, stdout=PIPE).start()
        try:
            return self._child.facts(START_TIMEOUT_S)
        except ProcessError as error:
            raise SetupError(f"Cannot observe the stack: {self._child.last_words() or error}") from error

    def stop(self) -> None:
        """End Prometheus and the simulator, if they were started."""
        child, self._child = self._child, None
        if child is not None:
            child.end(STOP_TIMEOUT_S)
