"""Each conservation law holds on an honest history and is seen to be broken in a bent one."""

from dataclasses import replace
from typing import Any

import pytest

from simulator.profiles.vouchstorm.invariants import ClaimFact, NoteFact, UserFact, ValidationFact, check

PEOPLE = ("ann", "ben", "cat")


def claim(**changes: Any) -> ClaimFact:
    """Owned by ann, vouched for by ben and cat, verified."""
    fact = ClaimFact(
        id="c1",
        owner="ann",
        status="verified",
        version=2,
        total=2,
        tally={"vouch": 2, "dispute": 0, "unsure": 0},
        percent={"vouch": 100.0, "dispute": 0.0, "unsure": 0.0},
        validations=[ValidationFact("v1", "ben", "vouch", 1), ValidationFact("v2", "cat", "vouch", 2)],
    )
    return replace(fact, **changes)


def note(seq: int, who: str, type_: str, **data: Any) -> NoteFact:
    return NoteFact(seq, f"{who}-{seq}", type_, data)


def told(who: str) -> NoteFact:
    return note(1, who, "consensus_reached", claim_id="c1")


def moved(who: str, seq: int = 2, change: int = 2) -> NoteFact:
    return note(
        seq,
        who,
        "trust_score_updated",
        claim_id="c1",
        old_score=50,
        new_score=50 + change,
        change=change,
    )


def validator(who: str, **changes: Any) -> UserFact:
    badge = note(3, who, "badge_earned", badge_id="first_consensus")
    notes = [told(who), moved(who), badge]
    return replace(UserFact(who, 52, ["first_consensus"], 3, notes), **changes)


def owner(**changes: Any) -> UserFact:
    notes = [
        note(1, "ann", "validation_received", claim_id="c1", validation_id="v1"),
        note(2, "ann", "validation_received", claim_id="c1", validation_id="v2"),
        note(3, "ann", "consensus_reached", claim_id="c1"),
        moved("ann", 4, 3),
    ]
    return replace(UserFact("ann", 53, [], 4, notes), **changes)


def users() -> list[UserFact]:
    return [owner(), validator("ben"), validator("cat")]


def test_an_honest_history_breaks_no_law() -> None:
    laws = check([claim()], users())
    assert (laws.violations, laws.checked > 20) == ([], True)


def test_a_fresh_claim_breaks_no_law() -> None:
    fresh = claim(
        status="open",
        version=0,
        total=0,
        tally={},
        percent={"vouch": 0.0, "dispute": 0.0, "unsure": 0.0},
        validations=[],
    )
    assert check([fresh], []).violations == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total": 3}, "its tally says 3, 2 validations are stored"),
        ({"tally": {"vouch": 1, "dispute": 1}}, "1 vouch counted, 2 stored"),
        ({"version": 3}, "its versions are not 1..2"),
        ({"percent": {"vouch": 99.9}}, "its percentages sum to 99.9"),
        (
            {
                "validations": [
                    ValidationFact("v1", "ben", "vouch", 1),
                    ValidationFact("v2", "cat", "vouch", 1),
                ]
            },
            "its versions are not",
        ),
        (
            {
                "validations": [
                    ValidationFact("v1", "ben", "vouch", 1),
                    ValidationFact("v2", "ben", "vouch", 2),
                ]
            },
            "somebody validated it twice",
        ),
        (
            {
                "validations": [
                    ValidationFact("v1", "ann", "vouch", 1),
                    ValidationFact("v2", "cat", "vouch", 2),
                ]
            },
            "its owner validated it",
        ),
    ],
)
def test_a_claim_that_does_not_add_up_is_told(changes: dict[str, Any], said: str) -> None:
    assert any(said in text for text in check([claim(**changes)], users()).violations)


def test_a_participant_who_was_never_told_of_the_consensus_is_missed() -> None:
    silent = validator("cat", notes=[moved("cat", 1)], last_seq=1, badges=[])
    violations = check([claim()], [owner(), validator("ben"), silent]).violations
    assert violations == ["claim c1 is verified: user cat was told of 0 consensuses."]


def test_two_consensuses_for_one_claim_are_seen() -> None:
    twice = owner()
    again = replace(
        twice, notes=[*twice.notes, note(5, "ann", "consensus_reached", claim_id="c1")], last_seq=5
    )
    assert any("told of 2 consensuses" in text for text in check([claim()], [again]).violations)


def test_a_consensus_of_an_open_claim_is_seen() -> None:
    assert any("c1 is open" in text for text in check([claim(status="open")], users()).violations)


def test_an_owner_who_missed_a_validation_is_seen() -> None:
    deaf = owner(notes=[replace(n, seq=i) for i, n in enumerate(owner().notes[1:], 1)], last_seq=3)
    assert any(
        "was told of 1 validations, 2 are stored" in text for text in check([claim()], [deaf]).violations
    )


def test_a_hole_in_the_seqs_is_seen() -> None:
    holed = validator("ben", notes=[told("ben"), moved("ben", 3)], badges=[])
    assert any("are not 1..3 without holes" in text for text in check([], [holed]).violations)


def test_one_id_for_two_notifications_is_seen() -> None:
    same = [NoteFact(1, "x", "system", {}), NoteFact(2, "x", "system", {})]
    person = UserFact("ben", 50, [], 2, same)
    assert check([], [person]).violations == ["user ben: two notifications have one id."]


def test_a_score_that_its_changes_do_not_explain_is_seen() -> None:
    assert any(
        "its changes add up to 52" in text
        for text in check([], [validator("ben", trust_score=60)]).violations
    )


def test_a_trust_change_twice_for_one_claim_is_seen() -> None:
    second = replace(moved("ben", 3), data={**moved("ben").data, "old_score": 52, "new_score": 54})
    person = UserFact("ben", 54, [], 3, [told("ben"), moved("ben"), second])
    assert check([], [person]).violations == ["user ben: one claim moved the trust score twice."]


def test_a_badge_without_its_notification_is_seen() -> None:
    assert any("was told of" in text for text in check([], [validator("ben", badges=["trusted"])]).violations)


def test_violations_are_all_counted_and_a_hundred_named() -> None:
    people = [UserFact(f"u{number}", 60, [], 0, []) for number in range(150)]
    laws = check([], people)
    assert (laws.violation_count, len(laws.violations)) == (150, 100)
