"""Which profiles there are. The code of one is imported when a run asks for it: the core needs no backend."""

from typing import Literal

from ..scenario.models import Scenario
from .base import Profile, Stage
from .vouchstorm.scenario import VouchstormScenario, server_commands

__all__ = ["AnyScenario", "endpoint_path", "make_profile", "server_commands"]

ECHO_PATH = "/socket.io/"


class AnyScenario(VouchstormScenario):
    """A scenario with the tables of every profile."""

    profile: Literal["vouchstorm", "generic", "echo"] = "vouchstorm"


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
        case _:
            from .echo import Echo

            return Echo(stage)
