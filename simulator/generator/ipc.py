"""What the processes of a run say to each other over `pipe`: an order, questions, answers, words between.

Facts (`publisher.Fact`) travel beside the questions, in order. Called by `remote_shard` and `shard_process`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..scenario.loader import Scenario
from ..scenario.schedule import Workload
from ..slices import Slice


@dataclass(frozen=True, slots=True)
class Order:
    """All a process must know to make its clients. url: of the server; entrance: where clients connect."""

    scenario: Scenario
    part: Slice
    url: str
    entrance: str
    path: str
    run_id: str
    tokens_file: Path | None
    workload: Workload
    brief: Any


@dataclass(frozen=True, slots=True)
class Question:
    """Call this method of the shard."""

    number: int
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; failure: a sentence, empty when it worked."""

    number: int
    value: Any = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """So many of the clients have tried to connect."""

    number: int
    done: int


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for whoever watches."""

    text: str
