"""`python -m loadtest.bench`: parse, run, print, write. See docs/BENCH.md."""

import argparse
import dataclasses
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from simulator import host, interrupts
from simulator.errors import GeneratorLimitError

from .generators import artillery_trouble
from .plan import CLIENTS, EVERYBODY, FULL, METRICS, QUICK, Plan
from .process_stats import facts, two_cores
from .report import Record, Report, Source, document, markdown
from .runner import rounds, run
from .samples import Series
from .sockets import issue_tokens
from .system import node_trouble
from .trials import Visitor

EXIT_SETUP, EXIT_INVALID = 3, 4


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description="Server CPU per delivered message, connect and memory, beside peers and the floor.",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="1,000 sockets, under 6 minutes (default)")
    size.add_argument("--full", action="store_true", help="200, 1,000 and 5,000 sockets, under 25 minutes")
    parser.add_argument("--clients", action="store_true", help="measure load generators instead of servers")
    parser.add_argument("--only", type=_names(METRICS), help=f"of {','.join(METRICS)}")
    parser.add_argument("--sizes", type=_sizes, help="fan-out, burst, connect and clients at these only")
    parser.add_argument("--contestants", type=_names(EVERYBODY), help=f"of {','.join(EVERYBODY)}")
    parser.add_argument("--repetitions", type=int, choices=range(1, 101), metavar="N")
    parser.add_argument("--budget-s", type=float, help="no trial begins that would end later than this")
    parser.add_argument("--json", type=Path, help="where to write the result, `-` for standard output")
    parser.add_argument("--into", type=Path, metavar="JSON", help="add to this result, replace what is new")
    return parser.parse_args(arguments)


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def split(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(known)}")
        return names

    return split


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in text.split(","))
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError("a size is a number of sockets")
    return sizes


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    plan = CLIENTS if options.clients else FULL if options.full else QUICK
    if options.only and not options.clients:
        plan = dataclasses.replace(plan, only=frozenset(options.only))
    if options.sizes:
        plan = plan.at_sizes(options.sizes)
    given = {
        "contestants": options.contestants,
        "repetitions": options.repetitions,
        "budget_s": options.budget_s,
    }
    return dataclasses.replace(plan, **{name: value for name, value in given.items() if value})


class Bench:
    """One run, from its options to the files it leaves."""

    def __init__(self, options: argparse.Namespace, arguments: Sequence[str]) -> None:
        self._plan = plan_of(options)
        to_stdout = str(options.json) == "-"
        self._record = Record(options.into or (None if to_stdout else options.json))
        self.report = self._record.load() if options.into else Report()
        self._command = shlex.join(["python", "-m", "loadtest.bench", *arguments])

    def measure(self) -> None:
        """Run the plan. Raises OSError, GeneratorLimitError on too small a machine, KeyboardInterrupt."""
        plan, before = self._plan, self.report
        about = before.host = facts()
        host.allow_sockets(plan.largest_crowd)
        server_core, crowd_core = two_cores()
        if crowd_core is not None:
            host.pin(0, {crowd_core})
        visitor = Visitor(plan, issue_tokens(plan.largest_crowd), server_core, crowd_core, before.versions)
        planned = rounds(visitor)
        names = [name for name in plan.contestants if any(part.wanted_of(plan, name) for part in planned)]
        for name, trouble in (("node", node_trouble), ("artillery", artillery_trouble)):
            if name in names and (reason := trouble()) is not None:
                before.absent[name] = reason
                names.remove(name)
        source = Source(
            self._command,
            about["commit"],
            about["started_at"],
            plan.name,
            plan.repetitions,
            tuple(about["load_average"]),
            "interrupted",
        )
        series = Series()

        def keep(stopped: str | None = "interrupted") -> None:
            self.report = before.with_run(series, dataclasses.replace(source, stopped=stopped))
            self._record.keep(self.report)

        keep(interrupts.run(run(visitor, names, series, _say, keep)))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        bench = Bench(options, arguments)
        with interrupts.cleaning_up():
            bench.measure()
    except (OSError, GeneratorLimitError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_SETUP
    except KeyboardInterrupt:
        print(markdown(bench.report))
        return interrupts.INTERRUPTED
    report = bench.report
    print(json.dumps(document(report), indent=2) if str(options.json) == "-" else markdown(report))
    return EXIT_INVALID if len(report.series.invalid()) * 2 > len(report.series.samples) else 0
