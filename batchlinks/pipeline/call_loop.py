"""What calls of every kind need of a run: how hard to try, an event loop of their own, and word of an interruption."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pyarrow as pa

from batchlinks.config.settings import RunSettings
from batchlinks.healthex.outcomes import RequestPolicy
from batchlinks.signals import Interruption


def request_policy(settings: RunSettings, patients: int, *, project_verified: bool = False) -> RequestPolicy:
    """As the settings say, for so many patients."""
    return RequestPolicy(
        concurrency=min(settings.concurrency, patients),
        rate=settings.rate,
        max_attempts=settings.max_attempts,
        timeout_s=settings.timeout,
        patience_s=settings.patience,
        project_verified=project_verified,
    )


def run_until_told_to_stop(
    calls: Callable[[asyncio.Event], Coroutine[Any, Any, None]], interruption: Interruption
) -> None:
    """Make these calls; the event that they are given is set when an interruption arrives. Raises what they raise."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_call(calls, interruption))


async def _call(calls: Callable[[asyncio.Event], Coroutine[Any, Any, None]], interruption: Interruption) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    with interruption.calls(lambda: loop.call_soon_threadsafe(stopping.set)):
        if interruption.happened:  # just before
            stopping.set()
        await calls(stopping)


def one_by_one(ids: pa.Array) -> Iterator[str]:
    """The texts of an array, of which never more than some thousands are there at once."""
    for start in range(0, len(ids), 4096):
        yield from ids[start : start + 4096].to_pylist()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None  # there is no uvloop for it
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
