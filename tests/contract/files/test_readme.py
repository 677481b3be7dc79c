"""What the README and the guides show can be typed: scenarios, commands, options, files."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import cli
from simulator.result import from_json
from simulator.scenario.loader import read

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(cli.make_app()).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lines() -> list[list[str]]:
    """Words of every line in the blocks of both sections, without its comment."""
    sections = [README.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in ("Two commands", "Use it")]
    blocks = [
        block for section in sections for block in re.findall(r"^```\n(.*?)^```$", section, re.M | re.S)
    ]
    typed = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words for words in typed if words]


def commands() -> list[list[str]]:
    """Words after `vouchstorm`, in the order of the page."""
    return [words[1:] for words in lines() if words[0] == ".venv/bin/vouchstorm"]


def value(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words else None


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_every_program_is_there_after_make_setup(words):
    assert words[0] in {".venv/bin/vouchstorm", ".venv/bin/python", "make", "kill"}


@pytest.mark.parametrize("words", [words for words in lines() if words[0] == "make"], ids=" ".join)
def test_every_target_exists(words):
    assert set(words[1:]) <= TARGETS


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists_with_its_options(words):
    known = {option for given in COMMANDS[words[0]].params for option in (*given.opts, *given.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_every_file_that_is_run_exists(words):
    assert [word for word in words if word.endswith((".py", ".toml")) and not (ROOT / word).exists()] == []


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_no_directory_is_read_that_no_line_makes(words):
    assert [word for word in words if word.endswith("/")] == []


def test_tokens_are_written_before_they_are_read():
    written: set[str | None] = set()
    for words in commands():
        if words[0] in {"seed", "up"}:
            written.add(value(words, "--tokens"))
        elif "--tokens" in words:
            assert value(words, "--tokens") in written, words


def test_the_full_stack_is_seeded_by_up():
    """A plain `seed` after it would fill the embedded store, which no node of that stack reads."""
    names = [words[0] for words in commands()]
    assert "seed" not in names[names.index("up") :]
    (up,) = [words for words in commands() if words[0] == "up"]
    assert value(up, "--seed-users")


def test_a_stack_in_the_background_is_stopped():
    names = [words[0] for words in commands()]
    (up,) = [words for words in commands() if words[0] == "up"]
    assert "--detach" in up
    assert "down" in names[names.index("up") :]


def test_what_is_asked_by_url_was_started_before():
    ready: set[str] = set()
    for words in lines():
        started = words[-1] == "&" or "up" in words
        ready |= {value(words, "--port") or "8000"} if started else set()
        url = value(words, "--url")
        assert url is None or url.rpartition(":")[2] in ready, words


# ---------------------------------------------------------------- guides


GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


def blocks(guide: Path, language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.M | re.S)
    return [body for name, body in fences if name == language]


def commands_of(guide: Path) -> list[list[str]]:
    """Words of every `vouchstorm ...`, in blocks and in sentences, up to the end of that command."""
    text = guide.read_text(encoding="utf-8")
    return [shlex.split(words) for words in re.findall(r"(?:^|`|\bdo )vouchstorm ([^\n;&|`#]+)", text, re.M)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_scenario_that_a_guide_shows_is_valid(guide: Path) -> None:
    for text in blocks(guide, "toml"):
        read(text, "shown")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_command_that_a_guide_shows_exists_with_its_options(guide: Path) -> None:
    for words in commands_of(guide):
        known = {
            option for given in COMMANDS[words[0]].params for option in (*given.opts, *given.secondary_opts)
        }
        assert {word for word in words if word.startswith("--") and word != "--"} <= known, words


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_file_that_a_guide_links_is_there(guide: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", guide.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (guide.parent / link).exists()] == []


def test_there_is_something_to_check() -> None:
    assert sum(len(commands_of(guide)) for guide in GUIDES) > 5


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
