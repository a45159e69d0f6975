"""What a list of patients costs whose links are all known, beside reading and writing the files alone.

    python benchmarks/known.py [ROWS] [xlsx|csv]

Prints seconds of CPU and peak memory of both, each measured in a process of its own; no call is made in either.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchlinks.ledger import Ledger
from batchlinks.ledger.schema import check_value, now

PROJECT = "3f0c1a3e-0000-4000-8000-0123456789ab"
API = "http://127.0.0.1:9"  # nobody answers there
HOST = "app.healthex.invalid"

_FILES_ALONE = """
import sys
from pathlib import Path
from datetime import UTC, datetime
import pyarrow as pa
from batchlinks.results.publish.result_files import ResultFiles
from batchlinks.results.summary import Summary
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.roster.source import ReadOptions
from batchlinks.roster.read import read_roster

path, form = Path(sys.argv[1]), sys.argv[2]
summary = Summary(run_id="0", version="0", started_at=datetime.now(UTC), check=False)
with ResultFiles(path, owner=None, output_dir=None, kind=form, project_id="p", share_with_group=False) as files:
    table = read_roster(path, ReadOptions())
    link = "https://app.healthex.invalid/#/patient-consent/{}/enrollment/link?xid=00000000." .format("x" * 36) + "s" * 43
    columns = [table.column(position) for position in range(len(table.headers))]
    links = Sheet("Links", [*table.headers, "link"], [*columns, pa.repeat(link, len(table))])
    nobody = [pa.array([], pa.string()) for _ in table.headers]
    sheets = {"links": links, "errors": Sheet("Errors", table.headers, nobody)}
    sheets["duplicates"] = Sheet("Duplicates", table.headers, nobody)
    files.publish(summary, sheets)
    files.finish()
"""


@dataclass(frozen=True)
class Cost:
    """Of one process and its children."""

    cpu_s: float
    peak_mb: float


def measure(rows: int, form: str = "csv") -> dict[str, Cost]:
    """`files`: reading and writing alone; `run`: a whole run of `rows` patients with known links."""
    with tempfile.TemporaryDirectory() as folder:
        roster = Path(folder) / f"patients.{form}"
        _write_roster(roster, rows)
        _fill_ledger(Path(folder) / "data" / "ledger.sqlite3", rows)
        environment = os.environ | {
            "BATCHLINKS_DATA_DIR": str(Path(folder) / "data"),
            "HEALTHEX_API_URL": API,
            "HEALTHEX_LINK_HOST": HOST,
            "HEALTHEX_PROJECT_ID": PROJECT,
            "HEALTHEX_API_KEY": "key",
            "HEALTHEX_API_SECRET": "secret",
        }
        files = _cost([sys.executable, "-c", _FILES_ALONE, str(roster), form], environment)
        for written in Path(folder).glob("patients.*.*"):
            written.unlink()
        run = _cost(
            [sys.executable, "-m", "batchlinks", "run", str(roster), "--format", form, "--id-column", "MRN"],
            environment,
        )
        summary = json.loads((Path(folder) / "patients.summary.json").read_text(encoding="utf-8"))
        assert (summary["linked"], summary["calls"]) == (rows, 0), summary
    return {"files": files, "run": run}


def _cost(command: list[str], environment: dict[str, str]) -> Cost:
    """Measured by a process between, which has no other child."""
    between = (
        "import json, resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", between, *command], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    code, cpu_s, peak_kb = json.loads(said)
    assert code == 0, command
    return Cost(cpu_s, peak_kb / 1024)


def _patients(rows: int) -> Iterator[list[str]]:
    for number in range(1, rows + 1):
        yield [
            f"{number:08}", f"Name{number % 997}", f"First{number % 613}", f"19{number % 90 + 10}-01-1{number % 9}",
            "F" if number % 2 else "M", f"{number % 999} Main Street", "Springfield", f"{number % 99999:05}",
            "617 555 0100", f"Clinic {number % 12}",
        ]  # fmt: skip


def _write_roster(path: Path, rows: int) -> None:
    headers = ["MRN", "Last Name", "First Name", "Birth Date", "Sex", "Street", "City", "ZIP", "Phone", "Clinic"]
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8") as file:
            file.write(",".join(headers) + "\n")
            file.writelines(",".join(cells) + "\n" for cells in _patients(rows))
        return
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet("Patients")
        for row, cells in enumerate([headers, *_patients(rows)]):
            for column, cell in enumerate(cells):
                sheet.write_string(row, column, cell)


def _fill_ledger(path: Path, rows: int) -> None:
    with Ledger(path, api=API, project_id=PROJECT):
        pass
    moment = now()
    links = (
        (f"{number:08}", f"https://{HOST}/#/patient-consent/{PROJECT}/enrollment/link?xid={number:08}.{number:043}")
        for number in range(1, rows + 1)
    )
    with sqlite3.connect(path) as file:
        file.executemany(
            "INSERT INTO link (project, external_id, link, issued_at, handed_out, check_value) VALUES (1, ?, ?, ?, ?, ?)",
            ((one, link, moment, moment, check_value(1, one, link, moment)) for one, link in links),
        )
    file.close()


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    form = sys.argv[2] if len(sys.argv) > 2 else "csv"
    costs = measure(rows, form)
    print(f"{rows:,} patients with known links, {form}: CPU seconds / peak MB")
    for name, cost in costs.items():
        print(f"  {name:<6} {cost.cpu_s:7.1f} / {cost.peak_mb:,.0f}")
    files, run = costs["files"], costs["run"]
    print(
        f"  beyond the files: {run.cpu_s / files.cpu_s - 1:.0%} more time, {run.peak_mb / files.peak_mb - 1:.0%} more memory"
    )


if __name__ == "__main__":
    main()
