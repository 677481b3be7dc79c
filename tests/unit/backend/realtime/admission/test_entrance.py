"""Admission of connections that only remember what they were told."""

import asyncio
import random

import pytest

from backend.app.realtime.admission import (
    PATIENCE_S,
    PER_TURN,
    Admission,
    AdmissionLimits,
    Permit,
    Proxies,
    Refusal,
)


class Guest:
    def __init__(self) -> None:
        self.permit: Permit | None = None
        self.refusal: Refusal | None = None
        self.retry_after_s = 0

    def admit(self, permit: Permit) -> None:
        self.permit = permit

    def refuse(self, refusal: Refusal, retry_after_s: int) -> None:
        self.refusal, self.retry_after_s = refusal, retry_after_s


def new_admission(
    at_once: int = 2, queue: int = 100, wait_s: float = 5.0, retry_s: int = 10, address: int = 0
) -> Admission:
    limits = AdmissionLimits(address=address, at_once=at_once, queue=queue, wait_s=wait_s, retry_s=retry_s)
    return Admission(limits, Proxies(""), random.Random(1))


def guests(admission: Admission, count: int, address: str = "a") -> list[Guest]:
    found = [Guest() for _ in range(count)]
    for guest in found:
        admission.come(address, guest)
    return found


def counted(admission: Admission) -> tuple[int, int]:
    """(sockets, unsettled ones) of the address `a`."""
    count = admission.counts.addresses["a"]
    return count.sockets, count.unsettled


def inside(found: list[Guest]) -> int:
    return sum(1 for guest in found if guest.permit is not None)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_finds_room_enters_at_once() -> None:
    assert inside(guests(new_admission(), 2)) == 2


async def test_who_finds_none_waits() -> None:
    admission = new_admission()
    found = guests(admission, 5)
    await turns()
    assert (inside(found), admission.queue.waiting) == (2, 3)


async def test_a_handshake_that_is_over_lets_the_next_in() -> None:
    admission = new_admission()
    found = guests(admission, 3)
    assert found[0].permit is not None
    found[0].permit.done()
    await turns()
    assert inside(found) == 3


async def test_done_twice_lets_one_in() -> None:
    admission = new_admission()
    found = guests(admission, 5)
    assert found[0].permit is not None
    found[0].permit.done()
    found[0].permit.leave()
    await turns()
    assert inside(found) == 3


async def test_only_a_few_begin_in_one_turn() -> None:
    admission = new_admission(at_once=0)
    found = guests(admission, 3 * PER_TURN)
    at_once = inside(found)
    await turns()
    assert (at_once, inside(found)) == (PER_TURN, 3 * PER_TURN)


async def test_who_is_gone_while_waiting_is_forgotten() -> None:
    admission = new_admission()
    guests(admission, 2)
    waiting = Guest()
    permit = admission.come("a", waiting)
    assert permit is not None
    permit.leave()
    assert (admission.queue.waiting, counted(admission)) == (0, (2, 2))


async def test_the_silent_are_no_work_any_more() -> None:
    admission = new_admission()
    found = guests(admission, 3)
    admission.sweep(asyncio.get_running_loop().time() + PATIENCE_S)
    await turns()
    assert inside(found) == 3


async def test_the_silent_are_still_counted() -> None:
    admission = new_admission()
    guests(admission, 2)
    admission.sweep(asyncio.get_running_loop().time() + PATIENCE_S)
    assert counted(admission) == (2, 2)


async def test_who_waited_too_long_is_turned_away_and_not_counted() -> None:
    admission = new_admission(at_once=1, wait_s=0.5)
    found = guests(admission, 2)
    admission.sweep(asyncio.get_running_loop().time() + 0.6)
    assert (found[1].refusal, counted(admission)) == (Refusal.BUSY, (1, 1))


async def test_who_finds_the_queue_full_is_turned_away() -> None:
    admission = new_admission(queue=1)
    found = guests(admission, 4)
    assert [guest.refusal for guest in found] == [None, None, None, Refusal.BUSY]


async def test_refusals_are_spread_over_time() -> None:
    admission = new_admission(queue=0)
    found = guests(admission, 60)
    assert {guest.retry_after_s for guest in found[2:]} == set(range(1, 11))


async def test_a_cap_is_told_by_its_name() -> None:
    admission = new_admission(address=1)
    assert [guest.refusal for guest in guests(admission, 2)] == [None, Refusal.ADDRESS_SOCKETS]


async def test_who_settled_is_neither_work_nor_unsettled() -> None:
    admission = new_admission()
    (guest,) = guests(admission, 1)
    assert guest.permit is not None
    guest.permit.settle(True)
    guest.permit.settle(True)
    assert (admission.queue.at_work, counted(admission)) == (0, (1, 0))


@pytest.mark.parametrize("settled", [True, False])
async def test_who_left_leaves_nothing_behind(settled: bool) -> None:
    admission = new_admission()
    (guest,) = guests(admission, 1)
    assert guest.permit is not None
    guest.permit.settle(settled)
    guest.permit.leave()
    guest.permit.leave()
    guest.permit.settle(not settled)
    assert (admission.queue.at_work, admission.counts.node.sockets, admission.counts.node.unsettled) == (
        0,
        0,
        0,
    )
