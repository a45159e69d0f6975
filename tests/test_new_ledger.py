"""A ledger that is new where there was one, or gone, is noticed; one that is meant to be new is not in the way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended
from page import environment, served

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "patients.csv"
    path.write_text("MRN\n2001\n2002\n", encoding="utf-8")
    return path


@pytest.fixture
def ledger(private_home: Path) -> Path:
    return private_home / "data" / "ledger.sqlite3"


def remove(ledger: Path) -> None:
    for path in ledger.parent.glob(f"{ledger.name}*"):
        path.unlink()


def test_one_that_is_gone_is_noticed_by_every_door_and_new_when_it_is_meant_to_be(
    healthex: RunningSimulator, command: Command, roster: Path, ledger: Path, tmp_path: Path
) -> None:
    assert command("run", roster).code == 0  # a first installation
    first = results.summary(roster.with_name("patients.summary.json"))
    assert (first["api"], len(first["ledger_id"])) == (healthex.url, 16)
    remove(ledger)

    for words in (["run", roster], ["check", roster], ["ledger", "accept-unnamed"]):
        ended = command(*words)
        assert ended.code == 2, words
        assert f"The ledger {ledger} is gone" in ended.err
        assert "--new-ledger" in ended.err
        assert not ledger.exists()
    inbox = tmp_path / "in"
    inbox.mkdir()
    shutil.copy(roster, inbox)
    night = ("nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--settle", 0)
    assert command(*night).code == 2
    assert (inbox / "patients.csv").exists()
    assert healthex.link_calls == 2

    assert command("run", roster, "--no-ledger").code == 0
    assert command("run", roster, "--ledger", ledger.with_name("another")).code == 0
    assert command("check", roster, "--new-ledger").code == 0
    assert command("run", roster).code == 2  # a check changes nothing
    assert command("run", roster, "--new-ledger").code == 0
    assert command("run", roster).code == 0
    assert command(*night).code == 0
    again = results.summary(roster.with_name("patients.summary.json"))
    assert again["ledger_id"] != first["ledger_id"]
    assert healthex.link_calls == 8


def test_another_in_its_place_is_refused_and_a_backup_is_not(
    healthex: RunningSimulator, command: Command, roster: Path, ledger: Path, tmp_path: Path
) -> None:
    assert command("run", roster, "--limit", 1).code == 3
    shutil.copy(ledger, tmp_path / "backup")
    assert command("run", roster).code == 0
    remove(ledger)

    other = tmp_path / "other"
    assert command("run", roster, "--ledger", other).code == 0
    shutil.copy(other, ledger)
    ended = command("run", roster)
    assert ended.code == 2
    assert "is not the one in which this project's links were recorded" in ended.err
    assert command("run", roster, "--project-id", "elsewhere").code != 2  # nothing is expected of that project

    remove(ledger)
    shutil.copy(tmp_path / "backup", ledger)
    asked = healthex.link_calls
    assert command("run", roster).code == 0
    assert healthex.link_calls == asked + 1  # what an older copy has lost


def test_another_api_is_another_matter(
    start_healthex: Callable[..., RunningSimulator], command: Command, roster: Path, ledger: Path
) -> None:
    start_healthex()
    assert command("run", roster).code == 0
    remove(ledger)
    start_healthex()
    assert command("run", roster).code == 0


@pytest.mark.usefixtures("healthex")
def test_nothing_is_expected_where_nothing_was_recorded(
    start_healthex: Callable[..., RunningSimulator], command: Command, roster: Path, ledger: Path
) -> None:
    start_healthex(projects=("another",))
    assert command("run", roster).code == 4
    remove(ledger)
    assert command("run", roster).code == 4
    assert not (ledger.parent / "installation.jsonl").exists()


def test_a_demo_can_be_shown_twice_and_leaves_no_record(command: Command, private_home: Path) -> None:
    for _ in range(2):
        ended = command("demo")
        assert ended.code == 3
        assert "another ledger" not in ended.err
    assert results.summary(private_home / "demo_output" / "clinic_roster.summary.json")["ledger_id"] is None
    assert not (private_home / "data").exists()


def test_a_colleague_on_the_same_share_is_told_and_can_go_on(
    healthex: RunningSimulator, command: Command, roster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", roster).code == 0
    other = roster.with_name("february.csv")
    other.write_text("MRN\n2003\n", encoding="utf-8")
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(tmp_path / "colleague"))

    ended = command("run", other)
    assert ended.code == 0
    assert "made with another ledger" in ended.err
    assert "made with another ledger" not in command("run", other, "--new-ledger").err
    assert "made with another ledger" not in command("run", other).err
    assert command("run", other, "--output-dir", tmp_path / "own").err.count("another ledger") == 0
    assert healthex.link_calls == 3


def test_a_container_without_a_volume_is_noticed_by_what_is_in_the_outbox(
    healthex: RunningSimulator, command: Command, roster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    night = ("nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--settle", 0)
    shutil.copy(roster, inbox)
    assert command(*night).code == 0
    shutil.copy(roster, inbox / "second.csv")
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(tmp_path / "fresh"))

    ended = command(*night)

    assert (ended.code, (inbox / "second.csv").exists(), healthex.link_calls) == (2, True, 2)
    assert "made with another ledger" in ended.err
    assert command(*night, "--new-ledger").code == 0
    shutil.copy(roster, inbox / "third.csv")
    assert command(*night).code == 0
    assert healthex.link_calls == 4


def test_it_is_said_for_one_run_and_in_no_settings_file(
    command: Command, healthex: RunningSimulator, roster: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Path("batchlinks.toml")
    for text in ("new-ledger = true\n", '[[roster]]\nmatch = "*"\nnew_ledger = true\n'):
        settings.write_text(text, encoding="utf-8")
        ended = command("run", roster)
        assert (ended.code, "for one run" in ended.err) == (2, True)
    settings.unlink()

    monkeypatch.setenv("BATCHLINKS_NEW_LEDGER", "true")
    assert command("run", roster).code == 0
    remove(ledger)
    assert command("run", roster).code == 2
    assert healthex.link_calls == 2


def test_a_data_folder_that_was_moved_still_knows_its_ledger(
    command: Command, healthex: RunningSimulator, roster: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", roster).code == 0
    moved = ledger.parent.rename(ledger.parent.with_name("moved"))
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(moved))
    assert command("run", roster).code == 0
    remove(moved / ledger.name)
    with (moved / "installation.jsonl").open("a") as file:
        file.write('{"half a li')  # a power cut

    assert command("run", roster).code == 2
    (line,) = [json.loads(line) for line in (moved / "installation.jsonl").read_text().splitlines()[:-1] if line]
    assert (line["ledger"], line["api"], line["project_id"]) == (ledger.name, healthex.url, PROJECT)


@pytest.mark.usefixtures("healthex")
def test_the_list_of_people_not_to_contact_is_missed_too(command: Command, roster: Path, ledger: Path) -> None:
    out = roster.with_name("out.txt")
    out.write_text("2001\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", out).code == 0
    assert command("run", roster).code == 3
    ledger.with_name("do-not-contact.csv").unlink()

    ended = command("run", roster)

    assert (ended.code, "people not to contact is not there" in ended.err) == (2, True)


def test_on_the_page_it_is_it_who_may_say_so_unless_the_installation_lets_everybody(
    healthex: RunningSimulator, tmp_path: Path
) -> None:
    content, data = b"MRN\n2001\n2002\n", tmp_path / "data"
    with served(data, env=environment(data, healthex)) as page:
        assert page.finished(content)["exit_code"] == 0
        remove(data / "ledger.sqlite3")
        for options in ({}, {"new_ledger": "true"}):
            answer = page.upload(content, **options)
            assert answer.status_code == 422
            assert answer.json()["detail"].endswith("Contact IT.")
            assert "--" not in answer.json()["detail"]
    with served(data, "--allow-new-ledger", env=environment(data, healthex)) as page:
        assert page.upload(content).status_code == 422
        assert page.finished(content, new_ledger="true")["exit_code"] == 0
        assert page.finished(content)["exit_code"] == 0
    assert healthex.link_calls == 4
