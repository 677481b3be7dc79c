"""Artillery as a client of the bench, where it is installed: never a dependency of the project.

Found by VOUCHSTORM_BENCH_ARTILLERY (a directory with its `node_modules`, or its `bin/run`), else with
`npx --no-install`. Its Socket.IO engine connects and parses every packet; it neither counts nor times a push
that it did not ask for, so nothing is known of what it received but that the sender's writes were taken.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

VARIABLE = "VOUCHSTORM_BENCH_ARTILLERY"
ENTRY = Path("node_modules/artillery/bin/run")
FIND_TIMEOUT_S = 20.0
ARRIVE_S = 10
STAY_S = 600


class AbsentError(Exception):
    """Artillery is not here; the message says what was looked for."""


def command() -> list[str]:
    """How to start it, so that the process started is the one that works. Raises AbsentError."""
    if shutil.which("node") is None:
        raise AbsentError("node is not installed")
    named = os.environ.get(VARIABLE)
    if named is not None:
        path = Path(named)
        program = path if path.is_file() else path / ENTRY
        if not program.is_file():
            raise AbsentError(f"{VARIABLE} is {named}, and there is no {program}")
        return ["node", str(program)]
    return ["node", str(_by_npx())]


def _by_npx() -> Path:
    npx = ["npx", "--no-install", "-c", "command -v artillery"]
    try:
        done = subprocess.run(npx, capture_output=True, text=True, timeout=FIND_TIMEOUT_S, check=True)
        return Path(done.stdout.strip()).resolve(strict=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise AbsentError(f"{VARIABLE} is not set and npx finds no artillery") from error


def script(port: int, clients: int) -> str:
    """The test: everybody arrives within ten seconds, by websocket, and stays."""
    config = {
        "target": f"http://127.0.0.1:{port}",
        "phases": [{"duration": ARRIVE_S, "arrivalCount": clients}],
        "socketio": {"transports": ["websocket"], "reconnection": False},
    }
    scenario = {"engine": "socketio", "flow": [{"think": STAY_S}]}
    return json.dumps({"config": config, "scenarios": [scenario]})


def environment() -> dict[str, str]:
    """It must not phone home."""
    return {**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true"}
