"""Opaque page positions: base64url JSON of the list's name and the last row's sort key.

A cursor is data from outside: anything that is not exactly what `encode` made for the same list is refused.
"""

import base64
import binascii
import json

from ..contracts.errors import Code
from ..errors import RefusedError

_MAX_CHARS = 512

Position = tuple[int | str, ...]


def encode(kind: str, position: Position) -> str:
    """A cursor that continues the list `kind` after the row with this sort key."""
    text = json.dumps([kind, *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kind: str, shape: tuple[type[int] | type[str], ...]) -> Position:
    """The sort key in `cursor`, checked to be of this list and shape.

    Raises:
        RefusedError: INVALID_CURSOR.
    """
    if len(cursor) > _MAX_CHARS:
        raise _refusal()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        content = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _refusal() from error
    if not isinstance(content, list) or not content or content[0] != kind:
        raise _refusal()
    position = tuple(content[1:])
    if len(position) != len(shape) or any(
        type(part) is not expected or (isinstance(part, int) and abs(part) >= 2**63)
        for part, expected in zip(position, shape, strict=True)
    ):
        raise _refusal()
    return position


def _refusal() -> RefusedError:
    return RefusedError("The cursor is not one that this list gave out.", Code.INVALID_CURSOR)
