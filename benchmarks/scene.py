"""What every measurement needs: a folder, a stand-in for HealthEx, invented rosters, and what became of them."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchlinks.ledger import Ledger
from batchlinks.results.xlsx.package import write_workbook
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.simulator import SimulatorOptions

PROJECT = "demo-project"
HEADERS = ("MRN", "First Name", "Last Name", "DOB", "Street", "City", "ZIP", "Phone", "Clinic", "Doctor")
_FIRST_ID = 10_000_000


@contextmanager
def stand_in(**options: object) -> Iterator[dict[str, str]]:
    """A stand-in in a process of its own, with these options of `simulate`; gives the settings that point at it."""
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "batchlinks", "simulate", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            while "HEALTHEX_API_SECRET" not in said:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError("the stand-in did not start")
                said += line
            yield settings_of(dict(re.findall(r"(HEALTHEX_\w+)=(\S+)", said))["HEALTHEX_API_URL"])
        finally:
            process.terminate()


def settings_of(url: str) -> dict[str, str]:
    """The environment that points batchlinks and its peers at a stand-in."""
    options = SimulatorOptions()
    return {
        "HEALTHEX_API_URL": url,
        "HEALTHEX_LINK_HOST": options.link_host,
        "HEALTHEX_API_KEY": options.api_key,
        "HEALTHEX_API_SECRET": options.api_secret,
        "HEALTHEX_PROJECT_ID": PROJECT,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


def external_ids(rows: int) -> list[str]:
    return [str(number) for number in range(_FIRST_ID, _FIRST_ID + rows)]


def columns(rows: int) -> list[list[str]]:
    """Ten columns of invented patients."""
    ids = external_ids(rows)
    return [
        ids,
        [f"Given{number % 977}" for number in range(rows)],
        [f"Family{number % 7919}" for number in range(rows)],
        [f"19{number % 100:02d}-{number % 12 + 1:02d}-{number % 28 + 1:02d}" for number in range(rows)],
        [f"{number % 9000} Long Road" for number in range(rows)],
        ["Springfield"] * rows,
        [f"0{number % 10_000:04d}" for number in range(rows)],
        [f"617-555-{number % 10_000:04d}" for number in range(rows)],
        [f"Clinic {number % 12}" for number in range(rows)],
        [f"Dr. {number % 40}" for number in range(rows)],
    ]


def roster(folder: Path, rows: int, kind: str, *, ids_only: bool = False) -> Path:
    """A patient list of `kind` xlsx or csv."""
    path = folder / f"roster{rows}{'ids' if ids_only else ''}.{kind}"
    if path.exists():
        return path
    taken = [external_ids(rows)] if ids_only else columns(rows)
    if kind == "csv":
        lines = (",".join(row) for row in zip(*taken, strict=True))
        path.write_text("\n".join([",".join(HEADERS[: len(taken)]), *lines]) + "\n", encoding="utf-8")
    else:
        with path.open("wb") as file:
            write_workbook(file, [Sheet("Patients", HEADERS, [pa.array(column) for column in taken])], title="Patients")
    return path


def know_all(ledger: Path, url: str, rows: int) -> None:
    """A ledger in which every patient of such a roster has a link."""
    host = SimulatorOptions().link_host
    with Ledger(ledger, api=url, project_id=PROJECT) as known:
        for external_id in external_ids(rows):
            known.record(
                external_id,
                f"https://{host}/#/patient-consent/{PROJECT}/enrollment/link?xid={external_id}.0123456789abcdef",
            )


def summary(folder: Path) -> dict[str, Any]:
    """The summary of the one run whose results are in `folder`."""
    [path] = folder.glob("*.summary.json")
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said


@dataclass(frozen=True, slots=True)
class Answers:
    """How many links arrived in each second of a run, the first second being 0."""

    a_second: list[int]

    def rate(self, first: int, last: int) -> float:
        """Links a second in these seconds; the last one that is not whole is left out."""
        taken = self.a_second[first : min(last, len(self.a_second) - 1)]
        return sum(taken) / len(taken) if taken else 0.0


def answers(ledger: Path) -> Answers:
    """As the ledger noted them."""
    query = "SELECT CAST(strftime('%s', issued_at) AS INTEGER) AS second, count(*) FROM link GROUP BY second"
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        counted = dict(database.execute(query))
    return Answers([counted.get(second, 0) for second in range(min(counted), max(counted) + 1)])
