"""How far a run is: a bar for those who watch, a line a minute for those who do not."""

import sys
import time
from collections.abc import Callable
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


class Bar:
    """A bar with rate, time left, and how many were linked and refused."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
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
        self._bar.set_postfix_str(f"linked {self._linked:,}, refused {self._refused:,}", refresh=False)
        self._bar.update()

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Lines:
    """A line a minute. `say` writes it; `clock` gives seconds that only grow."""

    def __init__(self, say: Callable[..., None], clock: Callable[[], float] = time.monotonic) -> None:
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
                f"linked {self._linked:,}, refused {self._refused:,}",
                done=done,
                total=self._total,
                linked=self._linked,
                refused=self._refused,
            )

    def finish(self) -> None:
        """Nothing to tidy up."""
