"""`doctor --data`: damage of each kind is found, nothing is changed, and each finding says what to do."""

# ruff: noqa: S608 - SQL of literals only

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from backend.app.contracts.types import Action
from backend.app.domain.consensus import Decision
from backend.app.errors import SetupError
from backend.stack.data_checks import FOLLOWS, LOST, PENDING, examine_data, sentences
from tests.contract.store.store_files import opened, whole_store
from tests.contract.store.store_records import StubClock, a_claim, a_user, a_validation, settled, told
from tests.support.services import Mongod, emptied


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return whole_store(tmp_path)


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def damage(path: Path) -> Callable[[str], None]:
    """Runs SQL behind the store's back; it must change something."""

    def run(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute(sql).rowcount > 0
            connection.commit()

    return run


def everything(path: Path) -> list[list[tuple[Any, ...]]]:
    """All rows, but for what the reconciler has to do."""
    with closing(sqlite3.connect(path)) as connection:
        tables = ("users", "claims", "validations", "notifications", "effects")
        return [sorted(connection.execute("SELECT * FROM " + table).fetchall(), key=str) for table in tables]


SETTLED = "id = (SELECT min(id) FROM claims WHERE status <> 'open')"
OPEN = "id = (SELECT min(id) FROM claims WHERE status = 'open' AND version > 1)"
SOMEBODY = "id = (SELECT min(id) FROM users WHERE last_seq > 2)"
VALIDATOR = "id = (SELECT min(user_id) FROM validations)"
DISAGREED = """SELECT user_id FROM validations JOIN claims ON claims.id = claim_id
    WHERE status <> 'open' AND action <> 'unsure' AND action <> decision_action"""
AGREED = """SELECT user_id FROM validations JOIN claims ON claims.id = claim_id
    WHERE status <> 'open' AND action = decision_action AND action <> 'unsure'"""
NEVER_WRONG = f"id = (SELECT min(id) FROM users WHERE id IN ({AGREED}) AND id NOT IN ({DISAGREED}))"
NEVER_RIGHT = f"id = (SELECT min(id) FROM users WHERE id IN ({DISAGREED}) AND id NOT IN ({AGREED}))"
ONCE_WRONG = f"id = (SELECT min(id) FROM users WHERE id IN ({AGREED}) AND id IN ({DISAGREED}))"


def by_damage(by_law: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """What is damaged -> the law that it breaks, and the SQL that does it."""
    return {what: (law, sql) for law, damages in by_law.items() for what, sql in damages.items()}


DISPROVED = by_damage(
    {
        "tally": {
            "a tally counts too many": f"UPDATE claims SET vouch = vouch + 1 WHERE {OPEN}",
            "weights are not those of the validations": (
                f"UPDATE claims SET unsure_weight = 7 WHERE {SETTLED}"
            ),
            "a version is behind its validations": f"UPDATE claims SET version = version - 1 WHERE {OPEN}",
        },
        "consensus": {
            "a settled claim lost its decision": (
                f"UPDATE claims SET decision_action = NULL, decision_percentage = NULL WHERE {SETTLED}"
            ),
            "a settled claim is open again": f"UPDATE claims SET status = 'open' WHERE {SETTLED}",
            "a percentage is wrong": f"UPDATE claims SET decision_percentage = 12.5 WHERE {SETTLED}",
        },
        "notifications": {
            "unread rows are miscounted": f"UPDATE users SET unread = unread + 5 WHERE {SOMEBODY}",
            "the newest seq is behind its rows": f"UPDATE users SET last_seq = last_seq - 1 WHERE {SOMEBODY}",
        },
        "trust": {
            "a trust score is not the sum of its changes": (
                f"UPDATE users SET trust_score = trust_score - 9 WHERE {SOMEBODY}"
            ),
        },
        "counters": {
            "validations are miscounted": f"UPDATE users SET validations = validations + 2 WHERE {SOMEBODY}",
            "a streak is longer than all agreements of one who never disagreed": (
                f"UPDATE users SET accurate_streak = accurate_streak + 1 WHERE {NEVER_WRONG}"
            ),
            "a streak is shorter than the agreements of one who never disagreed": (
                f"UPDATE users SET accurate_streak = accurate_streak - 1 WHERE {NEVER_WRONG}"
            ),
            "one who never agreed has a streak": f"UPDATE users SET accurate_streak = 1 WHERE {NEVER_RIGHT}",
            "consensuses are miscounted": (
                f"UPDATE users SET consensus_count = consensus_count + 1 WHERE {VALIDATOR}"
            ),
            "verified claims are miscounted": (
                f"UPDATE users SET claims_verified = claims_verified + 1 WHERE {SOMEBODY}"
            ),
        },
    }
)
GONE = by_damage(
    {
        "tally": {
            "a validation is gone": (
                "DELETE FROM validations WHERE version = 1"
                f" AND claim_id = (SELECT id FROM claims WHERE {OPEN})"
            ),
            "the newest validation is gone": (
                f"""DELETE FROM validations WHERE claim_id = (SELECT id FROM claims WHERE {OPEN})
        AND version = (SELECT version FROM claims WHERE {OPEN})"""
            ),
        },
        "notifications": {
            "a notification is gone": (
                "DELETE FROM notifications WHERE seq = 2"
                f" AND user_id = (SELECT id FROM users WHERE {SOMEBODY})"
            ),
            "the newest notification is gone": (
                f"""DELETE FROM notifications WHERE user_id = (SELECT id FROM users WHERE {SOMEBODY})
        AND seq = (SELECT last_seq FROM users WHERE {SOMEBODY})"""
            ),
            "all notifications of a user are gone": (
                f"DELETE FROM notifications WHERE user_id = (SELECT id FROM users WHERE {SOMEBODY})"
            ),
        },
        "references": {
            "a claim is gone": f"DELETE FROM claims WHERE {OPEN}",
            "the owner of an open claim does not exist": (
                f"UPDATE claims SET owner_id = 'nobody' WHERE {OPEN}"
            ),
            "the owner of a settled claim does not exist": (
                f"UPDATE claims SET owner_id = 'nobody' WHERE {SETTLED}"
            ),
            "the author of a validation does not exist": f"""UPDATE validations SET user_id = 'nobody'
        WHERE version = 1 AND claim_id = (SELECT id FROM claims WHERE {OPEN})""",
            "a participant of a settled claim does not exist": f"""UPDATE validations SET user_id = 'nobody'
        WHERE version = 1 AND claim_id = (SELECT id FROM claims WHERE {SETTLED})""",
            "a trust change comes from no claim": """UPDATE effects SET claim_id = 'nowhere'
        WHERE key = (SELECT min(key) FROM effects WHERE claim_id IS NOT NULL)""",
        },
        "counters": {
            "a streak is longer than all agreements": (
                f"UPDATE users SET accurate_streak = 99 WHERE {ONCE_WRONG}"
            ),
            "a streak is negative": f"UPDATE users SET accurate_streak = -1 WHERE {ONCE_WRONG}",
        },
        "consensus": {
            "status and decision contradict the validations": (
                f"UPDATE claims SET status = 'verified', decision_action = 'vouch' WHERE {SETTLED}"
            ),
        },
    }
)


def test_a_whole_store_has_nothing_wrong(url: str) -> None:
    examined = examine_data(url)
    assert (examined.findings, sentences(examined)[-1]) == ([], "Every law of conservation holds.")


@pytest.mark.parametrize("what", DISPROVED)
def test_damage_that_other_rows_disprove_is_found(
    url: str, path: Path, damage: Callable[[str], None], what: str
) -> None:
    law, sql = DISPROVED[what]
    damage(sql)
    before = everything(path)
    assert [(finding.law, finding.mend) for finding in examine_data(url).findings] == [(law, FOLLOWS)]
    assert everything(path) == before


@pytest.mark.parametrize("what", GONE)
def test_what_is_lost_is_found_and_no_value_is_made_up(
    url: str, path: Path, damage: Callable[[str], None], what: str
) -> None:
    law, sql = GONE[what]
    damage(sql)
    before = everything(path)
    assert (law, LOST) in {(finding.law, finding.mend) for finding in examine_data(url).findings}
    assert everything(path) == before


def test_a_consensus_that_did_not_reach_everybody_is_work_for_the_reconciler(
    url: str, damage: Callable[[str], None]
) -> None:
    damage(
        f"""DELETE FROM effects WHERE key = (SELECT max(key) FROM effects
        WHERE claim_id = (SELECT id FROM claims WHERE {SETTLED}))"""
    )
    assert PENDING in [finding.mend for finding in examine_data(url).findings if finding.law == "consensus"]


@pytest.mark.parametrize("who", ["owner_id", "user_id"])
def test_what_cannot_reach_somebody_who_does_not_exist_is_no_work_for_the_reconciler(
    url: str, damage: Callable[[str], None], who: str
) -> None:
    if who == "owner_id":
        damage(f"UPDATE claims SET owner_id = 'nobody' WHERE {SETTLED}")
    else:
        damage(GONE["a participant of a settled claim does not exist"][1])
    findings = examine_data(url).findings
    told = [finding.sentence for finding in findings if finding.law == "references"]
    assert (len(told), "nobody, who does not exist" in told[0]) == (1, True)
    assert PENDING not in [finding.mend for finding in findings]


def test_a_score_with_missing_changes_is_not_made_up(url: str, damage: Callable[[str], None]) -> None:
    damage("DELETE FROM effects WHERE key = (SELECT max(key) FROM effects WHERE new_score <> old_score)")
    assert [finding.mend for finding in examine_data(url).findings if finding.law == "trust"] == [LOST]


def test_a_badge_that_is_there_twice_is_found(url: str, damage: Callable[[str], None]) -> None:
    damage(
        """UPDATE users SET badges = json_insert(badges, '$[#]', json_extract(badges, '$[0]'))
        WHERE id = (SELECT min(id) FROM users WHERE badges <> '[]')"""
    )
    (finding,) = examine_data(url).findings
    assert "has a badge twice" in finding.sentence


async def test_what_was_forgotten_by_retention_is_not_missing(url: str) -> None:
    async with opened(url) as store:
        late = StubClock().now().replace(year=2099)
        removed = (await store.notifications.trim_notifications(late, None, 4)).removed
        await store.effects.trim_effects(late, None, 100)
    assert (removed > 0, examine_data(url).findings) == (True, [])


def test_every_finding_says_what_to_do(url: str, damage: Callable[[str], None]) -> None:
    damage(DISPROVED["a tally counts too many"][1])
    damage(GONE["a notification is gone"][1])
    _, *lines = sentences(examine_data(url))
    assert sorted(line.rpartition("[")[2] for line in lines) == sorted([f"{LOST}]", f"{FOLLOWS}]"])


def test_an_older_store_is_not_touched(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(SetupError, match="start a node once"):
        examine_data(url)


# ------------------------------------------------------------------ MongoDB


@pytest.fixture
async def mongo(mongod: Mongod, mongo_client: MongoClient[dict[str, Any]]) -> tuple[str, Any]:
    """A settled claim with its two validations and their effects."""
    name = emptied(mongo_client, "doctored")
    url = str(mongod.url(name))
    async with opened(url) as store:
        users = [a_user(one) for one in ("owner", "ann", "ben")]
        await store.users.create_users(users, "hash")
        claim, _ = await store.claims.create_claim(a_claim(quorum=2))
        decision = Decision(Action.VOUCH, 100.0)
        for by in ("ann", "ben"):
            recorded = await store.claims.record_validation(
                a_validation(claim, by), lambda counted: decision if counted.tally.total == 2 else None
            )
            await store.effects.apply_effects([], finishes=recorded.validation.id)
        effects = [
            settled(f"consensus:{claim.id}:{user.id}", user, claim, action, decision)
            for user, action in zip(users, (None, Action.VOUCH, Action.VOUCH), strict=True)
        ]
        await store.effects.apply_effects([*effects, told("hello", users[0])], finishes=claim.id)
    mongo_client[name].users.update_many({"_id": {"$ne": users[0].id}}, {"$set": {"validations": 1}})
    return url, mongo_client[name]


@pytest.mark.services
async def test_a_whole_database_has_nothing_wrong(mongo: tuple[str, Any]) -> None:
    assert examine_data(mongo[0]).findings == []


@pytest.mark.services
async def test_damage_in_a_database_is_found(mongo: tuple[str, Any]) -> None:
    url, database = mongo
    database.claims.update_one({}, {"$inc": {"vouch": 3}, "$set": {"status": "refuted"}})
    database.users.update_one({"_id": "id-ann"}, {"$inc": {"trust_score": 5, "unread": 2}})
    database.notifications.delete_one({"user_id": "id-owner", "seq": 1})
    before = [list(database[name].find()) for name in ("users", "claims")]
    found = [(finding.law, finding.mend is FOLLOWS) for finding in examine_data(url).findings]
    assert sorted(found) == [
        ("consensus", True),
        ("notifications", False),
        ("notifications", True),
        ("tally", True),
        ("trust", True),
    ]
    assert [list(database[name].find()) for name in ("users", "claims")] == before


@pytest.mark.services
async def test_an_impossible_streak_in_a_database_is_found(mongo: tuple[str, Any]) -> None:
    url, database = mongo
    database.users.update_one({"_id": "id-ann"}, {"$inc": {"accurate_streak": 4}})
    assert [(finding.law, finding.mend) for finding in examine_data(url).findings] == [("counters", FOLLOWS)]
