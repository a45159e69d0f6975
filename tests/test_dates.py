"""Dates in the results: in the form in which the list shows them, one form in a column."""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import Ended
from hypothesis import given
from hypothesis import strategies as st
from test_results import csv_roster

from batchlinks.roster.date_format import CANDIDATES, form_of, show_day

Command = Callable[..., Ended]


def workbook(path: Path) -> Path:
    """Birth dates in one form but for a cell, visits in another, and a column that also holds text."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["MRN", "Name", "DOB", "Visit", "Mixed", "Long"])
    for number in range(1, 5):
        day = date(1980, 3, number)
        sheet.append([f"00{number}17", "Ann", day, datetime(2026, 11, 2, 14, 5), day if number > 1 else "n/a", day])
        row = number + 1
        sheet[f"C{row}"].number_format = "mm/dd/yyyy" if number != 2 else "yyyy-mm-dd"
        sheet[f"D{row}"].number_format = "m/d/yy h:mm AM/PM"
        sheet[f"E{row}"].number_format = "mm-dd-yy"  # the built-in format 14
        sheet[f"F{row}"].number_format = "[$-F800]dddd, mmmm dd, yyyy"  # follows the computer
    book.save(path)
    return path


@pytest.mark.usefixtures("healthex")
def test_dates_are_as_the_workbook_shows_them_one_form_in_a_column(command: Command, tmp_path: Path) -> None:
    roster = workbook(tmp_path / "patients.xlsx")

    assert command("run", roster).code == 0
    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["DOB"] for row in rows] == [f"03/0{day}/1980" for day in range(1, 5)]
    assert {row["Visit"] for row in rows} == {"11/2/26 2:05 PM"}
    assert [row["Mixed"] for row in rows] == ["n/a", "3/2/1980", "3/3/1980", "3/4/1980"]
    assert [row["Long"] for row in rows] == [f"1980-03-0{day}" for day in range(1, 5)]

    assert command("run", roster, "--iso-dates").code == 0
    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["DOB"] for row in rows] == [f"1980-03-0{day}" for day in range(1, 5)]
    assert rows[1]["Mixed"] == "1980-03-02"


@pytest.mark.parametrize(
    ("typed", "iso"),
    [
        (["3/5/1980", "11/22/1980"], ["1980-03-05", "1980-11-22"]),
        (["05.03.1980", "22.11.1980"], ["1980-03-05", "1980-11-22"]),
        (["1980/3/5", "1980-11-22"], ["1980-03-05", "1980-11-22"]),
        (["3/5/1980", "4/6/1980"], ["3/5/1980", "4/6/1980"]),  # day or month: nobody can tell
        (["3/5/80", "11/22/80"], ["3/5/80", "11/22/80"]),
        (["3/5/1980", "unknown"], ["3/5/1980", "unknown"]),
    ],
)
@pytest.mark.usefixtures("healthex")
def test_typed_dates_are_iso_only_where_they_are_certain(
    command: Command, tmp_path: Path, typed: list[str], iso: list[str]
) -> None:
    rows = "".join(f"00{at}17,Ann{at},{text}\n" for at, text in enumerate(typed))
    roster = csv_roster(tmp_path, f"MRN,Name,Seen\n{rows}")

    assert command("run", roster, "--iso-dates").code == 0

    assert [row["Seen"] for row in results.links(tmp_path / "patients.links.xlsx")] == iso
    assert command("run", roster).code == 0
    assert [row["Seen"] for row in results.links(tmp_path / "patients.links.xlsx")] == typed


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("mm/dd/yy", "03/05/80"), (r"[$-409]d\-mmm\-yy;@", "5-Mar-80"), ("dd.mm.yyyy;@", "05.03.1980"),
        (r"[$-409]mmmm\ d\,\ yyyy;@", "March 5, 1980"), ("m/d/yyyy h:mm AM/PM", "3/5/1980 2:07 PM"),
        ('yyyy"年"m"月"d"日"', "1980年3月5日"), ("dddd, mmmm dd", "Wednesday, March 05"), ("hh:mm", "14:07"),
        ("[$-F800]dddd, mmmm dd, yyyy", None), ("[$-407]d. mmmm yyyy", None), ("[h]:mm", None), ("0.00", None),
    ],
)  # fmt: skip
def test_what_a_format_shows(code: str, shown: str | None) -> None:
    assert show_day("1980-03-05 14:07", code) == shown


@given(st.sampled_from(CANDIDATES), st.lists(st.dates(date(1901, 1, 1), date(2099, 12, 31)), min_size=1, max_size=8))
def test_a_form_that_is_found_shows_what_was_shown(code: str, days: list[date]) -> None:
    examples = [(day.isoformat(), show_day(day.isoformat(), code) or "") for day in days]

    found = form_of(examples)

    assert found is None or [show_day(iso, found) for iso, _ in examples] == [shown for _, shown in examples]
