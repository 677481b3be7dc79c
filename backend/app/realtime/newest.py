"""What the store knows of the users of coming sockets, read for many sockets at once. Called by `channels`
and the gateway.
"""

from collections.abc import Sequence

from ..contracts.types import UserId
from ..ports import Newcomer, Store
from .gathering import Gathered, Own


class NewestSeqs:
    """Asks the store for the newest seq of users."""

    def __init__(self, store: Store, own: Own) -> None:
        self._store = store
        self._gathered: Gathered[UserId, int] = Gathered(self._read, own)

    async def of(self, user_id: UserId) -> int:
        """The user's newest seq, as the store had it after this was asked; 0 for a user without any.

        Raises UnavailableError.
        """
        return await self._gathered.ask(user_id)

    async def _read(self, users: Sequence[UserId]) -> list[int]:
        newest = await self._store.last_seqs(list(set(users)))
        return [newest.get(user_id, 0) for user_id in users]


class Newcomers:
    """Asks the store for all that a connect has to know, in one read for all who come at the same time."""

    def __init__(self, store: Store, own: Own) -> None:
        self._store = store
        self._gathered: Gathered[tuple[UserId, str], Newcomer] = Gathered(self._read, own)

    async def look_up(self, user_id: UserId, jti: str) -> Newcomer:
        """As the store had it after this was asked. Raises UnavailableError."""
        return await self._gathered.ask((user_id, jti))

    async def _read(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return await self._store.newcomers(asked)
