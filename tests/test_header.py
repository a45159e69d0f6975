"""Where a table starts."""

from collections.abc import Sequence

import pytest

from batchlinks.errors import SettingsError
from batchlinks.roster.header import NoHeader, PreviewRow, TableStart, clean_header, find_start, start_at_row

PATIENTS = [
    ["10001", "Doe", "Ann", "1980-01-31", "617-555-0100"],
    ["10002", "Lee", "Bob", "1975-12-01", ""],
    ["10003", "Ng", "Cy", "1990-06-15", "617-555-0102"],
]
HEADER = ["MRN", "Last name", "First name", "DOB", "Phone"]


def start_of(*rows: Sequence[str], id_column: str | None = None) -> TableStart | None:
    return find_start(
        [PreviewRow(number, cells) for number, cells in enumerate(rows, 1)],
        id_headers=lambda headers: [at for at, header in enumerate(headers) if header in ("MRN", "Member ID")],
        id_column=id_column,
    )


def header_row(*rows: Sequence[str], id_column: str | None = None) -> int | None:
    start = start_of(*rows, id_column=id_column)
    return start.header_row if start else None


@pytest.mark.parametrize(
    "above",
    [
        pytest.param([], id="nothing"),
        pytest.param([["Clinic North"]], id="a title"),
        pytest.param([["Clinic North"], ["Report run", "11/01/2026"], []], id="a title, a run date, a blank row"),
        pytest.param([["Report run 11/01/2026", "", "Page", "1"]], id="a title of three cells"),
        pytest.param([["Patient", "", "", "", "Contact"]], id="headers of groups of columns"),
        pytest.param([["For internal use only. " * 20]], id="a paragraph"),
        pytest.param([["Patients of 2026"], ["", "", "", "Confidential"]], id="titles in different columns"),
    ],
)
def test_the_header_is_found_below(above: list[list[str]]) -> None:
    assert header_row(*above, HEADER, *PATIENTS) == len(above) + 1


def test_a_header_without_a_known_word_is_found() -> None:
    assert header_row(["Extract"], ["Key", "Name", "Given", "Born", "Tel"], *PATIENTS) == 2


@pytest.mark.parametrize("name", ["Q", "Item ", "ICD_"])
def test_names_that_are_counted_on_are_headers(name: str) -> None:
    counted = [f"{name}{number}" for number in range(99, 140)]
    answers = [[*patient, *(str(at % 7) for at in range(len(counted)))] for patient in PATIENTS]

    assert header_row(["Survey of 2026"], [*HEADER, *counted], *answers) == 2


def test_two_ids_beside_each_other_are_no_headers() -> None:
    with pytest.raises(NoHeader):
        start_of(*(["Doe", "Ann", f"A{number}", f"A{number + 1}"] for number in range(1001, 1009)))


def test_a_first_patient_without_any_digit_is_not_the_header() -> None:
    assert header_row(["Key", "Last", "First", "Born", "Tel"], ["N/A", "Doe", "Ann", "?", "none"], *PATIENTS) == 1


def test_a_header_that_comes_again_with_every_page_is_found_once() -> None:
    assert header_row(HEADER, *PATIENTS, HEADER, *PATIENTS) == 1


def test_a_list_of_one_column_is_a_table() -> None:
    assert header_row(["MRN"], ["00123"], ["00124"]) == 1
    assert header_row(["All patients"], ["MRN"], ["00123"], ["00124"]) == 2


def test_a_header_without_patients_is_a_table() -> None:
    assert header_row(["MRN"]) == 1
    assert header_row(["Key", "Name"]) == 1


def test_a_remark_is_no_table() -> None:
    assert header_row(["Call the clinic on Monday"]) is None
    assert header_row() is None


@pytest.mark.parametrize("rows", [PATIENTS, [*PATIENTS, HEADER, *PATIENTS], [["00123"], ["00124"]]])
def test_patients_in_the_first_row_are_never_taken_for_titles(rows: list[list[str]]) -> None:
    with pytest.raises(NoHeader):
        header_row(*rows)


def test_the_column_that_the_user_names_shows_which_row_is_the_header() -> None:
    rows = [["Site", "Group", "Key", "Which", "Where"], ["s", "g", "Chart #", "w", "w"], *PATIENTS]

    assert header_row(*rows) == 1
    assert header_row(*rows, id_column="chart") == 2
    assert header_row(*rows, id_column="S+Chart") == 2
    assert header_row(*rows, id_column="no such column") == 1


def test_a_patients_cell_that_reads_like_the_named_column_is_not_the_header() -> None:
    patients = [["C", "10001", "1980-01-31"], ["D", "10002", "1975-12-01"]]

    assert header_row(["Grade", "MRN", "DOB"], *patients, id_column="C") == 1


def test_headers_are_cleaned() -> None:
    start = start_of(["\ufeff MRN\u200b ", "Last\r\nname", "", "D  O B"], ["10001", "Doe", "x", "1980-01-31"])

    assert start == TableStart(1, ("MRN", "Last name", "", "D O B"))
    assert clean_header("\u00a0Patient\tID\u2060") == "Patient ID"


def test_the_row_that_the_user_names_is_the_header() -> None:
    rows = [PreviewRow(3, ["MRN", "Name"]), PreviewRow(4, ["1", "2"])]

    assert start_at_row(rows, 4) == TableStart(4, ("1", "2"))
    assert start_at_row(rows, 0) == TableStart(0, ("", ""))
    with pytest.raises(SettingsError, match="row 9"):
        start_at_row(rows, 9)
