"""Signed tokens: what a user shows to prove who they are.

HS256 only. Knows nothing of users or of revocation: `Accounts` asks the store, each time. Pure apart from
the injected clock, and remembers no token: nothing that was true of one can outlive it.
"""

import base64
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson

from ..contracts.errors import Code
from ..contracts.types import UserId
from ..errors import RefusedError
from ..ports import Clock

ISSUER = "vouchstorm"
AUDIENCE = "vouchstorm"
MAX_TOKEN_CHARS = 4096
_ALGORITHM = "HS256"
_MAX_ID_CHARS = 64
_REQUIRED = ("sub", "jti", "iat", "exp", "iss", "aud")
_ISSUED = frozenset(_REQUIRED)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says. `expires_at` is in whole seconds."""

    user_id: UserId
    jti: str
    expires_at: datetime


def key_id(secret: str) -> str:
    """The `kid` under which tokens signed with this secret travel: short, and tells nothing about it."""
    return hashlib.sha256(b"vouchstorm key id\x00" + secret.encode()).hexdigest()[:12]


class Tokens:
    """Issues and verifies tokens of one service.

    secret: signs new tokens, at least 32 characters. retired: earlier secrets that still verify, so that a
    key is rotated by putting the old one here until its last token has expired.
    """

    def __init__(
        self,
        secret: str,
        ttl_s: int,
        clock: Clock,
        *,
        retired: Iterable[str] = (),
        new_jti: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._kid = key_id(secret)
        self._keys = {key_id(old): old for old in retired} | {self._kid: secret}
        # Our own tokens begin with one of these: parsing that part again for each would cost a third.
        self._secrets_by_head = {self._head(kid): known for kid, known in self._keys.items()}
        self._macs_by_head = {
            head: hmac.new(known.encode(), digestmod=hashlib.sha256)
            for head, known in self._secrets_by_head.items()
        }
        self._ttl_s = ttl_s
        self._clock = clock
        self._new_jti = new_jti

    def issue(self, user_id: UserId) -> IssuedToken:
        """A fresh token for this user, valid from now for `ttl_s` seconds."""
        issued_at_s = math.floor(self._clock.now().timestamp())
        expires_at_s = issued_at_s + self._ttl_s
        jti = self._new_jti()
        payload = {
            "sub": user_id,
            "jti": jti,
            "iat": issued_at_s,
            "exp": expires_at_s,
            "iss": ISSUER,
            "aud": AUDIENCE,
        }
        token = self._sign(payload, self._kid)
        return IssuedToken(token, jti, datetime.fromtimestamp(expires_at_s, UTC))

    def _sign(self, payload: dict[str, Any], kid: str) -> str:
        return jwt.encode(payload, self._keys[kid], algorithm=_ALGORITHM, headers={"kid": kid})

    def _head(self, kid: str) -> str:
        return self._sign({}, kid).partition(".")[0]

    def _secret_for(self, token: str) -> str | None:
        secret = self._secrets_by_head.get(token.partition(".")[0])
        if secret is None:
            kid = jwt.get_unverified_header(token).get("kid", self._kid)
            secret = self._keys.get(kid) if isinstance(kid, str) else None
        return secret

    def verify(self, token: str) -> TokenClaims:
        """What the token says, if it is ours, whole, and not expired.

        Raises:
            RefusedError: INVALID_TOKEN for anything that this service did not sign for itself,
                TOKEN_EXPIRED for what it did sign and whose time is over.
        """
        claims = _claims(self._payload(token))
        if claims.expires_at <= self._clock.now():
            raise RefusedError("This token has expired; log in again.", Code.TOKEN_EXPIRED)
        return claims

    def _payload(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise _invalid()
        own = self._own_payload(token)
        if own is not None:
            return own
        try:
            secret = self._secret_for(token)
            if secret is None:
                raise _invalid()
            payload: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are judged by the injected clock, in `verify`.
                options={
                    "require": list(_REQUIRED),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _invalid() from error
        return payload

    def _own_payload(self, token: str) -> dict[str, Any] | None:
        """What one of our own tokens says; None for whatever is not exactly as `issue` writes it.

        PyJWT looks at a token character by character and at the key anew each time: with it, a storm of
        connections spends a tenth of its CPU here. This way out accepts a part of what PyJWT accepts - our
        header to the letter, the signature in its one canonical form, our claims and their types - and says
        no to nothing: all else is for PyJWT to judge.
        """
        signed, _, signature = token.rpartition(".")
        head, _, body = signed.partition(".")
        prepared = self._macs_by_head.get(head)
        if prepared is None or not token.isascii():
            return None
        mac = prepared.copy()
        mac.update(signed.encode())
        expected = base64.urlsafe_b64encode(mac.digest()).rstrip(b"=")
        if not hmac.compare_digest(expected, signature.encode()):
            return None
        try:
            text = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            payload = orjson.loads(text)
        except ValueError:
            return None
        canonical = base64.urlsafe_b64encode(text).rstrip(b"=") == body.encode()
        return payload if canonical and _is_as_issued(payload) else None


def _is_as_issued(payload: object) -> bool:
    return (
        isinstance(payload, dict)
        and payload.keys() == _ISSUED
        and payload["iss"] == ISSUER
        and payload["aud"] == AUDIENCE
        and type(payload["iat"]) is int
        and type(payload["exp"]) is int
        and isinstance(payload["sub"], str)
        and isinstance(payload["jti"], str)
    )


def _claims(payload: dict[str, Any]) -> TokenClaims:
    subject, jti, expires_at_s = payload["sub"], payload["jti"], payload["exp"]
    if not (_is_id(subject) and _is_id(jti) and type(expires_at_s) is int):
        raise _invalid()
    try:
        expires_at = datetime.fromtimestamp(expires_at_s, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise _invalid() from error
    return TokenClaims(UserId(subject), jti, expires_at)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS


def _invalid() -> RefusedError:
    return RefusedError("This token is not valid; log in again.", Code.INVALID_TOKEN)
