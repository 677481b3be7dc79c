"""Tokens: what is accepted, and everything that is not."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.contracts.errors import Code
from backend.app.contracts.types import UserId
from backend.app.errors import RefusedError
from backend.app.services.tokens import AUDIENCE, ISSUER, MAX_TOKEN_CHARS, Tokens, key_id
from tests.support.backend.rest_app import SECRET, ManualClock

OTHER_SECRET = "another-secret-of-at-least-32-characters"
TTL_S = 60


def payload(clock: ManualClock, **changes: Any) -> dict[str, Any]:
    now_s = int(clock.now().timestamp())
    whole = {
        "sub": "u1", "jti": "j1", "iat": now_s, "exp": now_s + TTL_S, "iss": ISSUER, "aud": AUDIENCE
    }  # fmt: skip
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(claims, secret, algorithm=algorithm, headers=headers or None)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def code_of(tokens: Tokens, token: str) -> Code:
    with pytest.raises(RefusedError) as refusal:
        tokens.verify(token)
    return refusal.value.code


@pytest.fixture
def tokens(clock: ManualClock) -> Tokens:
    return Tokens(SECRET, TTL_S, clock)


def test_an_issued_token_names_its_user(tokens: Tokens) -> None:
    issued = tokens.issue(UserId("u1"))
    assert tokens.verify(issued.token).user_id == "u1"


def test_verifying_returns_the_issued_id_and_expiry(tokens: Tokens) -> None:
    issued = tokens.issue(UserId("u1"))
    claims = tokens.verify(issued.token)
    assert (claims.jti, claims.expires_at) == (issued.jti, issued.expires_at)


def test_two_tokens_of_one_user_have_different_ids(tokens: Tokens) -> None:
    assert tokens.issue(UserId("u1")).jti != tokens.issue(UserId("u1")).jti


def test_a_token_is_valid_until_its_last_second(tokens: Tokens, clock: ManualClock) -> None:
    issued = tokens.issue(UserId("u1"))
    clock.advance(TTL_S - 1)
    assert tokens.verify(issued.token).jti == issued.jti


def test_a_token_expires(tokens: Tokens, clock: ManualClock) -> None:
    issued = tokens.issue(UserId("u1"))
    clock.advance(TTL_S)
    assert code_of(tokens, issued.token) is Code.TOKEN_EXPIRED


def test_an_expired_token_of_a_stranger_is_invalid_rather_than_expired(
    tokens: Tokens, clock: ManualClock
) -> None:
    token = signed(payload(clock, exp=1), OTHER_SECRET)
    assert code_of(tokens, token) is Code.INVALID_TOKEN


def test_a_token_without_key_id_is_tried_with_the_current_key(tokens: Tokens, clock: ManualClock) -> None:
    assert tokens.verify(signed(payload(clock))).user_id == "u1"


@pytest.mark.parametrize("missing", ["sub", "jti", "iat", "exp", "iss", "aud"])
def test_every_claim_is_required(tokens: Tokens, clock: ManualClock, missing: str) -> None:
    assert code_of(tokens, signed(payload(clock, **{missing: None}))) is Code.INVALID_TOKEN


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "somebody"},
        {"aud": []},
        {"sub": ""},
        {"sub": "x" * 65},
        {"jti": ""},
        {"exp": True},
        {"exp": "tomorrow"},
        {"exp": 10**30},
        {"exp": 1e300},
        {"exp": -(10**30)},
    ],
)
def test_wrong_claims_are_refused(tokens: Tokens, clock: ManualClock, changes: dict[str, Any]) -> None:
    assert code_of(tokens, signed(payload(clock, **changes))) is Code.INVALID_TOKEN


def test_another_secret_is_refused(tokens: Tokens, clock: ManualClock) -> None:
    assert code_of(tokens, signed(payload(clock), OTHER_SECRET)) is Code.INVALID_TOKEN


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_unsigned_tokens_are_refused(tokens: Tokens, clock: ManualClock, algorithm: str) -> None:
    token = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(payload(clock))}."
    assert code_of(tokens, token) is Code.INVALID_TOKEN


def test_the_signature_cannot_be_left_out(tokens: Tokens) -> None:
    head, body, _ = tokens.issue(UserId("u1")).token.split(".")
    assert code_of(tokens, f"{head}.{body}.") is Code.INVALID_TOKEN


@pytest.mark.filterwarnings("ignore:.*HMAC key.*")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_are_refused(tokens: Tokens, clock: ManualClock, algorithm: str) -> None:
    assert code_of(tokens, signed(payload(clock), algorithm=algorithm)) is Code.INVALID_TOKEN


def test_a_changed_subject_breaks_the_signature(tokens: Tokens, clock: ManualClock) -> None:
    head, _, signature = tokens.issue(UserId("u1")).token.split(".")
    assert code_of(tokens, f"{head}.{segment(payload(clock, sub='u2'))}.{signature}") is Code.INVALID_TOKEN


@pytest.mark.parametrize("kid", ["unknown", "", 7, ["a"], {"a": 1}])
def test_unknown_key_ids_are_refused(tokens: Tokens, clock: ManualClock, kid: Any) -> None:
    head = segment({"alg": "HS256", "typ": "JWT", "kid": kid})
    _, body, signature = signed(payload(clock)).split(".")
    assert code_of(tokens, f"{head}.{body}.{signature}") is Code.INVALID_TOKEN


def test_a_retired_key_still_verifies(clock: ManualClock) -> None:
    issued = Tokens(OTHER_SECRET, TTL_S, clock).issue(UserId("u1"))
    rotated = Tokens(SECRET, TTL_S, clock, retired=[OTHER_SECRET])
    assert rotated.verify(issued.token).user_id == "u1"


def test_a_rotated_service_signs_with_the_new_key(clock: ManualClock) -> None:
    rotated = Tokens(SECRET, TTL_S, clock, retired=[OTHER_SECRET])
    header = jwt.get_unverified_header(rotated.issue(UserId("u1")).token)
    assert header["kid"] == key_id(SECRET)


def test_a_dropped_key_no_longer_verifies(tokens: Tokens, clock: ManualClock) -> None:
    issued = Tokens(OTHER_SECRET, TTL_S, clock).issue(UserId("u1"))
    assert code_of(tokens, issued.token) is Code.INVALID_TOKEN


def test_overlong_tokens_are_refused(tokens: Tokens, clock: ManualClock) -> None:
    token = signed(payload(clock, padding="x" * MAX_TOKEN_CHARS))
    assert code_of(tokens, token) is Code.INVALID_TOKEN


@given(st.text(max_size=200))
def test_any_text_is_refused_in_order(text: str) -> None:
    assert code_of(Tokens(SECRET, TTL_S, ManualClock()), text) is Code.INVALID_TOKEN


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=40))
def test_any_three_segments_are_refused_in_order(head: bytes, body: bytes, signature: bytes) -> None:
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (head, body, signature))
    assert code_of(Tokens(SECRET, TTL_S, ManualClock()), token) is Code.INVALID_TOKEN


# ---------------------------------------------------------------- the short way against PyJWT


def by_pyjwt(tokens: Tokens, token: str) -> object:
    """The verdict without the short way: what is said of the token, or why it is refused."""
    patient = Tokens(SECRET, TTL_S, ManualClock())
    setattr(patient, "_own_payload", lambda token: None)  # noqa: B010
    return verdict(patient, token)


def verdict(tokens: Tokens, token: str) -> object:
    try:
        return tokens.verify(token)
    except RefusedError as refusal:
        return refusal.code


CLAIM_VALUES = st.one_of(
    st.text(max_size=70),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.just(AUDIENCE),
)


@given(st.dictionaries(st.sampled_from(["sub", "jti", "iat", "exp", "iss", "aud", "nbf", "x"]), CLAIM_VALUES))
def test_the_short_way_and_pyjwt_judge_our_signature_alike(changes: dict[str, Any]) -> None:
    clock = ManualClock()
    tokens = Tokens(SECRET, TTL_S, clock)
    part = f"{tokens.issue(UserId('u1')).token.partition('.')[0]}.{segment(payload(clock) | changes)}"
    mac = hmac.digest(SECRET.encode(), part.encode(), "sha256")
    token = f"{part}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert verdict(tokens, token) == by_pyjwt(tokens, token)


@given(st.data())
def test_the_short_way_and_pyjwt_judge_a_changed_token_alike(data: st.DataObject) -> None:
    tokens = Tokens(SECRET, TTL_S, ManualClock())
    token = tokens.issue(UserId("u1")).token
    at = data.draw(st.integers(0, len(token) - 1))
    change = data.draw(st.sampled_from(["", "=", ".", "A", "-", "+", "/", "\u00e9", "\x00", token[at] * 2]))
    changed = token[:at] + change + token[at + 1 :]
    assert verdict(tokens, changed) == by_pyjwt(tokens, changed)


def test_an_issued_token_takes_the_short_way(tokens: Tokens) -> None:
    assert tokens._own_payload(tokens.issue(UserId("u1")).token) is not None


@pytest.mark.parametrize("tail", ["=", "==", "."])
def test_padding_is_for_pyjwt_to_judge(tokens: Tokens, tail: str) -> None:
    assert tokens._own_payload(tokens.issue(UserId("u1")).token + tail) is None
