"""What runs on a worker of the cluster: it makes the calls that it is handed, and keeps the answers until they are fetched."""

import asyncio
import importlib.metadata
import platform
import signal
from contextlib import suppress
from typing import Any

from batchlinks.errors import BatchlinksError, defect
from batchlinks.healthex.api import Answer, HealthExApi
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.version import __version__

HOLD_S = 1.0
"""How long a worker that has no answer lets the command wait for one."""

_ABANDONED_S = 300.0
"""A worker that no command has asked for answers for so long drops what it has."""


class Sealed:
    """What goes between command and workers. Dask prints what it sends in some of its messages; this prints as nothing."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content

    def __repr__(self) -> str:
        return "<sealed>"

    def __reduce__(self) -> tuple[type["Sealed"], tuple[Any]]:
        return Sealed, (self.content,)


class Caller:
    """Makes the calls that it is handed, and keeps the answers until they are fetched. Lives on a worker, as a Dask actor."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._api = HealthExApi(endpoint, timeout_s=timeout_s)
        self._calls: set[asyncio.Task[None]] = set()
        self._answers: list[tuple[str, Answer | BatchlinksError]] = []
        self._answered = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, ids_by_token: Sealed, *, distrust_connections: bool = False) -> None:
        """Start a call for each of these IDs: token -> IDs. `distrust_connections`: on new connections only."""
        self._require_open()
        if distrust_connections:
            self._api.distrust_connections()
        for token, external_ids in ids_by_token.content.items():
            for external_id in external_ids:
                call = asyncio.create_task(self._call(external_id, token))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)

    async def answers(self, gather_s: float) -> Sealed:
        """All answers so far, each with its ID. A defect or error is an answer too.

        Waits for the first, but not for long, and then `gather_s` seconds for others.
        """
        self._require_open()
        self._reset_alarm()
        with suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                await self._answered.wait()
            await asyncio.sleep(gather_s)
        self._answered.clear()
        answers, self._answers = self._answers, []
        return Sealed(answers)

    async def close(self) -> None:
        """Drop everything."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for call in self._calls:
            call.cancel()
        await self._api.__aexit__(None, None, None)

    async def _call(self, external_id: str, token: str) -> None:
        answer: Answer | BatchlinksError
        try:
            answer = await self._api.ask_link(external_id, token)
        except BatchlinksError as error:
            answer = error
        except Exception as error:  # what it says may hold the ID, so it is not sent as it is
            answer = BatchlinksError(defect(error))
        self._answers.append((external_id, answer))
        self._answered.set()

    def _require_open(self) -> None:
        if (
            self._closed
        ):  # a command that slept for long comes back: to it this worker is lost, and it gets another caller
            raise RuntimeError("closed")

    def _reset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(_ABANDONED_S, lambda: loop.create_task(self.close()))


def versions() -> tuple[str, str, str]:
    """What must be the same on every computer: versions of batchlinks, of Python, of Dask."""
    python = ".".join(platform.python_version_tuple()[:2])
    return __version__, python, importlib.metadata.version("distributed")


def dask_setup(_worker: object) -> None:
    """For workers on this computer: Ctrl-C is for the command, which lets them finish the calls that are under way.

    Dask calls it in each, since this module is preloaded there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
