"""Templates keep types, pointers follow RFC 6901, prometheus counters are summed."""

import pytest

from simulator.profiles.generic import fill, find, mentions, parts
from simulator.run.collect import Page, growth, parse


def test_a_text_that_is_only_a_name_keeps_the_type() -> None:
    assert fill({"n": "{n}", "list": ["{n}"]}, {"n": 7}) == {"n": 7, "list": [7]}


def test_a_name_inside_a_text_becomes_text() -> None:
    assert fill("room-{n}-{id}", {"n": 7, "id": "x"}) == "room-7-x"


def test_unknown_names_and_other_braces_stay() -> None:
    assert fill("{other} {}", {"n": 7}) == "{other} {}"


def test_other_values_pass_untouched() -> None:
    assert fill([1, None, True], {}) == [1, None, True]


@pytest.mark.parametrize("template", ["{room}", {"a": ["x{room}"]}])
def test_a_mention_is_found_at_any_depth(template: object) -> None:
    assert mentions(template, "room")


def test_no_mention_is_found_where_there_is_none() -> None:
    assert not mentions({"room": [1, "rooms"]}, "room")


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", [{"a/b": {"m~n": 3}}]), ("/0/a~1b/m~0n", 3), ("/1", None), ("/0/x/y", None), ("/x", None)],
)
def test_pointers_lead_to_values(pointer: str, value: object) -> None:
    assert find([{"a/b": {"m~n": 3}}], parts(pointer)) == value


def test_counters_are_summed_over_labels_and_gauges_left_out() -> None:
    text = '# HELP x\nevents_total{type="a"} 2\nevents_total{type="b"} 3.5\nusers 7\nlag_sum 1\nbad_total x\n'
    assert parse(text).counters == {"events_total": 5.5, "lag_sum": 1.0}


def test_only_what_grew_is_told() -> None:
    before, after = Page({"a": 1.0, "b": 2.0}), Page({"a": 1.0, "b": 5.0, "c": 1.0})
    assert growth({"node": before}, {"node": after}) == {"b": 3.0, "c": 1.0}
