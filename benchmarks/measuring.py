"""Running a program and seeing what it took: seconds, processor time, memory of it and its children together."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_S = 0.03


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program took, its children included."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int


@dataclass(slots=True)
class Started:
    """A program that runs."""

    process: "subprocess.Popen[bytes]"
    began: float

    def ended(self) -> Cost:
        """Wait for it."""
        peak = _Peak(self.process.pid)
        _, status, usage = os.wait4(self.process.pid, 0)
        wall_s = time.monotonic() - self.began
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak.stop(), self.process.returncode)


def started(
    command: Sequence[object], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Started:
    """Start a program whose output nobody wants, in `folder` or else in this one."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
    )
    return Started(process, time.monotonic())


def cost_of(
    command: Sequence[object], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Cost:
    """Run a program to its end."""
    return started(command, environment=environment, folder=folder).ended()


def batchlinks(*arguments: object) -> list[object]:
    """The command."""
    return [sys.executable, "-m", "batchlinks", *arguments]


class _Peak:
    """The most memory that a process and its children held together, as often as one looks."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """In megabytes."""
        self._over.set()
        self._thread.join()
        return self._most / 1e6

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self._most = max(self._most, sum(_memory(pid) for pid in _family(self._pid)))


def _family(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [pid, *(grandchild for child in children for grandchild in _family(child))]


def _memory(pid: int) -> int:
    """Bytes; of pages that several processes share, such as libraries, its part."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended
        pass
    return 0
