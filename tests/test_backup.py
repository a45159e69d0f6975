"""`batchlinks ledger backup`: what it holds, and what restoring it brings back, by doing it."""

import stat
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended

from batchlinks.ledger import Ledger
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,First Name,DOB\n" + "".join(f"{number},Pat,1980-01-02\n" for number in range(2001, 2005)))
    return path


def test_a_backup_brings_back_what_was_there_and_loses_what_came_later_as_documented(
    healthex: RunningSimulator, command: Command, roster: Path, private_home: Path, tmp_path: Path
) -> None:
    data, backup = private_home / "data", tmp_path / "kept" / "backup.tar.gz"
    backup.parent.mkdir()
    (tmp_path / "out.txt").write_text("2004\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", tmp_path / "out.txt").code == 0
    assert command("run", roster, "--limit", 2).code == 3

    ended = command("ledger", "backup", backup)
    assert ended.code == 0, ended.err
    assert ended.last_line.endswith(f"(2 links) to {backup}. It is patient data.")
    assert sys.platform == "win32" or stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]
    kept = backup.read_bytes()
    assert command("ledger", "backup", backup).code == 2  # never over another
    assert command("ledger", "backup", tmp_path / "nowhere" / "backup").code == 2
    assert backup.read_bytes() == kept

    assert command("run", roster).code == 3
    (tmp_path / "out.txt").write_text("2003\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", tmp_path / "out.txt").code == 0
    listed = (data / "do-not-contact.csv").read_bytes()
    for path in data.glob("ledger.sqlite3*"):
        path.unlink()
    assert command("run", roster).code == 2
    with tarfile.open(backup) as packed:  # as the document says
        names = packed.getnames()
        assert {member.mode for member in packed.getmembers()} == {0o600}
        for name in set(names) - {"do-not-contact.csv"}:
            packed.extract(name, data, filter="data")

    assert {"ledger.sqlite3", "do-not-contact.csv"} <= set(names)
    assert (data / "do-not-contact.csv").read_bytes() == listed
    assert command("ledger").last_line.startswith("2 links in 1 project; 2 patients withdrawn.")
    assert command("run", roster).code == 3
    assert [row["MRN"] for row in results.links(roster.with_name("patients.links.xlsx"))] == ["2001", "2002"]
    assert (healthex.requests_for("2001"), healthex.requests_for("2003"), healthex.requests_for("2004")) == (1, 1, 0)


def test_a_backup_is_whole_while_a_run_records(command: Command, private_home: Path, tmp_path: Path) -> None:
    data = private_home / "data"
    path = data / "ledger.sqlite3"
    at_work = threading.Event()
    with Ledger(path, api="https://api.healthex.invalid", project_id="p") as ledger:

        def record() -> None:
            for number in range(3_000):
                ledger.record(f"A{number}", f"https://app.healthex.invalid/#/x?xid=A{number}.s")
                if number == 500:
                    ledger.flush()
                    at_work.set()

        recording = threading.Thread(target=record)
        recording.start()
        assert at_work.wait(30)
        assert command("ledger", "backup", tmp_path / "backup").code == 0
        recording.join()

    with tarfile.open(tmp_path / "backup") as packed:
        packed.extract("ledger.sqlite3", tmp_path, filter="data")
    with Ledger(tmp_path / "ledger.sqlite3", api="https://api.healthex.invalid", project_id="p") as copy:
        assert sum(len(links) for links in copy.all_links()) >= 500
        assert copy.ledger_id == ledger.ledger_id
