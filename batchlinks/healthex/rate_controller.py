"""How fast to call a server that publishes no limit. Pure: the clock comes in as seconds that only grow.

The rate doubles until a call is refused. From then on two refusals tell more than one: whatever stock of calls the server
had is used up at both, so what it let through in between is its limit. The rate goes just below that, stays as
long as it takes to pay for another refusal, and then grows, ever faster, so that a limit that was raised is found again.

How far a limit can be trusted shows with time: growth is quick at first and slower after every refusal.
"""

import math
from collections import deque
from dataclasses import dataclass, field

START = 25.0
"""Calls a second at the beginning."""

UNLIMITED = 20_000.0
"""Calls a second beyond which no pacing is felt; nobody has refused so far."""

_SLOWEST = 0.2
_LOOK_EVERY_S = 0.1

# Before any refusal the rate doubles so quickly; half a second later, when the limit is at least not among the low ones,
# it does so more quickly still.
_DOUBLES_S = 0.25
_CAREFUL_S = 0.5
_THEN_DOUBLES_S = 0.18

_FIRST_CUT = 4.0
"""At the first refusal nobody knows by how much the rate is too high."""

_RECOVERS_S = 0.5
"""Below a rate that is known to be welcome, the rate doubles so quickly."""

_LEAST_MARGIN, _MOST_MARGIN = 0.005, 0.02
_MARGIN_CALLS = 2.0
"""How far below a limit to stay, as a share of it: so many calls, since no count is exact to less."""

_CREEP = 0.03
_QUICK_CREEP_S, _SLOWEST_CREEP_S = 0.7, 4.0
_CREEP_SLOWS = 1.5
"""Above a limit as it was measured, the rate has grown by 3 % after so many seconds, by 9 % after twice as many, by 21 %
after three times. That is slower after every refusal."""

_CREEP_CALLS = 70.0
"""A low limit is crept up to slowly from the start: so many calls for each of these steps."""

_FAR, _FAR_LOW = 0.18, 200.0
_FAR_TOO_CLOSE = 0.5
"""Growth is quicker than by 3 % where the limit may be far above what was measured: this share of the way to the rate that
was refused. Below so many calls a second it is less, where that is known badly."""

_CERTAIN = 1.3
"""The rate refused, over what was measured: from here on one of them does not tell the limit."""

_REFUSALS_A_CALL = 0.006
"""What refusals are meant to be, as a share of all calls: the limit promised is 1 %."""
_MOST_CREDIT, _MOST_DEBT = 3.0, 6.0
_LONGEST_HOLD_S = 25.0

_ENOUGH_CALLS, _PLENTY_OF_CALLS = 16, 200
_TELLING_S, _ENOUGH_S, _LONG_S = 0.1, 0.5, 2.0
"""Refusals that lie closer together than half a second tell that the rate is too high, but not by how much. With plenty of
calls in between a tenth of a second is enough, with few of them it takes two."""

_OF_RATE_AFTER_FEW = 0.7
_MEASURED_S = 6.0
_TOO_CLOSE_CUT = 0.5
_EVERY_TOO_CLOSE = 0.93
_SLIGHTLY, _TIMES_SLIGHTLY = 1.05, 3
_EVERY_SLIGHTLY, _MOST_SLIGHTLY = 0.97, 0.9

_SAME_STOCK = 1.5
"""The first rate refused over the second one: below it, the stock of the server is small and was full both times."""

_WINDOW_S = 1.0
_OF_WINDOW = 0.5
"""Servers that count calls by the second refuse all that is left of it: the limit is not far below what that second had."""

_LEEWAY_CALLS = 2.0
"""The stock that a server is left to build up after a refusal; it may be able to hold less, and so have let through more."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 1.0

_TIMER_S = 0.001
"""What timers are exact to: a shorter one goes off at once, and would be set again and again until it is time."""

_CATCH_UP_S = 0.01
"""What late timers missed is made up for, but no more than that of it, or one call."""

_CATCH_UP_WITHIN_CEILING_S = 0.002

_AT_ONCE_FROM = 500.0
"""Calls a second from which on it is made up for at once. Below, little by little, since calls that follow one another
more closely than the limit has it are refused by servers that hold no stock."""


@dataclass(slots=True)
class RateController:
    """Calls a second that all workers share. Times are seconds of one monotonic clock."""

    ceiling: float | None = None
    """`--rate`: never more than this."""

    now: float = 0.0
    rate: float = field(init=False)
    _next: float = field(init=False)
    """When the next call may start."""

    _behind: float = field(init=False, default=0.0)
    """Seconds that timers were late, and that calls to come are to make up for."""

    _growth: "_Growth" = field(init=False)
    _looked: float = field(init=False)
    _sent: int = field(init=False, default=0)
    """Calls since the rate was last looked at: one that is not used up says nothing about the limit."""

    _limit: "_Limit" = field(init=False)
    _credit: float = field(init=False, default=_MOST_CREDIT)
    """Refusals that may be caused."""

    _cost: int = field(init=False, default=0)
    """Refusals since the rate was last cut."""

    _probing: bool = field(init=False, default=False)
    """Since that cut nothing got through: one call at a time finds out when the server is ready again."""

    _pause_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.rate = self._capped(START)
        self._next = self._looked = self.now
        self._growth = _Growth(self.rate, self.now)
        self._limit = _Limit(self.now)

    def wait_s(self, now: float) -> float:
        """Seconds until the next call may start; 0 for at once."""
        return max(0.0, self._next - now)

    @property
    def shortest_timer_s(self) -> float:
        """Seconds that a timer for the next call may be late, since what it misses is made up for."""
        return _TIMER_S if self.rate > _AT_ONCE_FROM else 0.0

    def started(self, now: float) -> None:
        """A call starts at `now`."""
        interval = 1.0 / self.rate
        most = max(_CATCH_UP_S, interval) if self.ceiling is None else _CATCH_UP_WITHIN_CEILING_S
        behind = min(most, self._behind + max(0.0, now - self._next))
        made_up = behind * min(1.0, self.rate / _AT_ONCE_FROM)
        self._behind = behind - made_up
        self._next = now + interval - made_up
        if self.ceiling is not None and self.ceiling <= _AT_ONCE_FROM:  # never exceeded, not even for that long
            self._next = max(self._next, now + 1.0 / self.ceiling)
        if self._probing:
            self._next = max(self._next, now + self._pause_s)
        self._sent += 1
        if now - self._looked >= _LOOK_EVERY_S:
            self._grow(now)

    def let_through(self, sent_at: float, now: float) -> None:
        """A call that started at `sent_at` was answered, and not with a refusal."""
        self._limit.answered(now)
        self._credit = min(_MOST_CREDIT, self._credit + _REFUSALS_A_CALL)
        if self._probing and sent_at >= self._limit.refused_at:
            self._probing = False
            self._next = now + 1.0 / self.rate
            self._growth.not_before(now)

    def refused(self, sent_at: float, now: float) -> None:
        """A call that started at `sent_at` was answered 429 or 503 with Retry-After."""
        self._credit = max(-_MOST_DEBT, self._credit - 1.0)
        self._cost += 1
        if self._limit.ever_refused and sent_at < self._limit.refused_at:
            return  # it was under way when the rate was cut, and is refused for the same reason
        if self._probing:
            self._limit.refused_at = now
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)
        else:
            refused_rate = self._capped(self._growth.at(sent_at))
            self._growth = self._limit.after_refusal(refused_rate, self._growth, now)
            self.rate = self._growth.rate = self._capped(self._growth.rate)
            self._cost = 1
            self._pause_s = max(_SHORTEST_PAUSE_S, _LEEWAY_CALLS / self.rate)
        self._probing = True
        self._looked, self._sent = now, 0
        self._next = max(self._next, now + self._pause_s)

    def _grow(self, now: float) -> None:
        elapsed, used = now - self._looked, self._sent >= 0.7 * self.rate * (now - self._looked)
        self._looked, self._sent = now, 0
        if not used:
            self._growth.wait(elapsed)
            return
        if self._growth.recovered(now):
            debt_s = max(0.0, self._cost - self._credit) / (_REFUSALS_A_CALL * self.rate)
            # A limit that is not well known yet is worth a refusal more.
            trusted = (self._growth.creep_s / _SLOWEST_CREEP_S) ** 2
            self._growth.hold(min(_LONGEST_HOLD_S, debt_s) * trusted)
        self.rate = self._capped(self._growth.at(now))

    def _capped(self, rate: float) -> float:
        most = self.ceiling or UNLIMITED
        if self.ceiling is not None and self.ceiling > _AT_ONCE_FROM:
            most *= 1.0 - 2.0 * _CATCH_UP_WITHIN_CEILING_S  # leaves room in every second for what is made up for
        return max(_SLOWEST, min(rate, most, UNLIMITED))


@dataclass(slots=True)
class _Growth:
    """How the rate grows from one refusal to the next: fast up to `known`, then not at all, then ever faster."""

    rate: float
    """Calls a second at its beginning."""

    since: float
    known: float = UNLIMITED
    """Calls a second that are welcome, as far as can be told."""

    doubles_s: float | None = None
    """None before the first refusal."""

    creep_s: float = _QUICK_CREEP_S
    creep: float = _CREEP
    _creeps_from: float | None = None
    """When the rate starts to exceed what is known; None while it is below."""

    def at(self, now: float) -> float:
        """Calls a second."""
        if self._creeps_from is None:
            return min(self.known, self.rate * math.exp2(self._doublings(max(0.0, now - self.since))))
        return self._creeping(now)

    def shortly_before(self, now: float) -> float | None:
        """The rate that held for a while before a refusal at `now`; None where it had not grown long enough to tell."""
        if self._creeps_from is None:
            return None
        while_s = min(1.0, 0.5 * self.creep_s)
        return self._creeping(now - while_s) if now - self._creeps_from > 2 * while_s else None

    @property
    def is_recovering(self) -> bool:
        """Whether it is still below what is known."""
        return self._creeps_from is None

    def recovered(self, now: float) -> bool:
        """Whether it has just come to what is known; true once."""
        if self._creeps_from is not None or self.at(now) < self.known:
            return False
        self._creeps_from = now
        return True

    def hold(self, seconds: float) -> None:
        """Stay at what is known for so long."""
        self._creeps_from = (self._creeps_from or 0.0) + seconds

    def wait(self, seconds: float) -> None:
        """Time that does not count, since the rate was not used."""
        self.since += seconds
        if self._creeps_from is not None:
            self._creeps_from += seconds

    def not_before(self, now: float) -> None:
        """The server was not ready until now."""
        self.since = max(self.since, now)

    def _doublings(self, seconds: float) -> float:
        if self.doubles_s is not None:
            return seconds / self.doubles_s
        careful_s = min(seconds, _CAREFUL_S)
        return careful_s / _DOUBLES_S + (seconds - careful_s) / _THEN_DOUBLES_S

    def _creeping(self, now: float) -> float:
        assert self._creeps_from is not None  # noqa: S101 - whoever calls it has looked
        exponent = max(0.0, now - self._creeps_from) / self.creep_s
        return self.known * (1.0 + self.creep * (math.exp2(min(exponent, 12.0)) - 1.0))


@dataclass(slots=True)
class _Limit:
    """What the refusals so far tell about the server's limit."""

    since: float
    """When what is measured began: at a refusal, once there was one."""

    refused_at: float = 0.0
    """When the server was last known to have nothing left. What was sent before says nothing new."""

    let_through: int = 0
    """Calls since the last cut."""

    _answered_at: deque[float] = field(default_factory=deque)
    """When calls were let through, up to a second before the latest."""

    ever_refused: bool = False
    _first_rate: float | None = None
    """Calls a second at the first refusal, until the second one."""

    _cut_at: float = 0.0
    _measured: int = 0
    """Calls let through since `since`, up to the last cut."""

    _too_close: int = 0
    """Refusals in a row that came too soon after the one before to measure anything."""

    def answered(self, now: float) -> None:
        """A call was let through."""
        self.let_through += 1
        self._answered_at.append(now)
        while self._answered_at[0] < now - _WINDOW_S:
            self._answered_at.popleft()

    def after_refusal(self, rate: float, growth: _Growth, now: float) -> _Growth:
        """How to go on after a call that was sent at `rate` was refused at `now`."""
        calls, self.let_through = self.let_through, 0
        elapsed, self._cut_at, self.refused_at = now - self._cut_at, now, now
        if not self.ever_refused:
            self.ever_refused = True
            self._first_rate = rate
            self._start_anew(now)
            return _Growth(rate / _FIRST_CUT, now, doubles_s=_RECOVERS_S)
        self._measured += calls
        measured = (self._measured + _LEEWAY_CALLS) / max(now - self.since, 1e-3)
        few = calls < _ENOUGH_CALLS
        enough_s = _LONG_S if few else _ENOUGH_S if calls < _PLENTY_OF_CALLS else _TELLING_S
        if elapsed < enough_s:
            return self._after_one_too_close(rate, measured, calls, elapsed, growth, now)
        return self._after_measuring(rate, measured, calls, growth, now)

    def _after_measuring(self, rate: float, measured: float, calls: int, growth: _Growth, now: float) -> _Growth:
        few = calls < _ENOUGH_CALLS
        margin = min(_MOST_MARGIN, max(_LEAST_MARGIN, _MARGIN_CALLS / max(1, calls)))
        known = (1.0 - margin) * min(rate, max(measured, self._also_possible(rate, measured, growth, now)))
        if few:
            known = max(known, _OF_RATE_AFTER_FEW * rate)
        self._start_anew(now)
        creep_s = _first_creep_s(rate, known)
        # A limit that turned out far higher is another one. Whoever gets few calls through may share it, and is to catch up.
        if not few and rate <= _CERTAIN * growth.known:
            creep_s = min(_SLOWEST_CREEP_S, max(creep_s, _CREEP_SLOWS * growth.creep_s))
        return _Growth(known, now, known, _RECOVERS_S, creep_s, _creep(rate, known, _FAR))

    def _after_one_too_close(
        self, rate: float, measured: float, calls: int, elapsed: float, growth: _Growth, now: float
    ) -> _Growth:
        slightly = (
            calls >= _ENOUGH_CALLS
            and self._too_close < _TIMES_SLIGHTLY
            and growth.known <= rate <= _SLIGHTLY * growth.known
        )
        known = self._while_too_close(rate, measured, calls, elapsed, now)
        if slightly:  # what is known was a little too much; if it was more, the next refusal says so at once
            known = min(
                _EVERY_SLIGHTLY * growth.known, max(_MOST_SLIGHTLY * growth.known, (1.0 - _MOST_MARGIN) * measured)
            )
            return _Growth(known, now, known, _RECOVERS_S, growth.creep_s)
        creep_s = max(_first_creep_s(rate, known), growth.creep_s / 2)
        far = min(_FAR_TOO_CLOSE, known / _FAR_LOW)
        return _Growth(_TOO_CLOSE_CUT * known, now, known, _RECOVERS_S, creep_s, _creep(rate, known, far))

    def _while_too_close(self, rate: float, measured: float, calls: int, elapsed: float, now: float) -> float:
        """What is welcome at most, after one refusal close upon another: the limit fell, or was never that high."""
        if self._measured < _ENOUGH_CALLS or now - self.since <= _ENOUGH_S:
            measured = rate
        known = min(rate, (1.0 - _MOST_MARGIN) * measured) * _EVERY_TOO_CLOSE**self._too_close
        if elapsed >= _TELLING_S:
            known = min(known, (calls + _LEEWAY_CALLS) / elapsed)
        self._too_close += 1
        if now - self.since > _MEASURED_S:
            self.since, self._measured = now, 0
        return max(known, _OF_WINDOW * len(self._answered_at) / _WINDOW_S)

    def _start_anew(self, now: float) -> None:
        self.since, self._measured, self._too_close = now, 0, 0

    def _also_possible(self, rate: float, measured: float, growth: _Growth, now: float) -> float:
        """A limit higher than `measured`, where the server could not keep what was not used for later."""
        if not growth.is_recovering:
            before = growth.shortly_before(now)
            return math.sqrt(measured * before) if before is not None else 0.0
        first, self._first_rate = self._first_rate, None
        if first is not None and first < _SAME_STOCK * rate:
            return _limit_below(first, rate)
        return math.sqrt(measured * rate / math.sqrt(2.0))  # in one sweep from far below to far above


def _limit_below(first: float, second: float) -> float:
    """The limit of a server that refused at these two rates on the way up, each time when a stock was used up.

    A rate that grows by the factor exp(k t) exceeds the limit R by R x after x / k seconds, and has by then used up a stock
    of R x^2 / 2k calls. So each refusal comes at the rate R (1 + sqrt(2k b)), b being the stock in seconds of the limit, and
    two refusals at different k tell both R and b.
    """
    of_first, of_second = (math.sqrt(2.0 * math.log(2.0) / doubles_s) for doubles_s in (_THEN_DOUBLES_S, _RECOVERS_S))
    ratio = max(1.0, first / second)
    return second / (1.0 + of_second * (ratio - 1.0) / (of_first - of_second * ratio))


def _first_creep_s(rate: float, known: float) -> float:
    """How quickly to look beyond `known`, when `rate` was refused."""
    if rate >= _CERTAIN * known:
        return _QUICK_CREEP_S
    return min(_SLOWEST_CREEP_S, max(_QUICK_CREEP_S, _CREEP_CALLS / known))


def _creep(rate: float, known: float, far: float) -> float:
    return max(_CREEP, far * (rate / known - 1.0))
