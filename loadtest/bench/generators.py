"""The client bench: what one received push and one connection cost a load generator, side by side.

    python -m loadtest.bench --clients

Each kind of client is a process pinned to one core; the sender, the same for all, has the next. CPU time and
memory are read from outside. CPU per message: from before the first push until the client is at rest, without
connecting. KiB per connection: growth of resident memory while the last four fifths connect, so that what a
program needs anyway does not count; the kernel's socket buffers do not either.
"""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulator import interrupts
from simulator.processes import PIPE, AsyncChild, ProcessError, Program

from . import generator_peers
from .generator_peers import PEERS
from .plan import Progress
from .process_stats import cpu_s, memory, pin, two_cores
from .report import CLIENT_TARGETS, Results, ratios, summary

LOCUST = {"locust_ours": "lean", "locust_own": "locust"}
NAMES = (*PEERS, *LOCUST, "artillery")
CONNECT_TIMEOUT_S = 60.0
TRIAL_DEADLINE_S = 120.0
ANSWER_TIMEOUT_S = 60.0
END_S = 5.0
POLL_S = 0.01
QUIET_S = 0.3
QUIET_SHARE = 0.03
QUIET_TIMEOUT_S = 20.0


class ClientError(Exception):
    """A kind of client could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """per_s: pushes a second, each to all clients. budget_s: no trial begins after it."""

    clients: int = 1_000
    seconds: float = 6.0
    per_s: float = 4.0
    repetitions: int = 3
    budget_s: float = 280.0

    @property
    def rounds(self) -> int:
        return round(self.seconds * self.per_s)


def measure_clients(plan: ClientPlan, names: Sequence[str], say: Progress) -> Iterator[dict[str, Any]]:
    """The part of the report that is about clients, after each trial."""
    absent = {}
    if "artillery" in names:
        try:
            generator_peers.command()
        except generator_peers.AbsentError as error:
            absent["artillery"] = str(error)
    present = [name for name in names if name not in absent]
    for results in contest(plan, present, say):
        figures = summary(results)
        yield {
            "figures": figures,
            "ratios": ratios(figures),
            "targets": {target.name: target.wanted for target in CLIENT_TARGETS},
            "absent": absent,
            "plan": asdict(plan),
            "repetitions": results,
        }


def contest(plan: ClientPlan, names: Sequence[str], say: Progress) -> Iterator[Results]:
    """All clients in turn, again and again; the results so far after each."""
    results: Results = {}
    client_core, sender_core = two_cores()
    pin(sender_core)
    ends_s = time.monotonic() + plan.budget_s
    for repetition in range(plan.repetitions):
        for name in names:
            if time.monotonic() > ends_s:
                say(f"the time budget of {plan.budget_s:.0f} s is used up")
                return
            started_s = time.monotonic()
            found = interrupts.run(_attempt(name, plan, client_core))
            results.setdefault(name, []).append(found)
            took_s = time.monotonic() - started_s
            say(f"[{repetition + 1}/{plan.repetitions}] {took_s:4.1f} s  {name} {_line(found)}")
            yield results


def _line(found: dict[str, Any]) -> str:
    if "invalid" in found:
        return f"INVALID: {found['invalid']}"
    return (
        f"{found['cpu_us_per_message']:.2f} us a message, {found['kib_per_connection']:.1f} KiB a connection"
    )


# ------------------------------------------------------------------ one trial


async def _attempt(name: str, plan: ClientPlan, core: int | None) -> dict[str, Any]:
    try:
        async with asyncio.timeout(TRIAL_DEADLINE_S):
            return await _trial(name, plan, core)
    except TimeoutError:
        return {"invalid": f"{name}: not done within {TRIAL_DEADLINE_S:.0f} s"}
    except ClientError as error:
        return {"invalid": f"{name}: {error}"}


async def _trial(name: str, plan: ClientPlan, core: int | None) -> dict[str, Any]:
    sending = [sys.executable, "-m", "loadtest.bench.servers.frame_sender"]
    async with _running(sending, None) as sender:
        port = (await _answer(sender))["port"]
        with tempfile.TemporaryDirectory(prefix="vouchstorm-bench-clients-") as directory:
            async with _running(_command(name, port, plan.clients, Path(directory)), core) as client:
                return await _measured(name, plan, sender, client)


def _command(name: str, port: int, clients: int, directory: Path) -> list[str]:
    size = [f"--port={port}", f"--clients={clients}"]
    if name in LOCUST:
        return [sys.executable, "-m", "loadtest.bench.push_cost", "--role", LOCUST[name], *size]
    if name == "artillery":
        path = directory / "test.json"
        path.write_text(generator_peers.script(port, clients))
        return [*generator_peers.command(), "run", "--quiet", str(path)]
    return [sys.executable, "-m", "loadtest.bench.generator_peers", name, *size]


async def _measured(name: str, plan: ClientPlan, sender: AsyncChild, client: AsyncChild) -> dict[str, Any]:
    few, few_kib = await _connected(sender, client, plan.clients // 5)
    await _connected(sender, client, plan.clients)
    await _at_rest(client)
    many_kib, before_s = memory(client.pid).rss_kib, cpu_s(client.pid)
    sent = (await _ask(sender, f"go {plan.rounds} {1 / plan.per_s}"))["sent"]
    await _at_rest(client)
    spent_s = cpu_s(client.pid) - before_s
    found: dict[str, Any] = {
        "sent": sent,
        "cpu_us_per_message": spent_s * 1e6 / sent,
        "kib_per_connection": (many_kib - few_kib) / (plan.clients - few),
    }
    if name == "artillery":
        return found
    client.send(signal.SIGTERM)
    found |= await _answer(client)
    ledger = found.get("ledger", {"expected": sent, "lost": 0, "balanced": True})
    if found["received"] != sent or (ledger["expected"], ledger["lost"], ledger["balanced"]) != (
        sent,
        0,
        True,
    ):
        raise ClientError(f"sent {sent}, received {found['received']}, ledger {ledger}")
    return found


async def _connected(sender: AsyncChild, client: AsyncChild, wanted: int) -> tuple[int, int]:
    """(connections, resident KiB of the client) once there are so many. Raises ClientError."""
    deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
    while (greeted := (await _ask(sender, "greeted"))["greeted"]) < wanted:
        if time.monotonic() > deadline_s or client.returncode is not None:
            raise ClientError(f"{greeted} of {wanted} clients connected")
        await asyncio.sleep(POLL_S)
    return greeted, memory(client.pid).rss_kib


async def _at_rest(client: AsyncChild) -> None:
    """Return once the client has nothing left to do, or hardly anything for a long time."""
    deadline_s = time.monotonic() + QUIET_TIMEOUT_S
    while True:
        before_s = cpu_s(client.pid)
        await asyncio.sleep(QUIET_S)
        if cpu_s(client.pid) - before_s < QUIET_SHARE * QUIET_S or time.monotonic() > deadline_s:
            return


# ------------------------------------------------------------------ processes


def _running(argv: Sequence[str], core: int | None) -> AbstractAsyncContextManager[AsyncChild]:
    """A child with pipes, ended with the context."""
    cpus = () if core is None else (core,)
    return Program(argv, env=generator_peers.environment(), stdin=PIPE, stdout=PIPE, cpus=cpus).spawned(END_S)


async def _ask(child: AsyncChild, command: str) -> dict[str, Any]:
    if child.process.stdin is None:
        raise ClientError("a pipe is missing")
    child.process.stdin.write(command.encode() + b"\n")
    return await _answer(child)


async def _answer(child: AsyncChild) -> dict[str, Any]:
    try:
        return await child.facts(ANSWER_TIMEOUT_S)
    except ProcessError as error:
        raise ClientError(str(error)) from error
