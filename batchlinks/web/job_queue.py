"""Runs at work and runs in line: so many at once, the others in the order in which they were started.

A run that was started goes on until it has an outcome, whatever becomes of its worker or of the server: who is
in the line follows from the folders of the uploads alone.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from batchlinks.config.paths import import_path
from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.logs import logger
from batchlinks.web.job import JobOutcome, Task
from batchlinks.web.uploads import Upload, Uploads, now

_TRIES = 3
_PATIENCE_S = 10.0
"""How long a worker that is told to end may take to do so in good order."""

_GIVEN_UP = (
    "The run ended unexpectedly several times, because of a defect or too little memory. Contact IT. Links already received "
    "are saved."
)


class JobQueue:
    """To be used from one event loop."""

    def __init__(self, uploads: Uploads, task: Callable[[Upload], Task], at_once: int) -> None:
        """`task`: what a worker of this upload is told."""
        self._uploads = uploads
        self._task = task
        self._at_once = at_once
        self._waiting: dict[str, Upload] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, Process] = {}
        self._closing = False

    def recover(self) -> None:
        """Every run that was started and has no outcome goes on: for the start of the server."""
        unfinished = [
            upload for upload in self._uploads.all() if upload.started_at and self._uploads.outcome(upload) is None
        ]
        for upload in sorted(unfinished, key=lambda upload: upload.started_at or ""):
            self.enqueue(upload)

    def enqueue(self, upload: Upload) -> None:
        """Let it run as soon as it is its turn."""
        self._waiting[upload.id] = upload
        self._start_next()

    def place(self, upload: Upload) -> int | None:
        """1 for the next in line; None for one that does not wait."""
        return list(self._waiting).index(upload.id) + 1 if upload.id in self._waiting else None

    def has(self, upload: Upload) -> bool:
        """Whether it waits or is at work."""
        return upload.id in self._waiting or upload.id in self._working

    async def wait_until_ended(self, upload: Upload) -> None:
        """Wait for the process of a run that has its outcome already: it is gone in a moment."""
        if (working := self._working.get(upload.id)) is not None:
            await asyncio.wait({working}, timeout=_PATIENCE_S)

    async def cancel(self, upload: Upload) -> None:
        """Stop it, wherever it is, and return when nobody is at work on it."""
        self._waiting.pop(upload.id, None)
        working = self._working.get(upload.id)
        if working is None:
            return
        self._uploads.tell_to_stop(upload)
        done, _ = await asyncio.wait({working}, timeout=_PATIENCE_S)
        if not done:
            working.cancel()
            await kill_worker(self._processes.get(upload.id))
            await asyncio.wait({working})
        # A worker of an earlier server, for whose end that one was waiting, is told by the same file.
        await asyncio.to_thread(self._uploads.wait_until_idle, upload, _PATIENCE_S)

    def stop(self, upload: Upload) -> None:
        """Tell it to end in good order, and return at once."""
        if upload.id in self._working:
            self._uploads.tell_to_stop(upload)

    async def close(self) -> None:
        """The server ends: what is at work ends in good order, and is taken up by the next server."""
        self._closing = True
        self._waiting.clear()
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        if self._working:
            await asyncio.wait(self._working.values(), timeout=_PATIENCE_S)
        for process in self._processes.values():
            await kill_worker(process)

    def _start_next(self) -> None:
        while self._waiting and len(self._working) < self._at_once and not self._closing:
            upload = self._waiting.pop(next(iter(self._waiting)))
            self._working[upload.id] = asyncio.create_task(self._work(upload))

    async def _work(self, upload: Upload) -> None:
        try:
            await self._see_through(upload)
        except (
            Exception
        ) as error:  # no process to be had, a full disk: the others go on, and this one says why it does not
            logger().error(defect(error), run=upload.id)
            with suppress(BatchlinksError):
                self._uploads.end(upload, asdict(_broken(defect(error))))
        finally:
            self._working.pop(upload.id, None)
            self._processes.pop(upload.id, None)
            self._start_next()

    async def _see_through(self, upload: Upload) -> None:
        for _ in range(_TRIES):
            process = self._processes[upload.id] = await start_worker(self._task(upload), answers=False)
            await process.wait()
            if self._closing:
                return
            if (outcome := self._uploads.outcome(upload)) is not None:
                logger().info(f"Run {upload.id} ended with exit code {outcome['exit_code']}.", run=upload.id)
                return
            if (self._uploads.of(upload) / "stop").exists():
                # A worker of an earlier server may be at it still, and then it is the one that knows how far it came.
                await asyncio.to_thread(self._uploads.wait_until_idle, upload, _PATIENCE_S)
                if self._uploads.outcome(upload) is not None:
                    return
                stopped = JobOutcome(ExitCode.INTERRUPTED, "Stopped before it began.", {}, {}, [], 0, 0, now())
                self._uploads.end(upload, asdict(stopped))
                return
            logger().warning(f"The process of run {upload.id} ended before its time.", run=upload.id)
        self._uploads.end(upload, asdict(_broken(_GIVEN_UP)))


def _broken(message: str) -> JobOutcome:
    return JobOutcome(ExitCode.BROKEN, message, {}, {}, [], 0, 0, now())


async def start_worker(task: Task, *, answers: bool, more: bytes = b"") -> Process:
    """A worker on its way with its task; `answers` keeps its standard output, `more` are further lines for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "batchlinks.web.job",
        stdin=PIPE,
        stdout=PIPE if answers else DEVNULL,
        stderr=DEVNULL,  # what a library might write there could quote patients
        env={name: value for name, value in os.environ.items() if not name.startswith("BATCHLINKS_WEB_TOKEN")}
        | {"PYTHONPATH": import_path()},
        start_new_session=True,  # Ctrl-C is for the server; it tells its workers itself
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101 - for the type checker
    process.stdin.write(json.dumps(asdict(task)).encode() + b"\n" + more)
    process.stdin.close()
    return process


async def kill_worker(process: Process | None) -> None:
    """End a worker at once, if it has not ended."""
    if process is None or process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)  # with the process that reads the list
    await process.wait()
