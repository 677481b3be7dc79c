"""`vouchstorm`: parse, call, exit code. No logic lives here.

Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 target unreachable or set-up failed, 4 INVALID, 130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="vouchstorm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A load-testable reference stack for real-time web applications, with its simulation harness.",
)

EXIT_SETUP = 3
EXIT_INTERRUPTED = 130


@app.callback()
def _vouchstorm() -> None:
    """Keeps subcommands subcommands, however few there are."""


def _fail(message: str, code: int = EXIT_SETUP) -> typer.Exit:
    typer.echo(f"vouchstorm: {message}", err=True)
    return typer.Exit(code)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data_dir: Annotated[Path | None, typer.Option(help="Directory of the embedded store.")] = None,
    store_url: Annotated[str | None, typer.Option(help="`sqlite:///path` or `mongodb://...`.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one node.

    Examples: `vouchstorm serve` · `vouchstorm serve --port 0 --data-dir /tmp/demo`

    Every other setting is an environment variable, see docs/SETTINGS.md.
    """
    from backend.app.errors import SetupError
    from backend.app.logs import configure_logging
    from backend.app.node import announce_ready, listen, run_node
    from backend.app.settings import load_settings

    try:
        settings = load_settings(data_dir=data_dir, store_url=store_url, log_level=log_level)
        configure_logging(settings.log_level, settings.log_format, settings.node or "node")
        sock = listen(host, port)
        run_node(settings, sock, announce_ready)
    except SetupError as error:
        raise _fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    sys.exit(main())
