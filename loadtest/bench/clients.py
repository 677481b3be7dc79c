from collections.abc import Callable, Iterator
from typing import Any

from .plan import Plan


def measure_clients(plan: Plan, command: str, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    yield {}
