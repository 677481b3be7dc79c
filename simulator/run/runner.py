"""The way into the simulator: options in, one judged result out.

Called by the command line (`run_scenario`) and by tests (`run`). What happens in between is `course`.
"""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from .. import interrupts
from ..errors import InterruptedRunError, ScenarioError
from ..progress import Silent, Ui
from ..result import Result
from ..scenario.models import Scenario
from ..target.server import Commands
from ..verdict import Honesty, judge
from .collect import Measured, findings_of
from .phases import Course, Place


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to run against what.

    url: a server that runs already; else `commands` start one for this run: exactly one of the two is given.
    path: of Engine.IO; None: the profile's own. tokens_file, rooms_file: as the seeding wrote them; a server
    started by `commands` has its own. pin: keep server and generator on different processors.
    """

    scenario: Scenario
    url: str | None = None
    commands: Commands | None = None
    path: str | None = None
    tokens_file: Path | None = None
    rooms_file: Path | None = None
    pin: bool = False


def run_scenario(options: RunOptions, ui: Ui | None = None) -> Result:
    """Run on an event loop of its own. Ctrl-C ends the run early with a partial result; twice, at once.

    Raises ScenarioError (exit 2), SetupError (exit 3), InterruptedRunError (exit 130), KeyboardInterrupt.
    """
    return interrupts.run(run(options, ui or Silent()))


async def run(options: RunOptions, ui: Ui) -> Result:
    """The same on the running loop."""
    if (options.url is None) == (options.commands is None):
        raise ScenarioError(["Give either the URL of a server, or the commands that start one."])
    place = Place(
        options.url, options.commands, options.path, options.tokens_file, options.rooms_file, options.pin
    )
    course = Course(options.scenario, place, ui)
    measured = await _heeding(course)
    honesty = Honesty(**options.scenario.honesty.model_dump())
    return judge(findings_of(measured), options.scenario.slo, honesty)


async def _heeding(course: Course) -> Measured:
    """Run to the end, or to the user's: a signal ends the run early; another one, or one during the set-up,
    cancels it. Raises InterruptedRunError where that leaves nothing to judge; a cancellation ends here.
    """
    main = asyncio.current_task()
    cancel = interrupts.canceller(main)

    def interrupted(number: signal.Signals) -> None:
        again, began = course.measured.interrupted, bool(course.measured.phases)  # the set-up is the first
        course.interrupt()
        if again or not began:
            cancel()

    with interrupts.heard(interrupted):
        try:
            return await course.run()
        except asyncio.CancelledError:
            if not course.measured.interrupted:
                raise
    while main is not None and main.cancelling():
        main.uncancel()
    raise InterruptedRunError("Interrupted: ended at once, without a result.")
