"""What staff get: a workbook for each clinic, behind a password, with QR codes, with links that can be clicked."""

import io
import json
import os
import stat
import sys
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msoffcrypto
import numpy as np
import openpyxl
import packages
import pyarrow as pa
import pytest
import results
import zxingcpp
from conftest import Ended
from hypothesis import given
from hypothesis import strategies as st
from test_results import csv_roster

from batchlinks.columns.id_column import IdColumn
from batchlinks.config.passwords import objection_to
from batchlinks.errors import SettingsError
from batchlinks.pipeline import delivery
from batchlinks.results.file_name import file_names
from batchlinks.results.publish import result_files as files
from batchlinks.results.qr import qr_code
from batchlinks.results.split import check_split_column
from batchlinks.results.xlsx import hyperlinks, package, pictures
from batchlinks.results.xlsx.package import write_workbook
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.roster.read import read_roster
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
pytestmark = pytest.mark.usefixtures("healthex")

ROSTER = (
    "MRN,Name,DOB,Clinic\n1001,Ann,1980-01-05,North\n1002,Bob,1990-02-03,South\n1003,Cy,1970-03-04,\n"
    "N/A,Di,1971-01-01,East\n1004,Ed,1960-04-05,North\n"
)
PASSWORD = "blue-Kettle-47-moss"


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results can be protected."""
    monkeypatch.setenv("BATCHLINKS_RESULT_PASSWORD", PASSWORD)


def listed(folder: Path) -> list[list[str]]:
    """`NAME.files.csv`: file, value, rows."""
    return [list(row.values()) for row in results.csv_rows(folder / "patients.files.csv")]


# --- a workbook for each value --------------------------------------------------------------------------------


def test_every_clinic_gets_a_workbook_with_its_own_patients_in_roster_order(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ended = command("run", csv_roster(tmp_path, ROSTER), "--split-by", "clinic")

    assert ended.code == 3
    parts = {path.name: results.links(path) for path in (tmp_path / "patients.links").iterdir()}
    assert {name: [row["MRN"] for row in rows] for name, rows in parts.items()} == {
        "North.xlsx": ["1001", "1004"], "South.xlsx": ["1002"], "(blank).xlsx": ["1003"],
    }  # fmt: skip
    assert all(row["link"] == healthex.links[row["MRN"]] for rows in parts.values() for row in rows)
    assert listed(tmp_path) == [["North.xlsx", "North", "2"], ["South.xlsx", "South", "1"], ["(blank).xlsx", "", "1"]]
    assert not (tmp_path / "patients.links.xlsx").exists()
    assert "patients.links (a folder of 3 files), patients.files.csv" in ended.last_line
    summary = results.summary(tmp_path / "patients.summary.json")
    assert summary["written"] == sum(map(len, parts.values())) == 4
    assert {"patients.links/North.xlsx", "patients.files.csv"} < set(summary["outputs"])


ODD_VALUES = [
    *(
        "CON",
        "con",
        "nul.txt",
        "Lpt1",
        "COM¹",
        "..",
        ".hidden",
        "-rf",
        "a/b",
        "a\\b",
        "a:b",
        "A:B",
        "tab\there",
        "dot.",
    ),
    *(
        "North",
        " North ",
        "NORTH",
        "Stra\u00dfe",
        "STRASSE",
        "caf\u00e9",
        "cafe\u0301",
        "x" * 300,
        "日本" * 90,
        "\u202egpj.exe",
    ),
    *("=cmd|' /C calc'!A0", "100%", "[x]", "(blank)", "", "👩‍⚕️"),
]


def test_no_value_makes_a_file_name_that_any_system_refuses_or_takes_for_another(
    command: Command, tmp_path: Path
) -> None:
    rows = "".join(f'{1000 + row},"{value}"\n' for row, value in enumerate(ODD_VALUES * 2))

    ended = command("run", csv_roster(tmp_path, f"MRN,Clinic\n{rows}"), "--split-by", "Clinic")

    assert ended.code == 0, ended.err
    paths = list((tmp_path / "patients.links").iterdir())
    assert len({unicodedata.normalize("NFKC", path.name).casefold() for path in paths}) == len(paths)
    for path in paths:
        assert not set(path.name) & set('<>:"/\\|?*[]') and path.name.isprintable()
        assert len(path.name.encode()) < 255 and not path.stem.endswith((".", " ")) and path.name[0] not in ".-~"
        assert path.stem.partition(".")[0].lower() not in ("con", "nul", "lpt1", "com¹")
    parts = {path.name: results.links(path) for path in paths}
    assert sorted(row["MRN"] for rows in parts.values() for row in rows) == [
        str(1000 + n) for n in range(len(ODD_VALUES) * 2)
    ]
    for name, value, count in listed(tmp_path):
        assert len(parts[name]) == int(count)
        there = {unicodedata.normalize("NFC", " ".join(row["Clinic"].split())) for row in parts[name]}
        assert {text.replace("\u200d", "") for text in there} == {value.removeprefix("'").replace("\u200d", "")}


@given(st.lists(st.text(max_size=120), unique=True, max_size=12))
def test_different_texts_have_different_names_and_a_name_is_its_own_name(texts: list[str]) -> None:
    names = file_names(texts)

    assert len({name.casefold() for name in names}) == len(texts)
    for name in names:
        assert file_names([name]) == [name]


MANY = "".join(
    f"{1000 + row},Ann{row},617-555-{row:04},ann{row}@home.example,R{row},{row % 4},note {row}\n" for row in range(60)
)


@pytest.mark.parametrize("column", ["MRN", "Patient Name", "Contact", "E-mail", "Ref", "Comments", "DOB"])
def test_a_column_that_would_put_patients_into_file_names_or_make_a_file_for_each_is_refused(
    command: Command, healthex: RunningSimulator, tmp_path: Path, column: str
) -> None:
    roster = csv_roster(
        tmp_path,
        f"MRN,Patient Name,Contact,E-mail,Ref,Coordinator,Comments,DOB\n{MANY.replace(chr(10), f',1980-01-05{chr(10)}')}",
    )

    ended = command("run" if column == "MRN" else "check", roster, "--split-by", column)

    assert (ended.code, healthex.link_calls) == (2, 0)
    assert "--split-by" in ended.err
    assert "Columns that would do: `Coordinator`." in ended.err
    assert not [text for text in ("Ann", "617", "@", "R1", "note") if text in ended.err]


MAY_NAME_FILES = (
    "Clinic,Clinic Name,Facility,Site,Location,Dept,PCP,PCP Name,Provider Name,Care Coordinator,Coordinator Email,Navigator,"
    "Region,Practice Name,Group,Plan Name,Preferred Language,Care Team,Case Manager,Ward,County,City,ZIP,NPI,Clinic ID,"
    "Service Line,Status"
).split(",")
MAY_NOT = (
    "Name,Patient Name,Surname,Preferred Name,DOB,Date of Birth,MRN 2,Member ID,Account Number,Mobile,Home Phone,Patient Email,"
    "Street,Notes,Guarantor Name,Mother's Name,Emergency Contact,Medicaid ID,Diagnosis,Encounter ID,SSN"
).split(",")


def test_a_header_that_speaks_of_the_patient_is_refused_however_few_its_values_and_one_of_staff_is_not(
    tmp_path: Path,
) -> None:
    headers = [*MAY_NAME_FILES, *MAY_NOT]
    rows = "".join(f"{number}," + ",".join("x" for _ in headers) + "\n" for number in range(1001, 1005))
    roster = csv_roster(tmp_path, f"MRN,{','.join(headers)}\n{rows}")
    table = read_roster(roster)

    refused = set()
    for at, header in enumerate(headers, start=1):
        try:
            check_split_column(table, IdColumn((0,), "MRN"), at)
        except SettingsError:
            refused.add(header)

    assert refused == set(MAY_NOT)


def test_a_column_that_is_not_there_is_refused_with_the_one_that_may_be_meant(command: Command, tmp_path: Path) -> None:
    ended = command("run", csv_roster(tmp_path, ROSTER.replace("Clinic", "Clinic Name")), "--split-by", "Clinik Name")

    assert ended.code == 2
    assert "--split-by names no column of the list (did you mean Clinic Name?)" in ended.err


def test_what_is_split_can_be_csv_only_new_and_without_the_column_itself(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, "MRN,Clinic\n1001,North\n", "october.csv"))
    ended = command(
        "run", csv_roster(tmp_path, ROSTER), "--split-by", "Clinic", "--format", "csv", "--only-new",
        "--columns", "MRN", "--link-dates", "--qr",
    )  # fmt: skip

    assert ended.code == 3
    assert listed(tmp_path)[0] == ["North.csv", "North", "1"]
    (row,) = results.csv_rows(tmp_path / "patients.links" / "North.csv")
    assert list(row) == ["MRN", "link", "qr_code", "link_issued_on", "link_is_new"]
    assert (row["MRN"], row["qr_code"]) == ("1004", "6.png")
    assert (tmp_path / "patients.qr" / "North" / "6.png").exists()


def test_only_the_part_that_is_too_long_for_a_workbook_goes_to_csv(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "MAX_ROWS", 1)

    ended = command("run", csv_roster(tmp_path, ROSTER), "--split-by", "Clinic")

    assert [name for name, *_ in listed(tmp_path)] == ["North.csv", "South.xlsx", "(blank).xlsx"]
    assert "The links are more than a workbook holds" in ended.err
    assert "North" not in ended.err


def test_a_list_without_patients_is_split_into_an_empty_folder(command: Command, tmp_path: Path) -> None:
    ended = command("run", csv_roster(tmp_path, "MRN,Clinic\n"), "--split-by", "Clinic")

    assert ended.code == 0
    assert list((tmp_path / "patients.links").iterdir()) == []
    assert listed(tmp_path) == []


def test_a_run_replaces_the_folder_of_the_one_before_unless_somebody_worked_in_it(
    command: Command, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, ROSTER)
    command("run", roster, "--split-by", "Clinic", "--qr")
    command("run", csv_roster(tmp_path, ROSTER.replace("South", "West")), "--split-by", "Clinic")
    names = {path.name for path in (tmp_path / "patients.links").iterdir()}
    pictures = (tmp_path / "patients.qr").exists()
    command("run", roster)
    whole = {path.name for path in tmp_path.glob("patients.*")}
    command("run", roster, "--split-by", "Clinic")
    (tmp_path / "patients.links" / "called.txt").write_text("Ann on Monday")

    ended = command("run", roster)

    assert names == {"North.xlsx", "West.xlsx", "(blank).xlsx"}
    assert not pictures
    assert whole == {"patients.csv", "patients.links.xlsx", "patients.errors.xlsx", "patients.summary.json"}
    assert "patients.links/called.txt was changed" in ended.last_line
    assert (tmp_path / "patients.links" / "called.txt").exists()
    assert len(results.links(tmp_path / "patients (2).links.xlsx")) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_folders_of_results_are_as_private_as_the_files_in_them(command: Command, tmp_path: Path) -> None:
    modes = {}
    for target, options in (("private", []), ("shared", ["--share-with-group"])):
        out = tmp_path / target
        command("run", csv_roster(tmp_path, ROSTER), "--split-by", "Clinic", "--qr", "--output-dir", out, *options)
        modes[target] = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in sorted(out.rglob("*"))}

    assert modes == {"private": {True: 0o700, False: 0o600}, "shared": {True: 0o2750, False: 0o640}}


# --- behind a password ----------------------------------------------------------------------------------------


def opened(path: Path, password: str = PASSWORD) -> io.BytesIO:
    """What a protected workbook holds."""
    clear = io.BytesIO()
    with path.open("rb") as file:
        document = msoffcrypto.OfficeFile(file)
        document.load_key(password=password, verify_password=True)
        document.decrypt(clear, verify_integrity=True)
    return clear


@pytest.mark.usefixtures("password")
def test_protected_workbooks_open_with_the_password_and_hold_what_others_hold(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, ROSTER)
    command("run", roster)
    clear = {name: results.links(tmp_path / "patients.links.xlsx") for name in ("links",)}
    ended = command("run", roster, "--protect", "--clickable")
    again = command("run", roster, "--protect", "--split-by", "Clinic")

    assert ended.code == again.code == 3
    assert "(2)" not in again.last_line  # our own files are known again, encrypted or not
    assert PASSWORD not in ended.out + ended.err
    book = openpyxl.load_workbook(opened(tmp_path / "patients.links" / "North.xlsx"))
    rows = [[cell.value for cell in row] for row in book["Links"].iter_rows(min_row=2)]
    assert rows == [list(row.values()) for row in clear["links"] if row["Clinic"] == "North"]
    packages.assert_sound(opened(tmp_path / "patients.errors.xlsx"))
    with pytest.raises(msoffcrypto.exceptions.InvalidKeyError):
        opened(tmp_path / "patients.errors.xlsx", "another-Password-9")


@pytest.mark.usefixtures("password")
def test_no_clear_copy_of_a_protected_workbook_is_ever_on_disk(
    command: Command, tmp_path: Path, private_home: Path
) -> None:
    written: list[Path] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            path, _, flags = arguments
            if isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                written.append(Path(path))

    sys.addaudithook(watch)  # there is no way to take it off again
    command("run", csv_roster(tmp_path, ROSTER), "--protect", "--qr", "--split-by", "Clinic")
    watching.clear()

    written = [path for path in written if path.parts[1] != "dev"]
    ours = [path for path in written if path.is_relative_to(tmp_path) or path.parent == private_home / "data"]
    assert written == ours
    kinds = {path.suffix: path.read_bytes()[:8] for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds.pop(".xlsx") == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    assert set(kinds) == {".csv", ".json"}
    with zipfile.ZipFile(opened(tmp_path / "patients.links" / "North.xlsx")) as package:
        assert len([name for name in package.namelist() if name.endswith(".png")]) == 2


@pytest.mark.parametrize(
    ("given_password", "options", "said"),
    [
        (None, [], "--protect needs a password: set BATCHLINKS_RESULT_PASSWORD"),
        ("short-1", [], "too short"),
        ("Password1234!", [], "too easy to guess"),
        ("Cl1nic-Summer-2026", [], "too easy to guess"),
        ("aaaaaaaaaaaaaaaa", [], "too easy to guess"),
        ("ababababababab", [], "too easy to guess"),
        ("x7-" * 100, [], "more than 255"),
        (PASSWORD, ["--format", "csv"], "--protect is for workbooks"),
    ],
)  # fmt: skip
def test_a_weak_or_missing_password_stops_everything_before_any_call(
    command: Command,
    healthex: RunningSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given_password: str | None,
    options: list[str],
    said: str,
) -> None:
    if given_password is not None:
        (tmp_path / "password").write_text(f"{given_password}\n")
        monkeypatch.setenv("BATCHLINKS_RESULT_PASSWORD_FILE", str(tmp_path / "password"))

    for name in ("run", "check"):
        ended = command(name, csv_roster(tmp_path, ROSTER), "--protect", *options)

        assert ended.code == 2
        assert said in ended.err
        assert given_password is None or given_password not in ended.err
    assert healthex.link_calls == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"patients.csv", "password"}


@pytest.mark.parametrize(
    "password", ["correct horse battery", "Vx9$kQ2!mZ7p", "grüne Wolken tanzen", "moss47kettleblue"]
)
def test_a_password_that_is_hard_to_guess_will_do(password: str) -> None:
    assert objection_to(password) is None


@pytest.mark.usefixtures("password")
def test_a_protected_error_report_is_a_list_that_opens_with_the_same_password(command: Command, tmp_path: Path) -> None:
    command("check", csv_roster(tmp_path, ROSTER), "--protect")

    ended = command("check", tmp_path / "patients.check.xlsx", "--protect")

    assert ended.code == 3, ended.err
    book = openpyxl.load_workbook(opened(tmp_path / "patients.check.check.xlsx"))
    assert [cell.value for cell in book["Errors"][2]][:2] == ["5", "placeholder_id"]


@pytest.mark.usefixtures("password")
def test_a_list_too_long_for_a_workbook_is_not_written_in_clear_instead(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = csv_roster(tmp_path, ROSTER)
    monkeypatch.setattr(package, "MAX_ROWS", 2)
    late = command("run", roster, "--protect")
    calls = healthex.link_calls
    monkeypatch.setattr(delivery, "MAX_ROWS", 2)
    early = command("run", roster, "--protect")

    assert (late.code, early.code) == (1, 2)
    assert calls == healthex.link_calls
    assert "CSV cannot be protected" in late.err
    assert [path.name for path in tmp_path.iterdir()] == ["patients.csv"]


# --- QR codes -------------------------------------------------------------------------------------------------


def decoded(picture: bytes | io.BytesIO) -> str:
    """What a phone reads."""
    (found,) = zxingcpp.read_barcodes(pixels(picture if isinstance(picture, bytes) else picture.read()))
    return found.text


def pixels(png: bytes) -> np.ndarray:
    """Of a black and white PNG."""
    import matplotlib.image

    return (matplotlib.image.imread(io.BytesIO(png)) * 255).astype(np.uint8)


def test_the_code_beside_each_link_and_its_picture_are_that_link(
    command: Command, healthex: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    ended = command(
        "run", csv_roster(tmp_path, f"Title,,,\n\n{ROSTER}1001,Ann,1980-01-05,\n"), "--qr", "--keep-duplicates"
    )

    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["qr_code"] for row in rows] == ["4.png", "5.png", "6.png", "8.png", "9.png"]
    assert "patients.qr (a folder of 5 files)" in ended.last_line
    for row in rows:
        assert (
            decoded((tmp_path / "patients.qr" / row["qr_code"]).read_bytes())
            == row["link"]
            == healthex.links[row["MRN"]]
        )
    sheet = openpyxl.load_workbook(tmp_path / "patients.links.xlsx")["Links"]
    images = sheet._images  # type: ignore[attr-defined]  # openpyxl has no other way to them
    assert [image.anchor._from.row for image in images] == [1, 2, 3, 4, 5]
    for image in images:
        column = image.anchor._from.col + 1
        assert sheet.cell(1, column).value == "qr_code"
        assert decoded(image._data()) == sheet.cell(image.anchor._from.row + 1, column - 1).value
        assert image.anchor.to.row == image.anchor._from.row  # in its cell, so that it is sorted and filtered with it
    outputs = results.summary(tmp_path / "patients.summary.json")["outputs"]
    assert {f"patients.qr/{row['qr_code']}" for row in rows} < set(outputs)
    log = (private_home / "data" / "audit.jsonl").read_text(encoding="utf-8")
    audited = json.loads(log.splitlines()[-1])["outputs"]
    assert set(audited) == {"patients.links.xlsx", "patients.errors.xlsx", "patients.qr"}
    packages.assert_sound(tmp_path / "patients.links.xlsx")


def test_a_picture_is_sharp_on_paper_and_as_wide_as_a_phone_needs_it() -> None:
    code = pixels(qr_code(f"https://app.healthex.invalid/#/link?xid={'7' * 60}"))

    assert set(np.unique(code)) == {0, 255}
    assert code[:32].min() == code[:, :32].min() == 255  # four modules of white
    assert code.shape[0] / 16 > 20  # millimetres, at the 406 dots per inch that it says it has


def test_rows_that_have_one_number_have_pictures_of_their_own(command: Command, tmp_path: Path) -> None:
    report = "error_row,error_code,MRN\n3,blank_id,1001\n,,1002\n3,blank_id,1003\n"

    command("run", csv_roster(tmp_path, report), "--qr", "--format", "csv")

    rows = results.csv_rows(tmp_path / "patients.links.csv")
    assert [row["qr_code"] for row in rows] == ["3.png", "3 (2).png", "3 (3).png"]
    assert [decoded((tmp_path / "patients.qr" / row["qr_code"]).read_bytes()) for row in rows] == [
        row["link"] for row in rows
    ]


def test_pictures_are_taken_one_by_one_and_none_is_kept() -> None:
    alive = 0

    class Picture(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def pictures() -> Iterator[bytes]:
        nonlocal alive
        for _ in range(50):
            assert alive <= 1
            alive += 1
            yield Picture(qr_code("https://app.healthex.invalid/"))

    cells = pa.array(["x"] * 50)
    write_workbook(
        io.BytesIO(), [Sheet("Links", ["link", "qr"], [cells, cells], pictures=1)], title="x", pictures=pictures()
    )

    assert alive == 0


def test_what_a_workbook_cannot_hold_of_pictures_and_hyperlinks_is_left_out_and_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hyperlinks, package, pictures, files):
        monkeypatch.setattr(module, "MAX_HYPERLINKS", 2, raising=False)
        monkeypatch.setattr(module, "MAX_PICTURES", 3, raising=False)

    ended = command("run", csv_roster(tmp_path, ROSTER), "--qr", "--clickable")

    path = tmp_path / "patients.links.xlsx"
    sheet = openpyxl.load_workbook(path)["Links"]
    assert list(packages.hyperlinks(path)) == ["E2", "E3"]
    assert len(sheet._images) == 3  # type: ignore[attr-defined]
    assert len(list((tmp_path / "patients.qr").iterdir())) == 4
    assert sheet["E2"].font.u and not sheet["E4"].font.u
    assert "Excel takes 2 hyperlinks a sheet" in ended.err
    assert "A workbook holds 3 pictures" in ended.err
    packages.assert_sound(path)


# --- links that can be clicked --------------------------------------------------------------------------------


def test_target_and_location_of_every_hyperlink_are_the_text_of_its_cell(command: Command, tmp_path: Path) -> None:
    odd = "MRN,Name\n" + "".join(f"{mrn},x\n" for mrn in ("1001", "A/7:b", "9~1", "4*2", "00 12", "5#6", "1.2_3"))
    command("run", csv_roster(tmp_path, odd), "--clickable", "--id-column", "MRN")

    path = tmp_path / "patients.links.xlsx"
    clicked = packages.hyperlinks(path)
    assert clicked == {f"C{row}": link["link"] for row, link in enumerate(results.links(path), start=2)}
    assert len(clicked) == 7
    cells = [row[2] for row in openpyxl.load_workbook(path)["Links"].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr"}
    packages.assert_sound(path)


def test_only_what_is_an_address_becomes_a_hyperlink() -> None:
    texts = [
        "https://a.example/#/x?y=1&z=%20",
        "https://a.example/plain",
        "",
        "no address",
        'https://a.example/"',
        'https://a.example/#/"<a&b> _x0041_ c',
        "http://a/ b",
    ]
    texts += ["https://a.example/" + "x" * 2_080]
    target = io.BytesIO()
    write_workbook(
        target, [Sheet("Links", ["link"], [pa.chunked_array([texts[:3], texts[3:]])], hyperlinks=0)], title="x"
    )

    assert packages.hyperlinks(target) == {
        "A2": texts[0],
        "A3": texts[1],
        "A7": texts[5].replace("_x0041_", "_x005F_x0041_"),
    }
    packages.assert_sound(target)


# --- at night -------------------------------------------------------------------------------------------------


def test_a_table_of_the_nightly_job_takes_all_of_it_and_a_missing_password_touches_no_roster(
    command: Command, tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = csv_roster(tmp_path, ROSTER, "patients.csv")
    (tmp_path / "inbox").mkdir()
    waiting = roster.rename(tmp_path / "inbox" / "patients.csv")
    os.utime(waiting, (1, 1))
    (private_home / "batchlinks.toml").write_text(
        '[[roster]]\nname = "clinics"\nmatch = "*.csv"\nid-column = "MRN"\nsplit-by = "Clinic"\nprotect = true\nqr = true\n'
        'clickable = true\nlink-dates = true\ncolumns = "MRN,Name"\n',
        encoding="utf-8",
    )
    arguments = ["nightly", "--inbox", tmp_path / "inbox", "--outbox", tmp_path / "outbox"]

    without = command(*arguments)
    still_there = waiting.exists()
    monkeypatch.setenv("BATCHLINKS_RESULT_PASSWORD", PASSWORD)
    ended = command(*arguments)

    assert (without.code, still_there) == (2, True)
    assert "BATCHLINKS_RESULT_PASSWORD" in without.err
    assert ended.code == 3, ended.err
    (north,) = (tmp_path / "outbox").rglob("patients.links/North.xlsx")
    sheet = openpyxl.load_workbook(opened(north))["Links"]
    assert [cell.value for cell in sheet[1]] == ["MRN", "Name", "link", "qr_code", "link_issued_on", "link_is_new"]
    assert [cell.value for cell in sheet["A"]][1:] == ["1001", "1004"]
    assert len(sheet._images) == 2  # type: ignore[attr-defined]
    assert len(packages.hyperlinks(opened(north))) == 2
