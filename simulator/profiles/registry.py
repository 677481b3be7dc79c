"""Which profile a scenario asks for; imported only when asked for: the core needs no backend."""

from ..scenario.loader import Scenario
from .base import Profile, Stage

ECHO_PATH = "/socket.io/"


def endpoint_path(scenario: Scenario) -> str:
    """The Engine.IO path a profile expects when none is given."""
    if scenario.profile == "vouchstorm":
        from .vouchstorm.profile import SOCKETIO_PATH

        return SOCKETIO_PATH
    return scenario.server.path if scenario.server is not None else ECHO_PATH


def make_profile(stage: Stage) -> Profile:
    """The profile for a run."""
    match stage.scenario.profile:
        case "vouchstorm":
            from .vouchstorm.profile import Vouchstorm

            return Vouchstorm(stage)
        case "generic":
            from .generic import Generic

            return Generic(stage)
        case "echo":
            from .echo import Echo

            return Echo(stage)
