"""Tokens for the crowd: what the service itself would issue. Every contestant verifies the same ones."""

from backend.app.clock import SystemClock
from backend.app.contracts.types import UserId
from backend.app.services.tokens import Tokens

from .workload import SECRET, user_id

LIFE_S = 86_400


def issue_tokens(count: int) -> list[str]:
    """One token for each user that the contestants know."""
    tokens = Tokens(SECRET, LIFE_S, SystemClock())
    return [tokens.issue(UserId(user_id(number))).token for number in range(count)]
