"""Numbers in a date format that no calendar has: never an ID, and never shown as another date."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import PROJECT, Ended
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

NO_DAY = "########"
NUMBERS: dict[int, dict[float, str]] = {
    1900: {
        -1: NO_DAY, -0.25: NO_DAY, 2_958_466: NO_DAY, 12_345_678: NO_DAY, 1e12: NO_DAY, 59: "1900-02-28",
        60: "1900-02-29", 61: "1900-03-01", 44_000: "2020-06-18", 2_958_465: "9999-12-31",
    },
    1904: {
        -1: NO_DAY, 2_957_004: NO_DAY, 2_958_465: NO_DAY, 12_345_678: NO_DAY, 60: "1904-03-01",
        44_000: "2024-06-19", 2_957_003: "9999-12-31",
    },
}  # fmt: skip


def workbook_of(path: Path, system: int, code: str) -> Path:
    """Each number twice: beside an ID that is right, and as the ID."""
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904 if system == 1904 else CALENDAR_WINDOWS_1900
    assert isinstance(book.epoch, datetime)
    sheet = book.active
    assert sheet is not None
    sheet.append(["MRN", "Name", "Last Seen"])
    for place, number in enumerate(NUMBERS[system]):
        sheet.append([f"{100_001 + place}", "Ann", number])
        sheet.append([number, "Bob", ""])
        for cell in (f"C{sheet.max_row - 1}", f"A{sheet.max_row}"):
            sheet[cell].number_format = code
    book.save(path)
    return path


@pytest.mark.usefixtures("healthex")
@pytest.mark.parametrize("system", NUMBERS)
@pytest.mark.parametrize("code", ["yyyy-mm-dd", "m/d/yyyy", "mm/dd/yy h:mm"])
def test_a_number_that_is_no_day_is_no_id_and_is_shown_as_a_person_sees_it(
    command: Callable[..., Ended], tmp_path: Path, system: int, code: str
) -> None:
    roster = workbook_of(tmp_path / "patients.xlsx", system, code)

    assert command("run", roster, "--project-id", PROJECT, "--iso-dates").code == 3

    numbers = NUMBERS[system]
    assert [row["Last Seen"] for row in results.links(tmp_path / "patients.links.xlsx")] == list(numbers.values())
    refused = [row["error_code"] for row in sorted(results.errors(tmp_path / "patients.errors.xlsx"), key=row_number)]
    assert refused == ["unreadable_format" if text == NO_DAY else "date_in_id" for text in numbers.values()]


def row_number(row: dict[str, str]) -> int:
    return int(row["error_row"])


def test_check_refuses_them_alike(command: Callable[..., Ended], tmp_path: Path) -> None:
    roster = workbook_of(tmp_path / "patients.xlsx", 1904, "yyyy-mm-dd")

    assert command("check", roster).code == 3

    counted = results.summary(tmp_path / "patients.check.json")["errors"]
    assert counted == {"date_in_id": 3, "unreadable_format": 4}
