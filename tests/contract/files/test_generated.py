"""The committed generated files match the contracts, and the documents are what they claim to be."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml

from backend.app import reference
from backend.app.contracts import events, generate
from backend.app.contracts.asyncapi import document, to_yaml

MADE = {"docs/file.json": lambda: "new"}


@pytest.mark.parametrize("files", [generate.FILES, reference.FILES], ids=["contracts", "reference"])
def test_the_committed_files_have_not_drifted(files: Mapping[str, Callable[[], str]]) -> None:
    assert generate.run(files, ["--check"]) == 0


def test_check_reports_drift_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/file.json").write_text("old")
    status = generate.run(MADE, ["--check"], root=tmp_path)
    assert (status, (tmp_path / "docs/file.json").read_text()) == (1, "old")


def test_check_reports_a_missing_file(tmp_path: Path) -> None:
    assert generate.run(MADE, ["--check"], root=tmp_path) == 1


def test_writing_makes_the_check_succeed(tmp_path: Path) -> None:
    assert generate.run(MADE, [], root=tmp_path) == 0
    assert generate.run(MADE, ["--check"], root=tmp_path) == 0


def test_unknown_argument_is_a_usage_error() -> None:
    assert generate.run(MADE, ["--chekc"]) == 2


def test_yaml_text_reads_back_as_the_document() -> None:
    assert yaml.safe_load(generate.asyncapi()) == document()


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "1e3",
        "",
        "a: b",
        "ü “x”",
        "- a",
        "#",
        None,
        True,
        1.5,
        [],
        {},
        [[1, [2]], {"a": []}],
        {"y": {"1": "x"}},
    ],
)
def test_yaml_writer_keeps_awkward_values(value: object) -> None:
    assert yaml.safe_load(to_yaml({"key": value, "list": [value]})) == {"key": value, "list": [value]}


def test_every_event_has_an_operation() -> None:
    operations = document()["operations"]
    expected = {f"receive_{name}" for name in events.CLIENT_EVENTS}
    expected |= {f"send_{name}" for name in events.SERVER_EVENTS}
    assert expected <= set(operations)


def test_every_reference_resolves() -> None:
    whole = document()

    def resolve(reference: str) -> object:
        node: object = whole
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(node, dict)
            node = node[part]
        return node

    references = re.findall(r'"(#/[^"]+)"', generate.asyncapi())
    assert references
    assert all(isinstance(resolve(reference), dict) for reference in references)


def test_every_payload_schema_is_a_json_schema() -> None:
    for schema in document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_real_payload_passes_its_schema() -> None:
    whole = document()
    payload = events.BadgeEarned(id="n1", seq=3, badge_name="Sharp eye", badge_id="accurate_streak_10")
    jsonschema.validate(
        payload.model_dump(mode="json"),
        {"$ref": "#/components/schemas/BadgeEarned", "components": whole["components"]},
    )


def test_javascript_names_every_event() -> None:
    text = generate.javascript()
    assert all(f'{name.upper()}: "{name}"' in text for name in [*events.CLIENT_EVENTS, *events.SERVER_EVENTS])
