"""What a store holds, counted in one pass over its rows: the material of `data_checks`. Pure.

Keeps sums and ids, not rows: some hundred bytes for each user, claim, validation and trust change. Rows are
documents by column name, as both stores have them. Called by `data_doctor`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..app.contracts.types import Action
from ..app.domain.consensus import Tally
from ..app.store.schema import Name

Row = Mapping[str, Any]


@dataclass
class Answers:
    """The validations of one claim. authors, actions: in one order. last_us: when the newest was made."""

    tally: Tally = field(default_factory=Tally)
    weights: Tally = field(default_factory=Tally)
    versions: set[int] = field(default_factory=set)
    authors: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    last_us: int = 0

    @property
    def unbroken(self) -> bool:
        """Are the versions 1, 2, 3 ...?"""
        return self.versions == set(range(1, len(self.authors) + 1))

    def add(self, row: Row) -> None:
        """Count one validation in."""
        action = Action(row["action"])
        self.tally = self.tally.plus(action)
        self.weights = self.weights.plus(action, row["weight"])
        self.versions.add(row["version"])
        self.authors.append(row["user_id"])
        self.actions.append(action)
        self.last_us = max(self.last_us, row["created_at_us"])


@dataclass
class Bell:
    """The notifications of one user."""

    count: int = 0
    unread: int = 0
    first_seq: int = 0
    last_seq: int = 0

    @property
    def holes(self) -> int:
        """How many seqs between the first and the last are missing."""
        return self.last_seq - self.first_seq + 1 - self.count if self.count else 0

    def add(self, row: Row) -> None:
        """Count one notification in."""
        seq = row["seq"]
        self.first_seq = min(self.first_seq or seq, seq)
        self.last_seq = max(self.last_seq, seq)
        self.count += 1
        self.unread += not row["read"]


@dataclass
class Facts:
    """users, claims: their rows by id. trust_keys: the keys of applied effects with a trust change.

    changes, moved: how many these are, and what they add up to, per user. changed_by: the claims they come
    from. finished, unfinished: validations per author.
    """

    users: dict[str, Row] = field(default_factory=dict)
    claims: dict[str, Row] = field(default_factory=dict)
    answers: defaultdict[str, Answers] = field(default_factory=lambda: defaultdict(Answers))
    bells: defaultdict[str, Bell] = field(default_factory=lambda: defaultdict(Bell))
    trust_keys: set[str] = field(default_factory=set)
    changes: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    changed_by: set[str] = field(default_factory=set)
    finished: Counter[str] = field(default_factory=Counter)
    unfinished: Counter[str] = field(default_factory=Counter)

    def add(self, name: Name, rows: Iterable[Row]) -> None:
        """Take in rows of one table."""
        taken = {
            Name.USERS: self._user,
            Name.CLAIMS: self._claim,
            Name.VALIDATIONS: self._validation,
            Name.NOTIFICATIONS: self._notification,
            Name.EFFECTS: self._effect,
        }[name]
        for row in rows:
            taken(row)

    def was_told(self, claim_id: str, user_id: str) -> bool:
        """Has the consensus on this claim reached this user, owner or validator?"""
        return f"consensus:{claim_id}:{user_id}" in self.trust_keys

    def _user(self, row: Row) -> None:
        self.users[row["id"]] = row

    def _claim(self, row: Row) -> None:
        self.claims[row["id"]] = row

    def _validation(self, row: Row) -> None:
        self.answers[row["claim_id"]].add(row)
        (self.unfinished if row["pending"] else self.finished)[row["user_id"]] += 1

    def _notification(self, row: Row) -> None:
        self.bells[row["user_id"]].add(row)

    def _effect(self, row: Row) -> None:
        if row["claim_id"] is not None:
            self.trust_keys.add(row["key"])
            self.changed_by.add(row["claim_id"])
            self.changes[row["user_id"]] += 1
            self.moved[row["user_id"]] += row["new_score"] - row["old_score"]


TABLES = (Name.USERS, Name.CLAIMS, Name.VALIDATIONS, Name.NOTIFICATIONS, Name.EFFECTS)
"""In which order a store is read does not matter; all of one view of it."""
