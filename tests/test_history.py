"""`batchlinks history`, and the lines in the audit log that it is made of: what happened last Tuesday, told from files alone."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, Ended

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


def lines_of(home: Path) -> list[dict[str, Any]]:
    path = home / "data" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN\nZQX2001\nZQX2002\n", encoding="utf-8")
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts this on standard input."""

    def type_in(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return type_in


def told(command: Command, *options: object) -> list[dict[str, Any]]:
    ended = command("history", "--format", "json", *options)
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_a_run_has_a_line_before_the_first_id_leaves_and_one_at_its_end(
    healthex: RunningSimulator, command: Command, roster: Path, private_home: Path
) -> None:
    assert command("check", roster).code == 0
    assert command("run", roster).code == 0

    lines = lines_of(private_home)
    assert [(line["command"], line["event"]) for line in lines] == [
        ("check", "begun"), ("check", "ended"), ("run", "begun"), ("run", "ended"),
    ]  # fmt: skip
    begun, ended = lines[2:]
    assert begun["run_id"] == ended["run_id"]
    assert (begun["rows_read"], begun["to_send"], begun["api"], begun["project_id"]) == (2, 2, healthex.url, PROJECT)
    assert (ended["rows_read"], ended["linked"], ended["reason"], ended["table"]) == (2, 2, None, None)
    assert ended["folder"] == str(roster.parent.resolve())
    assert "ZQX" not in json.dumps(lines)


def test_history_tells_newest_first_what_happened_and_why_it_did_not(
    healthex: RunningSimulator, command: Command, roster: Path
) -> None:
    assert command("history").out == "Nothing was done so far.\n"
    assert command("run", roster).code == 0
    assert command("run", roster, "--id-column", "Chart").code == 2
    other = roster.with_name("other.csv")
    other.write_text("MRN\nZQX2003\n")
    assert command("run", other, "--project-id", "gone").code == 4
    links = roster.with_name("patients.links.xlsx")
    links.unlink()
    roster.with_name("patients.errors.xlsx").write_bytes(b"changed")

    refused_project, refused_list, done = told(command, "--files")

    assert [each["exit_code"] for each in (refused_project, refused_list, done)] == [4, 2, 0]
    assert "no column is called" in refused_list["reason"]
    assert "HealthEx refused" in refused_project["reason"]
    assert {Path(each["path"]).name: each["state"] for each in done["files"]} == {
        "patients.links.xlsx": "gone", "patients.errors.xlsx": "changed since",
    }  # fmt: skip
    said = command("history", "--files").out
    assert f"patients.csv  project {PROJECT}  2 rows: 2 linked, 0 duplicates" in said
    assert f"{links}: gone" in said
    assert said.index("HealthEx refused") < said.index("no column is called") < said.index("2 linked")
    assert command("history", "--days", "0").out == command("history").out
    assert "ZQX" not in said
    assert healthex.requests_for("ZQX2001") == 1


def test_a_run_that_was_killed_shows_as_begun(
    start_healthex: Callable[..., RunningSimulator], command: Command, roster: Path
) -> None:
    healthex = start_healthex(latency_ms=60_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlinks", "run", roster, "--quiet"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not healthex.link_calls and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()

    (entry,) = told(command)

    assert (entry["event"], entry["rows_read"], entry["to_send"]) == ("begun", 2, 2)
    assert "It began and has not ended" in command("history").out


def test_a_night_is_told_with_its_lists_its_tables_and_why_it_could_not_begin(
    healthex: RunningSimulator, command: Command, roster: Path, tmp_path: Path
) -> None:
    inbox, settings = tmp_path / "in", tmp_path / "night.toml"
    inbox.mkdir()
    roster.rename(inbox / "clinic.csv")
    (inbox / "broken.csv").write_text('MRN\n"2004\n', encoding="utf-8")
    settings.write_text(
        '[[roster]]\nname = "clinic"\nmatch = "clinic*"\nid-column = "MRN"\n'
        '[[roster]]\nname = "other"\nmatch = "*"\nid-column = "MRN"\n',
        encoding="utf-8",
    )
    night = ("nightly", "--config", settings, "--inbox", inbox, "--outbox", tmp_path / "out", "--settle", 0)
    assert command(*night).code == 2
    old = inbox / "done" / "2001-01-01"
    old.mkdir()
    assert command(*night).code == 0
    assert command(*night, "--inbox", tmp_path / "nowhere").code == 2

    entries = told(command)
    could_not, quiet_night, first = [each for each in entries if each["what"] == "nightly"]
    lists = [each for each in entries if each["what"] == "run"]
    (deleted,) = [each for each in entries if each["event"] == "deleted"]

    assert (could_not["exit_code"], "is not there" in could_not["reason"]) == (2, True)
    assert (deleted["what"], deleted["count"]) == ("nightly deleted", 1)
    assert (quiet_night["lists"], quiet_night["exit_code"]) == ([], 0)
    assert {each["table"]: each["exit_code"] for each in first["lists"]} == {"clinic": 0, "other": 2}
    assert {(each["table"], each["exit_code"]) for each in lists} == {("clinic", 0), ("other", 2)}
    assert {each["run_id"] for each in first["lists"]} == {each["run_id"] for each in lists}
    assert healthex.link_calls == 2


def test_what_was_done_about_one_patient_is_found_by_the_id_and_no_id_is_kept(
    healthex: RunningSimulator, command: Command, roster: Path, private_home: Path, typed: Callable[[str], None]
) -> None:
    assert command("run", roster).code == 0
    first = told(command)[0]["run_id"]
    assert command("status", roster).code == 0
    (asked,) = [line for line in lines_of(private_home) if (line["command"], line["event"]) == ("status", "begun")]
    assert (asked["to_send"], asked["rows_read"]) == (2, 2)
    assert "2 patients with a link" in command("history").out
    typed("zqx 2001\n")
    assert command("ledger", "withdraw", "--reason", "deceased").code == 0
    typed("ZQX2002\n")
    assert command("ledger", "show").code == 0
    typed("ZQX02001\n")
    about = told(command, "--patient")

    assert [each["what"] for each in about] == ["ledger withdraw"]  # the ID is spelled otherwise than in the ledger
    typed("ZQX2001\n")
    assert [(each["what"], each.get("run_id")) for each in told(command, "--patient")] == [
        ("ledger withdraw", None), ("status", asked["run_id"]), ("run", first),
    ]  # fmt: skip
    typed("ZQX9999\n")
    assert command("history", "--patient").out == "Nothing of this kind was done.\n"
    typed("\n")
    assert command("history", "--patient").code == 2
    audit = (private_home / "data" / "audit.jsonl").read_text()
    assert "ZQX" not in audit.upper()
    assert '"reason":"deceased"' in audit
    assert healthex.link_calls == 2


def test_lines_of_0_2_and_half_a_line_are_read(command: Command, private_home: Path) -> None:
    data = private_home / "data"
    data.mkdir()
    old = {
        "time": "2026-11-24T05:30:00Z", "user": "ann", "host": "desk", "version": "0.2.0", "command": "run", "run_id": "abc",
        "roster": "clinic.csv", "roster_sha256": "", "project_id": "p", "id_column": "MRN", "started_at": "2026-11-24T05:29:00Z",
        "rows": 3, "linked": 2, "written": 2, "requested": 2, "reused": 0, "duplicates": 0, "errors": {"blank_id": 1},
        "warnings": {}, "calls": 2, "retries": 0, "exit_code": 3, "outputs": {"clinic.links.xlsx": "00"},
    }  # fmt: skip
    (data / "audit.jsonl").write_text(f'{json.dumps(old)}\n{{"time":"2026-11-2', encoding="utf-8")

    ended = command("history", "--files")

    assert ended.code == 0
    assert (
        "by ann on desk  clinic.csv  project p  3 rows: 2 linked, 0 duplicates, 1 to fix  exit code 3  run abc"
        in ended.out
    )
    assert "clinic.links.xlsx: not looked at" in ended.out
    assert told(command)[0]["event"] == "ended"


@pytest.mark.skipif(sys.platform == "win32", reason="modes there say nothing")
def test_what_cannot_be_noted_is_not_sent(
    healthex: RunningSimulator, command: Command, roster: Path, private_home: Path
) -> None:
    (private_home / "data" / "audit.jsonl").mkdir(parents=True)

    ended = command("run", roster)

    assert (ended.code, healthex.calls) == (1, [])
    assert "so nothing was sent" in ended.err
    assert command("history").code == 2
