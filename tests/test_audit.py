"""`audit.jsonl` and the log, also of what could not begin. (Those of a run that went through: see test_results.)"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


@pytest.fixture
def lines(private_home: Path) -> Callable[[], list[dict[str, Any]]]:
    """What stands in the audit log on what has ended."""

    def read() -> list[dict[str, Any]]:
        return [line for line in audit_lines(private_home) if line["event"] == "ended" and line["command"] != "nightly"]

    return read


def audit_lines(home: Path) -> list[dict[str, Any]]:
    path = home / "data" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def roster_of(folder: Path, *ids: object) -> Path:
    path = folder / "patients.csv"
    path.write_text("MRN\n" + "".join(f"{each}\n" for each in ids), encoding="utf-8")
    return path


@pytest.mark.parametrize("word", ["run", "check"])
def test_one_that_could_not_begin_has_its_line_too(
    command: Command,
    healthex: RunningSimulator,
    lines: Callable[[], list[dict[str, Any]]],
    tmp_path: Path,
    word: str,
) -> None:
    ended = command(word, roster_of(tmp_path, 1001), "--id-column", "Chart", "--log-format", "json")

    assert ended.code == 2
    (line,) = lines()
    assert (line["command"], line["roster"], line["exit_code"], line["outputs"]) == (word, "patients.csv", 2, {})
    assert line["roster_sha256"] == hashlib.sha256((tmp_path / "patients.csv").read_bytes()).hexdigest()
    assert line["project_id"] == "demo-project"
    logged = [json.loads(each) for each in ended.err.splitlines()]
    assert [(each["run_id"], each["exit_code"]) for each in logged] == [(line["run_id"], 2)] * 2
    assert healthex.calls == []


def test_a_night_has_a_line_for_each_roster(
    command: Command, healthex: RunningSimulator, lines: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    roster_of(inbox, "ZQX1001")
    (inbox / "broken.xlsx").write_bytes(b"no workbook")

    command("nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--settle", 0)

    assert sorted((line["roster"], line["exit_code"]) for line in lines()) == [("broken.xlsx", 2), ("patients.csv", 0)]
    assert "ZQX" not in json.dumps(lines())
    assert healthex.link_calls == 1


def test_a_list_beyond_a_limit_of_its_table_is_known_by_its_hash_project_and_run(
    command: Command, healthex: RunningSimulator, lines: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    digest = hashlib.sha256(roster_of(inbox, 1001, 1002).read_bytes()).hexdigest()
    settings = tmp_path / "night.toml"
    settings.write_text('[[roster]]\nmatch = "*.csv"\nid-column = "MRN"\nmax_new = 1\n', encoding="utf-8")

    ended = command(
        "nightly", "--config", settings, "--inbox", inbox, "--outbox", tmp_path / "out", "--settle", 0,
        "--log-format", "json",
    )  # fmt: skip

    assert ended.code == 2
    (line,) = lines()
    assert (line["roster_sha256"], line["project_id"], line["rows"]) == (digest, "demo-project", 0)
    told, night = (json.loads(each) for each in ended.err.splitlines() if "max_new" in each)
    assert told["run_id"] == night["lists"][0]["run_id"] == line["run_id"]
    assert healthex.link_calls == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only there a file's name may be any bytes")
@pytest.mark.parametrize("word", ["run", "check"])
@pytest.mark.usefixtures("healthex")
def test_a_file_name_that_is_no_utf_8_is_no_obstacle(
    command: Command, lines: Callable[[], list[dict[str, Any]]], tmp_path: Path, word: str
) -> None:
    path = roster_of(tmp_path, 1001).rename(tmp_path / os.fsdecode(b"m\xfcnchen.csv"))

    ended = command(word, path)

    assert ended.code == 0, ended.err
    (line,) = lines()
    assert (line["roster"], line["exit_code"]) == (path.name, 0)
