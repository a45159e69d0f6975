"""What would happen now: the same in check, before the question, at night and in Python, and never a call."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PROJECT, Ended

import batchlinks
from batchlinks.cli import terminal
from batchlinks.pipeline.preview import Preview
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


def write(path: Path, *ids: int) -> Path:
    path.write_text("MRN,First Name\n" + "".join(f"{one},Pat\n" for one in ids), encoding="utf-8")
    return path


def test_check_run_and_python_say_the_same_of_a_list(
    healthex: RunningSimulator, command: Command, tmp_path: Path, private_home: Path
) -> None:
    roster = write(tmp_path / "patients.csv", 2001, 2002, 2003, 2004)
    first = command("check", roster)
    assert f"4 rows for project {PROJECT} ({healthex.url}): 4 new, 0 with a link already." in first.err
    assert command("run", roster).code == 0
    assert command("status", roster).code == 0
    asked = len(healthex.calls)
    assert "This very list was done on 20" in command("check", roster).err

    (tmp_path / "out.txt").write_text("2002\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", tmp_path / "out.txt").code == 0
    write(roster, 2001, 2002, 2005)
    roster.write_text(roster.read_text() + "2006,Ann\n2006,Bob\n", encoding="utf-8")
    checked = batchlinks.check(roster).preview
    assert checked is not None
    assert len(healthex.calls) == asked
    done = batchlinks.run(roster).preview

    assert checked == done
    assert (checked.to_send, checked.known, checked.withdrawn, checked.held_back) == (1, 1, 1, 2)
    assert (checked.missing, checked.done_before) == (2, None)
    assert checked.answered == {"no consent found": 1}
    (private_home / "batchlinks.toml").write_text(f'[[project]]\nname = "Spring"\nproject-id = "{PROJECT}"\n')
    said = command("check", roster).err
    assert f"for project Spring ({healthex.url}): 0 new, 2 with a link already, 1 withdrawn, 2 held back" in said


def test_a_night_says_it_too_and_a_check_without_a_project_does_not(
    healthex: RunningSimulator, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    write(inbox / "patients.csv", 2001)
    night = ("nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--settle", 0)
    assert f"1 row for project {PROJECT} ({healthex.url}): 1 new" in command(*night).err

    monkeypatch.delenv("HEALTHEX_PROJECT_ID")
    assert "for project" not in command("check", write(tmp_path / "patients.csv", 2001)).err
    assert batchlinks.check(tmp_path / "patients.csv").preview is None


def test_the_question_before_sending_names_what_else_is_known(
    healthex: RunningSimulator, command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    roster = write(tmp_path / "patients.csv", 2001)
    assert command("run", roster).code == 0
    preview = batchlinks.check(roster).preview
    assert isinstance(preview, Preview)

    assert terminal.ask_person(replace(preview, project="Spring", withdrawn=3, missing=2))

    said = capfd.readouterr().err
    assert f"Project        Spring ({PROJECT}), not production" in said
    assert "Also           3 withdrawn, 2 of the last run of this list missing" in said
    assert "Done before    this very list, on 20" in said
    terminal.ask_person(replace(preview, is_production=True))
    assert f"{PROJECT}, production" in capfd.readouterr().err
    assert healthex.link_calls == 1
