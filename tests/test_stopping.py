"""Ctrl-C, SIGTERM and kill -9 at a real process: what was answered is kept, and the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import results

from batchlinks.simulator import RunningSimulator

StartHealthEx = Callable[..., RunningSimulator]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def roster_of(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"{100_001 + n},Pat {n}\n" for n in range(count)), encoding="utf-8")
    return path


@contextmanager
def running(roster: Path, *more: str, stdin: int | None = None) -> "Iterator[subprocess.Popen[str]]":
    """The command in a process, and a group of processes, of its own, as in a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlinks", "run", str(roster), *more],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_calls(process: "subprocess.Popen[str]", healthex: RunningSimulator, number: int) -> None:
    deadline = time.monotonic() + 30
    while healthex.link_calls < number:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def given_links(folder: Path) -> dict[str, str]:
    return {row["MRN"]: row["link"] for row in results.links(folder / "patients.links.xlsx")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_writes_what_it_has_and_the_next_one_asks_for_the_rest(
    start_healthex: StartHealthEx, tmp_path: Path, number: signal.Signals
) -> None:
    healthex = start_healthex(latency_ms=100)
    roster = roster_of(tmp_path, 120)

    with running(roster) as process:
        wait_for_calls(process, healthex, 60)
        process.send_signal(number)
        process.send_signal(number)  # people press it more than once
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Stopped" in out.splitlines()[-1]
    links = given_links(tmp_path)
    # Calls under way were waited for: what the server issued is what was written.
    assert links == healthex.links
    assert 60 <= len(links) < 120
    codes = results.codes(tmp_path / "patients.errors.xlsx")
    assert set(codes.values()) == {"not_attempted"}
    assert results.summary(tmp_path / "patients.summary.json")["exit_code"] == 130

    with running(roster) as process:
        process.communicate(timeout=30)

    assert process.returncode == 0
    assert set(Counter(call.external_id for call in healthex.calls if call.external_id).values()) == {1}
    assert given_links(tmp_path) == healthex.links


def test_an_interruption_while_the_server_hangs_ends_the_run_within_seconds(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(hang_share=1.0)

    with running(roster_of(tmp_path, 10)) as process:
        wait_for_calls(process, healthex, 1)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert process.returncode == 130
    assert time.monotonic() - started < 12


def test_an_interruption_while_everybody_waits_ends_the_run_at_once(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(every_status=429)

    with running(roster_of(tmp_path, 10)) as process:
        wait_for_calls(process, healthex, 2)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert process.returncode == 130
    assert time.monotonic() - started < 4


def test_an_interruption_before_the_first_call_says_that_nothing_was_asked(
    healthex: RunningSimulator, tmp_path: Path
) -> None:
    with running(Path("-"), "--output-dir", str(tmp_path), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("MRN,Name\n" * 100_000)  # more than a pipe holds: it is being read then, and never ends
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert healthex.calls == []


INTERRUPTED_AT_AN_IMPORT = """
import os, signal, sys

module = sys.argv.pop(1)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from batchlinks.cli.main import program
program()
"""


@pytest.mark.parametrize(
    "module", ["structlog.stdlib", "asyncio.coroutines", "batchlinks.logs", "pyarrow.compute", "pandas.core.frame"]
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_interruption_in_the_middle_of_an_import_is_one_sentence(
    healthex: RunningSimulator, tmp_path: Path, module: str, form: str
) -> None:
    roster = roster_of(tmp_path, 3)
    command = [sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT, module, "run", str(roster), "--log-format", form]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 130, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert "No link was asked for." in (json.loads(said)["message"] if form == "json" else said)
    assert "Traceback" not in ended.stderr
    assert healthex.calls == []


@pytest.mark.parametrize("moment", [60])
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    start_healthex: StartHealthEx, tmp_path: Path, moment: int
) -> None:
    healthex = start_healthex(seed=4, latency_ms=20, drop_share=0.03, reject_pattern=r"1000[15]5", fresh_links=False)
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    options = ("--concurrency", "16")

    with running(roster_of(killed, 120), *options) as process:
        wait_for_calls(process, healthex, moment)
        process.kill()
        process.communicate()
    calls_when_killed = len(healthex.calls)
    killed_at = healthex.calls[-1].time
    assert list(killed.glob("*.links.xlsx")) == []

    with running(roster_of(killed, 120), *options) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    calls_when_gone_on = len(healthex.calls)

    with running(roster_of(undisturbed, 120), *options, "--ledger", str(tmp_path / "another")) as process:
        process.communicate(timeout=30)
    assert process.returncode == 3

    for name, sheets in (("links", ["Links"]), ("errors", ["Errors", "Duplicates"])):
        for sheet in sheets:
            once, again = (results.sheet(folder / f"patients.{name}.xlsx", sheet) for folder in (killed, undisturbed))
            assert once == again
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in undisturbed.iterdir())
    answered = {call.external_id for call in healthex.calls[:calls_when_killed] if call.status == 200}
    asked_again = {call.external_id for call in healthex.calls[calls_when_killed:calls_when_gone_on]}
    repeated = (answered & asked_again) - {None}
    # At most what was in flight, and the answers of the last tenth of a second.
    latest = [call for call in healthex.calls[:calls_when_killed] if call.time > killed_at - 0.5]
    assert repeated <= {call.external_id for call in latest}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_run_that_could_not_say_how_it_ended_is_finished(start_healthex: StartHealthEx, tmp_path: Path) -> None:
    healthex = start_healthex()
    roster = roster_of(tmp_path, 10)
    command = [sys.executable, "-m", "batchlinks", "run", str(roster), "--only-new"]

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert given_links(tmp_path) == healthex.links
    assert len(healthex.links) == healthex.link_calls == 10


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether the process is that far")
def test_a_run_that_is_stopped_while_it_starts_says_so(start_healthex: StartHealthEx, tmp_path: Path) -> None:
    start_healthex()
    os.mkfifo(tmp_path / "patients.csv")  # a roster that never comes
    with running(tmp_path / "patients.csv") as process:
        while not _catches(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "Interrupted" in err


def _catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for this signal by now."""
    status = Path(f"/proc/{process}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)
