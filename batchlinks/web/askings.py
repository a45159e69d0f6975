"""Lists about which HealthEx is being asked who has answered: so many at once, each list once.

One that was begun goes on until it has an outcome, whatever becomes of its worker or of the server: it begins anew, and
whom HealthEx was asked about is in the ledger.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.logs import logger
from batchlinks.web.job import AnswersOutcome, Task
from batchlinks.web.job_queue import kill_worker, start_worker
from batchlinks.web.uploads import StatusRequest, Upload, Uploads, now

_TRIES = 3
_PATIENCE_S = 10.0
"""How long a worker that is told to end may take to do so in good order."""

_GIVEN_UP = "Asking ended unexpectedly several times, because of a defect or too little memory. Contact IT."


class Askings:
    """To be used from one event loop."""

    def __init__(self, uploads: Uploads, task: Callable[[Upload], Task], at_once: int) -> None:
        """`task`: what a worker of this upload is told."""
        self._uploads = uploads
        self._task = task
        self._turns = asyncio.Semaphore(at_once)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Process] = {}
        self._closing = False

    def recover(self) -> None:
        """Every one that was begun and has no outcome begins anew: for the start of the server."""
        for upload in self._uploads.all():
            if self._uploads.is_asking(upload):
                self._enqueue(upload)

    def begin(self, upload: Upload, wanted: StatusRequest) -> None:
        """Ask about this list as soon as it is its turn."""
        self._uploads.ask(upload, wanted)
        self._enqueue(upload)

    async def cancel(self, upload: Upload) -> None:
        """End it at once, and return when nobody is at work on it. What was answered is in the ledger."""
        working = self._working.get(upload.id)
        if working is not None:
            working.cancel()
            await kill_worker(self._processes.get(upload.id))
            await asyncio.wait({working})

    async def close(self) -> None:
        """The server ends: what is at work ends in good order, and is begun anew by the next server."""
        self._closing = True
        for process in list(self._processes.values()):
            if process.returncode is None:
                process.terminate()
        for id, working in self._working.items():  # noqa: A001 what everybody calls it
            if id not in self._processes:
                working.cancel()
        if self._working:
            await asyncio.wait(self._working.values(), timeout=_PATIENCE_S)
        for process in list(self._processes.values()):
            await kill_worker(process)

    def _enqueue(self, upload: Upload) -> None:
        self._working[upload.id] = asyncio.create_task(self._work(upload))

    async def _work(self, upload: Upload) -> None:
        try:
            async with self._turns:
                await self._see_through(upload)
        except Exception as error:  # no process to be had, a full disk: this one says why it does not go on
            logger().error(defect(error), run=upload.id)
            with suppress(BatchlinksError):
                self._end(upload, defect(error))
        finally:
            self._working.pop(upload.id, None)
            self._processes.pop(upload.id, None)

    async def _see_through(self, upload: Upload) -> None:
        for _ in range(_TRIES):
            if self._closing:
                return
            process = self._processes[upload.id] = await start_worker(self._task(upload), answers=False)
            await process.wait()
            if self._closing or not self._uploads.is_asking(upload):
                return
            logger().warning(f"The process that asks about run {upload.id} ended before its time.", run=upload.id)
        self._end(upload, _GIVEN_UP)

    def _end(self, upload: Upload, message: str) -> None:
        wanted = self._uploads.status_request(upload)
        if wanted is not None:
            broken = AnswersOutcome(wanted.asked_at, int(ExitCode.BROKEN), message, ended_at=now())
            self._uploads.end_asking(upload, asdict(broken))
