"""Who may call now: how many at once, how fast, and when it is time to stop trying.

All workers pass through one limiter with one timer. It opens with a single call and lets one more in flight for every
answer, up to the concurrency; it keeps the pace; it narrows to one probe at a time while nothing gets through; and it
ends the run when that lasts longer than the patience.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchlinks.errors import Unreachable
from batchlinks.healthex.rate_controller import RateController

LONGEST_TOLD_WAIT_S = 600.0
"""A server that says to come back later than this ends the run."""

CALLS_IN_VAIN = 10
"""A run that is refused from its start makes no more calls than this."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_OUTAGE_FROM = 5
"""Different IDs that failed one after the other, with no success in between, from which on the server is down."""
_LONGEST_SAID_S = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Permit:
    """One call that was let through."""

    number: int
    started: float


@dataclass(slots=True)
class FailureCount:
    """One ID's failures, as far as they are its own and not the server's."""

    external_id: str = field(repr=False)
    first_call: int = 0
    """Number of the permit for this ID's first call; 0 before it."""

    counted: int = 0
    """Attempts used up."""

    bad_answers: int = 0
    """Of these, answers without a link that can be used."""

    repeated: set[str] = field(default_factory=set, repr=False)
    """Links that came for another ID just before."""


class RequestLimiter:
    """For one event loop. `spread` gives numbers in [0, 1), so that clients do not march in step."""

    def __init__(
        self,
        *,
        concurrency: int,
        rate: float | None,
        patience_s: float,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._concurrency = concurrency
        self._patience_s = patience_s
        self._spread = spread
        self._pace = RateController(ceiling=rate, now=time.monotonic())
        self._window = 1
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[Permit]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed_until = 0.0
        self._tickets = 0
        self._last_through = time.monotonic()
        self._told_until = 0.0
        self._told_s = 0.0
        self._got_through = 0
        """Number of the latest call that got through; 0 while none did."""
        self._failing: dict[str, bool] = {}
        """IDs that failed since anything got through -> whether that was counted against them."""
        self._unreached = False
        self._pauses = 0
        self._paused_at = -math.inf
        self._refused_in_vain = 0

    @property
    def in_flight(self) -> int:
        """Tickets that are out."""
        return self._in_flight

    async def enter(self) -> Permit:
        """Wait until a call may start. The caller must hand the permit back with one of the methods below."""
        if not self._waiting and self._may_start():
            return self._start()
        turn: asyncio.Future[Permit] = self._loop.create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in, and called off before it could set out
                self.not_used()
            raise

    def record_success(self, permit: Permit, *, widen: bool = True) -> None:
        """The server answered for this ID, whatever it said."""
        self._in_flight -= 1
        self._got_through = max(self._got_through, permit.number)
        self._last_through = time.monotonic()
        self._pace.let_through(permit.started, self._last_through)
        self._told_s = 0.0
        self._failing.clear()
        self._pauses = 0
        if widen and self._window < self._concurrency:
            self._window += 1
        self._let_in()

    def answered(self) -> None:
        """The server answered, but about the token or the whole run: the limiter becomes no wider for it."""
        self._in_flight -= 1
        self._last_through = time.monotonic()
        self._let_in()

    def throttled(self, permit: Permit, told_s: float | None) -> float:
        """The server refused the call for now. Seconds that the caller waits before it enters again.

        Raises Unreachable when the server says to come back later than a run can wait, or refused all calls so far.
        """
        self._in_flight -= 1
        now = time.monotonic()
        self._pace.refused(permit.started, now)
        if told_s is not None:
            self.retry_after(told_s)
        wait = FIRST_PAUSE_S + self._spread() if told_s is None else told_s
        if not self._got_through:
            # Refused from the start: everybody waits, and longer each time, so that few calls are made in vain.
            self._refused_in_vain += 1
            if self._refused_in_vain >= CALLS_IN_VAIN:
                raise come_back_later(wait) if told_s is not None else _refused_in_vain()
            wait = max(wait, self._next_pause())
            self._closed_until = max(self._closed_until, now + wait)
        self._let_in()
        return wait

    def retry_after(self, wait_s: float) -> None:
        """The server said how long to wait; that much is no silence. Raises Unreachable when it is too long."""
        if wait_s > LONGEST_TOLD_WAIT_S:
            raise come_back_later(wait_s)
        now = time.monotonic()
        self._told_s += max(0.0, now + wait_s - max(self._told_until, now))
        self._told_until = max(self._told_until, now + wait_s)

    def failed(self, permit: Permit, failures: FailureCount, *, reached: bool, untried: bool) -> None:
        """The call failed. Counts it against the ID only where others got through.

        Evidence that they do: hardly any other ID fails; or, once no ID is left `untried`, one that was sent after this
        ID's first call got through. A call that never reached the server says nothing about an ID.
        """
        self._in_flight -= 1
        self._unreached = not reached
        if reached:
            self._pace.let_through(permit.started, time.monotonic())
        outage = not self._got_through or len(self._failing.keys() | {failures.external_id}) >= _OUTAGE_FROM
        counts = reached and (not outage or (not untried and self._got_through > failures.first_call))
        self._failing[failures.external_id] = counts
        failures.counted += counts
        if outage and (untried or not self._got_through or not reached):
            self._window = 1
            # Those that were under way together fail for one reason, and the pause grows once for them.
            if permit.started >= self._paused_at:
                self._paused_at = time.monotonic()
                self._closed_until = max(self._closed_until, self._paused_at + self._next_pause())
        self._let_in()

    def record_given_up(self, failures: FailureCount) -> None:
        """This ID is not asked for again, so it tells nothing about the server any more."""
        self._failing.pop(failures.external_id, None)

    def not_used(self) -> None:
        """The permit's call was not made, or was called off."""
        self._in_flight -= 1
        self._let_in()

    def seconds_without_success(self) -> float:
        """How long nothing has got through beyond what the server told us to wait."""
        return time.monotonic() - self._last_through - min(self._told_s, LONGEST_TOLD_WAIT_S)

    @property
    def only_stragglers(self) -> bool:
        """Whether the silence is that of a few IDs which fail, each for itself: they give up by their own count."""
        if not self._got_through or not self._failing or self._unreached:
            return False
        return len(self._failing) < _OUTAGE_FROM or all(self._failing.values())

    def pause_s(self, retries: int) -> float:
        """Seconds before retry number `retries` (1 is the first): exponential back-off with jitter."""
        return self._spread() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(retries - 1, 10))

    def _next_pause(self) -> float:
        self._pauses += 1
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._pauses - 1, 10))
        return min(longest * (0.75 + self._spread() / 2), max(0.2, self._patience_s / 4))

    def _may_start(self) -> bool:
        now = time.monotonic()
        return self._in_flight < self._window and now >= self._closed_until and self._pace.wait_s(now) <= 0.0

    def _start(self) -> Permit:
        now = time.monotonic()
        self._pace.started(now)
        self._in_flight += 1
        self._tickets += 1
        return Permit(self._tickets, now)

    def _let_in(self) -> None:
        """Let in whoever may, and see to it that the limiter is looked at again when the next one may."""
        while self._waiting and self._may_start():
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(self._start())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._in_flight < self._window:
            now = time.monotonic()
            delay = max(self._closed_until - now, self._pace.wait_s(now), self._pace.shortest_timer_s)
            self._timer = self._loop.call_later(delay, self._let_in)


def _refused_in_vain() -> Unreachable:
    return Unreachable(f"HealthEx refused all of {CALLS_IN_VAIN} calls and does not say for how long. Try again later.")


def come_back_later(wait_s: float) -> Unreachable:
    """What ends a run that was told to wait for longer than it can."""
    when = (datetime.now().astimezone() + timedelta(seconds=min(wait_s, _LONGEST_SAID_S))).strftime("%Y-%m-%d %H:%M %Z")
    return Unreachable(f"HealthEx says to come back later: not before {when}. Try again then.")
