"""Who validates and what they answer: cast in the shares given, the same for a seed on every day."""

from collections import Counter
from hashlib import sha256
from typing import Any

from simulator.profiles.registry import AnyScenario
from simulator.profiles.vouchstorm.personas import cast, plan_votes
from simulator.scenario.loader import build
from simulator.scenario.schedule import Publication, Workload, stream


def scenario(**changes: Any) -> AnyScenario:
    return build({"clients": 40, "duration_s": 10, "publish": {"rate_per_s": 20}} | changes)


def votes(spec: AnyScenario) -> tuple[list[Publication], list[str], list[str]]:
    """The schedule, the action of each publish, the persona of each user."""
    people = spec.people(spec.users)
    barred = [claim % spec.users for claim in range(spec.claims_needed)]
    brigade = [user for user, persona in enumerate(people) if persona == "brigade"]
    work = Workload(spec.publishers(spec.users), barred, spec.claims.quorum, burst=brigade)
    return *plan_votes(spec, work, people), people


def test_everybody_is_cast_in_the_shares_given() -> None:
    people = Counter(cast(100, {"reliable": 0.7, "contrarian": 0, "lurker": 0.3}, stream(1, "x")))
    assert people == {"reliable": 70, "lurker": 30}


def test_lurkers_never_validate() -> None:
    plan, _, people = votes(scenario(personas={"reliable": 1, "lurker": 1}))
    assert all(people[item.user] != "lurker" for item in plan)


def test_the_brigade_disputes_one_claim_at_once() -> None:
    plan, actions, people = votes(scenario(personas={"reliable": 1, "brigade": 1}))
    strikes = {(item.at_s, item.room, actions[item.n]) for item in plan if people[item.user] == "brigade"}
    assert len(strikes) == 1
    assert {action for _, _, action in strikes} == {"dispute"}


def test_a_seed_gives_the_votes_it_always_gave() -> None:
    plan, actions, _ = votes(scenario())
    said = [(item.at_s, item.user, item.room, action) for item, action in zip(plan, actions, strict=True)]
    assert sha256(repr(said).encode()).hexdigest()[:16] == "ca1c0b91f24c8c1d"
