"""The command `loadtest`: options in, Locust's exit code out. The command line registers `app`.

Imports happen inside the command: Locust patches the process when it is imported.
"""

from pathlib import Path
from typing import Annotated

import typer

from simulator.commands import Json, Limits

app = typer.Typer()

EXIT_USAGE = 2


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def loadtest(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="A running service; without it, one is started.")] = None,
    users: Annotated[int, typer.Option(min=1, help="Simulated users.")] = 200,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of load.")] = 30,
    headless: Annotated[bool, typer.Option(help="Without Locust's web page.")] = True,
    processes: Annotated[int, typer.Option(min=0, help="Processes on this machine; 0: one.")] = 0,
    master: Annotated[bool, typer.Option("--master", help="Direct workers on other machines.")] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Run users for a master.")] = False,
    master_host: Annotated[str, typer.Option(help="Where a worker finds its master.")] = "127.0.0.1",
    expect_workers: Annotated[int, typer.Option(min=1, help="Workers a master waits for.")] = 1,
    shape: Annotated[str, typer.Option(help="ramp, spike, storm or soak; empty: constant.")] = "",
    slo: Limits = None,
    tokens: Annotated[Path | None, typer.Option(help="Tokens that `seed` wrote.")] = None,
    json_: Json = None,
    html: Annotated[Path | None, typer.Option(help="Write Locust's HTML report here.")] = None,
    csv: Annotated[str | None, typer.Option(help="Prefix of Locust's CSV files.")] = None,
) -> None:
    """Locust with our users: pushes measured from the publisher's stamp, losses reported as failures.

    What is not listed here is handed to Locust.

    Examples: `vouchstorm loadtest --users 200 --duration 30` · `vouchstorm loadtest --processes 2` ·
    `vouchstorm loadtest --master --expect-workers 2`, elsewhere
    `vouchstorm loadtest --worker --master-host HOST`
    """
    from .run import LoadtestOptions, run

    if master and worker:
        typer.echo("vouchstorm: a process is --master or --worker, not both.", err=True)
        raise typer.Exit(EXIT_USAGE)
    options = LoadtestOptions(
        host=host,
        users=users,
        duration_s=duration,
        headless=headless,
        processes=processes,
        role="master" if master else "worker" if worker else "",
        master_host=master_host,
        expect_workers=expect_workers,
        shape=shape,
        slo=slo or (),
        tokens=tokens,
        json=json_,
        html=html,
        csv=csv,
        extra=context.args,
    )
    raise typer.Exit(run(options))
