"""Who the simulated users are: tokens from a file, dealt out so that processes do not share a person.

With more users than people, people come round again: one person with several devices. Pure but for reading
the file. Called by the load room.
"""

import json
from dataclasses import dataclass
from pathlib import Path


class PeopleError(ValueError):
    """The tokens file cannot be used; one sentence."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the service."""

    user_id: str
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header that says who asks."""
        return {"Authorization": f"Bearer {self.token}"}


def read_people(path: Path) -> list[Person]:
    """The users of a file with one JSON object a line, as `vouchstorm seed --tokens` writes it.

    Raises PeopleError.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [Person(str(row["user_id"]), str(row["token"])) for row in rows]
    except OSError as error:
        raise PeopleError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PeopleError(
            f"{path} is not a file of tokens; write one with `vouchstorm seed --tokens`."
        ) from error
    if not found:
        raise PeopleError(f"{path} holds nobody.")
    return found


class Deal:
    """Deals people to the users of one process: every `processes`-th person, starting with its own index."""

    def __init__(self, people: list[Person], index: int, processes: int) -> None:
        self._people = people
        self._processes = max(1, processes)
        self._next = index % len(people)

    def next(self) -> Person:
        """The next person."""
        person = self._people[self._next]
        self._next = (self._next + self._processes) % len(self._people)
        return person
