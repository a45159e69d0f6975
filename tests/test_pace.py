"""How fast to call, and who may: against made-up servers and a clock that is counted, not waited for."""

import asyncio
import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlinks.errors import Unreachable
from batchlinks.healthex.gate import CALLS_IN_VAIN, Gate, Ticket, Troubles
from batchlinks.healthex.pace import Pace
from batchlinks.simulator.faults import TokenBucket

CLIENTS = 64
steadily = settings(derandomize=True, deadline=None)


@dataclass(slots=True)
class Outcome:
    """What a run of made-up calls came to."""

    sent: int = 0
    refused: int = 0


def paced(pace: Pace, server: TokenBucket, *, seconds: float, start: float = 0.0, latency: float = 0.02) -> Outcome:
    """Call the server for some seconds as fast as the pace allows; each refused call waits a second."""
    outcome = Outcome()
    now = start
    while (now := now + pace.wait_s(now)) < start + seconds:
        pace.started(now)
        outcome.sent += 1
        if server.take(now):
            outcome.refused += 1
            pace.refused(now, now + latency)
    return outcome


@pytest.mark.parametrize("limit", [20, 50, 500, 2000])
def test_the_pace_comes_close_to_a_limit_that_nobody_told_with_few_refusals(limit: float) -> None:
    pace, server = Pace(), TokenBucket(limit, max(2, int(limit / 10)), 0.0)
    paced(pace, server, seconds=20)  # learning

    settled = paced(pace, server, seconds=60, start=20.0)

    assert settled.sent - settled.refused >= 0.9 * limit * 60
    assert settled.refused <= 0.02 * settled.sent + 2


def test_the_pace_finds_a_limit_that_was_raised() -> None:
    pace = Pace()
    paced(pace, TokenBucket(100, 10, 0.0), seconds=20)

    paced(pace, TokenBucket(400, 10, 20.0), seconds=60, start=20.0)

    assert pace.rate >= 350


def test_nobody_who_refuses_is_asked_as_fast_as_can_be_within_seconds() -> None:
    pace = Pace()

    paced(pace, TokenBucket(1e9, 10, 0.0), seconds=4)

    assert pace.rate >= 20_000


@steadily
@given(st.floats(0.05, 500), st.integers(0, 2**32))
def test_a_rate_that_was_told_is_never_exceeded(ceiling: float, seed: int) -> None:
    pace, spread = Pace(ceiling=ceiling), random.Random(seed)
    starts = []
    now = 0.0
    for _ in range(50):
        now += pace.wait_s(now) + spread.choice([0.0, 0.0, spread.random() / ceiling])
        pace.started(now)
        starts.append(now)

    for first, second in pairwise(starts):
        assert second - first >= 1 / ceiling - 1e-6


def test_the_refusals_of_calls_that_were_under_way_together_slow_it_down_once() -> None:
    pace = Pace()
    paced(pace, TokenBucket(1e9, 10, 0.0), seconds=1)
    before = pace.rate
    pace.refused(0.95, 1.0)
    once = pace.rate

    for _ in range(30):
        pace.refused(0.99, 1.01)

    assert once < before
    assert pace.rate == once


@steadily
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_it_never_stops_altogether(pauses: list[float]) -> None:
    pace, now = Pace(), 0.0
    for pause in pauses:
        now += pause
        pace.refused(now, now)

    assert pace.wait_s(now) <= 5.001


# --- the gate -------------------------------------------------------------------------------------------------


def gate(*, concurrency: int = CLIENTS, patience_s: float = 100.0) -> Gate:
    return Gate(concurrency=concurrency, rate=None, patience_s=patience_s, spread=lambda: 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_every_ticket_comes_back_whatever_becomes_of_its_call(seed: int) -> None:
    spread = random.Random(seed)

    async def call(turns: Gate, number: int) -> None:
        ticket = await turns.enter()
        try:
            await asyncio.sleep(spread.choice([0, 0, 0.001]))
        except asyncio.CancelledError:
            turns.not_used()
            raise
        give_back(turns, ticket, number)

    def give_back(turns: Gate, ticket: Ticket, number: int) -> None:
        match spread.randrange(6) if number else 1:
            case 0:
                turns.answered()
            case 1 if not number:
                turns.throttled(ticket, 0.0)
            case 2:
                turns.failed(Troubles(f"{number}", ticket.number), reached=True, untried=False)
            case 3:
                turns.not_used()
            case _:
                turns.got_through(ticket)

    async def everybody() -> int:
        turns = gate(concurrency=8)
        turns.got_through(await turns.enter())
        calls = [asyncio.create_task(call(turns, number)) for number in range(60)]
        for each in calls:
            await asyncio.sleep(0)
            if spread.random() < 0.3:
                each.cancel()
        await asyncio.wait(calls)
        return turns.in_flight

    assert asyncio.run(everybody()) == 0


def test_a_turn_that_is_called_off_in_the_moment_it_comes_goes_to_the_next() -> None:
    async def scene() -> None:
        turns = gate(concurrency=1)
        first = await turns.enter()
        second, third = (asyncio.create_task(turns.enter()) for _ in range(2))
        await asyncio.sleep(0.1)  # by then the pace allows another call
        turns.got_through(first)
        assert turns.in_flight == 1
        second.cancel()
        assert isinstance(await asyncio.wait_for(third, 5), Ticket)
        assert turns.in_flight == 1

    asyncio.run(scene())


def test_failures_before_anything_got_through_are_nobodys_own() -> None:
    async def scene() -> None:
        turns, troubles = gate(patience_s=0.8), Troubles("a")
        for _ in range(2):
            ticket = await turns.enter()
            troubles.first_call = troubles.first_call or ticket.number
            turns.failed(troubles, reached=True, untried=False)
        assert troubles.counted == 0
        turns.got_through(await turns.enter())
        await turns.enter()
        turns.failed(troubles, reached=True, untried=False)
        assert troubles.counted == 1
        await turns.enter()
        turns.failed(troubles, reached=False, untried=False)
        assert troubles.counted == 1

    asyncio.run(scene())


def test_five_that_fail_together_are_an_outage_as_long_as_somebody_was_never_tried() -> None:
    async def scene(*, untried: bool) -> list[int]:
        turns = gate()
        everybody = [Troubles(f"{number}", number + 1) for number in range(6)]
        turns.got_through(Ticket(100, 0.0))
        for troubles in [*everybody, *everybody]:
            turns.failed(troubles, reached=True, untried=untried)
        return [troubles.counted for troubles in everybody]

    assert asyncio.run(scene(untried=True)) == [1, 1, 1, 1, 0, 0]
    assert asyncio.run(scene(untried=False)) == [2] * 6


def test_one_that_gave_up_is_no_sign_of_an_outage_any_more() -> None:
    async def scene() -> int:
        turns = gate()
        turns.got_through(Ticket(1, 0.0))
        for number in range(5):
            turns.gave_up(Troubles(f"{number}"))
        early = [Troubles(f"{number}", 2 + number) for number in range(5)]
        for troubles in early:
            turns.failed(troubles, reached=True, untried=False)
        assert early[4].counted == 0
        for troubles in early[:4]:
            turns.gave_up(troubles)
        turns.failed(early[4], reached=True, untried=False)
        return early[4].counted

    assert asyncio.run(scene()) == 1


def test_refused_from_the_start_it_tries_ten_times_and_no_more() -> None:
    async def scene() -> int:
        turns = gate(patience_s=0.01)
        for number in range(1, 100):
            ticket = Ticket(number, 0.0)
            try:
                turns.throttled(ticket, None)
            except Unreachable:
                return number
        return 100

    assert asyncio.run(scene()) == CALLS_IN_VAIN


def test_a_wait_of_over_ten_minutes_is_the_end_and_one_of_ten_is_not() -> None:
    async def scene() -> None:
        turns = gate()
        turns.got_through(Ticket(1, 0.0))
        assert turns.throttled(Ticket(2, 0.0), 600.0) == 600.0
        with pytest.raises(Unreachable, match="not before"):
            turns.throttled(Ticket(3, 0.0), 601.0)

    asyncio.run(scene())


def test_the_time_that_the_server_asked_for_is_no_silence() -> None:
    async def scene() -> None:
        turns = gate()
        turns.told_to_wait(60.0)
        assert turns.silent_for_s() < -59
        turns.told_to_wait(60.0)
        assert turns.silent_for_s() > -61

    asyncio.run(scene())
