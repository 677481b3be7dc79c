"""The way into the simulator: options in, one judged result out."""

import asyncio
import signal

from .. import interrupts
from ..errors import InterruptedRunError, ScenarioError
from ..progress import Silent, Ui
from ..result import Result
from ..verdict import Honesty, judge
from .collect import Measured, findings_of
from .phases import LoadRun, RunOptions

__all__ = ["RunOptions", "run", "run_scenario"]


def run_scenario(options: RunOptions, ui: Ui | None = None) -> Result:
    """Run on an event loop of its own. Ctrl-C ends the run early with a partial result; twice, at once.

    Raises ScenarioError (exit 2), SetupError (exit 3), InterruptedRunError (exit 130), KeyboardInterrupt.
    """
    return interrupts.run(run(options, ui or Silent()))


async def run(options: RunOptions, ui: Ui) -> Result:
    """The same on the running loop."""
    if (options.url is None) == (options.commands is None):
        raise ScenarioError(["Give either the URL of a server, or the commands that start one."])
    measured = await _heeding(LoadRun(options, ui))
    honesty = Honesty(**options.scenario.honesty.model_dump())
    return judge(findings_of(measured), options.scenario.slo, honesty)


async def _heeding(load: LoadRun) -> Measured:
    """Run to the end, or to the user's: a signal ends the run early; another one, or one during the set-up,
    cancels it. Raises InterruptedRunError where that leaves nothing to judge; a cancellation ends here.
    """
    main = asyncio.current_task()
    cancel = interrupts.canceller(main)

    def interrupted(number: signal.Signals) -> None:
        again, began = load.measured.interrupted, bool(load.measured.phases)  # the set-up is the first
        load.interrupt()
        if again or not began:
            cancel()

    with interrupts.heard(interrupted):
        try:
            return await load.run()
        except asyncio.CancelledError:
            if not load.measured.interrupted:
                raise
    while main is not None and main.cancelling():
        main.uncancel()
    raise InterruptedRunError("Interrupted: ended at once, without a result.")
