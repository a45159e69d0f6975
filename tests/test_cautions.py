"""Columns that say deceased, do not contact, opted out, returned mail: never passed over, heeded or ignored as told."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import page as page_module
import pytest
import results
from conftest import Ended

import batchlinks
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

ROWS = ("1001,Ann,1980-01-05", "1002,Bob,1981-02-06", "1003,Cem,1982-03-07", "1004,Dee,1983-04-08")


def marked(folder: Path, header: str, *values: str, name: str = "patients.csv") -> Path:
    """A list of four patients, of whom the column `header` says these values."""
    lines = [f"{row},{value}" for row, value in zip(ROWS, (*values, "", "", "", ""), strict=False)]
    path = folder / name
    path.write_text("\n".join([f"MRN,First Name,DOB,{header}", *lines]) + "\n", encoding="utf-8")
    return path


SAY_SO = {
    "Deceased": "Y", "Is Deceased?": "true", "DECEASED_DATE": "2024-05-01", "Date of Death": "5/1/2024", "DOD": "5/1/24",
    "DeathDate": "20240501", "BENE_DEATH_DT": "20240501", "Patient Expired": "x", "Vital Status": "D", "Alive": "N",
    "Patient Status": "Deceased", "Discharge Disposition": "Expired", "Verstorben": "ja", "Date de décès": "01/05/2024",
    "Fecha de defunción": "1/5/2024", "Do Not Contact": "x", "DoNotContact": "1", "DNC Flag": "Yes", "Do not mail": "Y",
    "Opt Out": "Y", "Opted-Out Date": "2024-05-01", "optout": "TRUE", "Unsubscribed": "yes", "OK to contact": "No",
    "Declined Outreach": "Y", "Returned Mail": "Y", "Mail Returned": "RTS", "Return to Sender": "12/1/25",
    "Bad Address": "Y", "Undeliverable": "x", "Mail Status": "returned mail",
}  # fmt: skip
SAY_NOTHING = {
    "Deceased": "N", "Is Deceased": "FALSE", "Deceased Date": "0000-00-00", "Death Ind": "0", "Vital Status": "Alive",
    "Patient Status": "Active", "Status": "Expired", "Expiration Date": "2027-01-01", "Alive": "Y", "Opt Out": "No",
    "OK to contact": "Y", "Contact No": "6175550101", "Mother Deceased": "Y", "PCP Deceased": "Y", "Returned Mail": "n/a",
    "Address": "12 Elm St", "Death Date": "9999-12-31", "Preferred Contact": "mail", "Notes": "deceased",
}  # fmt: skip


@pytest.mark.parametrize(("header", "value"), SAY_SO.items(), ids=SAY_SO)
def test_a_marked_patient_is_a_question_that_names_the_column(
    command: Command, tmp_path: Path, header: str, value: str
) -> None:
    ended = command("check", marked(tmp_path, header, "", value))

    assert ended.code == 2
    assert f'--heed "{header}"' in ended.err
    assert f'--ignore "{header}"' in ended.err
    assert "1 row" in ended.err


@pytest.mark.parametrize(("header", "value"), SAY_NOTHING.items(), ids=SAY_NOTHING)
def test_a_column_that_says_no_or_something_else_is_no_question(
    command: Command, tmp_path: Path, header: str, value: str
) -> None:
    assert command("check", marked(tmp_path, header, "", value, "", value)).code == 0


def test_heeded_rows_are_excluded_with_every_row_of_their_patients(
    command: Command, tmp_path: Path, healthex: RunningSimulator
) -> None:
    roster = marked(tmp_path, "Deceased", "", "", "N")
    roster.write_text(roster.read_text(encoding="utf-8") + "1002,Bob,1981-02-06,Y\n", encoding="utf-8")

    ended = command("run", roster, "--heed", "deceased")

    assert ended.code == 3
    assert results.codes(tmp_path / "patients.errors.xlsx") == {3: "excluded"}
    assert [row["MRN"] for row in results.duplicates(tmp_path / "patients.errors.xlsx")] == ["1002"]
    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["1001", "1003", "1004"]
    assert healthex.link_calls == 3


def test_an_ignored_column_changes_nothing_and_nobody_is_asked_for_without_an_answer(
    command: Command, tmp_path: Path, healthex: RunningSimulator
) -> None:
    roster = marked(tmp_path, "Opt Out", "Y", "Y")

    assert command("run", roster).code == 2
    assert healthex.link_calls == 0
    assert command("run", roster, "--ignore", "Opt Out").code == 0
    assert healthex.link_calls == 4


def test_several_columns_are_answered_each_by_itself(command: Command, tmp_path: Path) -> None:
    roster = marked(tmp_path, "Deceased,Returned Mail", "Y,", ",Y", ",", ",")

    assert '--heed "Deceased" --heed "Returned Mail"' in command("check", roster).err
    assert '--heed "Returned Mail"' in command("check", roster, "--heed", "Deceased").err
    ended = command("check", roster, "--heed", "Deceased", "--ignore", "column E")
    assert (ended.code, results.codes(tmp_path / "patients.check.xlsx")) == (3, {2: "excluded"})


def test_any_column_can_be_heeded_and_one_that_is_missing_or_ignored_too_is_refused(
    command: Command, tmp_path: Path
) -> None:
    roster = marked(tmp_path, "Hospice", "", "", "since May")

    ended = command("check", roster, "--heed", "Hospice")
    assert (ended.code, results.codes(tmp_path / "patients.check.xlsx")) == (3, {4: "excluded"})
    missing = command("check", roster, "--heed", "Deceased")
    assert missing.code == 2
    assert "--heed" in missing.err
    assert command("check", roster, "--heed", "Hospice", "--ignore", "hospice").code == 2
    assert command("check", roster, "--ignore", "Deceased").code == 0


@pytest.mark.parametrize(
    "text",
    ['heed = ["Deceased"]', 'heed = "Deceased"', 'ignore = []\nheed = ["DECEASED"]'],
    ids=["list", "text", "both"],
)
def test_a_settings_file_answers_for_good(command: Command, tmp_path: Path, private_home: Path, text: str) -> None:
    (private_home / "batchlinks.toml").write_text(f"{text}\n", encoding="utf-8")

    assert command("check", marked(tmp_path, "Deceased", "Y")).code == 3
    assert results.codes(tmp_path / "patients.check.xlsx") == {2: "excluded"}


def test_a_settings_file_with_anything_else_is_refused(command: Command, tmp_path: Path, private_home: Path) -> None:
    (private_home / "batchlinks.toml").write_text("heed = [1]\n", encoding="utf-8")

    ended = command("check", marked(tmp_path, "Deceased"))

    assert (ended.code, 'heed = ["Deceased"]' in ended.err) == (2, True)


def test_the_environment_names_columns_with_commas_between(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_HEED", "Do Not Contact, Returned Mail")

    assert command("check", marked(tmp_path, "Do Not Contact,Returned Mail", "Y,", ",Y", ",", ",")).code == 3
    assert results.codes(tmp_path / "patients.check.xlsx") == {2: "excluded", 3: "excluded"}


def test_at_night_a_list_waits_for_its_table_to_say(
    command: Command, tmp_path: Path, private_home: Path, healthex: RunningSimulator
) -> None:
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    outbox.mkdir()
    settings = private_home / "batchlinks.toml"
    table = '[[roster]]\nmatch = "*.csv"\nid-column = "MRN"\n'

    def night() -> Ended:
        os.utime(marked(inbox, "Deceased", "Y"), (0, 0))
        return command("nightly", "--inbox", inbox, "--outbox", outbox)

    settings.write_text(table, encoding="utf-8")
    undecided = night()
    assert (undecided.code, healthex.link_calls) == (2, 0)
    assert '--heed "Deceased"' in undecided.err

    settings.write_text(f'{table}heed = ["Deceased"]\n', encoding="utf-8")
    assert (night().code, healthex.link_calls) == (3, 3)


def test_from_python_the_columns_are_a_list_and_nobody_is_asked(tmp_path: Path) -> None:
    roster = marked(tmp_path, "Deceased", "Y")

    with pytest.raises(batchlinks.BatchlinksError, match="heed"):
        batchlinks.check(roster)
    assert batchlinks.check(roster, heed=["Deceased"]).summary.errors == {"excluded": 1}
    assert batchlinks.check(roster, heed="Deceased").summary.errors == {"excluded": 1}
    assert batchlinks.check(roster, ignore=["Deceased"]).summary.errors == {}


def test_an_excluded_row_of_an_error_report_stays_so_beside_a_heeded_column(command: Command, tmp_path: Path) -> None:
    roster = marked(tmp_path, "Deceased", "", "Y")
    (tmp_path / "out.txt").write_text("1001\n", encoding="utf-8")
    assert command("check", roster, "--heed", "Deceased", "--exclude", tmp_path / "out.txt").code == 3

    command("check", tmp_path / "patients.check.xlsx", "--heed", "Deceased", "--output-dir", tmp_path / "again")

    again = next((tmp_path / "again").glob("*.xlsx"))
    assert results.codes(again) == {2: "excluded", 3: "excluded"}


# --- on a terminal ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_run_asks_and_the_check_goes_on(tmp_path: Path, healthex: RunningSimulator) -> None:
    roster = marked(tmp_path, "Deceased", "", "Y")

    checked = on_terminal({}, "check", str(roster))
    assert checked.code == 0
    assert "will ask" in checked.err

    ran = on_terminal({"same?": "leave out\n", "Send? [": "y\n"}, "run", str(roster))
    assert (ran.code, healthex.link_calls) == (3, 3)
    assert 'heed = ["Deceased"]' in ran.err


def on_terminal(answers: Mapping[str, str], *arguments: str) -> Ended:
    """The command with a person at the keyboard, who answers what is asked last."""
    import pty
    import termios

    person, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (30, 200))
    program = [sys.executable, "-m", "batchlinks", *arguments]
    process = subprocess.Popen(program, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, text=True)
    os.close(terminal)
    seen, left = "", dict(answers)
    try:
        for shown in shown_on(person):
            seen += shown
            for asked in [asked for asked in left if asked in seen]:
                os.write(person, left.pop(asked).encode())
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(person)
    return Ended(process.returncode, out, seen)


def shown_on(person: int) -> Iterator[str]:
    """What is shown, as it comes, until the terminal is closed."""
    while True:
        select.select([person], [], [], 60)
        try:
            shown = os.read(person, 4096)
        except OSError:  # how Linux says so
            return
        if not shown:
            return
        yield shown.decode(errors="replace")


# --- on the page ------------------------------------------------------------------------------------------------


def test_on_the_page_the_start_waits_for_the_answer(healthex: RunningSimulator, tmp_path: Path) -> None:
    env = page_module.environment(tmp_path / "data", healthex)
    with page_module.served(tmp_path / "data", env=env) as page:
        found = page.upload(marked(tmp_path, "Deceased", "", "Y")).json()
        address = f"/api/runs/{found['id']}"

        assert [caution["name"] for caution in found["cautions"]] == ["Deceased"]
        assert found["sendable"] == 4
        assert page.client.post(f"{address}/start").status_code == 409
        assert "Leave this patient out" in page.client.get(f"/runs/{found['id']}").text

        heeded = page.client.patch(address, json={"heed": ["Deceased"]}).json()
        assert (heeded["cautions"], heeded["sendable"], heeded["errors"]) == ([], 3, {"excluded": 1})
        ignored = page.client.patch(address, json={"heed": None, "ignore": ["Deceased"]}).json()
        assert (ignored["cautions"], ignored["sendable"]) == ([], 4)
        by_form = page.upload(marked(tmp_path, "Opt Out", "Y"), heed="Opt Out").json()
        assert by_form["errors"] == {"excluded": 1}


def test_on_the_page_columns_that_can_hold_no_id_are_not_offered(healthex: RunningSimulator, tmp_path: Path) -> None:
    rows = [f"Ann,Boyd,1980-01-{day:02},617-555-01{day:02},ann{day}@example.org,{day} Elm St" for day in range(1, 20)]
    text = "\n".join(["First Name,Last Name,DOB,Phone,Email,Address", *rows]) + "\n"
    env = page_module.environment(tmp_path / "data", healthex)
    with page_module.served(tmp_path / "data", env=env) as page:
        found = page.upload(text.encode(), "no_id.csv").json()

        assert (found["id_column"], found["candidates"]) == (None, [])
        shown = page.client.get(f"/runs/{found['id']}").text
        assert 'value="Phone"' not in shown
        refused = page.client.patch(f"/api/runs/{found['id']}", json={"id_column": "Phone"})
        assert refused.status_code == 422
        assert "phone numbers" in refused.json()["detail"]
        meant = page.client.patch(f"/api/runs/{found['id']}", json={"id_column": "Phone", "any_column": True})
        assert json.loads(meant.text)["id_column"] == "Phone"
