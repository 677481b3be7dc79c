"""The real clock, and ids that sort by creation."""

import re
from datetime import UTC, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backend.app.clock import SortableIds, SystemClock
from tests.support.backend.rest_app import ManualClock


def test_the_system_clock_is_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_ids_are_url_safe_and_of_one_length() -> None:
    ids = SortableIds(SystemClock())
    assert all(re.fullmatch(r"[0-9a-f]{32}", ids.new()) for _ in range(1000))


@given(st.lists(st.integers(min_value=-50, max_value=50), max_size=60))
def test_ids_ascend_whatever_the_clock_does(steps_ms: list[int]) -> None:
    clock = ManualClock()
    ids = SortableIds(clock)
    made = [ids.new()]
    for step_ms in steps_ms:
        clock.advance(step_ms / 1000)
        made.append(ids.new())
    assert made == sorted(set(made))


def test_ids_of_two_nodes_sort_by_time() -> None:
    clock = ManualClock()
    first, second = SortableIds(clock), SortableIds(clock)
    early = first.new()
    clock.advance(timedelta(milliseconds=1).total_seconds())
    assert early < second.new()


def test_counting_on_never_runs_into_the_time() -> None:
    clock = ManualClock()
    ids = SortableIds(clock, random_bits=lambda bits: (1 << bits) - 1)
    time_part = ids.new()[:12]
    assert all(ids.new()[:12] == time_part for _ in range(1000))
