"""Merging the pages of all workers, and the back-off between two starts."""

import random
import string

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.app.aggregate import GroupFacts, group_page, merge
from backend.app.tasks import Backoff

LABELS = st.text(string.printable, max_size=8)


def page(count: float, label: str = "a") -> str:
    """A page of one worker with all kinds of metrics."""
    registry = CollectorRegistry()
    Counter("hits", "Hits.", ["kind"], registry=registry).labels(label).inc(count)
    Gauge("level", "Level.", registry=registry).set(count)
    Histogram("wait_seconds", "Wait.", registry=registry, buckets=(0.1, 1.0)).observe(count)
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@given(st.dictionaries(st.sampled_from("123456"), st.tuples(st.floats(0, 1e9), LABELS), max_size=4))
def test_every_sample_of_every_page_is_kept_under_its_worker(given_pages):
    pages = {name: page(*content) for name, content in given_pages.items()}
    expected = {
        (name, tuple(sorted((*labels, ("worker", worker))))): value
        for worker, text in pages.items()
        for (name, labels), value in samples(text).items()
    }
    assert samples(merge(pages)) == expected


def test_each_family_is_described_once():
    merged = merge({"1": page(1), "2": page(2)})
    assert merged.count("# TYPE hits_total counter") == 1
    assert merged.count("# HELP hits_total") == 1


def test_the_samples_of_a_family_stand_together():
    lines = [line for line in merge({"1": page(1), "2": page(2)}).splitlines() if "level" in line]
    assert lines == [
        "# HELP level Level.", "# TYPE level gauge", 'level{worker="1"} 1.0', 'level{worker="2"} 2.0'
    ]  # fmt: skip


def test_workers_of_two_versions_are_described_as_the_first_does():
    old = "# HELP level Old.\n# TYPE level gauge\nlevel 1\n"
    new = "# HELP level New.\n# TYPE level gauge\nlevel 2\n"
    assert "New." not in merge({"1": old, "2": new})


def test_an_empty_label_set_gets_no_stray_comma():
    assert merge({"1": "# TYPE a gauge\na{} 1\n"}).endswith('a{worker="1"} 1\n')


def test_the_group_page_counts_those_that_are_missing():
    found = samples(group_page(GroupFacts(workers=4, restarts=2), answered=3, missing=1))
    assert found["supervisor_worker_restarts_total", ()] == 2
    assert found["supervisor_workers_scraped", (("outcome", "missing"),)] == 1


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_waits_stay_within_their_bounds(seed, failures):
    backoff = Backoff(random.Random(seed), first_s=0.1, longest_s=5.0, jitter=0.5)
    for failure in range(failures):
        full_s = min(5.0, 0.1 * 2**failure)
        assert full_s * 0.5 <= backoff.next_s() <= full_s


def test_a_reset_starts_over():
    backoff = Backoff(random.Random(1), first_s=1.0, jitter=0.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 1.0
