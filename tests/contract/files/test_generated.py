"""The committed generated files match the contracts, and the documents are what they claim to be."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from backend.app.contracts import events, generate
from backend.app.contracts.asyncapi import document, to_yaml


@pytest.mark.parametrize("name", [str(path) for path in generate.targets()])
def test_committed_file_matches_the_contracts(name: str) -> None:
    committed = (generate.ROOT / name).read_text(encoding="utf-8")
    assert committed == generate.targets()[Path(name)](), f"drift: run {generate.COMMAND}"


def test_check_reports_drift_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("old")
    status = generate.run({Path("file.txt"): lambda: "new"}, root=tmp_path, check=True)
    assert (status, (tmp_path / "file.txt").read_text()) == (1, "old")


def test_check_reports_a_missing_file(tmp_path: Path) -> None:
    assert generate.run({Path("file.txt"): lambda: "new"}, root=tmp_path, check=True) == 1


def test_run_writes_further_files_of_a_caller(tmp_path: Path) -> None:
    assert generate.run({Path("docs/more.json"): lambda: "{}\n"}, root=tmp_path, check=False) == 0
    assert (tmp_path / "docs/more.json").read_text() == "{}\n"


def test_unknown_argument_is_a_usage_error() -> None:
    assert generate.main(["--chekc"]) == 2


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
