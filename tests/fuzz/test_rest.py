"""The REST room against what its own OpenAPI document allows and forbids, one request and in sequences."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.fuzz.conftest import tries
from tests.support.backend.node import Node

pytestmark = pytest.mark.timeout(900)

DOCUMENT = schemathesis.openapi.from_path("docs/openapi.json")
OPERATIONS = {found.ok().label: found.ok() for found in DOCUMENT.get_all_operations()}
LEFT_OUT = "POST /api/auth/logout"
"""Would end the token that all the others use."""
NOT_CHECKED = [positive_data_acceptance]
"""Weak passwords, cursors that are not ours, two positions at once: rules that a JSON schema cannot say."""


def quietly(examples: int, **more: Any) -> settings:
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None, **more)


def has_input(name: str) -> bool:
    """Is there anything about the operation that could be wrong?"""
    raw = OPERATIONS[name].definition.raw
    return bool(raw.get("parameters") or raw.get("requestBody") or raw.get("security"))


MODES = [
    pytest.param(name, mode, id=f"{name}, {mode.value}")
    for name in sorted(set(OPERATIONS) - {LEFT_OUT})
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or has_input(name)
]


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_every_answer_is_one_that_the_document_promises(
    fuzzed_node: Node, token: str, name: str, mode: GenerationMode
) -> None:
    operation = OPERATIONS[name]

    @quietly(tries(8))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        answer = case.call(base_url=fuzzed_node.url, headers=headers)
        # A body that is too long is refused as such; the check does not know 413 for a refusal.
        too_long = [negative_data_rejection] if answer.status_code == 413 else []
        case.validate_response(answer, excluded_checks=[*NOT_CHECKED, *too_long])

    answered()


def test_sequences_of_requests_keep_the_promises_too(fuzzed_node: Node, token: str, tmp_path: Path) -> None:
    # By its command line: what the server remembers of one sequence changes the next, and it copes with that.
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{fuzzed_node.url}/openapi.json"),
        *("--phases", "stateful", "--max-examples", str(tries(10)), "--generation-database", "none"),
        *("--exclude-operation-id", "logout", "--exclude-checks", NOT_CHECKED[0].__name__, "--no-color"),
        *("--header", f"Authorization: Bearer {token}", "--workers", "1", "--seed", "1"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    assert "Stateful" in done.stdout


def test_nothing_unexpected_was_logged(fuzzed_node: Node) -> None:
    assert httpx.get(f"{fuzzed_node.url}/readyz").status_code == 200
    assert "Traceback" not in fuzzed_node.log()
