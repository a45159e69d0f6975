"""What a cluster brings and costs; and, apart from `make bench`, what very long lists take: `python -m benchmarks.cluster`.

Rows a second on one computer say little of a cluster of many, so the processor time of a row is told apart by who spends it: the
command, or a worker. What each can do at most, on a core of its own, follows from that.
"""

import json
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from batchlinks.ledger import Ledger
from batchlinks.ledger.schema import check_value, now
from batchlinks.simulator import SimulatorOptions
from benchmarks import scene
from benchmarks.measuring import Started, batchlinks, cost_of, started
from benchmarks.scene import PROJECT

Found = dict[str, Any]

WORKERS = (0, 1, 2, 4)
_FEW, _MANY = 3_000, 25_000
_SPEEDY = (20_000, 220_000)
_LONG = 10_000_000


def cluster(folder: Path) -> Found:
    """Rows a second and processor time of a row, by workers; and what one command can do where calls cost nothing."""
    found: Found = {"rows": _MANY}
    with scene.stand_in(latency_ms=20) as environment:
        for count in WORKERS:
            options = ("--no-ledger", *(("--workers", count) if count else ()))
            few, many = (_one_run(folder, rows, environment, *options) for rows in (_FEW, _MANY))
            found[f"workers_{count}"] = _a_row(few, many, _MANY - _FEW)
        with _instant_cluster(folder) as address:
            few, many = (
                _one_run(folder, rows, environment, "--cluster", address, "--ledger", folder / f"{rows}.sqlite3")
                for rows in _SPEEDY
            )
            rows = _SPEEDY[1] - _SPEEDY[0]
            found["command_alone"] = _a_row(few, many, rows) | {
                "command_mb_a_million": round((many["command_mb"] - few["command_mb"]) / rows * 1e6),
                "ledger_bytes_a_row": round((folder / f"{_SPEEDY[1]}.sqlite3").stat().st_size / _SPEEDY[1]),
            }
    return found


def _a_row(few: Found, many: Found, rows: int) -> Found:
    """What starting costs is taken off."""
    return {
        "rows_a_second": round(rows / (many["wall_s"] - few["wall_s"])),
        "command_us": round((many["command_s"] - few["command_s"]) / rows * 1e6),
        "workers_us": round((many["workers_s"] - few["workers_s"]) / rows * 1e6),
    }


@contextmanager
def _instant_cluster(folder: Path) -> Iterator[str]:
    """Two workers that answer without a call, and their scheduler, on the loopback address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    environment = {"DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "uvloop"}
    dask = (sys.executable, "-m", "distributed.cli")
    worker = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", "benchmarks.instant")
    commands: list[tuple[object, ...]] = [(*dask[:2], f"{dask[2]}.dask_scheduler", "--host", address, "--no-dashboard")]
    commands += [
        (*dask[:2], f"{dask[2]}.dask_worker", address, *worker, "--local-directory", folder / f"worker{number}")
        for number in range(2)
    ]
    running = [started(command, environment=environment) for command in commands]
    try:
        yield address
    finally:
        for each in running:
            each.process.kill()
            each.process.wait()


def long(folder: Path) -> Found:
    """Ten million IDs through a check, and through a run whose links are all known: seconds, and memory of all processes."""
    settings = scene.settings_of("http://127.0.0.1:9") | {"BATCHLINKS_DATA_DIR": str(folder / "data")}
    path = scene.roster(folder, _LONG, "csv", ids_only=True)
    found: Found = {"rows": _LONG, "roster_mb": round(path.stat().st_size / 1e6)}
    check = cost_of(batchlinks("check", path, "--quiet", "--format", "csv"), environment=settings)
    found["check"] = {"wall_s": round(check.wall_s), "cpu_s": round(check.cpu_s), "peak_mb": round(check.peak_mb)}
    ledger = folder / "ledger.sqlite3"
    _know_all(ledger, settings["HEALTHEX_API_URL"], _LONG)
    found["ledger_mb"] = round(ledger.stat().st_size / 1e6)
    run = cost_of(
        batchlinks("run", path, "--quiet", "--yes", "--format", "csv", "--ledger", ledger, "--project-id", PROJECT),
        environment=settings,
    )
    found["run"] = {"wall_s": round(run.wall_s), "cpu_s": round(run.cpu_s), "peak_mb": round(run.peak_mb)}
    found["exit_codes"] = [check.code, run.code]
    return found


def _know_all(ledger: Path, url: str, rows: int) -> None:
    """A ledger in which every patient of such a roster has a link. Its own way in is for answers as they come."""
    page = f"https://{SimulatorOptions().link_host}/#/patient-consent/{PROJECT}/enrollment/link?xid="
    with Ledger(ledger, api=url, project_id=PROJECT):
        pass
    with closing(sqlite3.connect(ledger)) as connection, connection:
        [number] = connection.execute("SELECT number FROM project").fetchone()
        links = ((number, each, f"{page}{each}.{'s' * 43}", now()) for each in scene.external_ids(rows))
        connection.executemany(
            "INSERT INTO link (project, external_id, link, issued_at, check_value) VALUES (?, ?, ?, ?, ?)",
            ((*link, check_value(*link)) for link in links),
        )


def _one_run(folder: Path, rows: int, environment: Mapping[str, str], *options: object) -> Found:
    path = scene.roster(folder, rows, "csv", ids_only=True)
    taken = ("--format", "csv", "--quiet", "--concurrency", "2048", "--output-dir", folder / "results", *options)
    process = started(batchlinks("run", path, *taken), environment=environment)
    spent = _Spent(process)
    cost = process.ended()
    if cost.code:
        raise RuntimeError(f"a run of {rows} rows ended with {cost.code}")
    return {"wall_s": cost.wall_s, **spent.stop()}


class _Spent:
    """Processor time by who spends it, as it was last seen."""

    def __init__(self, command: Started) -> None:
        self._command = psutil.Process(command.process.pid)
        self._seconds: dict[int, float] = {}
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """Seconds of the command itself and of its own workers together; the most memory of the command alone."""
        self._over.set()
        self._thread.join()
        of_command = self._seconds.pop(self._command.pid)
        return {"command_s": of_command, "workers_s": sum(self._seconds.values()), "command_mb": self._most / 1e6}

    def _watch(self) -> None:
        while not self._over.wait(0.03):
            with suppress(psutil.Error):
                self._most = max(self._most, self._command.memory_info().rss)
                for process in (self._command, *self._command.children(recursive=True)):
                    if process == self._command or any("spawn_main" in part for part in process.cmdline()):
                        times = process.cpu_times()
                        self._seconds[process.pid] = times.user + times.system


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="batchlinks-bench-") as place:
        print(json.dumps(long(Path(place)), indent=1))
