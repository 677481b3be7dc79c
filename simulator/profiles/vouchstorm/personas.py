"""Fake validators: who answers what to a claim, and who stays silent.

    reliable      sees the truth of the claim nearly always
    contrarian    answers the opposite of what a reliable one would
    careless      answers at random
    brigade       does nothing until the burst, then all dispute one claim at once
    lurker        only watches

Pure and seeded.
"""

import random
from collections.abc import Mapping, Sequence

from ...scenario.models import Scenario
from ...scenario.schedule import Publication, Workload, publications, stream

ACTIONS = ("vouch", "dispute", "unsure")
TRUTH_WEIGHTS = (60, 30, 10)
RELIABLE_SHARE = 0.92
EVERYDAY = ("reliable", "contrarian", "careless")

_OPPOSITE = {"vouch": "dispute", "dispute": "vouch", "unsure": "vouch"}


def cast(users: int, shares: Mapping[str, float], rng: random.Random) -> list[str]:
    """A persona per user, in the shares given (largest remainders first), shuffled.

    At least one user gets an everyday persona, so that somebody validates.
    """
    total = sum(shares.values())
    exact = {name: users * share / total for name, share in shares.items()}
    counts = {name: int(amount) for name, amount in exact.items()}
    by_rest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_rest[: users - sum(counts.values())]:
        counts[name] += 1
    people = [name for name, count in counts.items() for _ in range(count)]
    if people and not any(name in EVERYDAY for name in people):
        people[0] = max(EVERYDAY, key=lambda name: shares.get(name, 0))
    rng.shuffle(people)
    return people


def truth_of_claim(rng: random.Random) -> str:
    """What a claim really is: mostly right, sometimes wrong, seldom undecidable."""
    return rng.choices(ACTIONS, TRUTH_WEIGHTS)[0]


def answer(persona: str, truth: str, rng: random.Random) -> str:
    """The action a persona takes on a claim with that truth."""
    if persona == "contrarian":
        return _OPPOSITE[truth]
    if persona == "brigade":
        return "dispute"
    if persona == "careless" or rng.random() >= RELIABLE_SHARE:
        return rng.choice(ACTIONS)
    return truth


def plan_votes(
    scenario: Scenario, workload: Workload, people: Sequence[str]
) -> tuple[list[Publication], list[str]]:
    """The schedule of a run, and the action of each of its publishes. people: the persona of each user."""
    rng = stream(scenario.seed, "schedule")
    truths = [truth_of_claim(rng) for _ in workload.barred]
    plan = publications(scenario, workload, rng)
    return plan, [answer(people[item.user], truths[item.room], rng) for item in plan]
