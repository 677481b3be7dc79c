"""One seed, one schedule; an open model; nobody publishes twice to a room, or to the own one."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.profiles.registry import AnyScenario
from simulator.scenario.loader import build
from simulator.scenario.schedule import Workload, publications, troubles


def scenario(**changes: Any) -> AnyScenario:
    return build({"clients": 40, "duration_s": 10, "publish": {"rate_per_s": 20}} | changes)


def workload(spec: AnyScenario) -> Workload:
    """Everybody may publish to every room once, but not to the own one; a few times per room at most."""
    barred = [room % spec.users for room in range(spec.claims_needed)]
    return Workload(spec.publishers(spec.users), barred, spec.claims.quorum)


def test_one_seed_gives_one_schedule() -> None:
    spec = scenario()
    assert publications(spec, workload(spec)) == publications(spec, workload(spec))


def test_another_seed_gives_another_schedule() -> None:
    one, other = scenario(seed=1), scenario(seed=2)
    assert publications(one, workload(one)) != publications(other, workload(other))


def test_one_seed_gives_the_same_drops() -> None:
    spec = scenario(faults=[{"kind": "drop", "at_s": 5, "fraction": 0.3, "away_s": [1, 3]}])
    assert troubles(spec) == troubles(spec)


def test_a_constant_schedule_is_start_plus_n_periods() -> None:
    spec = scenario(personas={"reliable": 1, "brigade": 0})
    times = [publication.at_s for publication in publications(spec, workload(spec))]
    assert times == [n / 20 for n in range(240)]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(2, 60),
    st.integers(1, 9),
    st.sampled_from(["constant", "poisson"]),
    st.sampled_from([0.0, 0.8, 2.0]),
)
def test_nobody_publishes_twice_to_a_room_or_to_the_own_one(
    seed: int, clients: int, quorum: int, arrival: str, zipf: float
) -> None:
    spec = scenario(
        seed=seed,
        clients=clients,
        claims={"quorum": quorum, "popularity_zipf": zipf},
        publish={"rate_per_s": 20, "arrival": arrival},
    )
    work = workload(spec)
    planned = publications(spec, work)
    pairs = Counter((item.user, item.room) for item in planned)
    assert max(pairs.values()) == 1
    assert all(item.user != work.barred[item.room] for item in planned)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 200), st.integers(1, 300))
def test_traffic_does_not_dry_out(seed: int, clients: int, quorum: int) -> None:
    spec = scenario(seed=seed, clients=clients, claims={"quorum": quorum})
    assert len(publications(spec, workload(spec))) >= spec.publishes


def test_the_poisson_rate_is_about_the_rate_asked_for() -> None:
    spec = scenario(duration_s=100, publish={"rate_per_s": 20, "arrival": "poisson"})
    assert 1_800 < len(publications(spec, workload(spec))) < 2_300


def test_the_warm_up_is_not_measured() -> None:
    spec = scenario(phases={"warmup_s": 3})
    assert all(item.measured == (item.at_s >= 3) for item in publications(spec, workload(spec)))


def test_a_burst_is_one_publish_each_at_one_moment_to_one_room() -> None:
    spec = scenario()
    work = workload(spec)
    work.publishers, work.burst = work.publishers[:20], range(30, 40)
    struck = [item for item in publications(spec, work) if item.user >= 30]
    assert len({(item.at_s, item.room) for item in struck}) == 1
    assert {item.user for item in struck} == {*range(30, 40)} - {work.barred[struck[0].room]}


def test_a_hot_room_gets_most() -> None:
    spec = scenario(clients=400, claims={"count": 10, "quorum": 1000, "popularity_zipf": 2})
    counts = Counter(item.room for item in publications(spec, workload(spec)))
    assert counts.most_common(1)[0][1] > spec.publishes / 2


def test_a_workload_that_runs_dry_gives_what_there_is() -> None:
    spec = scenario()
    assert len(publications(spec, Workload(range(spec.users), [0], 3))) < spec.publishes


def test_a_drop_takes_the_fraction_asked_for() -> None:
    spec = scenario(faults=[{"kind": "drop", "at_share": 0.5, "fraction": 0.3, "away_s": [1, 3]}])
    found = troubles(spec)
    assert len({item.client for item in found}) == 12
    assert all(item.at_s == 5.0 and 1 <= (item.for_s or 0) <= 3 for item in found)


def test_flapping_clients_drop_again_and_again_at_moments_of_their_own() -> None:
    spec = scenario(duration_s=30, faults=[{"kind": "flap", "at_s": 0, "every_s": 10}])
    found = troubles(spec)
    assert Counter(item.client for item in found) == dict.fromkeys(range(40), 3)
    assert len({item.at_s for item in found}) > 40


@pytest.mark.parametrize("kind", ["slow", "half_open"])
def test_other_troubles_last_as_long_as_told(kind: str) -> None:
    spec = scenario(faults=[{"kind": kind, "at_s": 1, "for_s": 4, "fraction": 0.1}])
    assert [(item.kind, item.for_s) for item in troubles(spec)] == [(kind, 4)] * 4
