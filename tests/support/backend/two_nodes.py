"""Two nodes on one store and one bus."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.backend.node import Node
from tests.support.services import Valkey, running_valkey


@contextmanager
def running_pair(directory: Path, bus_url: str, **settings: Any) -> Iterator[tuple[Node, Node]]:
    """Two started nodes that share a store file in `directory` and this bus."""
    shared = {"store_url": f"sqlite:///{directory / 'shared.db'}", "bus_url": bus_url} | settings
    with (
        Node(directory / "one", node="one", **shared) as one,
        Node(directory / "two", node="two", **shared) as two,
    ):
        yield one, two


@contextmanager
def running_pair_and_bus(directory: Path, **settings: Any) -> Iterator[tuple[Node, Node, Valkey]]:
    """The same, with a bus of their own."""
    with running_valkey() as valkey, running_pair(directory, valkey.url(), **settings) as (one, two):
        yield one, two, valkey
