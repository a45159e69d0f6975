"""The ledger remembers whose ID it is: over several runs, nobody gets the link of somebody else who had the ID before."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import PROJECT, Ended

from batchlinks.ledger.key import key_path
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

HEADER = "MRN,First Name,Last Name,DOB"


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def type_in(report: Path, row: int, fixed: Path, **cells: str) -> Path:
    """The error report with these cells of one row typed over, under another name."""
    book = openpyxl.load_workbook(report)
    sheet = book["Errors"]
    headers = [str(cell.value) for cell in sheet[1]]
    for each in sheet.iter_rows(min_row=2):
        if str(each[headers.index("error_row")].value) == str(row):
            for name, text in cells.items():
                each[headers.index(name)].value = text
    book.save(fixed)
    return fixed


@pytest.fixture
def ledger_path(private_home: Path) -> Path:
    return private_home / "data" / "ledger.sqlite3"


def people(ledger: Path) -> list[tuple[str, str, str]]:
    """ID, tags of the first name, tags of the birth date: of everybody whom the ledger remembers."""
    with closing(sqlite3.connect(ledger)) as connection:
        return connection.execute("SELECT external_id, first_name, birth_date FROM person ORDER BY 1").fetchall()


# --- who is held back -------------------------------------------------------------------------------------------------

CASES = [
    # what it is, the person in an earlier list, the person now, what happens
    ("the same", "Ada,Byron,1980-03-04", "Ada,Byron,1980-03-04", ""),
    ("somebody else", "Ada,Byron,1980-03-04", "Hugo,Berg,1955-07-08", "known_as_other"),
    ("another first name, the same birth date: a twin", "Ada,Byron,1980-03-04", "Eve,Byron,1980-03-04", "known_as_other"),
    ("the same name, another birth year: Sr. and Jr.", "John,Lee,1950-01-02", "John,Lee,1975-01-02", "known_as_other"),
    ("the same name and year, another day: corrected", "Ada,Byron,1980-03-04", "Ada,Byron,1980-03-14", "person_changed"),
    ("another month", "Ada,Byron,1980-03-04", "Ada,Byron,1980-05-04", "person_changed"),
    ("married", "Ada,Byron,1980-03-04", "Ada,Lovelace,1980-03-04", ""),
    ("an initial", "Ada,Byron,1980-03-04", "A.,Byron,1980-03-04", ""),
    ("another initial", "Ada,Byron,1980-03-04", "H.,Byron,1980-03-04", "known_as_other"),
    ("a full name after an initial", "A,Byron,1980-03-04", "Ada M.,Byron,1980-03-04", ""),
    ("a short form", "Robert,Lee,1980-03-04", "Rob,Lee,1980-03-04", ""),
    ("a full name after a short form", "Jo,Lee,1980-03-04", "Joanna,Lee,1980-03-04", ""),
    ("a nickname that begins otherwise", "Robert,Lee,1980-03-04", "Bob,Lee,1980-03-04", "known_as_other"),
    ("names that begin alike", "Joanna,Lee,1980-03-04", "Joseph,Lee,1980-03-04", "known_as_other"),
    ("a name that a field cuts off", "Maximiliana,Lee,1980-03-04", "Maximilian,Lee,1980-03-04", ""),
    ("accents, case and a title", "José,Lee,1980-03-04", "DR. JOSE,Lee,1980-03-04", ""),
    ("a date in another order", "Ada,Byron,03/04/1980", "Ada,Byron,1980-04-03", ""),
    ("and in the other", "Ada,Byron,03/04/1980", "Ada,Byron,4 Mar 1980", ""),
    ("a date of another country", "Ada,Byron,25/03/1980", "Ada,Byron,03/25/80", ""),
    ("a year alone", "Ada,Byron,1980", "Ada,Byron,1980-03-04", ""),
    ("another year alone", "Ada,Byron,1980", "Ada,Byron,1981-03-04", "known_as_other"),
    ("no birth date now", "Ada,Byron,1980-03-04", "Ada,Byron,", ""),
    ("no name before", ",Byron,1980-03-04", "Ada,Byron,1980-03-04", ""),
    ("nothing before", ",,", "Hugo,Berg,1955-07-08", ""),
    ("no date at all", "Ada,Byron,unknown", "Ada,Byron,1980-03-04", ""),
]  # fmt: skip


def test_the_table_of_cases(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    ids = [f"{20_000_000 + number}" for number in range(len(CASES))]
    before = write(tmp_path / "march.csv", *(f"{one},{case[1]}" for one, case in zip(ids, CASES, strict=True)))
    now = write(tmp_path / "april.csv", *(f"{one},{case[2]}" for one, case in zip(ids, CASES, strict=True)))
    command("run", before)
    calls = healthex.link_calls

    checked = command("check", now)
    ended = command("run", now)

    wanted = {row: case[3] for row, case in enumerate(CASES, start=2)}
    held = {row: code for row, code in wanted.items() if code == "known_as_other"}
    changed = [row for row, code in wanted.items() if code == "person_changed"]
    assert results.codes(tmp_path / "april.errors.xlsx") == held == results.codes(tmp_path / "april.check.xlsx")
    assert checked.code == ended.code == 3
    assert healthex.link_calls == calls
    for said in (checked.err, ended.err):
        assert "2 patients have another birth date than in an earlier list." in said
        assert f": row {changed[0]} and {changed[1]}." in said
    linked = {row["MRN"] for row in results.links(tmp_path / "april.links.xlsx")}
    assert linked == {one for one, code in zip(ids, wanted.values(), strict=True) if code != "known_as_other"}
    first = results.errors(tmp_path / "april.errors.xlsx")[0]
    assert first["error_action"] == "fix the row"
    assert first["error_message"].startswith("In an earlier list (march.csv, row 3, 20")
    assert "this patient ID was somebody else's: the first names differ. Check the ID" in first["error_message"]
    assert first["error_cells"] == "MRN, First Name"
    # What was seen first stays, whatever came since; what was blank then is known now.
    last = write(tmp_path / "may.csv", f"{ids[7]},Hugo,Byron,1980-03-04", f"{ids[-2]},Ada,Byron,1980-03-04")
    command("run", last)
    assert results.codes(tmp_path / "may.errors.xlsx") == {2: "known_as_other", 3: "known_as_other"}
    for path in (Path(f"{tmp_path}/april.summary.json"), tmp_path / "april.check.json"):
        assert results.summary(path)["errors"] == {"known_as_other": len(held)}


@pytest.mark.usefixtures("healthex")
def test_full_names_are_read_as_first_names_are(command: Command, tmp_path: Path) -> None:
    header = "MRN,Patient Name,DOB"
    command("run", write(tmp_path / "one.csv", '1001,"Byron, Ada M",1980-03-04', "1002,Mr. Hugo Berg,1955-07-08",
                         "1003,Ida Lee,1970-01-01", header=header))  # fmt: skip

    rows = ["1001,Ada Lovelace,3/4/1980", '1002,"Berg, Otto",7/8/1955', "1003,  ,"]
    ended = command("run", write(tmp_path / "two.csv", *rows, header=header))

    assert results.codes(tmp_path / "two.errors.xlsx") == {3: "known_as_other"}
    assert ended.code == 3


@pytest.mark.usefixtures("healthex")
def test_all_rows_of_an_id_are_held_back_where_one_of_them_is_somebody_else(command: Command, tmp_path: Path) -> None:
    command("run", write(tmp_path / "one.csv", "1001,Ada,Byron,1980-03-04"))
    rows = ["1001,,,", "1001,Hugo,Berg,"]

    command("run", write(tmp_path / "two.csv", *rows), "--keep-duplicates", "--id-column", "MRN")

    assert results.codes(tmp_path / "two.errors.xlsx") == {2: "known_as_other"}
    assert not results.links(tmp_path / "two.links.xlsx")


# --- the fixed error report -------------------------------------------------------------------------------------------


@pytest.fixture
def reported(command: Command, healthex: RunningSimulator, tmp_path: Path) -> Path:
    """Ada and 29 others have their links; Hugo's ID is missing, and so is that of Ada's twin."""
    patients = [f"{10_000_000 + row},Ann{row},Lee,1970-01-01" for row in range(29)]
    rows = ["00414402,Ada,Byron,1980-03-04", *patients, "N/A,Hugo,Berg,1955-07-08", "unknown,Ada,Berg,1980-03-05"]
    assert command("run", write(tmp_path / "patients.csv", *rows)).code == 3
    assert "00414402" in healthex.links
    return tmp_path / "patients.errors.xlsx"


def test_whoever_is_given_somebody_elses_id_in_the_error_report_does_not_get_that_link(
    command: Command, healthex: RunningSimulator, reported: Path, tmp_path: Path
) -> None:
    calls = healthex.link_calls
    fixed = type_in(reported, 32, tmp_path / "fixed.xlsx", MRN="00414402")

    ended = command("run", fixed)

    assert ended.code == 3
    assert results.codes(tmp_path / "fixed.errors.xlsx") == {32: "known_as_other", 33: "placeholder_id"}
    assert not results.links(tmp_path / "fixed.links.xlsx")
    assert healthex.link_calls == calls
    # The report of that, untouched, gives nobody anything: with the ledger, without it, and where the key was lost.
    again = tmp_path / "fixed.errors.xlsx"
    for options in ((), ("--no-ledger",), ("--ledger", tmp_path / "other.sqlite3")):
        command("run", again, *options)
        assert results.codes(tmp_path / "fixed.errors.errors.xlsx")[32] == "known_as_other"
    # Nor does one from which the name was deleted; his own ID is his.
    command("run", type_in(again, 32, tmp_path / "nameless.xlsx", **{"First Name": "", "DOB": ""}))
    assert results.codes(tmp_path / "nameless.errors.xlsx")[32] == "known_as_other"
    command("run", type_in(again, 32, tmp_path / "right.xlsx", MRN="00414403"))
    assert [row["MRN"] for row in results.links(tmp_path / "right.links.xlsx")] == ["00414403"]
    assert healthex.links["00414403"] != healthex.links["00414402"]


@pytest.mark.usefixtures("healthex")
def test_in_a_corrected_row_another_day_of_birth_is_another_person(
    command: Command, reported: Path, tmp_path: Path
) -> None:
    command("run", type_in(reported, 33, tmp_path / "fixed.xlsx", MRN="00414402"))
    assert results.codes(tmp_path / "fixed.errors.xlsx")[33] == "known_as_other"

    same = {"MRN": "00414402", "DOB": "3/4/1980", "First Name": "A."}
    ended = command("run", type_in(reported, 33, tmp_path / "same.xlsx", **same))

    assert 33 not in results.codes(tmp_path / "same.errors.xlsx")
    assert "had_a_link" in results.summary(tmp_path / "same.summary.json")["warnings"]
    assert ": row 33." in ended.err


@pytest.mark.usefixtures("healthex")
def test_a_typed_id_with_a_link_teaches_nothing(command: Command, tmp_path: Path) -> None:
    """A ledger of version 0.2 does not know whose ID it is; whoever typed it last must not become the one."""
    command("run", write(tmp_path / "ids.csv", "1001", header="MRN"))
    command("run", write(tmp_path / "list.csv", "N/A,Hugo,Berg,1955-07-08"), "--id-column", "MRN")
    command("run", type_in(tmp_path / "list.errors.xlsx", 2, tmp_path / "fixed.xlsx", MRN="1001"))

    ended = command("run", write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04"))
    assert ended.code == 0
    command("run", write(tmp_path / "later.csv", "1001,Hugo,Berg,1955-07-08"))
    assert results.codes(tmp_path / "later.errors.xlsx") == {2: "known_as_other"}


# --- where people are not compared ------------------------------------------------------------------------------------


def test_projects_and_deployments_are_worlds_of_their_own(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path
) -> None:
    start_healthex(projects=(PROJECT, "other-hospital"))
    ada = write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04")
    hugo = write(tmp_path / "hugo.csv", "1001,Hugo,Berg,1955-07-08")
    command("run", ada)

    assert command("run", hugo, "--project-id", "other-hospital").code == 0
    assert command("run", ada, "--project-id", "other-hospital").code == 3
    start_healthex(projects=(PROJECT,))  # as production beside a sandbox
    assert command("run", hugo).code == 0
    assert command("run", ada).code == 3


@pytest.mark.usefixtures("healthex")
def test_a_list_without_names_or_birth_dates_neither_tells_nor_asks(
    command: Command, tmp_path: Path, ledger_path: Path
) -> None:
    command("run", write(tmp_path / "ids.csv", "1001,North", header="MRN,Clinic"))
    assert not key_path(ledger_path).exists()
    command("run", write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04"))
    assert key_path(ledger_path).exists()

    assert command("run", tmp_path / "ids.csv").code == 0
    assert command("run", write(tmp_path / "hugo.csv", "1001,Hugo,Berg,1955-07-08")).code == 3
    assert command("run", tmp_path / "hugo.csv", "--no-ledger").code == 0


def test_an_id_that_never_got_a_link_is_nobodys(
    command: Command, healthex: RunningSimulator, tmp_path: Path, ledger_path: Path
) -> None:
    """Also where the run was stopped: what counts is the link."""
    healthex.script("1001", [422])
    hugo = write(tmp_path / "hugo.csv", "1001,Hugo,Berg,1955-07-08", "1002,Ida,Lee,1970-01-01")
    command("run", hugo)
    assert [one for one, *_ in people(ledger_path)] == ["1002"]
    healthex.change(server_error_share=1.0)
    assert command("run", hugo, "--patience", 0.2).code == 5
    healthex.change(server_error_share=0.0)

    assert command("run", write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04")).code == 0
    assert command("run", hugo).code == 3


# --- confirming -------------------------------------------------------------------------------------------------------


def test_somebody_confirms_who_it_is(
    command: Command, healthex: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    command("run", write(tmp_path / "one.csv", "1001,Robert,Lee,1980-03-04", "1002,Ida,Lee,1970-01-01"))
    two = write(tmp_path / "two.csv", "1001,Bob,Lee,1980-03-04", "1002,Hugo,Berg,1955-07-08", "1003,,,")
    command("run", two)
    report = tmp_path / "two.errors.xlsx"
    book = openpyxl.load_workbook(report)
    book["Errors"].delete_rows(3)  # Ida is not Hugo
    book.save(tmp_path / "bob.xlsx")

    nobody = command("ledger", "confirm", tmp_path / "bob.xlsx")
    done = command("ledger", "confirm", tmp_path / "bob.xlsx", "--yes")

    assert nobody.code == 2
    assert "Nothing was confirmed: nobody is there to be asked." in nobody.err
    assert (done.code, done.last_line) == (0, f"Confirmed in project {PROJECT}: 1 patient.")
    assert "Row 2: before, in one.csv, row 2 (20" in done.out
    assert "The first names differ." in done.out
    assert not any(word in done.out + done.err for word in ("1001", "Bob", "Robert"))
    assert command("run", tmp_path / "bob.xlsx").code == 0
    command("run", two)
    assert results.codes(report) == {3: "known_as_other"}
    assert command("run", tmp_path / "one.csv").code == 3  # now it is Robert who is somebody else
    # A list confirms everybody in it; where nobody differs there is nothing to do.
    assert command("ledger", "confirm", two, "--yes").last_line.endswith("1 patient.")
    assert command("ledger", "confirm", two, "--yes").last_line.endswith("0 patients.")
    assert command("run", two).code == 0
    audit = (private_home / "data" / "audit.jsonl").read_text(encoding="utf-8")
    assert '"event":"confirm"' in audit.replace('": "', '":"')
    assert healthex.requests_for("1001") == 1


@pytest.mark.usefixtures("healthex")
def test_what_was_confirmed_holds_where_the_key_was_lost_meanwhile(
    command: Command, tmp_path: Path, ledger_path: Path
) -> None:
    command("run", write(tmp_path / "one.csv", "1001,Robert,Lee,1980-03-04"))
    command("run", write(tmp_path / "two.csv", "1001,Bob,Lee,1980-03-04"))
    key_path(ledger_path).unlink()

    assert command("run", tmp_path / "two.errors.xlsx").code == 3
    assert command("ledger", "confirm", tmp_path / "two.errors.xlsx", "--yes").code == 0
    assert command("run", tmp_path / "two.errors.xlsx").code == 0
    for wrong in (("--project-id", "none"), ("--ledger", tmp_path / "none")):
        assert command("ledger", "confirm", tmp_path / "two.errors.xlsx", "--yes", *wrong).code == 2
    assert "00417" not in command("ledger", "confirm", "00417").err


# --- the ledger's part ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_nobody_can_be_read_in_the_ledger(command: Command, tmp_path: Path, ledger_path: Path) -> None:
    command("run", write(tmp_path / "one.csv", "1001,Wilhelmina,Byron,1980-03-04", "1002,Wilhelmina,Lee,1981-03-04"))

    content = b"".join(path.read_bytes() for path in ledger_path.parent.glob("ledger.sqlite3*"))

    assert not any(text in content.lower() for text in (b"wilhelmina", b"byron", b"1980", b"1981"))
    (_, name, birth), (_, other_name, other_birth) = people(ledger_path)
    assert name == other_name  # short tags without anything of the patient in them: two people share them
    assert birth != other_birth


@pytest.mark.parametrize("lost", ["gone", "another"])
@pytest.mark.usefixtures("healthex")
def test_a_lost_key_is_said_once_and_all_is_learned_anew(
    command: Command, tmp_path: Path, ledger_path: Path, lost: str
) -> None:
    ada = write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04")
    hugo = write(tmp_path / "hugo.csv", "1001,Hugo,Berg,1955-07-08")
    command("run", ada)
    if lost == "another":
        command("run", ada, "--ledger", tmp_path / "other.sqlite3")
        key_path(ledger_path).write_bytes(key_path(tmp_path / "other.sqlite3").read_bytes())
    else:
        key_path(ledger_path).unlink()

    checked = command("check", hugo)  # changes nothing, and so the next run says it
    first, second = command("run", ada), command("run", ada)

    assert checked.code == 0
    assert "whose IDs these are isn't known any more (1 forgotten)" in first.err
    assert "isn't known any more" not in second.err
    assert (first.code, second.code, command("run", hugo).code) == (0, 0, 3)


@pytest.mark.parametrize("way", ["forget", "ledger-keep-days"])
@pytest.mark.usefixtures("healthex")
def test_people_go_with_their_links(command: Command, tmp_path: Path, ledger_path: Path, way: str) -> None:
    command("run", write(tmp_path / "ada.csv", "1001,Ada,Byron,1980-03-04", "1002,Ida,Lee,1970-01-01"))

    if way == "forget":
        command("ledger", "forget", "--ids", write(tmp_path / "ids.csv", "1001", header="MRN"), "--yes")
    else:
        with closing(sqlite3.connect(ledger_path)) as ledger, ledger:
            ledger.execute("UPDATE link SET issued_at = '2024-01-01T00:00:00+00:00', check_value = NULL")
        command("run", write(tmp_path / "other.csv", "1003,Eve,Lee,1970-01-01"), "--ledger-keep-days", 30)

    left = [one for one, *_ in people(ledger_path)]
    with closing(sqlite3.connect(ledger_path)) as ledger:
        lists = ledger.execute("SELECT count(*) FROM seen_list").fetchone()
    assert left == (["1002"] if way == "forget" else ["1003"])
    assert lists == (1,)
    assert command("run", write(tmp_path / "hugo.csv", "1001,Hugo,Berg,1955-07-08")).code == 0
