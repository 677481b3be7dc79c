"""The backend's error tree. Each error carries a stable code; `api/problems.py` and the socket handlers
translate it once, at the border.

    VouchstormError
    +-- RefusedError           the caller asked for something that cannot be: nothing was changed
    +-- UnavailableError       something we need does not answer: try again
    +-- SetupError             this process cannot start as configured
"""

from .contracts.errors import Code


class VouchstormError(Exception):
    """Root. `str(error)` is one sentence fit for a user."""

    code: Code = Code.INTERNAL

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class RefusedError(VouchstormError):
    """The request cannot be met and changed nothing. `code` says why; repeating it will not help."""

    code = Code.INVALID_INPUT


class UnavailableError(VouchstormError):
    """A dependency did not answer in time. Nothing was half-written; try again after `retry_after_s`."""

    code = Code.STORE_UNAVAILABLE

    def __init__(self, message: str, code: Code | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message, code)
        self.retry_after_s = retry_after_s


class SetupError(VouchstormError):
    """The process cannot start; the sentence says what to change."""
