"""`vouchstorm capacity`: the search for the largest load, with real runs. How it goes is `search`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .. import interrupts
from ..progress import Silent, Ui
from ..result import Result
from ..run.runner import RunOptions, run
from ..scenario.loader import override
from .scalability import Curve, find_curve
from .search import Capacity, Plan, Quantity, Step, search


@dataclass(frozen=True, slots=True)
class CapacityOptions:
    """What to search. hold_s: length of the load of each run; every run has a seed of its own."""

    run: RunOptions
    plan: Plan
    quantity: Quantity = "clients"
    hold_s: float = 15.0


def run_capacity(
    options: CapacityOptions, ui: Ui | None = None, watch: Callable[[Step], None] | None = None
) -> Capacity:
    """Search on an event loop of its own. Ctrl-C ends the search with what is known.

    Raises ScenarioError (exit 2), SetupError (exit 3), KeyboardInterrupt.
    """
    return interrupts.run(find_capacity(options, ui or Silent(), watch))


def run_curve(
    counts: Sequence[int],
    options_of: Callable[[int], CapacityOptions],
    ui: Ui,
    watch: Callable[[Step], None] | None = None,
) -> Curve:
    """Search one node count after the other. Raises as `run_capacity`."""
    return interrupts.run(find_curve(counts, lambda nodes: find_capacity(options_of(nodes), ui, watch)))


async def find_capacity(
    options: CapacityOptions, ui: Ui, watch: Callable[[Step], None] | None = None
) -> Capacity:
    """The same on the running loop."""
    done = 0

    async def run_step(load: float) -> Result:
        nonlocal done
        chosen = _at(options, load, done)
        done += 1
        return await run(chosen, ui)

    found = await search(options.plan, run_step, watch)
    return found.model_copy(
        update={
            "scenario": options.run.scenario.name,
            "quantity": options.quantity,
            "hold_s": options.hold_s,
        }
    )


def _at(options: CapacityOptions, load: float, done: int) -> RunOptions:
    """The run at a load, with the next seed."""
    scenario = options.run.scenario
    changed = override(
        scenario,
        clients=round(load) if options.quantity == "clients" else None,
        rate_per_s=load if options.quantity == "rate" else None,
        duration_s=options.hold_s,
        seed=scenario.seed + done,
    )
    return replace(options.run, scenario=changed)
