"""For the fuzz tests: a node whose limits let a flood through, and a bound on how much is tried."""

import os
from collections.abc import Iterator

import httpx
import pytest

from tests.support.backend.node import Node, running_node
from tests.support.backend.rest import PASSWORD

UNLIMITED: dict[str, int] = {
    "requests_per_user_per_min": 0,
    "requests_per_address_per_min": 0,
    "failed_logins_per_pair": 0,
    "failed_logins_per_address": 0,
    "failed_logins_per_account": 0,
}
"""Refusing everything with 429 would prove nothing about the rest."""


def tries(fast: int) -> int:
    """How many examples: `fast`, or VOUCHSTORM_FUZZ_FACTOR times as many."""
    return fast * int(os.environ.get("VOUCHSTORM_FUZZ_FACTOR", "1"))


@pytest.fixture(scope="session")
def fuzzed_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that does not count requests."""
    with running_node(tmp_path_factory.mktemp("fuzzed"), **UNLIMITED) as node:
        yield node


@pytest.fixture(scope="session")
def token(fuzzed_node: Node) -> str:
    """A valid token of that node."""
    body = {"username": "fuzzer", "password": PASSWORD}
    answer = httpx.post(f"{fuzzed_node.url}/api/auth/register", json=body)
    made: str = answer.json()["token"]
    return made
