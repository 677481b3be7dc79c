"""The soak's judge has teeth: planted leaks are found in seconds, and a healthy node passes the same test."""

import asyncio
from pathlib import Path

import pytest

from tests.soak.judge import BLOCKS, MEMORY, RESTING, growth, leaks
from tests.soak.run import Soaked, soak

REST = dict.fromkeys(RESTING, 0.0) | {BLOCKS: 100_000.0, MEMORY: 60e6}


def soaked_in(directory: Path, *, leaky: bool) -> Soaked:
    return asyncio.run(soak(directory, warm_s=2, churn_s=4, places=24, leaky=leaky))


def test_a_node_that_forgets_passes(tmp_path: Path) -> None:
    soaked = soaked_in(tmp_path, leaky=False)
    assert (soaked.leaks, soaked.tally.connects > 24) == ([], True)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    """What the judge says of a node that forgets nothing."""
    return soaked_in(tmp_path_factory.mktemp("leaky"), leaky=True)


@pytest.mark.parametrize(
    "said", ["websocket_rooms was", "event_loop_tasks was", "process_open_fds was", "objects more after"]
)
def test_a_planted_leak_is_found(leaky: Soaked, said: str) -> None:
    assert [sentence for sentence in leaky.leaks if said in sentence]


def test_sizes_that_return_are_no_leak() -> None:
    assert leaks(REST, REST, 1_000) == []


@pytest.mark.parametrize("name", RESTING)
def test_a_size_that_stays_is_a_leak(name: str) -> None:
    assert len(leaks(REST, REST | {name: REST[name] + 3}, 1_000)) == 1


def test_memory_may_grow_by_a_little_for_each_connection() -> None:
    assert leaks(REST, REST | {MEMORY: REST[MEMORY] + 9e6}, 1_000) == []


def test_memory_that_grows_with_the_connections_is_a_leak() -> None:
    assert leaks(REST, REST | {MEMORY: REST[MEMORY] + 12e6}, 1_000) != []


def test_the_slope_is_of_the_second_half() -> None:
    series = [(float(at_s), REST | {MEMORY: 60e6 + max(0, at_s - 50) * 1_000}) for at_s in range(0, 101, 10)]
    assert growth(REST, REST, series, 10).slope_bytes_per_h == pytest.approx(3_600_000)
