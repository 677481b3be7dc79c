"""The keeper in the background: `python -m backend.stack OPTIONS_JSON REPORT_FILE`."""

import sys

from simulator import interrupts


def main() -> int:
    """Keep a stack until SIGTERM; the exit code."""
    import json
    from pathlib import Path

    from ..app.errors import SetupError
    from ..app.observability.logs import configure_logging
    from ..app.settings import load_settings
    from .plan import Kind, StackOptions
    from .up import run_up, write_report

    said, report = json.loads(sys.argv[1]), Path(sys.argv[2])
    options = StackOptions(**{**said, "kind": Kind(said["kind"]), "data_dir": Path(said["data_dir"])})
    try:
        settings = load_settings(data_dir=options.data_dir)
        configure_logging(settings.log_level, settings.log_format, "stack")
        run_up(options, lambda facts: write_report(report, facts))
    except SetupError as error:
        write_report(report, {"error": str(error)})
        return 3
    except KeyboardInterrupt:
        return interrupts.INTERRUPTED
    return 0


if __name__ == "__main__":
    interrupts.program(main)
