"""Who the simulated users are, and which open claims they know of. Pure but for reading the tokens file.

Processes do not share a person. With more users than people, people come round again: one person with
several devices.
"""

import json
import random
from collections.abc import Iterable, Set
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


MAX_CLAIMS = 5_000
SKEW = 2.0
"""How much more popular the newer claims are: positions are drawn as u ** SKEW."""


class ClaimBook:
    """Open claims, newest last: id -> id of its owner."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, claim_id: str, owner_id: str) -> None:
        """A claim is open. The oldest is forgotten when there are too many."""
        if claim_id not in self._owners:
            self._owners[claim_id] = owner_id
            self._ids.append(claim_id)
            if len(self._ids) > MAX_CLAIMS:
                del self._owners[self._ids.pop(0)]

    def learn(self, claims: Iterable[tuple[str, str]]) -> None:
        """Open claims (id, owner) as the service listed them."""
        for claim_id, owner_id in claims:
            self.add(claim_id, owner_id)

    def settle(self, claim_id: str) -> None:
        """The claim takes no answers any more."""
        if self._owners.pop(claim_id, None) is not None:
            self._ids.remove(claim_id)

    def is_open(self, claim_id: str) -> bool:
        """Whether the claim still takes answers, as far as this process knows."""
        return claim_id in self._owners

    def pick(self, rng: random.Random, person_id: str, answered: Set[str]) -> str | None:
        """A claim for this person to answer, neither their own nor answered before; None if there is none."""
        for _ in range(8):
            if not self._ids:
                return None
            claim_id = self._ids[-1 - int(rng.random() ** SKEW * len(self._ids))]
            if claim_id not in answered and self._owners[claim_id] != person_id:
                return claim_id
        return None

    def any(self, rng: random.Random) -> str | None:
        """A claim to look at."""
        return rng.choice(self._ids) if self._ids else None
