"""What the containers would run, run here: the image's command, its environment, its health check.

Taken from the files as they are written; only what a container would resolve is put in: the interpreter, the
addresses of the services, and a port that is free on this machine.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from simulator.processes import Program, free_port
from tests.support.services import running_mongod, running_valkey

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[3]
NODE_STAGE = (ROOT / "deploy" / "Dockerfile").read_text().rpartition("FROM ")[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
DEADLINE_S = 60.0


def instruction(name: str) -> list[str]:
    """The words of an instruction in exec form."""
    found = re.search(rf"^{name} (\[.*\])$", NODE_STAGE, re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def health_check() -> list[str]:
    found = re.search(r"HEALTHCHECK .*\\\n\s*CMD (\[.*\])$", NODE_STAGE, re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def localized(words: list[str], port: int) -> list[str]:
    python, *rest = words
    assert python == "python"
    return [sys.executable, *(word.replace("8000", str(port)) for word in rest)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a node that was started as the image would start it, with what compose gives it."""
    port = free_port()
    command = localized([*instruction("ENTRYPOINT"), *instruction("CMD")], port)
    with running_mongod() as mongod, running_valkey() as valkey:
        ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("VOUCHSTORM_")}
        environment = ours | {
            **dict(re.findall(r"(VOUCHSTORM_\w+)=(\S+)", NODE_STAGE)),
            **COMPOSE["services"]["node-1"]["environment"],
            "VOUCHSTORM_JWT_SECRET": "s" * 64,
            "VOUCHSTORM_STORE_URL": mongod.url("vouchstorm"),
            "VOUCHSTORM_BUS_URL": valkey.url(),
            "VOUCHSTORM_DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "VOUCHSTORM_DRAIN_S": "0",
        }
        command[command.index("0.0.0.0")] = "127.0.0.1"
        log = tmp_path_factory.mktemp("log") / "node.log"
        with Program(command, cwd=ROOT, env=environment, log=log).running() as child:
            child.until(lambda: is_ready(port), DEADLINE_S)
            yield port


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_command_of_the_image_serves(node):
    assert httpx.get(f"http://127.0.0.1:{node}/").json()["service"] == "vouchstorm"


def test_the_health_check_of_the_image_is_content(node):
    assert subprocess.run(localized(health_check(), node), check=False, timeout=30).returncode == 0


def test_the_health_check_of_the_image_finds_a_dead_node():
    checked = subprocess.run(
        localized(health_check(), free_port()), check=False, timeout=30, stderr=subprocess.DEVNULL
    )
    assert checked.returncode != 0
