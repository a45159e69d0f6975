"""Standard output and standard error that are closed, full or broken: the work is done, and the exit code tells."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Ended

from batchlinks.cli.main import main
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/dev/full and closed descriptors are POSIX")
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,Name\n00417,Ann\n00418,Bob\n", encoding="utf-8")
    return path


@pytest.fixture
def full() -> Iterator[io.TextIOWrapper]:
    """A stream on a disk without room."""
    with Path("/dev/full").open("wb", buffering=0) as disk:
        yield io.TextIOWrapper(disk, encoding="utf-8", write_through=True)


def program(*arguments: object, redirected: str) -> subprocess.CompletedProcess[str]:
    """The program in a shell that redirects its streams."""
    command = [sys.executable, "-m", "batchlinks", *map(str, arguments)]
    shell = f'"$@" {redirected}'
    return subprocess.run(["sh", "-c", shell, "sh", *command], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("healthex")
@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_whose_streams_are_closed_is_done_all_the_same(roster: Path, redirected: str) -> None:
    ended = program("run", roster, redirected=redirected)

    assert ended.returncode == 0
    assert roster.with_name("patients.links.xlsx").exists()
    assert "Traceback" not in ended.stderr


@needs_dev_full
@pytest.mark.usefixtures("healthex")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "options", [[], ["--log-format", "json"], ["--verbose", "--format", "csv"]], ids=["text", "json", "verbose"]
)
def test_a_run_that_can_say_nothing_is_done_all_the_same(
    roster: Path, full: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, name: str, options: list[str]
) -> None:
    monkeypatch.setattr(sys, name, full)

    assert main(["run", str(roster), *options]) == 0
    assert list(roster.parent.glob("patients.links.*"))


@needs_dev_full
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "nosuch.csv"],
        ["nightly", "--inbox", "nosuch", "--outbox", "out"],
        ["serve", "--port", "70000"],
        ["simulate", "--port", "70000"],
        ["ledger", "withdraw", "--ids", "nosuch.txt"],
        ["nosuch"],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_cannot_be_used_is_exit_2_also_where_nobody_can_be_told(
    full: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, name, full)

    assert main(arguments) == 2


@pytest.mark.usefixtures("healthex")
def test_a_night_with_nobody_to_tell_puts_its_results_into_the_outbox(
    roster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, outbox = tmp_path / "inbox", tmp_path / "outbox"
    inbox.mkdir()
    outbox.mkdir()
    roster.rename(inbox / roster.name)
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as in a service without a console

    code = main(["nightly", "--inbox", str(inbox), "--outbox", str(outbox), "--settle", "0", "--id-column", "MRN"])

    assert code == 0
    assert list(outbox.rglob("patients.links.xlsx"))


@needs_dev_full
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["ledger"], ["ledger", "export"]])
def test_a_command_that_is_there_to_show_something_fails_where_it_cannot(
    command: Command,
    roster: Path,
    healthex: RunningSimulator,
    full: io.TextIOWrapper,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    assert healthex.url
    command("run", roster)
    monkeypatch.setattr(sys, "stdout", full)
    capfd.readouterr()

    assert main(arguments) == 1
    assert "Nothing can be written to standard output (No space left on device)" in capfd.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(
    command: Command, roster: Path, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert healthex.url
    command("run", roster)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        stream = io.TextIOWrapper(pipe, encoding="utf-8", write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        ended = command("ledger", "export")
        run_again = command("run", roster)

    assert (ended.code, ended.err) == (1, "")
    assert run_again.code == 0


def test_a_last_line_is_said_in_an_encoding_that_lacks_its_letters(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = tmp_path / "Пациенты.csv"
    roster.write_text("MRN,Name\n00417,Ann\n", encoding="utf-8")
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding="cp1252", write_through=True))

    ended = command("check", roster)

    assert ended.code == 0
    assert b"\\u041f" in taken.getvalue()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="only where there is a file without an end")
def test_standard_input_without_an_end_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchlinks.roster.read.MAX_FILE_BYTES", 1_000_000)
    with Path("/dev/zero").open(encoding="utf-8") as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        ended = command("check", "-", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "Standard input holds more than 1 MB" in ended.err
