"""Effects on one person: numbered rows, clamped scores, streaks, badges once; and who is planned what."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.contracts.types import Action, ClaimId, NotificationType, Priority, UserId, ValidationId
from backend.app.domain.badges import BY_ID, CATALOG, STREAK_LENGTH, TRUSTED_SCORE, newly_earned
from backend.app.domain.consensus import Decision
from backend.app.domain.effects import (
    Effect,
    Outcome,
    Settled,
    Told,
    Validated,
    advance,
    notification_id,
    plan_consensus,
    plan_validation,
)
from backend.app.domain.notifications import Draft, validation_draft
from backend.app.domain.records import Claim, Progress, Validation
from backend.app.domain.trust import TrustPolicy, clamp, owner_step, validator_step

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ANN, CLAIM = UserId("ann"), ClaimId("c1")
actions = st.sampled_from(Action)
steps = st.integers(0, 100)
policies = st.builds(TrustPolicy, steps, steps, steps, steps)
progresses = st.builds(
    Progress,
    trust_score=st.integers(0, 100),
    validations=st.integers(0, 1_100),
    consensus_count=st.integers(0, 50),
    accurate_streak=st.integers(0, 20),
    claims_verified=st.integers(0, 3),
    badges=st.frozensets(st.sampled_from(sorted(BY_ID))),
    last_seq=st.integers(0, 10_000),
)
drafts = st.builds(
    Draft,
    st.sampled_from(NotificationType),
    st.text(),
    st.text(),
    st.sampled_from(Priority),
    st.none(),
    st.just({}),
)


def settled(action: Action | None, consensus: Action = Action.VOUCH, key: str = "k") -> Settled:
    return Settled(key, ANN, CLAIM, "Title", Decision(consensus, 75.0), action)


effects = st.one_of(
    st.builds(Told, st.uuids().map(str), st.just(ANN), drafts),
    st.builds(Validated, st.uuids().map(str), st.just(ANN), st.just(CLAIM), st.just(ValidationId("v"))),
    st.builds(settled, st.one_of(st.none(), actions), actions, st.uuids().map(str)),
)


def kinds(outcome: Outcome) -> list[NotificationType]:
    return [row.type for row in outcome.notifications]


# ---------------------------------------------------------------- numbering


@given(progresses, st.lists(effects, max_size=12), policies)
def test_seqs_are_consecutive_over_any_effects(
    progress: Progress, several: list[Effect], policy: TrustPolicy
) -> None:
    seqs = [progress.last_seq]
    for effect in several:
        outcome = advance(progress, effect, policy, NOW)
        seqs += [row.seq for row in outcome.notifications]
        progress = outcome.progress
        assert progress.last_seq == seqs[-1]
    assert all(after == before + 1 for before, after in pairwise(seqs))


@given(progresses, st.lists(effects, max_size=8, unique_by=lambda effect: effect.key), policies)
def test_ids_are_unique_over_all_effects(
    progress: Progress, several: list[Effect], policy: TrustPolicy
) -> None:
    ids = [row.id for effect in several for row in advance(progress, effect, policy, NOW).notifications]
    assert len(set(ids)) == len(ids)


@given(progresses, effects, policies)
def test_the_same_effect_makes_the_same_ids_on_every_node(
    progress: Progress, effect: Effect, policy: TrustPolicy
) -> None:
    elsewhere = replace(progress, last_seq=progress.last_seq + 7)
    one, two = (advance(p, effect, policy, NOW).notifications for p in (progress, elsewhere))
    assert [row.id for row in one] == [row.id for row in two]


@given(st.text(), st.integers(0, 9))
def test_ids_fit_where_ids_go(key: str, index: int) -> None:
    made = notification_id(key, index)
    assert len(made) == 32
    assert made.isalnum()


@given(progresses, effects, policies)
def test_an_effect_makes_at_least_nothing_wrong(
    progress: Progress, effect: Effect, policy: TrustPolicy
) -> None:
    outcome = advance(progress, effect, policy, NOW)
    assert all((row.user_id, row.created_at, row.read) == (ANN, NOW, False) for row in outcome.notifications)


# ---------------------------------------------------------------- each effect


@given(progresses, drafts, policies)
def test_telling_changes_nothing_but_the_bell(progress: Progress, draft: Draft, policy: TrustPolicy) -> None:
    outcome = advance(replace(progress, badges=frozenset(BY_ID)), Told("k", ANN, draft), policy, NOW)
    expected = replace(progress, badges=frozenset(BY_ID), last_seq=progress.last_seq + 1)
    assert (outcome.progress, outcome.trust_change) == (expected, None)


@given(progresses, policies)
def test_a_validation_counts_one(progress: Progress, policy: TrustPolicy) -> None:
    outcome = advance(progress, Validated("k", ANN, CLAIM, ValidationId("v")), policy, NOW)
    assert outcome.progress.validations == progress.validations + 1


@given(progresses, st.one_of(st.none(), actions), actions, policies)
def test_a_score_never_leaves_its_range(
    progress: Progress, action: Action | None, consensus: Action, policy: TrustPolicy
) -> None:
    assert 0 <= advance(progress, settled(action, consensus), policy, NOW).progress.trust_score <= 100


@given(progresses, actions, actions, policies)
def test_a_validator_moves_by_the_step_as_far_as_the_range_allows(
    progress: Progress, action: Action, consensus: Action, policy: TrustPolicy
) -> None:
    change = advance(progress, settled(action, consensus), policy, NOW).trust_change
    assert change is not None
    assert change.new_score == clamp(progress.trust_score + validator_step(action, consensus, policy))


@given(progresses, st.one_of(st.none(), actions), actions, policies)
def test_a_consensus_is_told_once_and_a_moved_score_once(
    progress: Progress, action: Action | None, consensus: Action, policy: TrustPolicy
) -> None:
    outcome = advance(progress, settled(action, consensus), policy, NOW)
    assert outcome.trust_change is not None
    moved = outcome.trust_change.change != 0
    assert kinds(outcome).count(NotificationType.CONSENSUS_REACHED) == 1
    assert kinds(outcome).count(NotificationType.TRUST_SCORE_UPDATED) == moved


@pytest.mark.parametrize(
    ("action", "consensus", "points"),
    [
        (Action.VOUCH, Action.VOUCH, 2),
        (Action.DISPUTE, Action.DISPUTE, 2),
        (Action.VOUCH, Action.DISPUTE, -3),
        (Action.DISPUTE, Action.VOUCH, -3),
        (Action.VOUCH, Action.UNSURE, -3),
        (Action.UNSURE, Action.VOUCH, 0),
        (Action.UNSURE, Action.UNSURE, 0),
        (None, Action.VOUCH, 3),
        (None, Action.DISPUTE, -4),
        (None, Action.UNSURE, 0),
    ],
)
def test_the_steps_by_default(action: Action | None, consensus: Action, points: int) -> None:
    outcome = advance(Progress(trust_score=50), settled(action, consensus), TrustPolicy(), NOW)
    assert outcome.progress.trust_score == 50 + points


@given(st.integers(-1_000, 1_000))
def test_clamping_is_the_nearest_score(score: int) -> None:
    assert abs(clamp(score) - score) == min(abs(score - legal) for legal in range(101))


@given(actions, policies)
def test_an_owner_gains_loses_or_stays(consensus: Action, policy: TrustPolicy) -> None:
    step = owner_step(consensus, policy)
    assert (step > 0) <= (consensus is Action.VOUCH)
    assert (step < 0) <= (consensus is Action.DISPUTE)


@pytest.mark.parametrize(
    ("action", "consensus", "streak"),
    [
        (Action.VOUCH, Action.VOUCH, 6),
        (Action.DISPUTE, Action.VOUCH, 0),
        (Action.UNSURE, Action.VOUCH, 5),
        (Action.UNSURE, Action.UNSURE, 5),
        (Action.VOUCH, Action.UNSURE, 0),
        (None, Action.VOUCH, 5),
    ],
)
def test_a_streak_grows_breaks_or_waits(action: Action | None, consensus: Action, streak: int) -> None:
    outcome = advance(Progress(accurate_streak=5), settled(action, consensus), TrustPolicy(), NOW)
    assert outcome.progress.accurate_streak == streak


@given(progresses, st.one_of(st.none(), actions), actions)
def test_taking_part_and_owning_are_counted_apart(
    progress: Progress, action: Action | None, consensus: Action
) -> None:
    after = advance(progress, settled(action, consensus), TrustPolicy(), NOW).progress
    verified_own = action is None and consensus is Action.VOUCH
    assert after.consensus_count == progress.consensus_count + (action is not None)
    assert after.claims_verified == progress.claims_verified + verified_own


# ---------------------------------------------------------------- badges


@given(progresses, st.lists(effects, max_size=20), policies)
def test_a_badge_is_earned_at_most_once_whatever_happens(
    progress: Progress, several: list[Effect], policy: TrustPolicy
) -> None:
    earned: list[str] = []
    before = progress.badges
    for effect in several:
        outcome = advance(progress, effect, policy, NOW)
        announced = [
            row.data["badge_id"]
            for row in outcome.notifications
            if row.type is NotificationType.BADGE_EARNED and "badge_id" in row.data
        ]
        assert announced == list(outcome.earned)
        earned += outcome.earned
        progress = outcome.progress
    assert len(set(earned)) == len(earned)
    assert not set(earned) & before
    assert progress.badges == before | set(earned)


@given(progresses)
def test_what_is_held_is_not_earned_again(progress: Progress) -> None:
    new = {badge.id for badge in newly_earned(progress)}
    assert not new & progress.badges
    assert newly_earned(replace(progress, badges=progress.badges | new)) == []


@pytest.mark.parametrize(
    ("badge", "below", "reached"),
    [
        ("first_validation", Progress(), Progress(validations=1)),
        ("validations_10", Progress(validations=9), Progress(validations=10)),
        ("validations_100", Progress(validations=99), Progress(validations=100)),
        ("validations_1000", Progress(validations=999), Progress(validations=1000)),
        ("first_consensus", Progress(), Progress(consensus_count=1)),
        (
            "accurate_streak_10",
            Progress(accurate_streak=STREAK_LENGTH - 1),
            Progress(accurate_streak=STREAK_LENGTH),
        ),
        ("trusted", Progress(trust_score=TRUSTED_SCORE - 1), Progress(trust_score=TRUSTED_SCORE)),
        ("claim_verified", Progress(), Progress(claims_verified=1)),
    ],
)
def test_each_badge_has_its_bound(badge: str, below: Progress, reached: Progress) -> None:
    assert [badge in {b.id for b in newly_earned(progress)} for progress in (below, reached)] == [False, True]


def test_the_catalogue_has_no_id_twice() -> None:
    assert len(BY_ID) == len(CATALOG)


# ---------------------------------------------------------------- plans

claims = st.builds(
    lambda title: Claim(CLAIM, UserId("owner"), "Owner", title, "", (), 3, NOW),
    st.text(min_size=1, max_size=50),
)


def a_validation(number: int, action: Action) -> Validation:
    return Validation(ValidationId(f"v{number}"), CLAIM, UserId(f"u{number}"), f"U {number}", action, NOW)


@given(claims, actions)
def test_a_validation_is_told_to_the_owner_and_counted_for_its_author(claim: Claim, action: Action) -> None:
    told, counted = plan_validation(claim, a_validation(1, action))
    assert (type(told), told.user_id, type(counted), counted.user_id) == (Told, "owner", Validated, "u1")


@given(claims, st.lists(actions, max_size=20), actions)
def test_a_consensus_reaches_everybody_once(claim: Claim, answers: list[Action], consensus: Action) -> None:
    rows = [a_validation(number, action) for number, action in enumerate(answers)]
    plan = plan_consensus(claim, Decision(consensus, 60.0), rows)
    reached = {effect.user_id: effect.action for effect in plan if isinstance(effect, Settled)}
    assert len(plan) == len(rows) + 1
    assert reached == {UserId("owner"): None} | {row.user_id: row.action for row in rows}


@given(claims, st.lists(actions, max_size=20))
def test_all_keys_of_a_claims_life_differ(claim: Claim, answers: list[Action]) -> None:
    rows = [a_validation(number, action) for number, action in enumerate(answers)]
    plans = [effect for row in rows for effect in plan_validation(claim, row)]
    plans += plan_consensus(claim, Decision(Action.VOUCH, 60.0), rows)
    assert len({effect.key for effect in plans}) == len(plans)


@given(claims, st.lists(actions, min_size=1, max_size=20), st.randoms())
def test_a_plan_made_again_has_the_same_keys(claim: Claim, answers: list[Action], rng: object) -> None:
    rows = [a_validation(number, action) for number, action in enumerate(answers)]
    decision = Decision(Action.VOUCH, 60.0)
    again = plan_consensus(claim, decision, reversed(rows))
    assert {effect.key for effect in plan_consensus(claim, decision, rows)} == {
        effect.key for effect in again
    }


@given(st.text(), st.text(), actions)
def test_the_owners_note_says_who_did_what(name: str, title: str, action: Action) -> None:
    draft = validation_draft(CLAIM, title, ValidationId("v"), name, action)
    assert draft.data == {
        "claim_id": CLAIM,
        "validation_id": "v",
        "validator_name": name,
        "action": action.value,
    }
