"""What ends a run before it has a result.

    SimulatorError
    +-- ScenarioError    the scenario, an override or an option is wrong: exit 2, all errors at once
    +-- SetupError       the target does not answer or could not be prepared: exit 3
    |   +-- GeneratorLimitError   it is this side that could not be prepared
    +-- InterruptedRunError   the user ended it before there was a result: exit 130

The command line prints `str(error)` and exits with `exit_code`.
"""

from collections.abc import Iterable


class SimulatorError(Exception):
    """Root. `str(error)` is fit for a user and says what to do."""

    exit_code = 1


class ScenarioError(SimulatorError):
    """The run cannot begin as described. `problems` holds one sentence for each thing that is wrong."""

    exit_code = 2

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class SetupError(SimulatorError):
    """The target is unreachable, or users, rooms and sockets could not be made ready."""

    exit_code = 3


class GeneratorLimitError(SetupError):
    """So many clients are more than the generator can hold here; it says nothing about the target."""


class InterruptedRunError(SimulatorError):
    """The user ended the run during its set-up, or asked for its end twice: there is no result."""

    exit_code = 130
