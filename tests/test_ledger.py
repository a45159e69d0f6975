"""The record of links already issued: private, lasting, shared by runs, and honest when it cannot be used."""

import os
import re
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import results
from conftest import PROJECT, Ended
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlinks.errors import SettingsError
from batchlinks.ledger import Ledger, LedgerError, file_system, schema
from batchlinks.ledger.database import _set_journal_mode
from batchlinks.ledger.schema import check_value
from batchlinks.results.publish.publisher import Publisher
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

API = "https://api.healthex.io"


def opened(path: Path | None, *, api: str = API, project: str = "p-1") -> Ledger:
    return Ledger(path, api=api, project_id=project)


def known(ledger: Ledger, *external_ids: str) -> dict[str, str]:
    table = ledger.links_for(pa.array(external_ids, pa.string()))
    return dict(zip(table.column("external_id").to_pylist(), table.column("link").to_pylist(), strict=True))


def roster_of(folder: Path, count: int) -> Path:
    path = folder / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"{100_001 + n},Pat {n}\n" for n in range(count)), encoding="utf-8")
    return path


# --- what it knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_recorded_is_known_afterwards(tmp_path: Path, on_disk: bool) -> None:
    with opened(tmp_path / "ledger" if on_disk else None) as ledger:
        ledger.record("00417", "https://one")
        ledger.record("417", "https://two")
        ledger.flush()

        assert known(ledger, "00417", "417", "0417") == {"00417": "https://one", "417": "https://two"}
        assert ledger.known({"417", "41"}) == {"417"}


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    answers=st.lists(
        st.tuples(st.text(min_size=1), st.text(st.characters(exclude_characters="\n", codec="utf-8"))), max_size=20
    )
)
def test_any_text_comes_out_as_it_went_in_and_the_first_answer_stays(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
    with opened(path) as ledger:
        for external_id, link in answers:
            ledger.record(external_id, link)

    with opened(path) as ledger:
        assert known(ledger, *(external_id for external_id, _ in answers)) == dict(reversed(answers))


def test_the_first_link_is_the_one_that_is_kept_unless_it_is_replaced_on_purpose(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with opened(path) as ledger:
        ledger.record("1", "https://first")
    with opened(path) as ledger:
        ledger.mark_complete(pa.array(["1"]), all_asked=True)
        ledger.record("1", "https://second")
        ledger.flush()
        assert known(ledger, "1") == {"1": "https://first"}
    with opened(path) as ledger:
        ledger.record("1", "https://third", replace=True)
        ledger.flush()
        assert known(ledger, "1") == {"1": "https://third"}
        assert ledger.links_for(pa.array(["1"])).column("handed_out").to_pylist() == [False]


def test_every_project_and_every_deployment_has_its_own_links(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with opened(path) as ledger:
        ledger.record("1", "https://one")
    with opened(path, project="p-2") as ledger:
        assert known(ledger, "1") == {}
        assert ledger.in_other_projects(pa.array(["1", "2"])) == {"1"}
    with opened(path, api="https://elsewhere.example") as ledger:
        assert known(ledger, "1") == {}
        assert ledger.in_other_projects(pa.array(["1"])) == set()


def test_it_tells_to_whom_else_a_link_was_given(tmp_path: Path) -> None:
    with opened(tmp_path / "ledger") as ledger:
        ledger.record("1", "https://same")
        ledger.record("2", "https://same")
        ledger.flush()

        owners = ledger.other_owners({"https://same", "https://nobodys"})
        assert {link: set(ids) for link, ids in owners.items()} == {"https://same": {"1", "2"}}


def test_an_answer_is_on_disk_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with opened(path) as ledger, sqlite3.connect(path) as reader:
        ledger.record("1", "https://one")
        started = time.monotonic()
        while not reader.execute("SELECT count(*) FROM link").fetchone()[0]:
            assert time.monotonic() - started < 10
            time.sleep(0.002)
        took = time.monotonic() - started
    reader.close()

    # The disk of a busy machine may take its time on top of the twentieth that answers are gathered for.
    assert took < 1.0


def test_many_ids_are_found_however_they_are_looked_up(tmp_path: Path) -> None:
    ids = pa.array([f"{number:07}" for number in range(40_000)])
    with opened(tmp_path / "ledger") as ledger:
        for external_id in ids.to_pylist():
            ledger.record(external_id, f"https://{external_id}")
        ledger.flush()

        backwards = ids.take(pa.array(range(len(ids)))[::-1])
        for wanted in (ids, ids[5:25], ids[5:], backwards, backwards[5:25]):
            found = ledger.links_for(wanted).to_pydict()

            assert found["external_id"] == wanted.to_pylist()
            assert found["link"] == [f"https://{external_id}" for external_id in found["external_id"]]


def test_a_large_list_of_patients_of_whom_none_is_known_comes_after_another_list(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchlinks.ledger.project_links._SCAN_FROM", 20)
    assert command("run", roster_of(tmp_path, 30)).code == 0
    second = tmp_path / "others.csv"
    second.write_text("MRN,Name\n" + "".join(f"{200_001 + n},Pat {n}\n" for n in range(40)), encoding="utf-8")

    ended = command("run", second)

    assert ended.code == 0, ended.err
    assert [row["MRN"] for row in results.links(tmp_path / "others.links.xlsx")] == [
        str(200_001 + n) for n in range(40)
    ]
    assert healthex.link_calls == 70


# --- who may read it ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_but_its_owner_can_read_it(command: Command, tmp_path: Path, private_home: Path) -> None:
    before = os.umask(0)
    try:
        command("run", roster_of(tmp_path, 2))
    finally:
        os.umask(before)

    data = private_home / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()} == {0o600}
    assert (data / "ledger.sqlite3").exists()


def test_a_withdrawn_patient_is_never_asked_for(
    command: Command, healthex: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path, 3)
    command("run", roster, "--limit", "1")
    with sqlite3.connect(private_home / "data" / "ledger.sqlite3") as ledger:
        ledger.execute(f"INSERT INTO withdrawal VALUES ('100002', 1, '', {check_value('100002', 1, '')})")
    ledger.close()

    ended = command("run", roster)

    assert ended.code == 3
    assert results.codes(tmp_path / "patients.errors.xlsx") == {3: "withdrawn"}
    assert healthex.requests_for("100002") == 0


# --- what cannot be used --------------------------------------------------------------------------------------


def foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()


def newer_ledger(path: Path) -> None:
    opened(path).__exit__(None, None, None)
    with sqlite3.connect(path) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    ledger.close()


def damaged_ledger(path: Path) -> None:
    with opened(path) as ledger:
        for number in range(2000):
            ledger.record(f"{number}", "https://app.healthex.invalid/" + "x" * 100)
    content = bytearray(path.read_bytes())
    content[4096:40_000] = os.urandom(1) * (40_000 - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("Dear diary, today I went to the market and bought apples.\n" * 40), "no ledger"),
        (foreign_database, "not a ledger"),
        (newer_ledger, "newer batchlinks"),
        (damaged_ledger, "damaged"),
        (lambda path: path.mkdir(), "ledger"),
    ],
    ids=["text", "foreign", "newer", "damaged", "folder"],
)
def test_a_file_that_is_no_sound_ledger_is_refused_before_anything_is_asked_and_stays_as_it_is(
    command: Command,
    healthex: RunningSimulator,
    tmp_path: Path,
    make: Callable[[Path], object],
    words: str,
) -> None:
    path = tmp_path / "other.db"
    make(path)
    before = None if path.is_dir() else path.read_bytes()

    ended = command("run", roster_of(tmp_path, 3), "--ledger", path)

    assert ended.code == 2, ended.err
    assert words in ended.err
    assert str(path) in ended.err
    assert "--ledger" in ended.err or words == "newer batchlinks"
    assert healthex.calls == []
    assert path.is_dir() or words == "damaged" or path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_asked(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")

    ended = command("run", roster_of(tmp_path, 3), "--ledger", tmp_path / "file" / "ledger")

    assert ended.code == 2
    assert "--ledger" in ended.err
    assert healthex.calls == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file sizes")
def test_a_disk_that_fills_up_ends_the_run_and_everything_answered_is_in_the_results(
    start_healthex: Callable[..., RunningSimulator], tmp_path: Path
) -> None:
    healthex = start_healthex(fresh_links=False)
    roster = roster_of(tmp_path, 400)
    ended = subprocess.run(
        [sys.executable, "-m", "batchlinks", "run", str(roster), "--format", "csv", "--rate", "200"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (360_000, 360_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1, ended.stderr
    assert "disk full" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "have a link" in ended.stdout.splitlines()[-1]
    rows = results.csv_rows(tmp_path / "patients.links.csv")
    assert {row["MRN"]: row["link"] for row in rows} == healthex.links
    assert 0 < len(rows) < 400
    first = healthex.links

    again = subprocess.run(
        [sys.executable, "-m", "batchlinks", "run", str(roster), "--format", "csv"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    rows = results.csv_rows(tmp_path / "patients.links.csv")
    assert len(rows) == 400
    assert first.items() <= {row["MRN"]: row["link"] for row in rows}.items()


def test_a_ledger_that_fails_in_mid_run_still_hands_over_what_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error near 100001")

    with opened(tmp_path / "ledger") as ledger:
        ledger.record("1", "https://one")
        wait_for(lambda: known(ledger, "1") == {"1": "https://one"})
        monkeypatch.setattr(ledger, "_write", fail)
        told = []
        for number in range(2, 500):
            try:
                ledger.record(f"{number}", f"https://{number}")
            except LedgerError as error:
                told.append(str(error))
                break
            time.sleep(0.002)
        assert told
        assert "100001" not in told[0]
        with pytest.raises(LedgerError):
            ledger.flush()

        ids = [str(each) for each in range(1, number + 1)]
        assert set(known(ledger, *ids)) == set(ids)
        ledger.mark_complete(pa.array(ids), all_asked=False)  # told once is enough


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- more than one run ----------------------------------------------------------------------------------------


def test_two_runs_at_once_hand_out_the_same_links(
    start_healthex: Callable[..., RunningSimulator], tmp_path: Path
) -> None:
    healthex = start_healthex(fresh_links=True, latency_ms=10)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        roster_of(folder, 300)

    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "batchlinks", "run", str(folder / "patients.csv")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    said = [run.communicate(timeout=60)[1] for run in runs]

    assert [run.returncode for run in runs] == [0, 0], said
    first, second = (results.links(folder / "patients.links.xlsx") for folder in folders)
    assert first == second
    assert healthex.link_calls >= 300


def test_two_writers_do_not_lock_each_other_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    def write(start: int) -> None:
        with opened(path) as ledger:
            for number in range(start, start + 200):
                ledger.record(f"{number}", "https://link")
                if number % 40 == 0:
                    time.sleep(0.02)

    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    with opened(path) as ledger:
        assert len(ledger.known([str(number) for number in range(3000)])) == 600


def test_many_that_make_a_new_ledger_in_the_same_moment_all_get_it(tmp_path: Path) -> None:
    together = threading.Barrier(6)
    failures: list[Exception] = []

    def make(path: Path) -> None:
        together.wait()
        try:
            with opened(path) as ledger:
                ledger.record("1", "https://one")
        except SettingsError as error:
            failures.append(error)

    for moment in range(6):
        makers = [threading.Thread(target=make, args=(tmp_path / f"ledger{moment}",)) for _ in range(6)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()

    assert failures == []


def test_sqlite_saying_busy_without_having_waited_is_waited_for() -> None:
    class Connection:
        tries = 0

        def execute(self, statement: str) -> sqlite3.Cursor:
            self.tries += 1
            if self.tries < 3:
                busy = sqlite3.OperationalError("database is locked")
                busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise busy
            return memory.execute(statement)

    memory = sqlite3.connect(":memory:")
    connection = Connection()
    mode = _set_journal_mode(connection, "WAL")  # type: ignore[arg-type]
    memory.close()

    assert (connection.tries, mode) == (3, "MEMORY")


def test_a_ledger_in_use_by_somebody_who_does_not_let_go_is_said_to_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    opened(path).__exit__(None, None, None)
    monkeypatch.setattr("batchlinks.ledger.database._BUSY_S", 0.1)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SettingsError, match="locked"):
            opened(path)
    other.close()


# --- going on ---------------------------------------------------------------------------------------------------


def stopped_in_the_middle(healthex: RunningSimulator, command: Command, roster: Path, *options: str) -> None:
    """The first twenty of forty patients are answered, the next five are forbidden, and that ends the run."""
    for number in range(20, 40):
        healthex.script(f"{100_001 + number}", [403])
    assert command("run", roster, "--concurrency", "1", *options).code == 4
    for number in range(20, 40):
        healthex.script(f"{100_001 + number}", [])


def test_a_run_that_ended_early_is_gone_on_with_under_only_new_too(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path, 40)
    stopped_in_the_middle(healthex, command, roster, "--only-new")
    assert len(results.links(tmp_path / "patients.links.xlsx")) == 20

    assert command("run", roster, "--only-new", "--link-dates").code == 0

    rows = results.links(tmp_path / "patients.links.xlsx")
    assert {row["MRN"]: row["link"] for row in rows} == healthex.links
    assert {row["link_is_new"] for row in rows} == {"yes"}
    ended = command("run", roster, "--only-new")
    assert ended.code == 0
    assert "Nobody is new" in ended.last_line
    assert len(results.links(tmp_path / "patients.links.xlsx")) == 40


def test_in_another_folder_what_an_unfinished_run_handed_out_stays_handed_out(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path, 40)
    stopped_in_the_middle(healthex, command, roster, "--only-new", "--output-dir", str(tmp_path / "one"))

    command("run", roster, "--only-new", "--output-dir", tmp_path / "two")

    given = [results.links(tmp_path / folder / "patients.links.xlsx") for folder in ("one", "two")]
    assert [len(rows) for rows in given] == [20, 20]
    assert {row["MRN"] for rows in given for row in rows} == set(healthex.links)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_an_unfinished_run_wrote_under_another_name_gives_way_as_well(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    assert command("run", roster_of(tmp_path, 5), "--only-new").code == 0
    roster = roster_of(tmp_path, 40)
    mark = tmp_path / "~$patients.links.xlsx"
    mark.write_text("somebody looks at it")
    if how == "stopped":
        stopped_in_the_middle(healthex, command, roster, "--only-new")
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Publisher, "finish", lambda _: sys.exit(9))
            with pytest.raises(SystemExit):
                command("run", roster, "--only-new")
    assert len(results.links(tmp_path / "patients (2).links.xlsx")) == {"stopped": 15, "killed": 35}[how]
    mark.unlink()

    assert command("run", roster, "--only-new").code == 0

    assert len(results.links(tmp_path / "patients.links.xlsx")) == 35
    (before,) = tmp_path.glob("patients.links (before *).xlsx")
    assert len(results.links(before)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "patients.csv", "patients.errors.xlsx", before.name, "patients.links.xlsx", "patients.summary.json",
    ]  # fmt: skip


def test_a_refresh_that_ended_early_does_not_ask_again_for_what_it_has(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path, 40)
    assert command("run", roster).code == 0
    stopped_in_the_middle(healthex, command, roster, "--refresh")

    ended = command("run", roster, "--refresh")

    assert ended.code == 0
    assert "20 links that it got are kept" in ended.err
    assert [healthex.requests_for(external_id) for external_id in ("100001", "100040")] == [2, 2]
    command("run", roster, "--refresh")
    assert [healthex.requests_for(external_id) for external_id in ("100001", "100040")] == [3, 3]


def test_patients_who_are_refused_every_night_do_not_end_the_night(
    start_healthex: Callable[..., RunningSimulator], command: Command, tmp_path: Path
) -> None:
    healthex = start_healthex(reject_pattern=r"10000[1-6]")
    roster = tmp_path / "patients.csv"
    roster.write_text("MRN\n100007\n" + "".join(f"10000{number}\n" for number in range(1, 7)), encoding="utf-8")

    for _ in range(2):
        assert command("run", roster).code == 3
        assert set(results.codes(tmp_path / "patients.errors.xlsx").values()) == {"rejected_by_healthex"}
    assert healthex.requests_for("100007") == 1


# --- older and damaged ones -------------------------------------------------------------------------------------

VERSION_1 = """
CREATE TABLE project (number INTEGER PRIMARY KEY, api TEXT NOT NULL, project_id TEXT NOT NULL, UNIQUE (api, project_id));
CREATE TABLE link (project INTEGER NOT NULL REFERENCES project, external_id TEXT NOT NULL, link TEXT NOT NULL,
    issued_at TEXT NOT NULL, handed_out TEXT, PRIMARY KEY (project, external_id)) WITHOUT ROWID;
CREATE TABLE withdrawn (project INTEGER NOT NULL REFERENCES project, external_id TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (project, external_id)) WITHOUT ROWID;
PRAGMA application_id = 0x6C6E6B73;
PRAGMA user_version = 1;
INSERT INTO project VALUES (1, 'https://api.healthex.io', 'p-1');
INSERT INTO link VALUES (1, '1', 'https://one', '2026-07-01T00:00:00+00:00', '2026-07-01T00:00:01+00:00');
INSERT INTO link VALUES (1, '2', 'https://two', '2026-07-01T00:00:00+00:00', NULL);
INSERT INTO withdrawn VALUES (1, '3', '2026-07-01T00:00:00+00:00');
"""


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    file = sqlite3.connect(path)
    file.executescript(VERSION_1)
    file.close()

    for _ in range(2):
        with opened(path) as ledger:
            table = ledger.links_for(pa.array(["1", "2", "3"]))
            assert table.column("link").to_pylist() == ["https://one", "https://two"]
            assert table.column("handed_out").to_pylist() == [True, False]
            assert ledger.withdrawn() == {"3"}

    file = sqlite3.connect(path)
    assert file.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    steps = file.execute("SELECT version, step FROM migration").fetchall()
    assert steps[:3] == [(2, "runs_and_check_values"), (3, "naming"), (4, "patient_files")]
    assert len(steps) == schema.VERSION - 1
    assert file.execute("SELECT count(*) FROM link WHERE check_value IS NULL").fetchone() == (0,)
    file.close()


def test_a_ledger_is_copied_once_before_it_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    file = sqlite3.connect(path)
    file.executescript(VERSION_1)
    file.close()

    for _ in range(2):
        opened(path).__exit__(None, None, None)

    kept = tmp_path / "ledger.sqlite3.1"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ledger.sqlite3", "ledger.sqlite3.1"]
    assert sys.platform == "win32" or stat.S_IMODE(kept.stat().st_mode) == 0o600
    file = sqlite3.connect(kept)
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    assert file.execute("SELECT external_id, link FROM link").fetchall() == [("1", "https://one"), ("2", "https://two")]
    assert file.execute("SELECT external_id FROM withdrawn").fetchall() == [("3",)]
    file.close()


def test_a_ledger_that_cannot_be_copied_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite3"
    file = sqlite3.connect(path)
    file.executescript(VERSION_1)
    file.close()

    def full(**_: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("batchlinks.ledger.database.tempfile.mkstemp", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        opened(path)

    file = sqlite3.connect(path)
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    file.close()


def test_whether_links_name_their_patients_is_recorded_with_them_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with opened(path) as ledger:
        assert ledger.naming().names is None
        ledger.decide_naming(False)
        ledger.record_named()
        ledger.record("1", "https://one")
    with opened(path) as ledger, opened(path, project="p-2") as other:
        assert ledger.naming().names is True
        ledger.decide_naming(False)
        assert ledger.naming().names is True
        assert other.naming().names is None


def test_a_link_takes_the_place_of_the_very_one_that_was_wrong(tmp_path: Path) -> None:
    with opened(tmp_path / "ledger") as ledger:
        ledger.record("1", "https://wrong")
        ledger.record("1", "https://right", instead_of="https://wrong")
        ledger.record("1", "https://late", instead_of="https://wrong")
        ledger.flush()
        assert known(ledger, "1") == {"1": "https://right"}
        ledger.record("2", "https://two")
        ledger.flush()
        assert known(ledger, "1", "2") == {"1": "https://right", "2": "https://two"}


@pytest.mark.parametrize(
    ("what", "further"),
    [(b"xid=100002.", 0), (b"xid=100002.", 60), (b"demo-project", 0)],
    ids=["link", "moment", "project"],
)
def test_a_single_damaged_byte_is_noticed_before_anything_is_asked(
    command: Command, healthex: RunningSimulator, tmp_path: Path, what: bytes, further: int
) -> None:
    roster, path = roster_of(tmp_path, 3), tmp_path / "ledger"
    assert command("run", roster, "--ledger", path).code == 0
    content = bytearray(path.read_bytes())
    content[content.rindex(what) + len(what) - 1 + further] ^= 1
    path.write_bytes(content)
    calls = len(healthex.calls)

    ended = command("run", roster_of(tmp_path, 4), "--ledger", path)

    assert (ended.code, ended.out) == (2, "")
    assert "damaged" in ended.err
    assert "10000" not in ended.err
    assert len(healthex.calls) == calls


@pytest.mark.parametrize("copy", [0, 1], ids=["table", "index"])
def test_a_damaged_name_of_a_project_does_not_make_a_new_project_of_it(
    command: Command, healthex: RunningSimulator, tmp_path: Path, copy: int
) -> None:
    roster, path = roster_of(tmp_path, 3), tmp_path / "ledger"
    assert command("run", roster, "--ledger", path).code == 0
    calls = len(healthex.calls)
    content = bytearray(path.read_bytes())
    names = [found.end() for found in re.finditer(rb":\d+demo-project", content)]  # the address stands before it
    assert len(names) == 2
    content[names[copy] - 1] ^= 1
    path.write_bytes(content)

    ended = command("run", roster, "--ledger", path)

    assert (ended.code, ended.out) == (2, "")
    assert "damaged" in ended.err
    assert len(healthex.calls) == calls


def test_a_version_that_no_ledger_can_have_is_damage(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster, path = roster_of(tmp_path, 3), tmp_path / "ledger"
    assert command("run", roster, "--ledger", path).code == 0
    calls = len(healthex.calls)
    content = bytearray(path.read_bytes())
    content[60] ^= 0x80  # where SQLite has `user_version`
    path.write_bytes(content)

    ended = command("run", roster, "--ledger", path)

    assert ended.code == 2
    assert "damaged" in ended.err
    assert len(healthex.calls) == calls


def test_a_damaged_withdrawal_lets_nobody_through(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster, path = roster_of(tmp_path, 3), tmp_path / "ledger"
    (tmp_path / "out.csv").write_text("100002\n")
    withdraw = ("ledger", "withdraw", "--project-id", PROJECT, "--ids", tmp_path / "out.csv", "--ledger", path)
    assert command(*withdraw).code == 0
    content = bytearray(path.read_bytes())
    content[content.rindex(b"100002") + 5] ^= 4
    path.write_bytes(content)

    assert command("run", roster, "--ledger", path).code == 2
    assert healthex.calls == []


# --- network shares -------------------------------------------------------------------------------------------

MOUNTINFO = """22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:40 / /mnt/share\\040one rw,relatime shared:3 - nfs4 server:/export rw
32 31 254:1 / /mnt/share\\040one/local rw - xfs /dev/vdb rw
33 27 0:41 / /mnt/files rw - fuse.sshfs somebody@server: rw
34 27 0:42 / /mnt/private rw - fuse.gocryptfs /home/x rw
"""
MOUNT = "//user@server/Share on /Volumes/Share (smbfs, nodev, nosuid)\n/dev/disk1s1 on / (apfs, local, journaled)\n"


@pytest.mark.parametrize(
    ("folder", "share"),
    [
        ("/home/user", None), ("/mnt/share one/data", "nfs4"), ("/mnt/share one/local/data", None),
        ("/mnt/files", "fuse.sshfs"), ("/mnt/private/x", None), ("/mnt/filesystem", None),
    ],
)  # fmt: skip
def test_a_network_share_is_told_from_a_disk(folder: str, share: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "mounts", lambda: file_system.in_mountinfo(MOUNTINFO))

    assert file_system.network_share(Path(folder)) == share


def test_a_network_share_is_told_from_a_disk_on_macos_too() -> None:
    mounted = file_system.in_mount_table(MOUNT)

    assert file_system.kind_of_mount(Path("/Volumes/Share/data"), mounted) == "smbfs"
    assert file_system.kind_of_mount(Path("/Users/x"), mounted) == "apfs"


@pytest.mark.usefixtures("healthex")
def test_on_a_network_share_the_ledger_has_a_rollback_journal_and_that_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, path = roster_of(tmp_path, 3), tmp_path / "ledger"
    assert "network" not in command("run", roster, "--ledger", path).err
    monkeypatch.setattr(file_system, "mounts", lambda: [("/", "cifs")])

    ended = command("run", roster_of(tmp_path, 5), "--ledger", path)

    assert ended.code == 0
    assert ended.err.count("lies on a network share (cifs), so it is kept with a rollback journal") == 1
    assert path.read_bytes()[18:20] == b"\x01\x01"  # what a database in WAL mode has as 2, 2
    with opened(path, api=os.environ["HEALTHEX_API_URL"], project="demo-project") as ledger:
        assert len(known(ledger, *[str(100_001 + number) for number in range(5)])) == 5
