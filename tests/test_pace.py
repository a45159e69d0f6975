"""How fast to call, and who may: against made-up servers and a clock that is counted, not waited for."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacing import FixedWindows, paced

from batchlinks.errors import Unreachable
from batchlinks.healthex.concurrency_limiter import CALLS_IN_VAIN, FailureCount, Permit, RequestLimiter
from batchlinks.healthex.rate_controller import RateController
from batchlinks.simulator.faults import TokenBucket

CLIENTS = 64
ANY = Permit(1, 0.0)
steadily = settings(derandomize=True, deadline=None)


def bucket(rate: float, burst: int, since: float = 0.0) -> TokenBucket:
    return TokenBucket(rate, burst, since)


@pytest.mark.parametrize("limit", [20, 50, 100, 500, 2000])
@pytest.mark.parametrize("stock", ["50", "a tenth", "all of it"])
def test_a_limit_that_nobody_told_is_used_to_95_percent_from_the_first_call_on_with_1_percent_refused(
    limit: int, stock: str
) -> None:
    burst = {"50": 50, "a tenth": max(5, limit // 10), "all of it": limit}[stock]

    [run] = paced(bucket(limit, burst), seconds=40)

    assert run.let_through(0, 40) >= 0.95 * limit * 40
    assert run.share_refused(0, 40) <= 0.01


@pytest.mark.parametrize("limit", [20, 100, 500])
def test_so_many_calls_in_each_second_of_the_clock_is_a_limit_too(limit: int) -> None:
    [run] = paced(FixedWindows(limit), seconds=80)

    assert run.let_through(20, 80) >= 0.93 * limit * 60
    assert run.share_refused(20, 80) <= 0.01


def test_a_server_that_holds_no_stock_at_all_is_called_evenly() -> None:
    [run] = paced(bucket(20, 1), seconds=80)

    assert run.let_through(20, 80) >= 0.9 * 20 * 60
    assert run.share_refused(20, 80) <= 0.01


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(20, 200), st.floats(0.05, 2), st.floats(0.001, 0.1), st.integers(0, 2**32))
def test_whatever_the_limit_its_stock_and_the_way_there_the_pace_comes_close(
    limit: int, stock: float, latency_s: float, seed: int
) -> None:
    [run] = paced(bucket(limit, max(2, int(stock * limit))), seconds=70, latency_s=latency_s, seed=seed)

    assert run.let_through(20, 70) >= 0.9 * limit * 50
    assert run.share_refused(20, 70) <= 0.015


@pytest.mark.parametrize("before", [20, 100, 500])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_limit_that_changed_is_found_again_within_45_seconds(before: int, factor: float) -> None:
    then = int(before * factor)
    old, new = bucket(before, 20), bucket(then, 20, since=30.0)

    [run] = paced(lambda now: old if now < 30 else new, seconds=95)

    assert run.let_through(75, 95) >= 0.9 * then * 20
    assert run.share_refused(75, 95) <= 0.01


@pytest.mark.parametrize("limit", [20, 100, 500])
def test_two_runs_that_share_a_limit_each_get_a_quarter_of_it_at_least(limit: int) -> None:
    first, second = paced(bucket(limit, 50), seconds=60, clients=2)

    assert min(first.let_through(0, 60), second.let_through(0, 60)) >= 0.25 * limit * 60


def test_nobody_who_refuses_is_asked_as_fast_as_can_be_within_seconds() -> None:
    [run] = paced(bucket(1e9, 10), seconds=4, latency_s=0.001)

    assert run.pace.rate >= 20_000


@steadily
@given(st.floats(0.05, 500), st.integers(0, 2**32))
def test_a_rate_that_was_told_is_never_exceeded(ceiling: float, seed: int) -> None:
    pace, spread = RateController(ceiling=ceiling), random.Random(seed)
    starts = []
    now = 0.0
    for _ in range(50):
        now += pace.wait_s(now) + spread.choice([0.0, 0.0, spread.random() / ceiling])
        pace.started(now)
        starts.append(now)

    for first, second in pairwise(starts):
        assert second - first >= 1 / ceiling - 1e-6


@settings(derandomize=True, deadline=None, max_examples=6)
@given(st.floats(501, 5_000), st.integers(0, 2**32))
def test_a_high_rate_that_was_told_is_exceeded_in_no_second_and_nearly_used(ceiling: float, seed: int) -> None:
    """Timers are exact to a thousandth of a second, in which such a rate lets several calls start."""
    pace, spread = RateController(ceiling=ceiling), random.Random(seed)
    starts: list[float] = []
    now = 0.0
    while now < 5.0:
        late_s = 0.02 if spread.random() < 0.0005 else abs(spread.gauss(0, 0.0002))
        now += max(pace.wait_s(now), pace.shortest_timer_s) + late_s
        while pace.wait_s(now) <= 0:
            pace.started(now)
            starts.append(now)

    for first, later in zip(starts, starts[int(ceiling) :], strict=False):
        assert later - first >= 1.0
    assert sum(start >= 3.0 for start in starts) >= 0.95 * ceiling * 2.0


def test_the_refusals_of_calls_that_were_under_way_together_slow_it_down_once() -> None:
    [run] = paced(bucket(1e9, 10), seconds=1)
    before = run.pace.rate
    run.pace.refused(0.95, 1.0)
    once = run.pace.rate

    for _ in range(30):
        run.pace.refused(0.99, 1.01)

    assert once < before
    assert run.pace.rate == once


@steadily
@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_it_never_stops_altogether(pauses: list[float]) -> None:
    pace, now = RateController(), 0.0
    for pause in pauses:
        now += pause
        pace.refused(now, now)

    assert pace.wait_s(now) <= 5.001


# --- the limiter -------------------------------------------------------------------------------------------------


def limiter(*, concurrency: int = CLIENTS, patience_s: float = 100.0) -> RequestLimiter:
    return RequestLimiter(concurrency=concurrency, rate=None, patience_s=patience_s, spread=lambda: 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_every_ticket_comes_back_whatever_becomes_of_its_call(seed: int) -> None:
    spread = random.Random(seed)

    async def call(turns: RequestLimiter, number: int) -> None:
        permit = await turns.enter()
        try:
            await asyncio.sleep(spread.choice([0, 0, 0.001]))
        except asyncio.CancelledError:
            turns.not_used()
            raise
        give_back(turns, permit, number)

    def give_back(turns: RequestLimiter, permit: Permit, number: int) -> None:
        match spread.randrange(6) if number else 1:
            case 0:
                turns.answered()
            case 1 if not number:
                turns.throttled(permit, 0.0)
            case 2:
                turns.failed(permit, FailureCount(f"{number}", permit.number), reached=True, untried=False)
            case 3:
                turns.not_used()
            case _:
                turns.record_success(permit)

    async def everybody() -> int:
        turns = limiter(concurrency=8)
        turns.record_success(await turns.enter())
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
        turns = limiter(concurrency=1)
        first = await turns.enter()
        second, third = (asyncio.create_task(turns.enter()) for _ in range(2))
        await asyncio.sleep(0.1)  # by then the pace allows another call
        turns.record_success(first)
        assert turns.in_flight == 1
        second.cancel()
        assert isinstance(await asyncio.wait_for(third, 5), Permit)
        assert turns.in_flight == 1

    asyncio.run(scene())


def test_failures_before_anything_got_through_are_nobodys_own() -> None:
    async def scene() -> None:
        turns, failures = limiter(patience_s=0.8), FailureCount("a")
        for _ in range(2):
            permit = await turns.enter()
            failures.first_call = failures.first_call or permit.number
            turns.failed(permit, failures, reached=True, untried=False)
        assert failures.counted == 0
        turns.record_success(await turns.enter())
        turns.failed(await turns.enter(), failures, reached=True, untried=False)
        assert failures.counted == 1
        turns.failed(await turns.enter(), failures, reached=False, untried=False)
        assert failures.counted == 1

    asyncio.run(scene())


def test_five_that_fail_together_are_an_outage_as_long_as_somebody_was_never_tried() -> None:
    async def scene(*, untried: bool) -> list[int]:
        turns = limiter()
        everybody = [FailureCount(f"{number}", number + 1) for number in range(6)]
        turns.record_success(Permit(100, 0.0))
        for failures in [*everybody, *everybody]:
            turns.failed(ANY, failures, reached=True, untried=untried)
        return [failures.counted for failures in everybody]

    assert asyncio.run(scene(untried=True)) == [1, 1, 1, 1, 0, 0]
    assert asyncio.run(scene(untried=False)) == [2] * 6


def test_calls_that_fail_together_shut_the_gate_as_long_as_one() -> None:
    async def scene() -> None:
        turns = limiter()
        for number in range(64):
            turns.failed(Permit(number, 0.0), FailureCount(f"{number}"), reached=False, untried=True)
        await asyncio.wait_for(turns.enter(), 5)  # half a second, and not half a minute

    asyncio.run(scene())


def test_one_that_gave_up_is_no_sign_of_an_outage_any_more() -> None:
    async def scene() -> int:
        turns = limiter()
        turns.record_success(Permit(1, 0.0))
        for number in range(5):
            turns.record_given_up(FailureCount(f"{number}"))
        early = [FailureCount(f"{number}", 2 + number) for number in range(5)]
        for failures in early:
            turns.failed(ANY, failures, reached=True, untried=False)
        assert early[4].counted == 0
        for failures in early[:4]:
            turns.record_given_up(failures)
        turns.failed(ANY, early[4], reached=True, untried=False)
        return early[4].counted

    assert asyncio.run(scene()) == 1


def test_refused_from_the_start_it_tries_ten_times_and_no_more() -> None:
    async def scene() -> int:
        turns = limiter(patience_s=0.01)
        for number in range(1, 100):
            permit = Permit(number, 0.0)
            try:
                turns.throttled(permit, None)
            except Unreachable:
                return number
        return 100

    assert asyncio.run(scene()) == CALLS_IN_VAIN


def test_a_wait_of_over_ten_minutes_is_the_end_and_one_of_ten_is_not() -> None:
    async def scene() -> None:
        turns = limiter()
        turns.record_success(Permit(1, 0.0))
        assert turns.throttled(Permit(2, 0.0), 600.0) == 600.0
        with pytest.raises(Unreachable, match="not before"):
            turns.throttled(Permit(3, 0.0), 601.0)

    asyncio.run(scene())


def test_the_time_that_the_server_asked_for_is_no_silence() -> None:
    async def scene() -> None:
        turns = limiter()
        turns.retry_after(60.0)
        assert turns.seconds_without_success() < -59
        turns.retry_after(60.0)
        assert turns.seconds_without_success() > -61

    asyncio.run(scene())
