"""`vouchstorm doctor --data`: one consistent view of a store, checked by the laws of conservation.

Reads behind the back of the `Store` port: it must see what no request may make. Works on a store in use.
Changes nothing: each finding says what is wrong and what to do. Refuses stores of another version. Of the
accuracy streak only the impossible is found: the order of effects is not stored. Not checked: the tokens.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..app.contracts.types import Action, ClaimStatus
from ..app.domain.consensus import ConsensusPolicy, Decision, Tally, decide
from ..app.domain.trust import START_SCORE
from ..app.errors import SetupError, UnavailableError
from ..app.store import schema
from ..app.store.schema import Name, Table
from ..app.store.sqlite.connection import select
from .backup import check_ours, opened_file, path_of

# ------------------------------------------------------------------ what a store holds

Row = Mapping[str, Any]
"""A document by column name, as both stores have it."""


@dataclass
class Answers:
    """The validations of one claim. authors, actions: in one order."""

    tally: Tally = field(default_factory=Tally)
    weights: Tally = field(default_factory=Tally)
    versions: set[int] = field(default_factory=set)
    authors: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

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
    """Sums and ids, not rows: some hundred bytes for each user, claim, validation and trust change.

    users, claims: their rows by id. trust_keys: the keys of applied effects with a trust change.

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
        for row in rows:
            match name:
                case Name.USERS:
                    self.users[row["id"]] = row
                case Name.CLAIMS:
                    self.claims[row["id"]] = row
                case Name.VALIDATIONS:
                    self.answers[row["claim_id"]].add(row)
                    (self.unfinished if row["pending"] else self.finished)[row["user_id"]] += 1
                case Name.NOTIFICATIONS:
                    self.bells[row["user_id"]].add(row)
                case Name.EFFECTS if row["claim_id"] is not None:
                    self.trust_keys.add(row["key"])
                    self.changed_by.add(row["claim_id"])
                    self.changes[row["user_id"]] += 1
                    self.moved[row["user_id"]] += row["new_score"] - row["old_score"]

    def was_told(self, claim_id: str, user_id: str) -> bool:
        """Has the consensus on this claim reached this user, owner or validator?"""
        return f"consensus:{claim_id}:{user_id}" in self.trust_keys


# ------------------------------------------------------------------ progress
#
# What is not applied yet, and what claims in doubt or missing rows may have done, widens the limits: a store
# in use has no false finding.


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


def _count_in(
    standings: defaultdict[str, Standing], facts: Facts, claim: Row, answers: Answers, *, whole: bool
) -> None:
    """Count a claim's consensus in for everybody concerned. whole: nothing is wrong with this claim."""
    settled = claim["status"] != ClaimStatus.OPEN.value
    concerned = [(claim["owner_id"], None), *zip(answers.authors, answers.actions, strict=True)]
    for user_id, action in concerned:
        if not facts.was_told(claim["id"], user_id):
            standings[user_id].awaited += settled or not whole
        elif settled and whole:
            standings[user_id].add(action, Action(claim["decision_action"]))


# ------------------------------------------------------------------ the laws

LOWEST_THRESHOLD = ConsensusPolicy(501)
"""A claim may have been settled under any policy: whatever leads with a majority may have been enough."""
LOST = "restore a backup: what is right does not follow from the other rows"
FOLLOWS = "with no node running, set it to what the other rows make, or restore a backup"
PENDING = "set the claim's `pending` to 1: a node then applies what is missing, and nothing twice"


@dataclass(frozen=True, slots=True)
class Finding:
    """law: tally, consensus, notifications, trust, counters, references. mend: what to do."""

    law: str
    sentence: str
    mend: str = LOST


def check(facts: Facts) -> Iterator[Finding]:
    """Everything that is not as it must be; nothing for a whole store."""
    orphans = list(_references(facts))
    yield from orphans
    incomplete: set[str] = set()
    standings: defaultdict[str, Standing] = defaultdict(Standing)
    lost = bool(orphans)
    for claim in facts.claims.values():
        answers = facts.answers.get(claim["id"], Answers())
        tally, consensus = list(_tally(claim, answers)), list(_consensus(claim, answers))
        yield from tally
        yield from consensus
        lost = lost or any(finding.mend is LOST for finding in tally)
        _count_in(standings, facts, claim, answers, whole=not tally and not consensus)
        missing = _without_change(facts, claim, answers)
        incomplete.update(missing)
        if missing and not claim["pending"]:
            yield _unannounced(facts, claim, missing)
    for user in facts.users.values():
        yield from _notifications(user, facts.bells.get(user["id"], Bell()))
        yield from _trust(facts, user, user["id"] in incomplete)
        yield from _counters(facts, user, lost)
        for limits in standings[user["id"]].limits(facts.changes[user["id"]]):
            yield from _standing(user, limits, lost)


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
            FOLLOWS,
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
    follows = due is not None and _one_is_wrong(claim, answers, due, status)
    yield Finding("consensus", _contradiction(claim, due), FOLLOWS if follows else LOST)


def _says(claim: Row, due: Decision, status: ClaimStatus) -> bool:
    said = (claim["decision_action"], claim["decision_percentage"])
    whole = said == (due.action.value, due.percentage) and claim["settled_at_us"] is not None
    return whole and due.status is status


def _one_is_wrong(claim: Row, answers: Answers, due: Decision, status: ClaimStatus) -> bool:
    """Whether the validations are whole and agree with one of the two, status or decision."""
    if not answers.unbroken or claim["version"] > len(answers.authors):
        return False
    said = (claim["decision_action"], claim["decision_percentage"])
    return status is due.status or said == (due.action.value, due.percentage)


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
    # The reconciler would fail again and again at somebody who does not exist.
    possible = facts.users.keys() >= set(missing)
    return Finding(
        "consensus",
        f"Claim {claim['id']} is settled, but its consensus never reached {len(missing)} of those concerned.",
        PENDING if possible else LOST,
    )


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
            FOLLOWS,
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
        yield Finding("trust", f"{sentence}.", FOLLOWS)


def _counters(facts: Facts, user: Row, lost: bool) -> Iterator[Finding]:
    """lost: validations are missing somewhere, perhaps this user's."""
    done, open_ = facts.finished[user["id"]], facts.unfinished[user["id"]]
    if not done <= user["validations"] <= done + open_:
        yield Finding(
            "counters",
            f"User {user['id']} counts {user['validations']} validations; {done} are stored.",
            LOST if open_ or lost else FOLLOWS,
        )
    earned = [badge_id for badge_id, _ in user["badges"]]
    if len(set(earned)) < len(earned):
        yield Finding("counters", f"User {user['id']} has a badge twice.", FOLLOWS)


def _standing(user: Row, limits: Limits, lost: bool) -> Iterator[Finding]:
    said = user[limits.column]
    if not limits.low <= said <= limits.high:
        yield Finding(
            "counters",
            f"User {user['id']} says {limits.column} {said}; "
            f"the consensuses that came make {limits.sentence}.",
            FOLLOWS if limits.low == limits.high and not lost else LOST,
        )


# ------------------------------------------------------------------ the view

_TABLES: dict[Name, Table] = {
    table.name: table
    for table in (schema.USERS, schema.CLAIMS, schema.VALIDATIONS, schema.NOTIFICATIONS, schema.EFFECTS)
}
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Examined:
    """rows: how many of each table were looked at. findings: empty for a whole store."""

    rows: dict[str, int]
    findings: list[Finding]


View = Callable[[Name], Iterator[Row]]
"""The rows of a table, all calls of one moment."""


def examine_data(store_url: str) -> Examined:
    """Check the store. Raises SetupError, UnavailableError."""
    sqlite = store_url.startswith("sqlite:///")
    with _sqlite_view(path_of(store_url)) if sqlite else _mongo_view(store_url) as view:
        facts = Facts()
        counts: dict[str, int] = {}
        for name in _TABLES:
            facts.add(name, _counted(view(name), counts, name.value))
        return Examined(counts, list(check(facts)))


def _counted(rows: Iterator[Row], counts: dict[str, int], name: str) -> Iterator[Row]:
    counts[name] = 0
    for row in rows:
        counts[name] += 1
        yield row


def _sqlite_rows(connection: sqlite3.Connection, name: Name) -> Iterator[Row]:
    key, last = _TABLES[name].columns[0], ""
    page = f"WHERE {key} > ? ORDER BY {key} LIMIT {_ROWS_AT_ONCE}"
    while rows := select(connection, _TABLES[name], page, (last,)):
        yield from rows
        last = rows[-1][key]


@contextmanager
def _sqlite_view(path: Path) -> Iterator[View]:
    with opened_file(path) as connection:
        check_ours(connection, path, exact=True)
        try:
            connection.execute("BEGIN")
            yield partial(_sqlite_rows, connection)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"The store {path} could not be read to its end: {error}.") from error


def _mongo_rows(database: Any, session: Any, name: Name) -> Iterator[Row]:
    key = _TABLES[name].columns[0]
    for document in database[name.value].find({}, session=session):
        yield {**document, key: document["_id"]}


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
                yield partial(_mongo_rows, database, session)
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB does not answer ({type(error).__name__}).") from error


def sentences(examined: Examined) -> Sequence[str]:
    """What there is to say, line by line: what was looked at, each finding and what to do."""
    looked = ", ".join(f"{count} {name}" for name, count in examined.rows.items())
    found = [f"{each.law}: {each.sentence} [{each.mend}]" for each in examined.findings]
    return [f"Checked {looked}.", *(found or ["Every law of conservation holds."])]
