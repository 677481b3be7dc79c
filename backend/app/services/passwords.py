"""Password hashes: argon2id in worker threads, a few at a time; and which passwords are too weak.

One hash takes tens of milliseconds of CPU and `memory_kib` of memory, so a storm of logins is bounded in
both: at most `concurrency` at once, at most `waiting` in line, the rest is told to come back.
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
_MIN_DISTINCT_CHARS = 5
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
)
_COMMON = frozenset((
    "password", "passw0rd", "p@ssword", "p@ssw0rd", "pa55word", "pass1word", "passpass", "mypassword",
    "thepassword", "newpassword", "letmein", "letmeinnow", "welcome", "welcomeback", "iloveyou", "iloveu",
    "loveyou", "trustno1", "trustnoone", "changeme", "changeit", "administrator", "admin", "adminadmin",
    "rootroot", "superuser", "superman", "batman", "spiderman", "starwars", "pokemon", "dragon",
    "football", "baseball", "basketball", "sunshine", "princess", "monkey", "shadow", "master", "michael",
    "jennifer", "jordan", "computer", "internet", "whatever", "qwerty", "qwertz", "azerty", "asdfasdf",
    "zxcvbnm", "google", "facebook", "minecraft", "samsung", "secret", "topsecret", "default",
    "guestguest", "testtest", "test1234", "hello123", "abcd1234", "abc12345", "1qaz2wsx", "zaq12wsx",
))  # fmt: skip


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


def weakness(password: str, username: str) -> str | None:
    """Why this password would be guessed first; None when it would not. Length is the contract's business.

    No rules on kinds of characters, as NIST SP 800-63B advises: they make passwords worse. What is refused:
    a few dozen words that are tried first (also with digits and signs around them), runs of the keyboard,
    hardly any different characters, the user's own name.
    """
    lowered = password.casefold()
    core = lowered.strip("0123456789 !?.,;:*#$%&@_-+=")
    if username.casefold() in lowered:
        return "The password must not contain the username."
    if len(set(lowered)) < _MIN_DISTINCT_CHARS:
        return f"The password needs at least {_MIN_DISTINCT_CHARS} different characters."
    if lowered in _COMMON or core in _COMMON or any(_is_run(lowered, run) for run in _RUNS):
        return "This password is one of those that are tried first; choose another."
    return None


def _is_run(text: str, run: str) -> bool:
    return text in run or text in run[::-1]
