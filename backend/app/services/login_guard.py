"""Who may try a password: bounds on guessing that nobody can turn into a lock for others.

Three counts of failed logins in windows of `lockout_s`, each refused with "come back later":

- one address at one account (`failed_logins_per_pair`): whoever guesses locks out themselves;
- one address at all accounts (`failed_logins_per_address`): trying one password on many names;
- one account from all addresses (`failed_logins_per_account`): many addresses that guess together. This one
  spares addresses from which the account was logged in to in the last 30 days, so that its owner gets in
  while it is under attack; a stranger's address has to wait. Tokens that exist stay valid throughout.

An attempt counts as failed from its first moment until it has succeeded, so that many at once gain nothing.
A name that does not exist is counted like one that does.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from ..contracts.errors import Code
from ..errors import UnavailableError
from ..settings import LoginLimits
from .throttle import Limit, Throttle

KNOWN_ADDRESS_S = 30 * 86_400
"""An address stays known at least so long after a login, at most twice as long."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that is under way. The names are digests: what is counted does not tell who."""

    account: str
    address: str | None

    @property
    def pair(self) -> str:
        return f"{self.account}@{self.address}"


class LoginGuard:
    """Counts attempts in a `Throttle`. on_refused: told of each one that was refused."""

    def __init__(
        self, throttle: Throttle, limits: LoginLimits, on_refused: Callable[[], None] = lambda: None
    ) -> None:
        self._throttle = throttle
        self._on_refused = on_refused
        self._pair = Limit("login-pair", limits.per_pair, limits.lockout_s)
        self._address = Limit("login-address", limits.per_address, limits.lockout_s)
        self._account = Limit("login-account", limits.per_account, limits.lockout_s)
        self._known = Limit("login-known", 1, KNOWN_ADDRESS_S, windows=2)

    async def enter(self, username: str, address: str | None) -> Attempt:
        """Count an attempt. address: None where nobody knows it; then only the account's count holds.

        Raises UnavailableError(RATE_LIMITED) with the seconds until the window ends.
        """
        attempt = Attempt(_digest(username.casefold()), address)
        if address is not None:
            self._refuse(await self._throttle.spend(self._pair, attempt.pair))
            self._refuse(await self._throttle.spend(self._address, address))
        over_s = await self._throttle.spend(self._account, attempt.account)
        if over_s is not None and not await self._is_known(attempt):
            self._refuse(over_s)
        return attempt

    async def _is_known(self, attempt: Attempt) -> bool:
        return attempt.address is not None and await self._throttle.seen(self._known, attempt.pair)

    async def forgive(self, attempt: Attempt) -> None:
        """The attempt did not fail after all."""
        await self._throttle.give_back(self._account, attempt.account)
        if attempt.address is not None:
            await self._throttle.give_back(self._pair, attempt.pair)
            await self._throttle.give_back(self._address, attempt.address)

    async def succeeded(self, attempt: Attempt) -> None:
        """The password was right: nothing is held against anybody, and the address is known from now on."""
        await self.forgive(attempt)
        if attempt.address is not None:
            await self._throttle.spend(self._known, attempt.pair)

    def _refuse(self, over_s: int | None) -> None:
        if over_s is not None:
            self._on_refused()
            raise UnavailableError(
                "Too many failed logins; try again later.", Code.RATE_LIMITED, retry_after_s=over_s
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
