"""A store that fails at the n-th call, before or after the call took effect."""

from enum import StrEnum
from typing import Any

from backend.app.errors import UnavailableError
from backend.app.ports import Store
from backend.app.store.metered import Method, wrapped


class CrashError(BaseException):
    """The process dies: nothing catches this, and nothing works afterwards."""


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class CutStore:
    """A store. at: the call that fails, from 1; 0 for none. calls: names of the calls so far.

    A `CrashError` makes every later call crash as well; an UnavailableError is over with its call.
    """

    def __init__(
        self,
        store: Store,
        at: int = 0,
        when: When = When.BEFORE,
        failure: type[BaseException] = UnavailableError,
    ) -> None:
        self._store = wrapped(store, self._cut)
        self._at = at
        self._when = when
        self._failure = failure
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _cut(self, name: str, method: Method) -> Method:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            if self._at and number > self._at and issubclass(self._failure, CrashError):
                raise CrashError(name)
            if number == self._at and self._when is When.BEFORE:
                raise self._failure(name)
            result = await method(*args, **kwargs)
            if number == self._at:
                raise self._failure(name)
            return result

        return call
