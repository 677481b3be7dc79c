"""`vouchstorm up`: a stack as the user starts it.

`running_stack` is the stack inside a program; `run_up` is the foreground command with its signals and its
state file, the *keeper*; `start_detached` leaves a keeper in the background. `stop_stack`, `roll_stack` and
`stack_status` find a stack by its state file, whoever started it. Prints nothing.
"""

import asyncio
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulator import interrupts
from simulator.processes import Child, Program, free_port, free_ports

from ..app.errors import SetupError
from ..app.settings import load_settings, signing_secret
from .observer import environment as module_environment
from .plan import LOOPBACK, NODE_GRACE_S, Kind, Ports, Role, StackOptions, StackPlan, fixed_ports, plan_stack
from .processes import READY_TIMEOUT_S, StackProcesses
from .programs import ROOT, find_programs
from .state import Running, StackState, read_state, remove_state, send, started_s, write_state

log = logging.getLogger(__name__)

DOWN_TIMEOUT_S = 60.0
_POLL_S = 0.05


def stop_stack(data_dir: Path) -> list[str]:
    """End the stack of this data directory, whoever keeps it; the names of what ran. Idempotent.

    Raises SetupError when something survives even SIGKILL.
    """
    state = read_state(data_dir)
    if state is None:
        return []
    names = [running.name for running in state.running if running.alive]
    if send(state.keeper_pid, state.keeper_started_s, signal.SIGTERM):
        _wait_gone([(state.keeper_pid, state.keeper_started_s)], DOWN_TIMEOUT_S)
    left = [(each.pid, each.started_s) for each in (read_state(data_dir) or state).running]
    for number, wait_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for pid, known in left:
            send(pid, known, number)
            if number is signal.SIGTERM:
                send(pid, known, signal.SIGCONT)
        if _wait_gone(left, wait_s):
            break
    else:
        raise SetupError(
            f"Some processes of the stack do not end; see {data_dir / 'stack.json'} for their pids."
        )
    remove_state(data_dir)
    return names


def _wait_gone(processes: list[tuple[int, float]], timeout_s: float) -> bool:
    end_s = time.monotonic() + timeout_s
    while any(started_s(pid) == known for pid, known in processes):
        if time.monotonic() > end_s:
            return False
        time.sleep(_POLL_S)
    return True


def roll_stack(data_dir: Path, say: Callable[[str], None]) -> None:
    """Have the keeper replace the nodes one by one; returns when all are new and ready. Blocks.

    say: told each node that was replaced. Raises SetupError: no stack runs, or a node does not come back.
    """
    before = read_state(data_dir)
    if before is None or not before.ready:
        raise SetupError(
            f"No stack is ready with the data directory {data_dir}; start one with: vouchstorm up"
        )
    old = {each.name: each.pid for each in before.running if each.role == Role.NODE}
    if not send(before.keeper_pid, before.keeper_started_s, signal.SIGHUP):
        raise SetupError(f"Nobody keeps the stack of {data_dir} any more; end it with: vouchstorm down")
    waiting = set(old)
    end_s = time.monotonic() + (len(old) + 1) * (READY_TIMEOUT_S + NODE_GRACE_S)
    state: StackState | None = before
    while waiting or (state and state.rolls == before.rolls):
        state = read_state(data_dir)
        if state is None or not state.kept:
            raise SetupError("The stack ended before all nodes were replaced.")
        if state.roll_trouble and state.roll_trouble != before.roll_trouble:
            raise SetupError(f"Not all nodes were replaced: {state.roll_trouble}")
        for each in state.running:
            if each.name in waiting and each.pid != old[each.name]:
                say(f"{each.name} is replaced: pid {old[each.name]} -> {each.pid}")
                waiting.remove(each.name)
        if time.monotonic() > end_s:
            raise SetupError(f"Not replaced in time: {', '.join(sorted(waiting))}; see {data_dir / 'logs'}.")
        time.sleep(_POLL_S)


def stack_status(data_dir: Path) -> dict[str, Any]:
    """What runs for this data directory, fit for JSON; `running` is False when nothing does."""
    state = read_state(data_dir)
    if state is None:
        return {"running": False, "data_dir": str(data_dir), "services": []}
    services = [
        {
            "name": each.name,
            "role": each.role,
            "url": each.url,
            "pid": each.pid,
            "alive": each.alive,
            "restarts": each.restarts,
            "log": each.log,
        }
        for each in state.running
    ]
    return {
        "running": state.kept,
        "ready": state.ready and state.kept,
        "stack": state.kind,
        "url": state.url,
        "pid": state.keeper_pid,
        "data_dir": str(data_dir),
        "services": services,
    }


DETACH_TIMEOUT_S = 120.0

Announce = Callable[[dict[str, Any]], None]
"""Takes the facts of a stack that is ready (`ready_facts`)."""


def choose_ports(options: StackOptions) -> Ports:
    """Ports for the stack, all free a moment ago. Raises SetupError that names the first one in use."""
    ports = fixed_ports(options) if options.port else _free_ports(options)
    for purpose, port in ports.named():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise SetupError(
                    f"Port {port} on {LOOPBACK}, for {purpose}, cannot be used ({error.strerror}); "
                    "stop what uses it, or choose other ports with --port (0: any that are free)."
                ) from error
    return ports


def _free_ports(options: StackOptions) -> Ports:
    if options.kind is Kind.EMBEDDED:
        port = free_port()
        return Ports(port, (port,))
    public, redis, mongodb, *nodes = free_ports(options.nodes + 3)
    return Ports(public, tuple(nodes), redis, mongodb)


def prepare(options: StackOptions) -> StackPlan:
    """The plan for this machine at this moment. Raises SetupError with what to do."""
    options.checked()
    programs = find_programs(options.kind)
    settings = load_settings(data_dir=options.data_dir)
    secret = signing_secret(settings)
    _clear_leftovers(options.data_dir)
    return plan_stack(options, choose_ports(options), programs, secret)


def _clear_leftovers(data_dir: Path) -> None:
    """Refuse a second stack on the same data; end what a killed keeper left behind."""
    state = read_state(data_dir)
    if state is None:
        return
    if state.kept:
        raise SetupError(
            f"A stack with this data directory is running already (pid {state.keeper_pid}, {state.url}); "
            f"stop it with: vouchstorm down --data-dir {data_dir}"
        )
    stop_stack(data_dir)


@asynccontextmanager
async def running_stack(options: StackOptions) -> AsyncIterator[StackProcesses]:
    """A stack for the duration of the block; the state file tells `status` and `down` of it.

    Raises SetupError. The block's own end, or the death of this process, ends all it started.
    """
    plan = await asyncio.to_thread(prepare, options)
    processes = StackProcesses(plan, random.Random(), on_change=lambda: _write(processes, ready[0]))
    ready = [False]
    try:
        async with processes:
            ready[0] = True
            _write(processes, ready=True)
            yield processes
    finally:
        remove_state(plan.data_dir)


def _write(processes: StackProcesses, ready: bool) -> None:
    plan = processes.plan
    running = tuple(
        Running(
            child.plan.name, child.plan.role, child.plan.url, str(child.plan.log), pid, known, child.restarts
        )
        for child in processes.children.values()
        if (pid := child.pid) is not None and (known := started_s(pid)) is not None
    )
    keeper = os.getpid()
    write_state(
        plan.data_dir,
        StackState(
            plan.kind,
            plan.url,
            ready,
            keeper,
            started_s(keeper) or 0.0,
            running,
            processes.rolls,
            processes.roll_trouble,
        ),
    )


def ready_facts(processes: StackProcesses) -> dict[str, Any]:
    """What the ready line says: the document of `serve` and what a stack has beyond it."""
    plan = processes.plan
    nodes = plan.with_role(Role.NODE)
    urls = {role: service.url for role in (Role.REDIS, Role.MONGODB) for service in plan.with_role(role)}
    return {
        "ready": True,
        "url": plan.url,
        "pid": os.getpid(),
        "node": nodes[0].name if len(nodes) == 1 else f"{len(nodes)} nodes",
        "stack": plan.kind.value,
        "nodes": [{"name": n.name, "url": n.url, "pid": processes.children[n.name].pid} for n in nodes],
        "redis": urls.get(Role.REDIS),
        "mongodb": urls.get(Role.MONGODB),
        "pids": {name: child.pid for name, child in processes.children.items()},
        "data_dir": str(plan.data_dir),
        "logs": str(plan.data_dir / "logs"),
    }


# ------------------------------------------------------------------ foreground


def run_up(options: StackOptions, announce: Announce) -> None:
    """Run a stack until SIGTERM or SIGINT; a second signal kills instead of waiting. SIGHUP rolls it.

    announce: called once everything is ready.
    Raises SetupError when it cannot start, KeyboardInterrupt after SIGINT; nothing is left running then.
    """
    if interrupts.run(_keep(options, announce)) == signal.SIGINT:
        raise KeyboardInterrupt


async def _keep(options: StackOptions, announce: Announce) -> signal.Signals | None:
    loop = asyncio.get_running_loop()
    told: list[signal.Signals] = []
    current = asyncio.current_task()
    stack: list[StackProcesses] = []
    unannounced, rolls = asyncio.Event(), asyncio.Event()
    had_terminal = _has_terminal()

    def end(number: signal.Signals) -> None:
        told.append(number)
        # Where the announcement failed, the end has begun: it must not be cut short.
        if len(told) == 1 and current is not None and not unannounced.is_set():
            current.cancel()
        for processes in stack:
            if len(told) > 1:
                processes.hurry()

    def hang_up() -> None:
        # A terminal that went away sends SIGHUP, too: that is no wish for new nodes.
        if had_terminal and not _has_terminal():
            end(signal.SIGHUP)
        else:
            rolls.set()

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        with interrupts.heard(end):
            async with running_stack(options) as processes:
                stack.append(processes)
                try:
                    announce(ready_facts(processes))
                except BaseException:
                    unannounced.set()
                    raise
                while await rolls.wait():
                    rolls.clear()
                    await processes.roll()
    except asyncio.CancelledError:
        if not told:
            raise
    except Exception:
        # A Ctrl-C reaches what the announcement waits for, too: its failure is ours to end, not to report.
        if not (told and unannounced.is_set()):
            raise
    return told[0] if told else None


def _has_terminal() -> bool:
    """Whether there is a controlling terminal, wherever our input comes from."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False


# ------------------------------------------------------------------ background


def start_detached(options: StackOptions, announce: Announce = lambda facts: None) -> dict[str, Any]:
    """Start a keeper in the background and wait until its stack is ready; its ready facts.

    announce: called with them; where it fails, the stack is ended again.
    Raises SetupError with the keeper's own sentence when it cannot start.
    """
    options.checked()
    data_dir = options.data_dir.absolute()
    try:
        (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"Cannot write to the data directory {data_dir} ({error.strerror}).") from error
    report = data_dir / "logs" / "up.json"
    report.unlink(missing_ok=True)
    wishes = json.dumps(asdict(options) | {"data_dir": str(data_dir)})
    keeper = Program(
        [sys.executable, "-P", "-m", "backend.stack", wishes, str(report)],
        env=module_environment(),
        log=data_dir / "logs" / "up.log",
        tied=False,
    )
    with ExitStack() as stack:
        with interrupts.held():
            child = keeper.start()
            stack.callback(child.end, DOWN_TIMEOUT_S)
        facts = _await_report(child, report)
        announce(facts)
        stack.pop_all()
    # The keeper outlives us by design; without this, our end would warn of a child that still runs.
    child.process.returncode = 0
    return facts


def _await_report(keeper: Child, report: Path) -> dict[str, Any]:
    end_s = time.monotonic() + DETACH_TIMEOUT_S
    while not report.exists():
        if keeper.returncode is not None and not report.exists():
            raise SetupError(f"The stack ended before it was ready; see {report.with_name('up.log')}.")
        if time.monotonic() > end_s:
            raise SetupError(f"The stack was not ready within {DETACH_TIMEOUT_S:g} s and was stopped.")
        time.sleep(_POLL_S)
    said: dict[str, Any] = json.loads(report.read_text())
    if "error" in said:
        keeper.wait()
        raise SetupError(said["error"])
    return said


def write_report(path: Path, facts: dict[str, Any]) -> None:
    """Leave the keeper's word for `start_detached`, as a whole."""
    draft = path.with_suffix(".tmp")
    with suppress(FileNotFoundError):
        draft.unlink()
    draft.write_text(json.dumps(facts))
    draft.replace(path)


# Seeding is a process of its own, for here is the event loop of the stack. The URL of the store goes by the
# environment: everybody on the machine can read a command line.


@dataclass(frozen=True, slots=True)
class StackSeed:
    """What to seed; see `vouchstorm seed`. tokens, claims_file: None writes none."""

    users: int
    claims: int = 0
    quorum: int = 3
    number: int = 1
    prefix: str = "user"
    tokens: Path | None = None
    claims_file: Path | None = None

    def words(self) -> list[str]:
        """The options of `vouchstorm seed`."""
        words = ["--users", str(self.users), "--claims", str(self.claims), "--quorum", str(self.quorum)]
        words += ["--seed", str(self.number), "--prefix", self.prefix]
        words += ["--tokens", str(self.tokens)] if self.tokens else []
        words += ["--claims-file", str(self.claims_file)] if self.claims_file else []
        return words


def environment(facts: Mapping[str, Any]) -> dict[str, str]:
    """What tells `seed` where the store of the stack with these ready facts is, whatever ours says."""
    data_dir = str(facts["data_dir"])
    store_url = facts["mongodb"] or f"sqlite:///{data_dir}/vouchstorm.db"
    return {"VOUCHSTORM_DATA_DIR": data_dir, "VOUCHSTORM_STORE_URL": store_url}


def seed_stack(facts: Mapping[str, Any], seed: StackSeed) -> int:
    """Seed the stack of these ready facts; the exit code of `seed`, which has said what was wrong. Blocks."""
    command = [sys.executable, str(ROOT / "cli.py"), "seed", *seed.words()]
    done = subprocess.run(
        command, env={**os.environ, **environment(facts)}, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode
