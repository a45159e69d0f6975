"""How far a run is: a bar for those who watch, a line a minute for those who do not."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from batchlinks.streams import forgiving

_LINE_EVERY_S = 60.0


class Progress(Protocol):
    """Is told of every ID that is settled. Counts only; never an ID."""

    def start(self, total: int) -> None:
        """`total` IDs are going to be asked for."""

    def advance(self, *, linked: bool) -> None:
        """One more ID has its outcome."""

    def finish(self) -> None:
        """No more will come, whether or not all are settled."""


class Silent:
    """Shows nothing."""

    def start(self, total: int) -> None:
        """Nothing to show."""

    def advance(self, *, linked: bool) -> None:
        """Nothing to show."""

    def finish(self) -> None:
        """Nothing to show."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is, in patients whose link is asked for."""

    total: int
    linked: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Those who have their outcome."""
        return self.linked + self.refused


class Told:
    """Tells a program how far it is: at the start, at the end, and in between every so often."""

    _EVERY_S = 0.1

    def __init__(self, listener: Callable[[RunProgress], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._listener = listener
        self._clock = clock
        self._total = self._linked = self._refused = 0
        self._last = 0.0

    def start(self, total: int) -> None:
        self._total, self._linked, self._refused = total, 0, 0
        self._tell()

    def advance(self, *, linked: bool) -> None:
        self._linked += linked
        self._refused += not linked
        if self._clock() - self._last >= self._EVERY_S:
            self._tell()

    def finish(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self._last = self._clock()
        self._listener(RunProgress(self._total, self._linked, self._refused))


class Bar:
    """A bar with rate, time left, and how many came out well and how many did not, in the words of `done` and `failed`."""

    def __init__(self, stream: TextIO = sys.stderr, *, done: str = "linked", failed: str = "refused") -> None:
        self._done, self._failed = done, failed
        self._stream = forgiving(stream)
        self._bar: tqdm[Any] | None = None
        self._linked = self._refused = 0

    def start(self, total: int) -> None:
        self._bar = tqdm(total=total, file=self._stream, unit=" patients", dynamic_ncols=True, smoothing=0.1)

    def advance(self, *, linked: bool) -> None:
        if self._bar is None:
            return
        self._linked += linked
        self._refused += not linked
        self._bar.set_postfix_str(f"{self._done} {self._linked:,}, {self._failed} {self._refused:,}", refresh=False)
        self._bar.update()

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Lines:
    """A line a minute. `say` writes it; `clock` gives seconds that only grow."""

    def __init__(
        self,
        say: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
        *,
        done: str = "linked",
        failed: str = "refused",
    ) -> None:
        self._words = done, failed
        self._say = say
        self._clock = clock
        self._total = self._linked = self._refused = 0
        self._started = self._last = 0.0

    def start(self, total: int) -> None:
        self._total = total
        self._started = self._last = self._clock()

    def advance(self, *, linked: bool) -> None:
        self._linked += linked
        self._refused += not linked
        now = self._clock()
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            done = self._linked + self._refused
            rate = done / (now - self._started)
            left = (self._total - done) / rate
            self._say(
                f"{done:,} of {self._total:,} patients settled, {rate:,.0f} a second, about {left / 60:,.0f} min left; "
                f"{self._words[0]} {self._linked:,}, {self._words[1]} {self._refused:,}",
                done=done,
                total=self._total,
                linked=self._linked,
                refused=self._refused,
            )

    def finish(self) -> None:
        """Nothing to tidy up."""
