"""How a running stack is seeded: which store, and what a command line may show."""

from pathlib import Path

from backend.stack.up import StackSeed, environment


def test_a_full_stack_is_seeded_in_its_mongodb() -> None:
    facts = {"data_dir": "/data", "mongodb": "mongodb://127.0.0.1:8099/vouchstorm"}
    assert environment(facts)["VOUCHSTORM_STORE_URL"] == "mongodb://127.0.0.1:8099/vouchstorm"


def test_an_embedded_stack_is_seeded_in_its_file_whatever_the_user_has_set() -> None:
    assert environment({"data_dir": "/data", "mongodb": None}) == {
        "VOUCHSTORM_DATA_DIR": "/data",
        "VOUCHSTORM_STORE_URL": "sqlite:////data/vouchstorm.db",
    }


def test_the_store_is_not_on_the_command_line() -> None:
    assert "--store-url" not in StackSeed(3).words()


def test_files_are_written_only_where_they_are_asked_for() -> None:
    words = StackSeed(3, tokens=Path("t.jsonl")).words()
    assert (words[-2:], "--claims-file" in words) == (["--tokens", "t.jsonl"], False)
