"""Password hashes: argon2id in worker threads, a few at a time.

One hash takes tens of milliseconds of CPU and `memory_kib` of memory, so a storm of logins is bounded in
both: at most `concurrency` at once, at most `waiting` in line, the rest is told to come back. Called by
`Accounts` only.
"""

import asyncio
import base64
import os
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from ..contracts.errors import Code
from ..errors import UnavailableError

T = TypeVar("T")

_SALT_BYTES = 16
_HASH_BYTES = 32


class Passwords:
    """Hashes and verifies passwords without ever blocking the event loop."""

    def __init__(
        self,
        *,
        time_cost: int,
        memory_kib: int,
        concurrency: int | None = None,
        waiting: int = 256,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        """on_full: told of each one that was refused."""
        self._on_full = on_full
        self._hasher = PasswordHasher(
            time_cost=time_cost,
            memory_cost=memory_kib,
            parallelism=1,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        concurrency = concurrency or _default_concurrency()
        self._slots = asyncio.Semaphore(concurrency)
        self._free_places = concurrency + waiting
        self.nothing = _hash_of_nothing(time_cost, memory_kib)

    async def hash(self, password: str) -> str:
        """The encoded hash. Raises UnavailableError(RATE_LIMITED) when the line is full."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password made this hash; None (no such user) takes as long and is False.

        Raises UnavailableError(RATE_LIMITED) when the line is full.
        """
        return await self._run(lambda: self._matches(password, password_hash or self.nothing))

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free_places == 0:
            self._on_full()
            raise UnavailableError(
                "Too many people are logging in right now; try again in a moment.",
                Code.RATE_LIMITED,
                retry_after_s=2,
            )
        self._free_places -= 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._free_places += 1


def _default_concurrency() -> int:
    """One core is left to the event loop where there is more than one."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))


def _hash_of_nothing(time_cost: int, memory_kib: int) -> str:
    """A well-formed hash that no known password makes and that costs as much to verify as a real one."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${salt}${digest}"
