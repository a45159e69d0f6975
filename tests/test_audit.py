"""`audit.jsonl` and the log, also of what could not begin. (Those of a run that went through: see test_results.)"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


@pytest.fixture
def lines(private_home: Path) -> Callable[[], list[dict[str, Any]]]:
    """What stands in the audit log."""

    def read() -> list[dict[str, Any]]:
        path = private_home / "data" / "audit.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return read


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
    logged = next(json.loads(each) for each in ended.err.splitlines() if "ended." in each)
    assert (logged["run_id"], logged["exit_code"]) == (line["run_id"], 2)
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
