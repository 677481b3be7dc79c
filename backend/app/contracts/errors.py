"""Stable error codes: the same word in a REST problem, an error ack and an `auth_error`.

`STATUS` is the one table from code to HTTP status; a test checks that it covers every code.
"""

from enum import StrEnum


class Code(StrEnum):
    # input
    INVALID_INPUT = "invalid_input"
    INVALID_CURSOR = "invalid_cursor"
    BODY_TOO_LARGE = "body_too_large"
    UNKNOWN_EVENT = "unknown_event"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    # who
    NOT_AUTHENTICATED = "not_authenticated"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, not a secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    WRONG_SUBJECT = "wrong_subject"
    ALREADY_AUTHENTICATED = "already_authenticated"
    WRONG_CREDENTIALS = "wrong_credentials"
    WEAK_PASSWORD = "weak_password"  # noqa: S105
    FORBIDDEN = "forbidden"
    # domain
    USERNAME_TAKEN = "username_taken"
    CLAIM_NOT_FOUND = "claim_not_found"
    USER_NOT_FOUND = "user_not_found"
    NOTIFICATION_NOT_FOUND = "notification_not_found"
    OWN_CLAIM = "own_claim"
    ALREADY_VALIDATED = "already_validated"
    CLAIM_SETTLED = "claim_settled"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    # load and trouble
    TOO_MANY_WATCHES = "too_many_watches"
    TOO_MANY_SOCKETS = "too_many_sockets"
    RATE_LIMITED = "rate_limited"
    STORE_UNAVAILABLE = "store_unavailable"
    DRAINING = "draining"
    INTERNAL = "internal"


STATUS: dict[Code, int] = {
    Code.INVALID_INPUT: 422,
    Code.INVALID_CURSOR: 422,
    Code.BODY_TOO_LARGE: 413,
    Code.UNKNOWN_EVENT: 400,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_AUTHENTICATED: 401,
    Code.INVALID_TOKEN: 401,
    Code.TOKEN_EXPIRED: 401,
    Code.TOKEN_REVOKED: 401,
    Code.WRONG_SUBJECT: 401,
    Code.ALREADY_AUTHENTICATED: 409,
    Code.WRONG_CREDENTIALS: 401,
    Code.WEAK_PASSWORD: 422,
    Code.FORBIDDEN: 403,
    Code.USERNAME_TAKEN: 409,
    Code.CLAIM_NOT_FOUND: 404,
    Code.USER_NOT_FOUND: 404,
    Code.NOTIFICATION_NOT_FOUND: 404,
    Code.OWN_CLAIM: 409,
    Code.ALREADY_VALIDATED: 409,
    Code.CLAIM_SETTLED: 409,
    Code.IDEMPOTENCY_KEY_REUSED: 409,
    Code.TOO_MANY_WATCHES: 429,
    Code.TOO_MANY_SOCKETS: 429,
    Code.RATE_LIMITED: 429,
    Code.STORE_UNAVAILABLE: 503,
    Code.DRAINING: 503,
    Code.INTERNAL: 500,
}
