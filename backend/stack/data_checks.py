"""`vouchstorm doctor --data`: one consistent view of a store, checked, repaired where that needs no guess.

Reads and repairs behind the back of the `Store` port: it must see what no request may make. Works on a store
in use; each repair changes a row only if it still is as it was seen. Refuses stores of another version.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..app.contracts.types import Action, ClaimStatus
from ..app.domain.consensus import ConsensusPolicy, Decision, Tally, decide
from ..app.domain.trust import START_SCORE
from ..app.errors import SetupError, UnavailableError
from ..app.store import schema
from ..app.store.schema import Name, Table
from ..app.store.sqlite.connection import select, update
from .backup import check_ours, opened_file, path_of

# What a store holds, counted in one pass over its rows: the material of `data_checks`. Pure.
#
# Keeps sums and ids, not rows: some hundred bytes for each user, claim, validation and trust change.
# Rows are
# documents by column name, as both stores have them. Called by `data_doctor`.

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


# What the consensuses made of each user's progress, as far as stored rows tell without their order.
# Pure.
#
# The order in which effects reached a user is not stored, and a streak depends on it: only its limits
# are
# known. What was not applied yet, and what claims in doubt or missing rows may have done, widens
# them: a store
# in use has no false finding. Called by `data_checks`.


@dataclass(frozen=True, slots=True)
class Limits:
    """low <= what a user's row says in `column` <= high; equal: it follows."""

    column: str
    low: int
    high: int

    @property
    def sentence(self) -> str:
        """What the row should say."""
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


@dataclass
class Standing:
    """One user: what applied effects of claims that are whole did.

    answered: consensuses on claims that the user validated; agreed and disagreed are among them, without
    those the user was unsure about, which neither add to a streak nor break it. verified: own claims.
    told: trust changes that came from all these. awaited: consensuses without a trust change.
    """

    answered: int = 0
    agreed: int = 0
    disagreed: int = 0
    verified: int = 0
    told: int = 0
    awaited: int = 0

    def add(self, action: Action | None, consensus: Action) -> None:
        """Count one consensus in. action: the user's own, None for the owner."""
        self.told += 1
        if action is None:
            self.verified += consensus is Action.VOUCH
            return
        self.answered += 1
        if action is not Action.UNSURE:
            self.agreed += action is consensus
            self.disagreed += action is not consensus

    def limits(self, changes: int) -> Iterator[Limits]:
        """changes: how many trust changes the user has, from whatever claim."""
        unknown = max(0, changes - self.told) + self.awaited
        yield Limits("consensus_count", self.answered, self.answered + unknown)
        yield Limits("claims_verified", self.verified, self.verified + unknown)
        broken = self.disagreed or unknown
        yield Limits("accurate_streak", 0 if broken else self.agreed, self.agreed + unknown)


class Standings:
    """Everybody's, claim by claim."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._of: defaultdict[str, Standing] = defaultdict(Standing)

    def add(self, claim: Row, answers: Answers, *, whole: bool) -> None:
        """whole: nothing was found wrong with this claim."""
        settled = claim["status"] != ClaimStatus.OPEN.value
        for user_id, action in [
            (claim["owner_id"], None),
            *zip(answers.authors, answers.actions, strict=True),
        ]:
            if not self._facts.was_told(claim["id"], user_id):
                self._of[user_id].awaited += settled or not whole
            elif settled and whole:
                self._of[user_id].add(action, Action(claim["decision_action"]))

    def limits(self, user_id: str) -> Iterator[Limits]:
        """What the progress of this user has to keep."""
        return self._of[user_id].limits(self._facts.changes[user_id])


# The conservation laws of a store, and what can be repaired where one is broken. Pure.
#
# A repair puts right what follows from other rows that are whole: a tally from its validations, a
# counter from
# what it counts. Where rows are missing, or two stored facts contradict each other, nothing is
# guessed: the
# finding says what is wrong and has no repair. Of the accuracy streak only the impossible is found:
# it depends
# on the order in which effects were applied (`data_standing`). Not checked: the tokens.
#
# Called by `data_doctor`.

LOWEST_THRESHOLD = ConsensusPolicy(501)
"""A claim may have been settled under any policy: whatever leads with a majority may have been enough."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Set `changes` in the row, if it still says `seen`."""

    table: Name
    row_id: str
    seen: dict[str, Any]
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """law: tally, consensus, notifications, trust, counters, references. repair: None: that would guess."""

    law: str
    sentence: str
    repair: Repair | None = field(default=None)


def check(facts: Facts) -> Iterator[Finding]:
    """Everything that is not as it must be; nothing for a whole store."""
    orphans = list(_references(facts))
    yield from orphans
    incomplete: set[str] = set()
    standings = Standings(facts)
    lost = bool(orphans)
    for claim in facts.claims.values():
        answers = facts.answers.get(claim["id"], Answers())
        tally, consensus = list(_tally(claim, answers)), list(_consensus(claim, answers))
        yield from tally
        yield from consensus
        lost = lost or any(finding.repair is None for finding in tally)
        standings.add(claim, answers, whole=not tally and not consensus)
        missing = _without_change(facts, claim, answers)
        incomplete.update(missing)
        if missing and not claim["pending"]:
            yield _unannounced(facts, claim, missing)
    for user in facts.users.values():
        yield from _notifications(user, facts.bells.get(user["id"], Bell()))
        yield from _trust(facts, user, user["id"] in incomplete)
        yield from _counters(facts, user, lost)
        for limits in standings.limits(user["id"]):
            yield from _standing(user, limits, lost)


def _repair(table: Name, row: Row, changes: dict[str, Any]) -> Repair:
    return Repair(table, row["id"], {name: row[name] for name in changes}, changes)


# ------------------------------------------------------------------ references


def _references(facts: Facts) -> Iterator[Finding]:
    for claim_id in sorted(facts.answers.keys() - facts.claims.keys()):
        yield Finding("references", f"There are validations of claim {claim_id}, which does not exist.")
    for claim_id in sorted(facts.changed_by - facts.claims.keys()):
        yield Finding("references", f"There are trust changes from claim {claim_id}, which does not exist.")
    referring = {
        "claims": {claim["owner_id"] for claim in facts.claims.values()},
        "validations": facts.finished.keys() | facts.unfinished.keys(),
        "notifications": facts.bells.keys(),
        "trust changes": facts.changes.keys(),
    }
    for user_id in sorted(set().union(*referring.values()) - facts.users.keys()):
        kinds = ", ".join(kind for kind, users in referring.items() if user_id in users)
        yield Finding("references", f"There are {kinds} of user {user_id}, who does not exist.")


# ------------------------------------------------------------------ claims


def _tally(claim: Row, answers: Answers) -> Iterator[Finding]:
    count = len(answers.authors)
    if not answers.unbroken or claim["version"] > count:
        yield Finding(
            "tally",
            f"Claim {claim['id']} is at version {claim['version']}, but its {count} stored validations are "
            f"not 1 to {claim['version']}: some are gone; only a backup has them.",
        )
        return
    expected = _tally_columns(answers) | {"version": count}
    if wrong := {name: value for name, value in expected.items() if claim[name] != value}:
        yield Finding(
            "tally",
            f"Claim {claim['id']} counts {_said(claim, wrong)}; its {count} validations make {_said(wrong)}.",
            _repair(Name.CLAIMS, claim, wrong),
        )


def _tally_columns(answers: Answers) -> dict[str, int]:
    counts = {action.value: answers.tally.of(action) for action in Action}
    return counts | {f"{action.value}_weight": answers.weights.of(action) for action in Action}


def _said(row: Row, wanted: Row | None = None) -> str:
    return ", ".join(f"{name} {row[name]}" for name in (wanted or row))


def _consensus(claim: Row, answers: Answers) -> Iterator[Finding]:
    """Status, decision and moment belong together, and to the validations."""
    due = decide(answers.tally, answers.weights, claim["quorum"], LOWEST_THRESHOLD)
    status = ClaimStatus(claim["status"])
    if status is ClaimStatus.OPEN and claim["decision_action"] is None and claim["settled_at_us"] is None:
        return
    if status is not ClaimStatus.OPEN and due is not None and _says(claim, due, status):
        return
    yield Finding("consensus", _contradiction(claim, due), _consensus_repair(claim, answers, due, status))


def _says(claim: Row, due: Decision, status: ClaimStatus) -> bool:
    said = (claim["decision_action"], claim["decision_percentage"])
    whole = said == (due.action.value, due.percentage) and claim["settled_at_us"] is not None
    return whole and due.status is status


def _consensus_repair(
    claim: Row, answers: Answers, due: Decision | None, status: ClaimStatus
) -> Repair | None:
    """Where the validations and one of the two, status or decision, agree, the other one is wrong."""
    if due is None or not answers.unbroken or claim["version"] > len(answers.authors):
        return None
    decided = (claim["decision_action"], claim["decision_percentage"]) == (due.action.value, due.percentage)
    if status is not due.status and not decided:
        return None
    expected = {
        "status": due.status.value,
        "decision_action": due.action.value,
        "decision_percentage": due.percentage,
        # As when it is settled: the moment of the validation that decides.
        "settled_at_us": claim["settled_at_us"] if claim["settled_at_us"] is not None else answers.last_us,
    }
    wrong = {name: value for name, value in expected.items() if claim[name] != value}
    return _repair(Name.CLAIMS, claim, wrong)


def _contradiction(claim: Row, due: Decision | None) -> str:
    made = "none" if due is None else f"{due.action.value} with {due.percentage} %"
    said = f"{claim['decision_action']} with {claim['decision_percentage']} %"
    return f"Claim {claim['id']} is {claim['status']} and says {said}; its validations amount to {made}."


def _without_change(facts: Facts, claim: Row, answers: Answers) -> list[str]:
    """Who has no trust change from this settled claim."""
    if claim["status"] == ClaimStatus.OPEN.value:
        return []
    concerned = [claim["owner_id"], *answers.authors]
    return [user for user in concerned if not facts.was_told(claim["id"], user)]


def _unannounced(facts: Facts, claim: Row, missing: list[str]) -> Finding:
    # The reconciler applies what was not applied, and nothing twice; but it would fail again and again at
    # somebody who does not exist.
    possible = facts.users.keys() >= set(missing)
    return Finding(
        "consensus",
        f"Claim {claim['id']} is settled, but its consensus never reached {len(missing)} of those concerned.",
        _repair(Name.CLAIMS, claim, {"pending": True}) if possible else None,
    )


# ------------------------------------------------------------------ users


def _notifications(user: Row, bell: Bell) -> Iterator[Finding]:
    trimmed, last = user.get("trimmed_seq", 0), user["last_seq"]
    incomplete = bell.holes or bell.first_seq > trimmed + 1 or bell.last_seq < last
    if incomplete if bell.count else last > trimmed:
        yield Finding(
            "notifications",
            f"User {user['id']} has {bell.count} notifications of the {last - trimmed} from seq "
            f"{trimmed + 1} to {last}: some are gone; only a backup has them.",
        )
        return
    expected = {"unread": bell.unread}
    if bell.count:
        expected |= {"last_seq": bell.last_seq, "trimmed_seq": bell.first_seq - 1}
    if wrong := {name: value for name, value in expected.items() if user.get(name, 0) != value}:
        yield Finding(
            "notifications",
            f"User {user['id']} says {_said(user, wrong)}; the notifications make {_said(wrong)}.",
            _repair(Name.USERS, user, wrong),
        )


def _trust(facts: Facts, user: Row, incomplete: bool) -> Iterator[Finding]:
    expected = START_SCORE + facts.moved[user["id"]]
    if user["trust_score"] == expected:
        return
    sentence = (
        f"User {user['id']} has a trust score of {user['trust_score']}; the changes add up to {expected}"
    )
    if incomplete or not 0 <= expected <= 100:
        yield Finding("trust", f"{sentence}, but some of them are missing.")
    else:
        repair = _repair(Name.USERS, user, {"trust_score": expected})
        yield Finding("trust", f"{sentence}.", repair)


def _counters(facts: Facts, user: Row, lost: bool) -> Iterator[Finding]:
    """lost: validations are missing somewhere, perhaps this user's."""
    done, open_ = facts.finished[user["id"]], facts.unfinished[user["id"]]
    if not done <= user["validations"] <= done + open_:
        yield Finding(
            "counters",
            f"User {user['id']} counts {user['validations']} validations; {done} are stored.",
            None if open_ or lost else _repair(Name.USERS, user, {"validations": done}),
        )
    earned = [badge_id for badge_id, _ in user["badges"]]
    if len(set(earned)) < len(earned):
        once = {badge_id: [badge_id, at_us] for badge_id, at_us in reversed(user["badges"])}
        kept = sorted(once.values(), key=lambda badge: int(badge[1]))
        yield Finding(
            "counters",
            f"User {user['id']} has a badge twice.",
            _repair(Name.USERS, user, {"badges": kept}),
        )


def _standing(user: Row, limits: Limits, lost: bool) -> Iterator[Finding]:
    """lost: as above. Each consensus that reaches a validator moves consensus_count: seen, with the rest."""
    said = user[limits.column]
    if limits.low <= said <= limits.high:
        return
    follows = limits.low == limits.high and not lost
    seen = {column: user[column] for column in (limits.column, "consensus_count")}
    yield Finding(
        "counters",
        f"User {user['id']} says {limits.column} {said}; the consensuses that came make {limits.sentence}.",
        Repair(Name.USERS, user["id"], seen, {limits.column: limits.low}) if follows else None,
    )


_TABLES: dict[Name, Table] = {
    table.name: table
    for table in (schema.USERS, schema.CLAIMS, schema.VALIDATIONS, schema.NOTIFICATIONS, schema.EFFECTS)
}
_ROWS_AT_ONCE = 1_000
MOST_ROUNDS = 5


@dataclass(frozen=True)
class Examined:
    """rows: how many of each table were looked at. repaired: those findings that are put right now."""

    rows: dict[str, int]
    findings: list[Finding]
    repaired: list[Finding] = field(default_factory=list)

    @property
    def left(self) -> list[Finding]:
        """What is still wrong."""
        return [finding for finding in self.findings if finding not in self.repaired]


class View(Protocol):
    """One consistent view of a store, and the way to change rows."""

    def rows(self, name: Name) -> Iterator[Row]: ...

    def apply(self, repair: Repair) -> bool:
        """Whether the row still was as it was seen, and is changed."""
        ...


def examine_data(store_url: str, *, repair: bool) -> Examined:
    """Check the store, and repair what can be. Raises SetupError, UnavailableError.

    A repair may bring to light what follows from it: the store is looked at again until none is left to do.
    """
    examined = _examine_once(store_url, repair)
    repaired = examined.repaired
    for _ in range(MOST_ROUNDS if repaired else 0):
        examined = _examine_once(store_url, repair)
        repaired = [*repaired, *examined.repaired]
        if not examined.repaired:
            break
    left = [finding for finding in examined.findings if finding not in examined.repaired]
    return Examined(examined.rows, [*repaired, *left], repaired)


def _examine_once(store_url: str, repair: bool) -> Examined:
    if store_url.startswith("sqlite:///"):
        with _sqlite_view(path_of(store_url), repair) as view:
            return _examine(view, repair)
    with _mongo_view(store_url) as view:
        return _examine(view, repair)


def _examine(view: View, repair: bool) -> Examined:
    facts = Facts()
    counts: dict[str, int] = {}
    for name in TABLES:
        facts.add(name, _counted(view.rows(name), counts, name.value))
    findings = list(check(facts))
    repaired = [
        finding
        for finding in findings
        if repair and finding.repair is not None and view.apply(finding.repair)
    ]
    return Examined(counts, findings, repaired)


def _counted(rows: Iterator[Row], counts: dict[str, int], name: str) -> Iterator[Row]:
    counts[name] = 0
    for row in rows:
        counts[name] += 1
        yield row


# ------------------------------------------------------------------ SQLite


class _SqliteView:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, name: Name) -> Iterator[Row]:
        key = _TABLES[name].columns[0]
        last = ""
        while rows := select(
            self._connection, _TABLES[name], f"WHERE {key} > ? ORDER BY {key} LIMIT ?", (last, _ROWS_AT_ONCE)
        ):
            yield from rows
            last = rows[-1][key]

    def apply(self, repair: Repair) -> bool:
        """Seen and changed in one transaction: nobody came in between."""
        update(self._connection, _TABLES[repair.table], repair.row_id, repair.changes)
        return True


@contextmanager
def _sqlite_view(path: Path, writes: bool) -> Iterator[View]:
    with opened_file(path) as connection:
        check_ours(connection, path, exact=True)
        try:
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield _SqliteView(connection)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"The store {path} could not be read to its end: {error}.") from error


# ------------------------------------------------------------------ MongoDB


class _MongoView:
    def __init__(self, database: Any, session: Any) -> None:
        self._database = database
        self._session = session

    def rows(self, name: Name) -> Iterator[Row]:
        key = _TABLES[name].columns[0]
        for document in self._database[name.value].find({}, session=self._session):
            yield {**document, key: document["_id"]}

    def apply(self, repair: Repair) -> bool:
        wanted = {"_id": repair.row_id, **repair.seen}
        done = self._database[repair.table.value].update_one(wanted, {"$set": repair.changes})
        return bool(done.modified_count)


@contextmanager
def _mongo_view(url: str) -> Iterator[View]:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5_000) as client:
            database = client.get_default_database(schema.DEFAULT_DATABASE)
            found = database[Name.META.value].find_one({"_id": "schema"})
            version = None if found is None else found["version"]
            if version != schema.MONGO_VERSION:
                raise SetupError(
                    f"The MongoDB database has schema version {version}, and this program checks "
                    f"{schema.MONGO_VERSION}; start a node once, it migrates older ones."
                )
            with client.start_session(snapshot=True) as session:
                yield _MongoView(database, session)
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB does not answer ({type(error).__name__}).") from error


def sentences(examined: Examined) -> Sequence[str]:
    """What there is to say, line by line: what was looked at, each finding and what came of it."""
    looked = ", ".join(f"{count} {name}" for name, count in examined.rows.items())
    lines = [f"Checked {looked}."]
    for finding in examined.findings:
        if finding in examined.repaired:
            outcome = "repaired"
        elif finding.repair is not None:
            outcome = "can be repaired: --repair"
        else:
            outcome = "not repaired: that would be a guess"
        lines.append(f"{finding.law}: {finding.sentence} [{outcome}]")
    if not examined.findings:
        lines.append("Every law of conservation holds.")
    return lines
