"""The process that reads a roster, loaded once and forked for each roster: loading it takes longer than most tests.

Tests that start `batchlinks` as a process of its own get the reading process as everybody does.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchlinks.roster import reader_process

FORKS = """
import os, socket, sys
from batchlinks.roster import child
child._do_without_pandas()
from batchlinks.roster import csv_reader, ods_reader, workbook_reader

requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    folder, pipes, _, _ = socket.recv_fds(requests, 65_536, 3)
    if not folder:
        break
    forked = os.fork()
    if not forked:
        requests.close()
        for number, pipe in enumerate(pipes[:2]):
            os.dup2(pipe, number)
            os.close(pipe)
        os.chdir(folder)
        try:
            child.main()
            sys.stdout.flush()
        finally:
            os._exit(0)
    for pipe in pipes:
        os.close(pipe)
    requests.send(str(forked).encode())
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # those that have ended since
            pass
    except ChildProcessError:  # all of them
        pass
"""


class Forked:
    """A reading process as `subprocess.Popen` would give it."""

    def __init__(self, pid: int, stdin: int, stdout: int, end: int) -> None:
        self._pid, self._end = pid, end
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> None:
        os.read(self._end, 1)  # which nobody writes to: it ends with the process
        os.close(self._end)


class Loaded:
    """The process that is forked."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        self._turn = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", FORKS, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.DEVNULL,
                env=reader_process._environment(),
            )

    def fork(self, _command: Sequence[str], **_: object) -> Forked:
        """Instead of `subprocess.Popen`."""
        pipes = [os.pipe() for _ in range(3)]
        (their_in, stdin), (stdout, their_out), (end, their_end) = pipes
        with self._turn:
            socket.send_fds(self._requests, [bytes(Path.cwd())], [their_in, their_out, their_end])
            pid = int(self._requests.recv(64))
        for pipe in (their_in, their_out, their_end):
            os.close(pipe)
        return Forked(pid, stdin, stdout, end)

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


@pytest.fixture(scope="session", autouse=sys.platform != "win32")
def loaded_reading_process() -> Iterator[None]:
    loaded = Loaded()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            reader_process,
            "subprocess",
            SimpleNamespace(Popen=loaded.fork, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL),
        )
        yield
    loaded.close()


@pytest.fixture
def started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of how the reading process is started: it is, for each roster."""
    monkeypatch.setattr(reader_process, "subprocess", subprocess)
