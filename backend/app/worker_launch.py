"""What a group of workers needs before its first process: a port that is theirs, a command, an environment.

Starts nothing. Called by `supervisor.py`.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from .errors import SetupError
from .process.node import listen
from .settings import Settings, signing_secret
from .workers import Launch

MAX_WORKERS = 64

MakeLaunch = Callable[[int, int], Launch]
"""(slot, generation) -> how to start that worker."""


def check_group(settings: Settings, count: int) -> None:
    """Raises SetupError when this machine or these settings cannot have so many workers."""
    if not 1 <= count <= MAX_WORKERS:
        raise SetupError(f"--workers must be between 1 and {MAX_WORKERS}.")
    if not hasattr(socket, "SO_REUSEPORT"):
        raise SetupError("This system has no SO_REUSEPORT, which --workers needs; run one node.")
    if count > 1 and settings.bus_url is None:
        raise SetupError(
            "Several workers need a bus between them: set VOUCHSTORM_BUS_URL=redis://..., "
            "or let `vouchstorm up` start everything."
        )


def reserve(host: str, port: int) -> socket.socket:
    """Hold the port without listening, so that nobody takes it between two workers. Raises SetupError."""
    if port:
        # SO_REUSEPORT would let us share the port with a stranger of the same user: ask without it first.
        listen(host, port).close()
    return listen(host, port, reuse_port=True)


def group_name(settings: Settings) -> str:
    """The name that the workers' node names start with."""
    return settings.node or f"{socket.gethostname()}-{os.getpid()}"


def launcher(settings: Settings, host: str, port: int) -> MakeLaunch:
    """Commands for this program's workers. Raises SetupError when the data directory cannot be written."""
    package = __package__ or "backend.app"
    root = Path(__file__).resolve().parents[package.count(".") + 1]
    shared = settings.model_copy(update={"jwt_secret": SecretStr(signing_secret(settings))})
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **environment_of(shared), "PYTHONPATH": path}
    name = group_name(settings)[:50]

    def make_launch(slot: int, generation: int) -> Launch:
        command = [
            *(sys.executable, "-P", "-m", f"{package}.worker"),
            *("--host", host, "--port", str(port), "--slot", str(slot)),
        ]
        # Two generations of a slot live side by side during a roll: the bus must tell them apart.
        return Launch(command, {**environment, "VOUCHSTORM_NODE": f"{name}.{slot}.{generation}"})

    return make_launch


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment that makes a child load the same settings, secrets included."""
    variables = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, tuple):
            text = ",".join(value)
        else:
            text = str(value)
        variables[f"VOUCHSTORM_{name.upper()}"] = text
    return variables
