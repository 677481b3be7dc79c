"""The conservation laws of a store, and what can be repaired where one is broken. Pure.

A repair puts right what follows from other rows that are whole: a tally from its validations, a counter from
what it counts. Where rows are missing, or two stored facts contradict each other, nothing is guessed: the
finding says what is wrong and has no repair. Of the accuracy streak only the impossible is found: it depends
on the order in which effects were applied (`data_standing`). Not checked: the tokens.

Called by `data_doctor`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..app.contracts.types import Action, ClaimStatus
from ..app.domain.consensus import ConsensusPolicy, Decision, decide
from ..app.domain.trust import START_SCORE
from ..app.store.schema import Name
from .data_facts import Answers, Bell, Facts, Row
from .data_standing import Limits, Standings

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
