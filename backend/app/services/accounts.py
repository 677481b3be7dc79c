"""Accounts: who registers, who logs in, whose token this is.

The only room that turns a token into a user, for REST and for the sockets alike. Refuses to say whether it
was the name or the password that was wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..contracts.errors import Code
from ..contracts.types import UserId
from ..domain.records import User
from ..errors import RefusedError, UnavailableError
from ..ports import Clock, Ids, Newcomer, Store
from .login_guard import LoginGuard
from .passwords import Passwords, weakness
from .tokens import IssuedToken, TokenClaims, Tokens


@dataclass(frozen=True, slots=True)
class Session:
    """A user and the token that was just made for them."""

    user: User
    token: IssuedToken


class Accounts:
    """Registers, logs in and out, and recognises users."""

    def __init__(
        self,
        store: Store,
        tokens: Tokens,
        passwords: Passwords,
        clock: Clock,
        ids: Ids,
        guard: LoginGuard | None = None,
    ) -> None:
        """guard: None lets anybody guess passwords as often as the hashes allow."""
        self._store = store
        self._tokens = tokens
        self._passwords = passwords
        self._clock = clock
        self._ids = ids
        self._guard = guard
        self.on_logout: Callable[[TokenClaims], None] | None = None
        """Told of each token that was revoked here; must neither wait nor raise."""

    async def register(self, username: str, password: str, display_name: str | None = None) -> Session:
        """A new user, logged in. Raises RefusedError: WEAK_PASSWORD, USERNAME_TAKEN."""
        weak = weakness(password, username)
        if weak is not None:
            raise RefusedError(weak, Code.WEAK_PASSWORD)
        password_hash = await self._passwords.hash(password)
        user = User(
            id=UserId(self._ids.new()),
            username=username,
            display_name=display_name or username,
            created_at=self._clock.now(),
        )
        await self._store.users.create_user(user, password_hash)
        return Session(user, self._tokens.issue(user.id))

    async def login(self, username: str, password: str, address: str | None = None) -> Session:
        """A new token for a known user; an unknown name takes as long as a wrong password.

        address: who asks, for the bounds on guessing; None: nobody knows.

        Raises:
            RefusedError: WRONG_CREDENTIALS.
            UnavailableError: RATE_LIMITED while too many others log in, or after too many failures.
        """
        attempt = await self._guard.enter(username, address) if self._guard is not None else None
        try:
            user = await self._recognised(username, password)
        except UnavailableError:
            if self._guard is not None and attempt is not None:
                await self._guard.forgive(attempt)  # the password was never looked at
            raise
        if self._guard is not None and attempt is not None:
            await self._guard.succeeded(attempt)
        return Session(user, self._tokens.issue(user.id))

    async def _recognised(self, username: str, password: str) -> User:
        known = await self._store.users.credentials(username)
        matches = await self._passwords.verify(password, known.password_hash if known else None)
        if known is None or not matches:
            raise RefusedError("The username or the password is wrong.", Code.WRONG_CREDENTIALS)
        return known.user

    async def logout(self, claims: TokenClaims) -> None:
        """Revoke this one token; others of the same user stay valid. Idempotent."""
        await self._store.users.revoke_token(claims.jti, claims.expires_at)
        if self.on_logout is not None:
            self.on_logout(claims)

    async def authenticate(self, token: str) -> tuple[User, TokenClaims]:
        """The user whose token this is.

        Raises RefusedError: INVALID_TOKEN (also for a user who no longer exists), TOKEN_EXPIRED,
        TOKEN_REVOKED.
        """
        claims = self.read(token)
        if await self._store.users.is_revoked(claims.jti):
            raise _revoked()
        user = await self._store.users.user(claims.user_id)
        if user is None:
            raise _unknown()
        return user, claims

    def read(self, token: str) -> TokenClaims:
        """What the token says by itself; whoever uses it has to `judge` it, too.

        Raises RefusedError: INVALID_TOKEN, TOKEN_EXPIRED.
        """
        return self._tokens.verify(token)

    def judge(self, found: Newcomer) -> int:
        """The user's newest seq, if the store's answer about a token and its user lets them in.

        Raises RefusedError: TOKEN_REVOKED, INVALID_TOKEN.
        """
        if found.revoked:
            raise _revoked()
        if found.last_seq is None:
            raise _unknown()
        return found.last_seq

    async def hash_password(self, password: str) -> str:
        """The hash to store for users who are seeded without registering."""
        return await self._passwords.hash(password)


def _revoked() -> RefusedError:
    return RefusedError("This token was logged out; log in again.", Code.TOKEN_REVOKED)


def _unknown() -> RefusedError:
    return RefusedError("This token is not valid; log in again.", Code.INVALID_TOKEN)
