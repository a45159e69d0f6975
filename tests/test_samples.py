"""The sample lists: `sample_data/README.md` says what happens to each row, and that is what happens."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import Ended

from batchlinks.row_codes import ErrorCode
from batchlinks.simulator import RunningSimulator

SAMPLES = Path(__file__).parent.parent / "sample_data"
CAN_BE_SENT, PASSED_OVER = "can be sent", "passed over"


@dataclass(frozen=True, slots=True)
class Promise:
    """What the README says of one command: row number -> result."""

    arguments: tuple[str, ...]
    rows: dict[int, str] = field(default_factory=dict)


def promises() -> Iterator[Promise]:
    """A command in a code block, and the table below it."""
    promise = None
    for line in (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("batchlinks check "):
            if promise is not None:
                yield promise
            promise = Promise(tuple(shlex.split(line)[2:]))
        elif promise is not None and line.startswith("| ") and line[2].isdigit():
            rows, _, result, _ = (cell.strip().strip("`") for cell in line.strip("|").split(" |"))
            for part in rows.split(", "):
                first, _, last = part.partition("–")
                for row in range(int(first), int(last or first) + 1):
                    assert row not in promise.rows, f"row {row} stands in the table twice"
                    promise.rows[row] = result
    assert promise is not None
    yield promise


def in_samples(argument: str) -> str:
    return str(SAMPLES / argument) if (SAMPLES / argument).is_file() else argument


@pytest.mark.parametrize("promise", list(promises()), ids=lambda promise: " ".join(promise.arguments))
def test_each_row_becomes_what_the_readme_says(command: Callable[..., Ended], tmp_path: Path, promise: Promise) -> None:
    ended = command("check", *map(in_samples, promise.arguments), "--output-dir", tmp_path)

    stem = Path(promise.arguments[0]).stem
    report = tmp_path / f"{stem}.check.xlsx"
    happened = results.codes(report) | {int(row["error_row"]): "duplicate" for row in results.duplicates(report)}
    promised = {row: result for row, result in promise.rows.items() if result not in (CAN_BE_SENT, PASSED_OVER)}
    sent = sum(result == CAN_BE_SENT for result in promise.rows.values())
    summary = results.summary(tmp_path / f"{stem}.check.json")
    assert happened == promised
    assert summary["sendable"] == sent
    assert summary["rows"] == sent + len(promised)
    assert ended.code == (3 if set(promised.values()) - {"duplicate"} else 0)


def test_the_tables_name_every_sample_and_only_codes_that_exist() -> None:
    said = list(promises())
    lists = {path.name for path in SAMPLES.iterdir() if path.suffix in (".xlsx", ".csv", ".txt")}
    known = {code.value for code in ErrorCode} | {"duplicate", CAN_BE_SENT, PASSED_OVER}

    assert {argument for promise in said for argument in promise.arguments} >= lists
    assert {result for promise in said for result in promise.rows.values()} <= known


def test_a_shared_subscriber_id_is_not_taken_unasked(command: Callable[..., Ended], tmp_path: Path) -> None:
    ended = command("check", SAMPLES / "family.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "`Subscriber ID`" in ended.err
    assert "beside different people" in ended.err
    assert not list(tmp_path.glob("family.*"))


def test_staff_get_the_clinic_s_list_as_they_know_it_and_no_social_security_number(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    ended = command("run", SAMPLES / "clinic_roster.xlsx", "--output-dir", tmp_path)

    rows = results.links(tmp_path / "clinic_roster.links.xlsx")
    assert ended.code == 3
    assert rows[0] == {
        "MRN": "00412870",
        "Last Name": "Fernwood",
        "First Name": "Ada",
        "Date of Birth": "3/14/1951",
        "ZIP": "00301",
        "Phone": "617-555-0101",
        "Clinic": "North",
        "link": healthex.links["00412870"],
    }
    assert {row["MRN"]: row["link"] for row in rows} == dict(healthex.links)
    for path in tmp_path.glob("clinic_roster.*"):
        assert b"000-12-00" not in path.read_bytes() and "000-12-00" not in _text_of(path)


def test_the_samples_are_what_their_script_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SAMPLES / "make_samples.py", tmp_path], check=True)

    made = {path.name: _text_of(path) for path in tmp_path.iterdir() if path.is_file() and path.suffix}
    assert made == {name: _text_of(SAMPLES / name) for name in made}
    assert len(made) == 5


def test_nobody_in_the_samples_can_be_a_real_person() -> None:
    """Numbers that are set aside for examples, or were never given to anybody."""
    text = "\n".join(_text_of(path) for path in SAMPLES.iterdir() if path.suffix in (".xlsx", ".csv", ".txt"))
    text = text.replace("'000-000-0000'", "")  # the number format
    phones = re.findall(r"\b(\d{3})[-. )]*(\d{3})[-. ]?(\d{4})\b", text)

    assert len(phones) > 50
    assert all(middle == "555" and last.startswith("01") for _, middle, last in phones)
    assert all(number.startswith("000-") for number in re.findall(r"\b\d{3}-\d{2}-\d{4}\b", text))


def _text_of(path: Path) -> str:
    """Every cell with its number format, or the text: bytes of a workbook may differ with the zip library."""
    if path.suffix != ".xlsx":
        return path.read_bytes().decode("cp1252" if path.name == "members_export.csv" else "utf-8")
    workbook = openpyxl.load_workbook(path)
    cells = [
        (sheet.title, cell.coordinate, cell.value, cell.number_format, sheet.row_dimensions[cell.row].hidden)
        for sheet in workbook
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    ]
    return "\n".join(map(repr, cells))
