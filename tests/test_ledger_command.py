"""`batchlinks ledger`: what an administrator sees and changes, through the command; and what later runs make of it."""

import csv
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import results
from conftest import PROJECT, Ended

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
IDS = ["00417", "00418", "00419"]


@pytest.fixture
def healthex(start_healthex: Callable[..., RunningSimulator]) -> RunningSimulator:
    """One that has three projects."""
    return start_healthex(projects=(PROJECT, "another", "brand-new"))


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"{one},Pat\n" for one in IDS), encoding="utf-8")
    return path


@pytest.fixture
def ledger(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `batchlinks ledger` with these arguments, and `typed` on standard input."""

    def run(*arguments: object, typed: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        return command("ledger", *arguments)

    return run


@pytest.fixture
def made(command: Command, healthex: RunningSimulator, roster: Path) -> RunningSimulator:
    """Three links are in the ledger."""
    assert command("run", roster).code == 0
    return healthex


def audit_lines(home: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (home / "data" / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line["command"] == "ledger"]


# --- looking --------------------------------------------------------------------------------------------------


def test_alone_it_counts_by_project_and_day(
    made: RunningSimulator, command: Command, ledger: Command, roster: Path
) -> None:
    command("run", roster, "--project-id", "another", "--limit", "1")  # to try it out: nobody is handed out

    said = ledger().out

    for project, links, handed_out in ((PROJECT, 3, 3), ("another", 1, 0)):
        assert f"Project {project} at {made.url}: {links} link" in said
        assert said.count(f"{links:>9} issued  {handed_out:>9} of them handed out") == 1
    assert said.splitlines()[-1].startswith("4 links in 2 projects; 0 patients withdrawn.")


def test_show_tells_the_link_of_the_patient_that_is_asked_about_and_of_nobody_else(
    made: RunningSimulator, ledger: Command
) -> None:
    ended = ledger("show", typed="00418\n")

    assert ended.code == 0
    assert ended.out.splitlines()[0] == "00418"
    assert made.links["00418"] in ended.out
    assert made.links["00417"] not in ended.out
    assert "withdrawn   no" in ended.out
    assert "00418" not in ended.err


@pytest.mark.usefixtures("made")
def test_an_id_that_is_written_otherwise_is_told_apart_and_its_link_not_shown(ledger: Command) -> None:
    ended = ledger("show", typed="418\n99999\n")

    assert ended.code == 3
    assert ended.out.splitlines() == [
        "418", "  no link", "  but there is one that differs only in capital letters or leading zeros: 00418",
        "99999", "  no link",
    ]  # fmt: skip


@pytest.mark.usefixtures("made")
def test_ids_come_from_any_list_that_exclude_takes(ledger: Command, tmp_path: Path) -> None:
    (tmp_path / "asked.csv").write_text("Name;Patient ID\nAnn;00417\n", encoding="utf-8")

    assert ledger("show", "--ids", tmp_path / "asked.csv").out.startswith("00417\n")


@pytest.mark.parametrize(
    "arguments",
    [["00417"], ["show", "00417"], ["withdraw", "00417"], ["restore", "--project", "x", "00417"], ["forget", "00417"]],
)
@pytest.mark.usefixtures("made")
def test_an_id_in_the_command_is_refused_and_not_repeated(
    ledger: Command, arguments: list[str], private_home: Path
) -> None:
    ended = ledger(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert "never part of a command" in ended.err
    assert "417" not in ended.err
    assert audit_lines(private_home) == []


@pytest.mark.parametrize("arguments", [["show"], ["withdraw"], ["restore"], ["forget", "--ids", "-"]])
@pytest.mark.usefixtures("made")
def test_a_list_with_an_entry_that_cannot_be_read_changes_nothing(ledger: Command, arguments: list[str]) -> None:
    before = ledger("export").out

    for typed, said in (("00417\n1.5E+9\n", "row 2"), ("", "No patient ID was given")):
        ended = ledger(*arguments, typed=typed)
        assert ended.code == 2
        assert said in ended.err
        assert "1.5" not in ended.err

    assert ledger("export").out == before


def test_a_ledger_that_is_not_there_is_said_and_not_made(ledger: Command, tmp_path: Path) -> None:
    for arguments in ([], ["show"], ["restore"], ["forget", "--older-than", "1"], ["export"]):
        ended = ledger(*arguments, "--ledger", tmp_path / "gone" / "ledger", typed="00417\n")
        assert ended.code == 2
        assert "There is no ledger at" in ended.err
    assert not (tmp_path / "gone").exists()


# --- withdrawing ----------------------------------------------------------------------------------------------


def test_a_withdrawn_patient_is_neither_sent_nor_handed_out_until_restored(
    made: RunningSimulator, command: Command, ledger: Command, roster: Path, private_home: Path
) -> None:
    assert ledger("withdraw", typed="00418\n418\n").out.startswith("Withdrawn in every project: 2 patients.")
    assert command("run", roster, "--refresh").code == 3
    assert results.codes(roster.with_name("patients.errors.xlsx")) == {3: "withdrawn"}
    assert [row["MRN"] for row in results.links(roster.with_name("patients.links.xlsx"))] == ["00417", "00419"]
    assert command("check", roster).code == 3
    assert made.requests_for("00418") == 1
    assert "withdrawn   20" in ledger("show", typed="00418\n").out

    ended = ledger("restore", typed="00418\n")

    assert ended.code == 0
    assert "Still held back" in ended.err  # as 418
    assert ledger("restore", typed="418\n").err == ""
    assert command("run", roster).code == 0
    assert len(results.links(roster.with_name("patients.links.xlsx"))) == 3
    assert [(line["event"], line["count"]) for line in audit_lines(private_home) if line["event"] != "show"] == [
        ("withdraw", 2), ("restore", 1), ("restore", 1),
    ]  # fmt: skip
    audit = (private_home / "data" / "audit.jsonl").read_text()
    assert "418" not in re.sub("[0-9a-f]{12,}", "", audit)  # hashes and run IDs may have any digits in them


def test_a_withdrawal_holds_for_ids_that_lost_their_zeros_and_for_projects_to_come(
    healthex: RunningSimulator, command: Command, ledger: Command, roster: Path
) -> None:
    ledger("withdraw", typed="417\n")

    assert command("run", roster, "--project-id", "brand-new").code == 3
    assert healthex.requests_for("00417") == 0


def test_a_withdrawal_in_one_project_holds_there_only(
    made: RunningSimulator, command: Command, ledger: Command, roster: Path
) -> None:
    ledger("withdraw", "--project-id", "another", typed="00417\n")

    assert command("run", roster).code == 0
    assert command("run", roster, "--project-id", "another").code == 3
    ended = ledger("restore", "--project-id", PROJECT, typed="00417\n")
    assert (ended.code, ended.out) == (3, f"Restored in project {PROJECT}: 0 patients.\n")
    assert ledger("restore", typed="00417\n").code == 0
    assert command("run", roster, "--project-id", "another").code == 0
    assert made.requests_for("00417") == 2


@pytest.mark.usefixtures("made")
def test_projects_can_be_named_as_in_the_settings_file(ledger: Command, private_home: Path) -> None:
    (private_home / "batchlinks.toml").write_text(
        f'project-id = "not-this-one"\n[[project]]\nname = "spring"\nproject-id = "{PROJECT}"\n', encoding="utf-8"
    )

    assert f"Project {PROJECT} (spring)" in ledger("show", typed="00417\n").out
    assert ledger("show", "--project", "spring", typed="00417\n").code == 0
    assert ledger("show", "--project", "autumn", typed="00417\n").code == 2
    assert ledger("show", "--project-id", "not-this-one", typed="00417\n").code == 3


# --- forgetting -----------------------------------------------------------------------------------------------


def test_what_is_forgotten_is_gone_from_the_file_and_asked_for_again(
    made: RunningSimulator, command: Command, ledger: Command, roster: Path, private_home: Path
) -> None:
    ledger("withdraw", typed="00419\n")
    path = private_home / "data" / "ledger.sqlite3"
    assert b"00417" in path.read_bytes()

    assert ledger("forget", "--older-than", "0").code == 2  # nobody is there to be asked
    assert ledger("forget", "--older-than", "1", "--yes").out == "Forgotten in every project: 0 links.\n"
    assert ledger("forget", "--project-id", "another", "--yes").out == "Forgotten in project another: 0 links.\n"
    ended = ledger("forget", "--ids", "-", "--yes", typed="00417\n")

    assert ended.out == "Forgotten in every project: 1 link.\n"
    left = b"".join(each.read_bytes() for each in path.parent.iterdir() if each.name.startswith(path.name))
    assert b"00417" not in left
    assert made.links["00417"].encode() not in left
    assert b"00418" in left
    assert ledger("forget", "--project-id", PROJECT, "--yes").out == f"Forgotten in project {PROJECT}: 2 links.\n"
    assert command("run", roster).code == 3  # who was withdrawn stays withdrawn
    assert [made.requests_for(one) for one in IDS] == [2, 2, 1]


def test_forgetting_everything_has_to_be_said(ledger: Command) -> None:
    assert "What is to be forgotten?" in ledger("forget", "--yes").err


@pytest.mark.usefixtures("made")
def test_old_links_are_forgotten_at_the_end_of_a_run(
    command: Command, ledger: Command, roster: Path, private_home: Path
) -> None:
    import sqlite3

    from batchlinks.ledger.schema import check_value, days_ago

    with sqlite3.connect(private_home / "data" / "ledger.sqlite3") as file:
        (link,) = file.execute("SELECT link FROM link WHERE external_id = '00417'").fetchone()
        old = days_ago(31)
        file.execute(
            "UPDATE link SET issued_at = ?, check_value = ? WHERE external_id = '00417'",
            (old, check_value(1, "00417", link, old)),
        )
    file.close()

    assert command("run", roster, "--ledger-keep-days", "32").err.count("Forgotten") == 0
    ended = command("run", roster, "--ledger-keep-days", "30")

    assert "1 links that were issued 30 days ago" in ended.err
    assert len(results.links(roster.with_name("patients.links.xlsx"))) == 3
    assert ledger("show", typed="00417\n").code == 3
    assert ledger("show", typed="00418\n").code == 0


# --- exporting ------------------------------------------------------------------------------------------------


def test_an_export_holds_every_link_and_withdrawal_and_replaces_no_file(
    made: RunningSimulator, ledger: Command, tmp_path: Path
) -> None:
    ledger("withdraw", typed="00418\n77\n")
    path = tmp_path / "export.csv"

    before = os.umask(0)
    try:
        assert ledger("export", path).out == f"Exported 4 rows to {path}. They hold patient IDs and links.\n"
    finally:
        os.umask(before)

    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["external_id"]: row["link"] for row in rows} == {**made.links, "77": ""}
    assert [row["external_id"] for row in rows if row["withdrawn_at"]] == ["00418", "77"]
    assert ledger("export").out.encode() == path.read_bytes().replace(
        b"\r\n", b"\n" if os.linesep == "\r\n" else b"\r\n"
    )
    kept = path.read_bytes()
    assert ledger("export", path).code == 2
    assert path.read_bytes() == kept
