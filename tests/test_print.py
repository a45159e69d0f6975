"""Sheets on paper: one page wide, legible, and nothing on a page without the patient's ID or name."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
import rendered
from conftest import Ended
from test_results import csv_roster

from batchlinks.results.xlsx.print_layout import plan_print
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

WIDE = (
    "MRN,First Name,Last Name,DOB,Mobile,Address,City,State,ZIP,Email,Clinic,Provider,Last Visit,OK to text,Language\n"
)
LINE = (
    "{mrn},Ann {mrn},Lee,1/5/1980,617-555-0100,12 Long Washington Street,Boston,MA,02139,a@example.org,North,Dr. Chen,"
    "1/5/2026,Y,English\n"
)


@pytest.mark.needs("soffice")
@pytest.mark.needs("pdftoppm")
def test_every_page_of_a_wide_list_has_id_name_and_code_of_each_patient(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = [f"{number:08d}" for number in range(100, 108)]
    command("run", csv_roster(tmp_path, WIDE + "".join(LINE.format(mrn=mrn) for mrn in ids)), "--qr")

    links, errors = rendered.as_pdf(tmp_path, tmp_path / "patients.links.xlsx", tmp_path / "patients.errors.xlsx")

    assert rendered.pages_of(errors) == 1  # nothing is in it
    pages, codes = rendered.texts_of(links), rendered.codes_of(links)
    assert [code.text for page in codes for code in page] == [healthex.links[mrn] for mrn in ids]
    assert min(code.width_mm for page in codes for code in page) * 57 / 49 >= 20  # with the white that is part of it
    for text, on_page in zip(pages, codes, strict=True):
        of_patients = [mrn for mrn in ids if f"Ann {mrn}" in text]
        assert [healthex.links[mrn] for mrn in of_patients] == [code.text for code in on_page]
        assert all(text.count(mrn) >= 3 for mrn in of_patients)  # ID, name, link
        assert "MRN" in text and "First Name" in text
        assert "patients.links.xlsx" in text and f"of {len(pages)}" in text and "not all columns" in text.lower()


def sheet(widths: Sequence[float], **more: object) -> Sheet:
    columns = [pa.array(["x"])] * len(widths)
    return Sheet("Links", [f"c{at}" for at in range(len(widths))], columns, widths=widths, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("widths", "identity", "essential", "area", "repeated"),
    [
        ([10, 12, 12, 80], (0, 1, 2), (3,), None, None),
        ([10, 12, 12, *[20] * 6, 70], (0, 1, 2), (9,), (9, 9), (0, 2)),
        ([*[20] * 6, 10, 12, 12, 70], (6, 7, 8), (9,), (6, 9), None),
        ([10, *[20] * 8, 12, 70], (0, 9), (10,), (10, 10), (0, 0)),  # the name too far from the ID: the ID alone
        ([9, 20, 15, 62, 20, *[20] * 6, 10], (11,), (0, 1, 2, 3, 4), (11, 11), (0, 4)),
        ([10, *[20] * 10, 70], (), (11,), (11, 11), None),
        ([42] * 12, (0,), (), None, None),
    ],
    ids=["all", "names in front", "names beside", "name far off", "report", "nobody's", "no rule"],
)
def test_what_is_printed(
    widths: Sequence[float],
    identity: Sequence[int],
    essential: Sequence[int],
    area: tuple[int, int] | None,
    repeated: tuple[int, int] | None,
) -> None:
    layout = plan_print(sheet(widths, identity=identity, essential=essential), widths)

    assert (layout.area, layout.repeated) == (area, repeated)


def test_the_error_report_says_in_words_what_its_columns_are(command: Command, tmp_path: Path) -> None:
    command("check", csv_roster(tmp_path, "MRN,Name\n1001,Ann Lee\nN/A,Bob Ray\n1003,Cy Orr\n"))

    worksheet = openpyxl.load_workbook(tmp_path / "patients.check.xlsx")["Errors"]

    assert [cell.value for cell in worksheet[1]][:5] == [
        "error_row", "error_code", "error_action", "error_message", "error_cells",
    ]  # fmt: skip
    assert worksheet["A1"].number_format == '"Row ("@")"'
    assert worksheet["E1"].number_format == '"Cells to look at ("@")"'
    assert worksheet["E2"].value == "MRN"

    shown = "Row (error_row),Code (error_code),MRN,Name\n7,placeholder_id,1002,Bob Ray\n"
    (tmp_path / "saved.csv").write_text(shown, encoding="utf-8")
    assert command("check", tmp_path / "saved.csv").code == 0


@pytest.mark.usefixtures("healthex")
def test_a_picture_says_what_it_shows(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, "MRN,Name\n1001,Ann Lee\n"), "--qr")

    with zipfile.ZipFile(tmp_path / "patients.links.xlsx") as package:
        drawing = package.read("xl/drawings/drawing1.xml").decode()

    assert 'descr="QR code of the HealthEx link in row 2"' in drawing


def test_a_code_without_name_or_id_is_refused(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "MRN,Name,Clinic\n1001,Ann Lee,North\n")

    ended = command("run", roster, "--qr", "--columns", "Clinic")

    assert ended.code == 2
    assert "name or the patient ID beside it" in ended.err
    assert healthex.links == {}
