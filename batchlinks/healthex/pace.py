"""How fast to call a server that publishes no limit. Pure: the clock comes in as seconds that only grow.

The rate grows until a call is refused, closes in on the limit between the highest rate that was welcome and the
lowest that was not, and from then on creeps upwards, so that a limit that was raised is found again. Only
one thing makes it slower: a refusal of a call that was sent since the rate was last cut, since all that were in
flight at that moment are refused for the same reason.
"""

from dataclasses import dataclass, field

START = 50.0
"""Calls a second at the beginning."""

UNLIMITED = 20_000.0
"""Calls a second beyond which no pacing is felt; nobody has refused so far."""

_GROWTH = 2.0
_GROWTH_EVERY_S = 0.25
_TRIAL_S = 1.0
_CLOSE_ENOUGH = 1.03
_CREEP = 0.007
_CREEP_DOUBLES_S = 6.0
_CUT = 0.94
_SLOWEST = 0.2


@dataclass(slots=True)
class Pace:
    """Calls a second that all workers share. Times are seconds of one monotonic clock."""

    ceiling: float | None = None
    """`--rate`: never more than this."""

    now: float = 0.0
    rate: float = field(init=False)
    _good: float = field(init=False, default=0.0)
    _bad: float = field(init=False, default=0.0)
    """The lowest rate that was refused; 0 while none was."""

    _since: float = field(init=False)
    """When the rate was last changed."""

    _cut_at: float = field(init=False)
    _quiet_since: float = field(init=False)
    """Since when no call was refused."""

    _sent: int = field(init=False, default=0)
    """Calls since the rate was last changed: a rate that was not used up says nothing about the limit."""

    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self.rate = self._capped(START)
        self._since = self._cut_at = self._quiet_since = self._next = self.now

    def wait_s(self, now: float) -> float:
        """Seconds until the next call may start; 0 for at once."""
        return max(0.0, self._next - now)

    def started(self, now: float) -> None:
        """A call starts at `now`."""
        # What a late timer missed is made up for, but no more than a hundredth of a second of it.
        self._next = max(self._next, now - 0.01) + 1.0 / self.rate
        if self.ceiling is not None:  # never exceeded, not even for that long
            self._next = max(self._next, now + 1.0 / self.ceiling)
        self._sent += 1
        self._grow(now)

    def refused(self, sent_at: float, now: float) -> None:
        """A call that started at `sent_at` was answered 429 or 503 with Retry-After."""
        self._quiet_since = now
        if sent_at < self._cut_at:
            return
        closing_in = self._bad == 0.0 or self._bad > self._good * _CLOSE_ENOUGH
        self._bad = self.rate
        if closing_in:
            self._change((self._good + self.rate) / 2 if 0 < self._good < self.rate else self.rate / 2, now)
        else:
            self._change(self.rate * _CUT, now)
        self._good = min(self._good, self.rate)
        self._cut_at = now
        self._next = max(self._next, now + 1.0 / self.rate)

    def _grow(self, now: float) -> None:
        elapsed = now - self._since
        if self._sent < 0.7 * self.rate * elapsed:
            return
        if self._bad == 0.0:
            if elapsed >= _GROWTH_EVERY_S:
                self._good = self.rate
                self._change(self.rate * _GROWTH, now)
        elif elapsed >= _TRIAL_S:
            self._good = self.rate
            if self._bad > self.rate * _CLOSE_ENOUGH:
                self._change((self.rate + self._bad) / 2, now)
            else:
                creep = _CREEP * 2 ** min((now - self._quiet_since) / _CREEP_DOUBLES_S, 6.0)
                self._change(self.rate * (1 + creep * elapsed), now)
                self._bad = max(self._bad, self.rate)

    def _change(self, rate: float, now: float) -> None:
        self.rate = self._capped(rate)
        self._since = now
        self._sent = 0

    def _capped(self, rate: float) -> float:
        return max(_SLOWEST, min(rate, self.ceiling or UNLIMITED, UNLIMITED))
