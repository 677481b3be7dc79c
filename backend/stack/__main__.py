"""The keeper in the background: `python -m backend.stack OPTIONS_JSON REPORT_FILE`.

Started by `up.start_detached`.
"""

import json
import sys
from pathlib import Path

from ..app.errors import SetupError
from ..app.logs import configure_logging
from ..app.settings import load_settings
from .plan import Kind, StackOptions
from .up import run_up, write_report


def main(wishes: str, report: str) -> int:
    """Keep a stack until SIGTERM; the exit code."""
    said = json.loads(wishes)
    options = StackOptions(**{**said, "kind": Kind(said["kind"]), "data_dir": Path(said["data_dir"])})
    try:
        settings = load_settings(data_dir=options.data_dir)
        configure_logging(settings.log_level, settings.log_format, "stack")
        run_up(options, lambda facts: write_report(Path(report), facts))
    except SetupError as error:
        write_report(Path(report), {"error": str(error)})
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
