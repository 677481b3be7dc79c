"""What the guides show can be typed: every TOML block is a scenario, every command and option exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import cli
from simulator.result import from_json
from simulator.scenario.loader import read

ROOT = Path(__file__).resolve().parents[3]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
COMMANDS = typer.main.get_command(cli.make_app()).commands  # type: ignore[attr-defined]


def blocks(guide: Path, language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.M | re.S)
    return [body for name, body in fences if name == language]


def commands(guide: Path) -> list[list[str]]:
    """Words of every `vouchstorm ...`, in blocks and in sentences, up to the end of that command."""
    text = guide.read_text(encoding="utf-8")
    return [shlex.split(words) for words in re.findall(r"(?:^|`|\bdo )vouchstorm ([^\n;&|`#]+)", text, re.M)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_scenario_that_a_guide_shows_is_valid(guide: Path) -> None:
    for text in blocks(guide, "toml"):
        read(text, "shown")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_command_that_a_guide_shows_exists_with_its_options(guide: Path) -> None:
    for words in commands(guide):
        known = {
            option for given in COMMANDS[words[0]].params for option in (*given.opts, *given.secondary_opts)
        }
        assert {word for word in words if word.startswith("--") and word != "--"} <= known, words


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_file_that_a_guide_links_is_there(guide: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", guide.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (guide.parent / link).exists()] == []


def test_there_is_something_to_check() -> None:
    assert sum(len(commands(guide)) for guide in GUIDES) > 5


def test_the_storm_guide_quotes_its_run() -> None:
    text = (ROOT / "docs" / "guides" / "reconnect-storm.md").read_text(encoding="utf-8")
    found = re.search(r"\.\./runs/(\S+\.json)", text)
    assert found is not None
    result = from_json((ROOT / "docs" / "runs" / found[1]).read_text(encoding="utf-8"))
    storm, ledger = result.reconnect, result.ledger
    for quoted in (
        f"**{result.verdict}.** {storm.drops:,} were dropped and {storm.reconnected:,} came back",
        f"{ledger.lost:,} of {ledger.expected:,} owed receipts were lost",
        f"| connected again, after it was allowed back | {storm.time_to_reconnect.count:,} |",
        f"{result.conservation.checked:,} facts",
    ):
        assert quoted in text
