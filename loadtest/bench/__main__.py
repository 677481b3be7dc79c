"""`python -m loadtest.bench`: parse, run, print, write. See docs/BENCH.md.

Exit codes: 0 measured, 3 set-up failed, 4 too many repetitions were invalid, 130 interrupted.
"""

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from .host import facts, pin, raise_open_files, two_cores
from .peers import node_trouble
from .plan import CONTESTANTS, FULL, METRICS, QUICK, Plan
from .report import Run, document, markdown
from .runner import run
from .tokens import issue_tokens
from .trials import Visitor

EXIT_SETUP, EXIT_INVALID, EXIT_INTERRUPTED = 3, 4, 130
SPARE_FILES = 500


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description="Server CPU per delivered message, connect and memory, beside peers and the floor.",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="1,000 sockets, 5 repetitions (default)")
    size.add_argument("--full", action="store_true", help="200, 1,000 and 5,000 sockets, 7 repetitions")
    parser.add_argument("--only", type=_names(METRICS), help=f"of {','.join(METRICS)}")
    parser.add_argument("--contestants", type=_names(CONTESTANTS), help=f"of {','.join(CONTESTANTS)}")
    parser.add_argument("--repetitions", type=int, choices=range(1, 101), metavar="N")
    parser.add_argument("--json", type=Path, help="where to write the result, `-` for standard output")
    return parser.parse_args(arguments)


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def split(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(known)}")
        return names

    return split


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    plan = FULL if options.full else QUICK
    if options.only:
        plan = dataclasses.replace(plan, only=frozenset(options.only))
    if options.contestants:
        plan = dataclasses.replace(plan, contestants=options.contestants)
    if options.repetitions:
        plan = dataclasses.replace(plan, repetitions=options.repetitions)
    return plan


def measure(plan: Plan) -> Run:
    """Run the plan. Raises OSError when the machine does not allow it."""
    host = facts()
    raise_open_files(plan.largest_crowd + SPARE_FILES)
    absent = {}
    if "node" in plan.contestants and (trouble := node_trouble()) is not None:
        absent["node"] = trouble
    names = [name for name in plan.contestants if name not in absent]
    server_core, crowd_core = two_cores()
    pin(crowd_core)
    visitor = Visitor(plan, issue_tokens(plan.largest_crowd), server_core)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        series = runner.run(run(visitor, names, lambda line: print(line, file=sys.stderr, flush=True)))
    return Run(plan, series, absent, visitor.versions, host)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        done = measure(plan_of(options))
    except OSError as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_SETUP
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    result = json.dumps(document(done), indent=2)
    if str(options.json) == "-":
        print(result)
    else:
        print(markdown(done))
    if options.json is not None and str(options.json) != "-":
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(result + "\n")
    return EXIT_INVALID if len(done.series.invalid()) * 2 > len(done.series.samples) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
