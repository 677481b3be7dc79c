"""Every wrong token there is, made for one victim, and the code with which each must be refused."""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import jwt

from backend.app.services.tokens import AUDIENCE, ISSUER, key_id
from tests.support.backend.node import SECRET
from tests.support.backend.rest import Account

OTHER_SECRET = "another-secret-of-at-least-32-characters"

CODES = {
    "garbage": "invalid_token",
    "empty_parts": "invalid_token",
    "expired": "token_expired",
    "forged": "invalid_token",
    "forged_under_our_kid": "invalid_token",
    "unknown_kid": "invalid_token",
    "revoked": "token_revoked",
    "wrong_audience": "invalid_token",
    "wrong_issuer": "invalid_token",
    "alg_none": "invalid_token",
    "alg_hs512": "invalid_token",
    "other_subject_same_signature": "invalid_token",
    "deleted_user": "invalid_token",
    "no_expiry": "invalid_token",
}
"""Name of a wrong token -> the code of its refusal. `revoked` is the victim's own, after a logout."""


@dataclass(frozen=True)
class Victim:
    """Whose data the wrong tokens are after. revoked: a token of theirs that was logged out."""

    account: Account
    revoked: Account
    claim_id: str
    notification_id: str


def wrong_token(name: str, victim: Victim) -> str:
    """The wrong token of that name, as good as an attacker could make it."""
    claims = _claims(victim.account.id)
    makers: dict[str, Any] = {
        "garbage": lambda: "nonsense",
        "empty_parts": lambda: "..",
        "expired": lambda: _signed(claims | {"exp": int(time.time()) - 1}),
        "forged": lambda: _signed(claims, OTHER_SECRET),
        "forged_under_our_kid": lambda: _signed(claims, OTHER_SECRET, kid=key_id(SECRET)),
        "unknown_kid": lambda: _signed(claims, SECRET, kid="unknown"),
        "revoked": lambda: victim.revoked.token,
        "wrong_audience": lambda: _signed(claims | {"aud": "somebody"}),
        "wrong_issuer": lambda: _signed(claims | {"iss": "somebody"}),
        "alg_none": lambda: f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}.",
        "alg_hs512": lambda: jwt.encode(claims, SECRET * 2, "HS512", {"kid": key_id(SECRET)}),
        "other_subject_same_signature": lambda: _swapped(victim.account.token),
        "deleted_user": lambda: _signed(_claims("nobody-any-more")),
        "no_expiry": lambda: _signed({name: value for name, value in claims.items() if name != "exp"}),
    }
    token: str = makers[name]()
    return token


def _claims(subject: str) -> dict[str, Any]:
    now_s = int(time.time())
    jti = secrets.token_hex(16)
    return {"sub": subject, "jti": jti, "iat": now_s, "exp": now_s + 600, "iss": ISSUER, "aud": AUDIENCE}


def _signed(claims: dict[str, Any], secret: str = SECRET, kid: str | None = None) -> str:
    return jwt.encode(claims, secret, "HS256", {"kid": kid or key_id(secret)})


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _swapped(token: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{head}.{_part(claims | {'sub': 'somebody-else'})}.{signature}"
