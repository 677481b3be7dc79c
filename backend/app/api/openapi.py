"""The OpenAPI document: made from the routes, committed as `docs/openapi.json`, checked for drift.

python -m backend.app.api.openapi           write the file
python -m backend.app.api.openapi --check   exit 1 if it has drifted
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .router import build_router, new_api

OPENAPI_FILE = Path("docs/openapi.json")
_ROOT = Path(__file__).resolve().parents[3]


def render() -> str:
    """The committed file's text."""
    app = new_api()
    app.include_router(build_router())
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Entry of `python -m`: write the file, or with `--check` exit 1 if it has drifted."""
    path = _ROOT / OPENAPI_FILE
    text = render()
    if list(arguments) == ["--check"]:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{OPENAPI_FILE} has drifted; run: python -m backend.app.api.openapi\n")
        return 1
    if arguments:
        sys.stderr.write("usage: python -m backend.app.api.openapi [--check]\n")
        return 2
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
