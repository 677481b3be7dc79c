"""Files with one JSON object a line: the users and claims that a seeding wrote. Called by the profiles."""

import json
from pathlib import Path
from typing import Any

from ..errors import SetupError


def read_lines(path: Path | None) -> list[dict[str, Any]]:
    """Objects of a file with one JSON object a line; nothing without a path. Raises SetupError."""
    if path is None:
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SetupError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SetupError(f"{path} is not one JSON object a line: {error}.") from error
