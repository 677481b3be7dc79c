"""`vouchstorm`: parse, call, exit code. Only composition lives here; each package brings its own commands.

Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 target unreachable or set-up failed, 4 INVALID, 130 interrupted.
The command modules import what they need inside the commands: `vouchstorm --help` answers at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simulator import interrupts

if TYPE_CHECKING:
    import typer


def make_app() -> "typer.Typer":
    """All commands. What this imports takes a moment: by then the signals have their owner."""
    import typer

    import backend.stack.commands
    import dashboards.commands
    import loadtest.commands
    import simulator.commands

    app = typer.Typer(
        name="vouchstorm",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="A load-testable reference stack for real-time web applications, with its simulation harness.",
    )

    @app.callback()
    def _vouchstorm(context: typer.Context) -> None:
        """Tells the commands how to start this program again, for the servers of a run."""
        context.obj = (sys.executable, str(Path(__file__).resolve()))

    app.add_typer(backend.stack.commands.app)
    app.add_typer(simulator.commands.app)
    app.add_typer(loadtest.commands.app)
    app.add_typer(dashboards.commands.app, name="dashboards")
    return app


def main() -> None:
    """Entry point of the console script."""
    interrupts.program(_command)


def _command() -> None:
    app = make_app()
    from simulator.commands import DIVIDER

    words = sys.argv[1:]
    if words[:1] == ["compare"] and "--" in words:
        # Click swallows the first `--`; here it divides the baseline from the candidate.
        words[words.index("--")] = DIVIDER
    app(words)


if __name__ == "__main__":
    main()
