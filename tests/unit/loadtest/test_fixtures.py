"""Small rooms of the load test: clocks, people, claims, curves, options, the command line."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.fixtures import MAX_CLAIMS, ClaimBook, Deal, PeopleError, Person, read_people
from loadtest.latency import ClockOffset
from loadtest.options import wanted_shape
from loadtest.run import LoadtestOptions, command, problems, run
from loadtest.shapes import CURVES, users_at

RESULT = Path("result.json")


# -------------------------------------------------------------- clocks


def test_one_machine_needs_no_estimate() -> None:
    clock = ClockOffset("boot")
    clock.answer(10, 999_999, 30, "boot")
    assert (clock.offset_ns, clock.error_ns) == (0, 0)


@given(offset=st.integers(-(10**12), 10**12), there=st.integers(0, 10**7), back=st.integers(0, 10**7))
def test_the_estimate_is_within_its_own_bound(offset: int, there: int, back: int) -> None:
    clock = ClockOffset("ours")
    asked_ns = 10**13
    clock.answer(asked_ns, asked_ns + there + offset, asked_ns + there + back, "theirs")
    assert clock.error_ns is not None
    assert abs(clock.offset_ns - offset) <= clock.error_ns + 1


def test_the_shortest_way_wins() -> None:
    clock = ClockOffset("ours")
    clock.answer(0, 1_005, 10, "theirs")
    clock.answer(0, 5_000, 9_000, "theirs")
    assert (clock.offset_ns, clock.error_ns) == (1_000, 5)


def test_times_go_there_and_back() -> None:
    clock = ClockOffset("ours", offset_ns=77, error_ns=1)
    assert clock.from_master(clock.to_master(1_000)) == 1_000


def test_nothing_is_known_before_the_first_answer() -> None:
    assert not ClockOffset("ours").known


# -------------------------------------------------------------- people


def people(number: int) -> list[Person]:
    return [Person(f"u{index}", f"t{index}") for index in range(number)]


@given(processes=st.integers(1, 5), each=st.integers(1, 4))
def test_processes_do_not_share_people_while_there_are_enough(processes: int, each: int) -> None:
    crowd = people(processes * each)
    dealt = [
        deal.next().user_id
        for index in range(processes)
        for deal in [Deal(crowd, index, processes)]
        for _ in range(each)
    ]
    assert len(set(dealt)) == len(crowd)


def test_people_come_round_again() -> None:
    deal = Deal(people(2), 0, 1)
    assert [deal.next().user_id for _ in range(3)] == ["u0", "u1", "u0"]


def test_a_tokens_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_text(json.dumps({"user_id": "u", "username": "n", "token": "t"}) + "\n")
    assert read_people(path) == [Person("u", "t")]


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n"])
def test_a_useless_tokens_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_text(text)
    with pytest.raises(PeopleError, match=str(path)):
        read_people(path)


# -------------------------------------------------------------- claims


def test_nobody_answers_their_own_claim_or_one_twice() -> None:
    book = ClaimBook()
    book.learn([("mine", "me"), ("done", "you"), ("free", "you")])
    picked = {book.pick(random.Random(seed), "me", {"done"}) for seed in range(50)}
    assert picked <= {"free", None}
    assert "free" in picked


def test_a_settled_claim_is_not_picked() -> None:
    book = ClaimBook()
    book.add("c", "you")
    book.settle("c")
    assert (book.pick(random.Random(1), "me", set()), book.is_open("c")) == (None, False)


def test_the_book_of_claims_is_bounded() -> None:
    book = ClaimBook()
    book.learn((f"c{number}", "you") for number in range(MAX_CLAIMS + 10))
    assert len(book) == MAX_CLAIMS


# -------------------------------------------------------------- curves


@pytest.mark.parametrize("name", CURVES)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_curve_stays_within_the_users(name: str, share: float) -> None:
    users = users_at(CURVES[name], share * 60, 60, 100)
    assert users is not None
    assert 1 <= users <= 100


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_reaches_all_users_and_ends(name: str) -> None:
    assert max(users_at(CURVES[name], second, 60, 100) or 0 for second in range(60)) == 100
    assert users_at(CURVES[name], 60, 60, 100) is None


def test_the_shape_is_found_before_locust_parses() -> None:
    assert wanted_shape(["-f", "x.py", "--shape", "storm", "--users", "3"]) == "storm"
    assert wanted_shape(["--users", "3"]) == ""


# -------------------------------------------------------------- the command line


def test_the_command_names_what_was_asked_for() -> None:
    words = command(LoadtestOptions(users=50, duration_s=20), "http://localhost:1", None, RESULT)
    assert {"--host=http://localhost:1", "--users=50", "--run-time=20s", "--headless"} <= set(words)


def test_a_worker_needs_only_its_master() -> None:
    words = command(LoadtestOptions(role="worker", master_host="lead"), "", None, RESULT)
    assert words[-5:] == ["--worker", "--master-host", "lead", "--master-port", "5557"]


def test_a_master_waits_for_its_workers() -> None:
    words = command(LoadtestOptions(role="master", expect_workers=3), "http://localhost:1", None, RESULT)
    assert words[words.index("--expect-workers") + 1] == "3"


def test_processes_of_one_run_meet_on_loopback_where_no_other_run_does() -> None:
    words = command(LoadtestOptions(processes=2, master_port=40_001), "http://localhost:1", None, RESULT)
    said = dict(pairwise(words))
    assert (said["--master-bind-host"], said["--master-host"]) == ("127.0.0.1", "127.0.0.1")
    assert (said["--master-bind-port"], said["--master-port"]) == ("40001", "40001")


def test_the_web_page_asks_nobody_who_they_are_and_is_for_this_machine() -> None:
    words = command(LoadtestOptions(headless=False), "http://localhost:1", None, RESULT)
    assert dict(pairwise(words))["--web-host"] == "127.0.0.1"


@pytest.mark.parametrize(
    "options",
    [
        LoadtestOptions(users=0),
        LoadtestOptions(duration_s=0.1),
        LoadtestOptions(role="boss"),
        LoadtestOptions(role="master", processes=2),
        LoadtestOptions(shape="ramp", duration_s=None),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(options: LoadtestOptions) -> None:
    assert len(problems(options)) == 1


def test_an_unknown_service_level_is_usage(capsys) -> None:
    assert run(LoadtestOptions(slo=("fanout_p99=1",))) == 2
    assert "fanout_p99_ms" in capsys.readouterr().err


def test_a_host_that_does_not_answer_is_a_failed_set_up(capsys) -> None:
    assert run(LoadtestOptions(host="http://127.0.0.1:9")) == 3
    assert "127.0.0.1:9 does not answer" in " ".join(capsys.readouterr().err.split())
