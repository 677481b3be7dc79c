"""The tokens that sockets come with: whose they are, the notice before they expire, their end, and kicks."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ..contracts import events
from ..contracts.errors import Code
from ..contracts.types import UserId
from ..ports import Newcomer
from ..services.container import Services
from ..services.tokens import TokenClaims
from .bus.messages import Kick
from .delivery import Arrival, Channels, Gathered, Own
from .handlers import Peer, Peers, control
from .timers import Deadlines

KEPT_S = 60.0
"""Longer than any look-up of the store may take."""
KEPT_KICKS = 100_000


class RecentKicks:
    """Remembers kicked tokens for KEPT_S, the newest KEPT_KICKS of them.

    For sockets that are being let in: what the store said of their token may be older than the kick.
    """

    def __init__(self) -> None:
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def note(self, kick: Kick, now_s: float) -> None:
        """This was kicked now. A whole user may come back with the same token: that is not remembered."""
        if kick.jti is not None:
            self._until_s[kick.jti] = now_s + KEPT_S
            self._until_s.move_to_end(kick.jti)
        while self._until_s:
            oldest, until_s = next(iter(self._until_s.items()))
            if until_s > now_s and len(self._until_s) <= KEPT_KICKS:
                return
            del self._until_s[oldest]

    def holds(self, jti: str | None, now_s: float) -> bool:
        """Was this token kicked lately?"""
        return jti is not None and self._until_s.get(jti, 0.0) > now_s


EXPIRY_NOTICE_S = 60.0
RECHECK_BATCH = 500

T = TypeVar("T")


class TokenWatch:
    """Lets sockets in by their token, and ends those whose token has come to its end."""

    def __init__(
        self, services: Services, deadlines: Deadlines, peers: Peers, channels: Channels, own: Own
    ) -> None:
        self._services = services
        self._deadlines = deadlines
        self._peers = peers
        self._channels = channels
        self._newcomers: Gathered[tuple[UserId, str], Newcomer] = Gathered(self._look_up, own)
        self._kicked = RecentKicks()
        self._rechecks = 0
        self.on_kick: Callable[[Kick], None] | None = None
        """Told of each kick that began here: the other nodes have to hear of it."""

    async def recognise(self, token: str) -> tuple[TokenClaims, Arrival]:
        """Whose token this is, and their arrival: what they are sent is kept from before the store is read.

        Raises RefusedError, UnavailableError; nothing is left behind.
        """
        accounts = self._services.accounts
        claims = accounts.read(token)
        arrival = self._channels.arrive(claims.user_id)
        try:
            found = await self.as_of_now(lambda: self._newcomers.ask((claims.user_id, claims.jti)))
            arrival.newest = accounts.judge(found)
            self.refuse_the_kicked(claims)
        except BaseException:
            self._channels.give_up(arrival)
            raise
        return claims, arrival

    async def _look_up(self, asked: Sequence[tuple[UserId, str]]) -> list[Newcomer]:
        return await self._services.store.users.newcomers(asked)

    def refuse_the_kicked(self, claims: TokenClaims) -> None:
        """Was it revoked while the store was read? The answer may be older than that. Raises RefusedError."""
        if self.kicked_lately(claims.jti):
            self._services.accounts.judge(Newcomer(None, revoked=True))

    def kicked_lately(self, jti: str | None) -> bool:
        """Was this token kicked within the last minute?"""
        return self._kicked.holds(jti, _now_s())

    async def as_of_now(self, look: Callable[[], Awaitable[T]]) -> T:
        """What the store says of a token that no socket here carries yet.

        Asked again if a `recheck` began meanwhile: that looks at sockets only, and the answer may be older
        than the kick it makes up for.
        """
        while True:
            before = self._rechecks
            found = await look()
            if self._rechecks == before:
                return found

    def remember(self, peer: Peer, claims: TokenClaims) -> None:
        """From now on the socket lives as long as this token."""
        peer.forget_token()
        peer.jti = claims.jti
        left_s = (claims.expires_at - self._services.clock.now()).total_seconds()
        notice_s = min(EXPIRY_NOTICE_S, left_s / 2)
        now_s = _now_s()

        def notice() -> None:
            if not self._peers.gone(peer):
                payload = events.TokenExpiring(expires_in_s=round(notice_s))
                peer.session.post([control("token_expiring", payload)])

        def expire() -> None:
            self._peers.end(peer, Code.TOKEN_EXPIRED, "The token expired; connect with a new one.")

        peer.token_life += [
            self._deadlines.add(now_s + left_s - notice_s, notice),
            self._deadlines.add(now_s + left_s, expire),
        ]

    def logged_out(self, token: TokenClaims) -> None:
        """End the sockets of this token, on all nodes."""
        self.kick(Kick(token.user_id, token.jti))

    def kick(self, kick: Kick) -> None:
        """End the sockets of a user, or of one token, on all nodes."""
        self.kick_here(kick)
        if self.on_kick is not None:
            self.on_kick(kick)

    def kick_here(self, kick: Kick) -> None:
        """As `kick`, on this node only: those that are let in right now, too."""
        self._kicked.note(kick, _now_s())
        # Who is about to join finds out by `_kicked`.
        joined = self._services.websocket.sockets_of(kick.user_id)
        for peer in [*self._peers.values()] if kick.jti is None else self._peers.at(joined):
            if peer.user_id == kick.user_id and kick.jti in (None, peer.jti):
                self._peers.end(
                    peer, Code.TOKEN_REVOKED, "This token was logged out; connect with a new one."
                )

    async def recheck(self) -> int:
        """End whose token or user is gone by now; how many. After a gap of the bus a kick may be missing.

        Raises UnavailableError.
        """
        ended = 0
        self._rechecks += 1
        peers = [peer for peer in self._peers.values() if peer.user_id is not None and peer.jti is not None]
        for start in range(0, len(peers), RECHECK_BATCH):
            batch = peers[start : start + RECHECK_BATCH]
            asked = [(peer.user_id, peer.jti) for peer in batch if peer.user_id and peer.jti]
            found = await self._services.store.users.newcomers(asked)
            for peer, (_, jti), newcomer in zip(batch, asked, found, strict=True):
                if (newcomer.revoked or newcomer.last_seq is None) and peer.jti == jti:
                    ended += 1
                    self._peers.end(peer, Code.TOKEN_REVOKED, "This token is no longer valid; log in again.")
        return ended


def _now_s() -> float:
    return asyncio.get_running_loop().time()
