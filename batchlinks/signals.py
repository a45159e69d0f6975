"""Ctrl-C and SIGTERM: while calls are made they end the run in good order; while files are written they wait."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """What happens when this process is told to stop. Without `installed`, nothing is changed."""

    def __init__(self) -> None:
        self._react: Callable[[], object] | None = None
        self.happened = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over both signals; for the main thread of a command."""
        before = {number: signal.signal(number, self._arrived) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                # An interrupted command is about to end with its own exit code, however often it is told again.
                signal.signal(number, signal.SIG_IGN if self.happened else handler)

    @contextmanager
    def calls(self, react: Callable[[], object]) -> Iterator[None]:
        """Within, an interruption calls `react` (which may do nothing) instead of raising KeyboardInterrupt."""
        before, self._react = self._react, react
        try:
            yield
        finally:
            self._react = before

    @contextmanager
    def deferrable(self) -> Iterator[Callable[[], None]]:
        """Once what this gives was called, an interruption waits until the block ends: files are written first."""
        with ExitStack() as until_the_end:
            yield lambda: until_the_end.enter_context(self.calls(lambda: None))

    def request(self) -> None:
        """Ask for the same orderly end from another thread: calls end, and what was answered is written."""
        self.happened = True
        if self._react is not None:
            self._react()

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        again, self.happened = self.happened, True
        if self._react is not None:
            self._react()
        elif not again:  # whoever presses twice gets the same orderly end
            raise KeyboardInterrupt
