"""The trial of load generators: what one received push and one connection cost a client, side by side.

Each kind of client is a process pinned to one core; the sender, the same for all, is on the other. CPU time
and memory are read from outside. CPU per message: from before the first push until the client is at rest,
without connecting. KiB per connection: growth of resident memory while the last four fifths connect, so that
what a program needs anyway does not count; the kernel's socket buffers do not either.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from simulator.processes import PIPE, AsyncChild, Program

from .plan import PUSHES, PUSHES_PER_S
from .process_stats import cpu_s, memory
from .samples import Sample
from .system import ContestantError
from .trials import InvalidTrialError, Visitor, at_rest

CONNECT_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
END_S = 5.0
POLL_S = 0.01
REST_TIMEOUT_S = 20.0


async def generators(visitor: Visitor, size: int, name: str) -> list[Sample]:
    """CPU us of a load generator per received push, KiB of it per connection.

    Raises ContestantError, InvalidTrialError, ProcessError.
    """
    sending = [sys.executable, "-m", "loadtest.bench.servers.frame_sender"]
    with tempfile.TemporaryDirectory(prefix="vouchstorm-bench-clients-") as directory:
        async with _running(sending, visitor.crowd_core) as sender:
            port = (await sender.facts(ANSWER_TIMEOUT_S))["port"]
            argv = _command(name, port, size, Path(directory))
            async with _running(argv, visitor.server_core) as client:
                cpu_us, kib = await _measured(name, size, sender, client)
    reason = "all were connected at once" if kib is None else ""
    return [
        Sample(f"generators_cpu@{size}", name, cpu_us),
        Sample(f"generators_kib@{size}", name, kib, reason),
    ]


def _command(name: str, port: int, clients: int, directory: Path) -> list[str]:
    if name == "artillery":
        path = directory / "test.json"
        path.write_text(artillery_script(port, clients))
        return [*artillery_command(), "run", "--quiet", str(path)]
    module = "locust_peers" if name.startswith("locust_") else "generator_peers"
    return [sys.executable, "-m", f"loadtest.bench.{module}", name, f"--port={port}", f"--clients={clients}"]


async def _measured(
    name: str, clients: int, sender: AsyncChild, client: AsyncChild
) -> tuple[float, float | None]:
    def used_s() -> float:
        return cpu_s(client.pid)

    few, few_kib = await _connected(sender, client, clients // 5)
    await _connected(sender, client, clients)
    await at_rest(used_s, REST_TIMEOUT_S)
    many_kib, before_s = memory(client.pid).rss_kib, used_s()
    sent = (await _ask(sender, f"go {PUSHES} {1 / PUSHES_PER_S}"))["sent"]
    await at_rest(used_s, REST_TIMEOUT_S)
    spent_s = used_s() - before_s
    if name != "artillery":  # which counts nothing that it did not ask for
        client.send(signal.SIGTERM)
        received = await client.facts(ANSWER_TIMEOUT_S)
        complete = {"received": sent}
        if "expected" in received:
            complete |= {"expected": sent, "lost": 0, "balanced": True}
        if received != complete:
            raise InvalidTrialError(f"sent {sent}, the client says {received}")
    return spent_s * 1e6 / sent, (many_kib - few_kib) / (clients - few) if clients > few else None


async def _connected(sender: AsyncChild, client: AsyncChild, wanted: int) -> tuple[int, float]:
    """(connections, resident KiB of the client) once there are so many. Raises ContestantError."""
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while (greeted := (await _ask(sender, "greeted"))["greeted"]) < wanted:
        if time.monotonic() > deadline_s or client.returncode is not None:
            raise ContestantError(f"{greeted} of {wanted} clients connected")
        await asyncio.sleep(POLL_S)
    return greeted, memory(client.pid).rss_kib


def _running(argv: Sequence[str], core: int | None) -> AbstractAsyncContextManager[AsyncChild]:
    """A child with pipes, ended with the context."""
    env = {"ARTILLERY_DISABLE_TELEMETRY": "true"}
    cpus = () if core is None else (core,)
    return Program(argv, env=env, stdin=PIPE, stdout=PIPE, cpus=cpus).spawned(END_S)


async def _ask(child: AsyncChild, command: str) -> dict[str, Any]:
    if child.process.stdin is None:
        raise ContestantError("a pipe is missing")
    child.process.stdin.write(command.encode() + b"\n")
    return await child.facts(ANSWER_TIMEOUT_S)


# ------------------------------------------------------------------ Artillery

VARIABLE = "VOUCHSTORM_BENCH_ARTILLERY"
ENTRY = Path("node_modules/artillery/bin/run")
FIND_TIMEOUT_S = 20.0
ARRIVE_S = 10
STAY_S = 600


def artillery_trouble() -> str | None:
    """Why Artillery cannot take part, or None."""
    try:
        artillery_command()
    except ContestantError as error:
        return str(error)
    return None


def artillery_command() -> list[str]:
    """How to start it, so that the process started is the one that works. Raises ContestantError."""
    if shutil.which("node") is None:
        raise ContestantError("node is not installed")
    named = os.environ.get(VARIABLE)
    if named is not None:
        path = Path(named)
        program = path if path.is_file() else path / ENTRY
        if not program.is_file():
            raise ContestantError(f"{VARIABLE} is {named}, and there is no {program}")
        return ["node", str(program)]
    npx = ["npx", "--no-install", "-c", "command -v artillery"]
    try:
        done = subprocess.run(npx, capture_output=True, text=True, timeout=FIND_TIMEOUT_S, check=True)
        return ["node", str(Path(done.stdout.strip()).resolve(strict=True))]
    except (OSError, subprocess.SubprocessError) as error:
        raise ContestantError(f"{VARIABLE} is not set and npx finds no artillery") from error


def artillery_script(port: int, clients: int) -> str:
    """The test: everybody arrives within ten seconds, by websocket, and stays."""
    config = {
        "target": f"http://127.0.0.1:{port}",
        "phases": [{"duration": ARRIVE_S, "arrivalCount": clients}],
        "socketio": {"transports": ["websocket"], "reconnection": False},
    }
    scenario = {"engine": "socketio", "flow": [{"think": STAY_S}]}
    return json.dumps({"config": config, "scenarios": [scenario]})
