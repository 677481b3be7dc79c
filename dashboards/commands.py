"""The commands `dashboards build` and `dashboards check`. The command line registers `app`.

Imports happen inside the commands: the Foundation SDK and its thousand classes are read only when wanted.
"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Grafana dashboards as code: write them, check them on a real run."
)


@app.command()
def build(
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 on drift.")] = False,
) -> None:
    """Write the committed Grafana JSON from the boards. Example: `vouchstorm dashboards build --check`"""
    from .build import main

    raise typer.Exit(main(["--check"] if check_only else []))


@app.command()
def check(
    seconds: Annotated[float, typer.Option(min=1, help="How long the real run lasts.")] = 25,
    names: Annotated[bool, typer.Option("--names", help="Check names only, without a run.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Draw the boards of the run here, as SVG.")] = None,
) -> None:
    """Ask every panel's query of a real Prometheus after a real run; exit 1 where one has no data.

    Example: `vouchstorm dashboards check --names`
    """
    from .check import main

    words = ["--seconds", str(seconds)]
    words += ["--names"] if names else []
    words += ["--pictures", str(pictures)] if pictures else []
    raise typer.Exit(main(words))
