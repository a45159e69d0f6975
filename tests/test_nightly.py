"""The night, through its command: what is taken, where it goes, what stops it, and what the next night makes of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended
from test_message import web_hook

from batchlinks.errors import ExitCode
from batchlinks.nightly import inbox as inbox_module
from batchlinks.nightly import message as notice
from batchlinks.nightly import night as nightly
from batchlinks.nightly.night_outcome import Night, RosterOutcome
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]

TODAY = date.today().isoformat()


class House:
    """An inbox and an outbox, and what lies in them."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.inbox.mkdir()

    @property
    def arguments(self) -> list[str]:
        return ["--inbox", str(self.inbox), "--outbox", str(self.outbox), "--format", "csv"]

    def put(self, name: str, ids: Sequence[object], *, age_s: float = 3600, more: str = "") -> Path:
        path = self.inbox / name
        path.write_text("MRN,Name\n" + "".join(f"{each},Pat\n" for each in ids) + more, encoding="utf-8")
        at = time.time() - age_s
        os.utime(path, (at, at))
        return path

    def links(self, stem: str, day: str = TODAY) -> dict[str, str]:
        rows = results.csv_rows(self.outbox / day / f"{stem}.links.csv")
        return {row["MRN"]: row["link"] for row in rows}

    def files(self) -> list[str]:
        """Of the inbox, claims and locks aside."""
        found = (path.relative_to(self.inbox) for path in self.inbox.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if not path.name.startswith("."))

    def hidden(self) -> list[str]:
        return sorted(path.name for path in self.inbox.rglob(".*"))


@pytest.fixture
def house(tmp_path: Path, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> House:  # noqa: ARG001 there is one unless a test starts another
    monkeypatch.setattr(inbox_module, "_SECOND_LOOK_S", 0.01)
    return House(tmp_path)


@pytest.fixture
def night(command: Command, house: House) -> Callable[..., Ended]:
    """A night without tables."""

    def run(*more: object) -> Ended:
        return command("nightly", *house.arguments, "--id-column", "MRN", *more)

    return run


@pytest.fixture
def tables(command: Command, house: House, private_home: Path) -> Callable[..., Ended]:
    """A night by a settings file that holds this text."""

    def run(text: str, *more: object) -> Ended:
        (private_home / "batchlinks.toml").write_text(text, encoding="utf-8")
        return command("nightly", *house.arguments, *more)

    return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the clock of the night: `2026-11-25 06:00`."""

    def at(text: str) -> None:
        monkeypatch.setattr(nightly, "local_now", lambda: datetime.fromisoformat(text).astimezone())

    return at


# --- what a night does ----------------------------------------------------------------------------------------


def test_every_roster_is_taken_once_the_oldest_first_and_its_results_go_to_the_outbox(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("young.csv", [1003, 1004], age_s=100)
    house.put("old.csv", [1001, 1002], age_s=5000)

    ended = night("--concurrency", 1)

    assert ended.code == 0, ended.err
    assert [call.external_id for call in healthex.calls if call.external_id] == ["1001", "1002", "1003", "1004"]
    assert house.links("old") | house.links("young") == healthex.links
    assert house.files() == [f"done/{TODAY}/old.csv", f"done/{TODAY}/young.csv"]
    assert house.hidden() == []
    assert ended.last_line.startswith("Night done: 2 of 2 patient lists done, 4 links (4 asked for tonight)")


def test_the_same_patients_the_next_night_cost_no_call_and_new_ones_one_each(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("patients.csv", range(1001, 1021))
    assert night().code == 0
    first = house.links("patients")

    house.put("patients.csv", range(1001, 1026))
    assert night().code == 0

    assert healthex.link_calls == 25
    second = house.links("patients (2)")
    assert house.links("patients") == first
    assert first.items() <= second.items()
    assert len(second) == 25
    assert house.files() == [f"done/{TODAY}/patients (2).csv", f"done/{TODAY}/patients.csv"]


def test_the_same_file_twice_under_only_new_leaves_the_first_results_alone(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    for _ in range(2):
        house.put("patients.csv", [1001, 1002])
        assert night("--only-new").code == 0

    assert house.links("patients") == healthex.links
    assert not (house.outbox / TODAY / "patients (2).links.csv").exists()


def test_what_is_still_arriving_or_no_roster_is_left_alone(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("fresh.csv", [1001], age_s=5)
    for name in (".hidden.csv", "~$open.xlsx", "upload.csv.tmp", "upload.csv.part", "upload.csv.filepart", "notes.pdf"):
        house.put(name, [1002])
    (house.inbox / "folder.csv").mkdir()
    before = sorted(house.inbox.iterdir())

    ended = night()

    assert ended.code == 0, ended.err
    assert sorted(house.inbox.iterdir()) == before
    assert healthex.calls == []
    assert night("--settle", 2).code == 0
    assert house.files().count(f"done/{TODAY}/fresh.csv") == 1


def test_a_copy_that_brings_its_old_time_along_betrays_itself_by_growing(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = house.put("patients.csv", [1001])
    real = inbox_module.Inbox.look

    def look(self: inbox_module.Inbox) -> inbox_module.InboxScan:
        def grow(_: float) -> None:
            house.put("patients.csv", [1001, 1002])

        self.sleep = grow
        return real(self)

    monkeypatch.setattr(inbox_module.Inbox, "look", look)
    ended = night()

    assert ended.code == 0
    assert path.exists()
    assert healthex.calls == []


def test_a_roster_somebody_still_writes_to_after_it_was_taken_is_taken_up_again(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx
) -> None:
    healthex = start_healthex(latency_ms=300)
    path = house.put("patients.csv", [1001])
    file = path.open("a", encoding="utf-8")

    def write_on() -> None:
        while not healthex.link_calls:
            time.sleep(0.002)
        file.write("1002,Late\n")
        file.close()

    writer = threading.Thread(target=write_on)
    writer.start()
    ended = night("--settle", 0.01)
    writer.join()

    assert ended.code == 3
    assert "still arriving" in ended.err
    assert house.files() == ["working/patients.csv"]
    os.utime(house.inbox / "working" / "patients.csv", (time.time() - 100,) * 2)
    assert night().code == 0
    assert house.files() == [f"done/{TODAY}/patients.csv"]
    assert set(house.links("patients")) == {"1001"}
    assert set(house.links("patients (2)")) == {"1001", "1002"}


@pytest.mark.parametrize(("ready", "marker"), [("{name}.done", "patients.csv.done"), ("{stem}.ok", "patients.ok")])
def test_with_a_marker_a_roster_is_taken_as_soon_as_it_is_there_and_not_before(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator, ready: str, marker: str
) -> None:
    house.put("patients.csv", [1001])
    assert night("--ready", ready).code == 0
    assert house.files() == ["patients.csv"]

    (house.inbox / marker).touch()
    assert night("--ready", ready).code == 0

    assert house.files() == [f"done/{TODAY}/patients.csv"]
    assert healthex.link_calls == 1


def test_one_bad_roster_does_not_stop_the_others(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("a.csv", [1001])
    (house.inbox / "b.xlsx").write_bytes(b"no workbook")
    os.utime(house.inbox / "b.xlsx", (1, 1))
    house.put("c.csv", [1002, "N/A"])

    ended = night()

    assert ended.code == 2
    assert "b.xlsx" in ended.err
    failed = [f"failed/{TODAY}/b.xlsx", f"failed/{TODAY}/b.xlsx.reason.txt"]
    assert house.files() == [f"done/{TODAY}/a.csv", f"done/{TODAY}/c.csv", *failed]
    assert "b.xlsx" in (house.inbox / failed[1]).read_text(encoding="utf-8")
    assert set(healthex.links) == {"1001", "1002"}
    assert results.csv_rows(house.outbox / TODAY / "c.errors.csv")[0]["error_code"] == "placeholder_id"


def test_a_list_that_cannot_be_taken_is_named_and_does_not_stop_the_others(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    unfit = house.put(f"{'n' * 248}.csv", [1001])  # with what batchlinks adds while it is worked on, it is too long
    house.put("fine.csv", [1002], age_s=100)

    ended = night()

    assert ended.code == 1
    assert f"Error: {unfit.name}: " in ended.err
    assert "1 of 2 patient lists done" in ended.out
    assert unfit.exists()
    assert healthex.link_calls == 1


def test_a_night_with_nothing_to_do_says_so(night: Callable[..., Ended]) -> None:
    ended = night()

    assert (ended.code, ended.last_line) == (0, "Night done: no new patient list.")


# --- what it cannot begin with --------------------------------------------------------------------------------


def test_what_is_wrong_beforehand_touches_no_roster(
    command: Command, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("patients.csv", [1001])
    monkeypatch.delenv("HEALTHEX_API_KEY")
    monkeypatch.delenv("HEALTHEX_API_SECRET")

    ended = command("nightly", *house.arguments, "--id-column", "MRN")

    assert ended.code == 2
    assert "nothing to sign in" in ended.err
    assert house.files() == ["patients.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--inbox", "nowhere", "--outbox", "out", "--id-column", "MRN"], "is not there"),
        (["--outbox", "out", "--id-column", "MRN"], "--inbox is missing"),
        (["--inbox", ".", "--id-column", "MRN"], "--outbox is missing"),
        (["--inbox", ".", "--outbox", "out"], "--id-column"),
        (["--inbox", ".", "--outbox", "out", "--id-column", "MRN", "--settle", "-1"], "--settle takes"),
        (["--inbox", ".", "--outbox", "out", "--id-column", "MRN", "--keep-days", "0"], "--keep-days takes"),
        (["--inbox", ".", "--outbox", "out", "--id-column", "MRN", "--ready", "done"], "--ready is"),
        (["--inbox", ".", "--outbox", "out", "--id-column", "MRN", "--ready", "{name}"], "--ready is"),
    ],
)
def test_a_night_that_cannot_begin_is_exit_2_and_a_sentence(command: Command, arguments: list[str], said: str) -> None:
    ended = command("nightly", *arguments)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_an_exclude_list_that_is_not_there_touches_no_roster(
    tables: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("a.csv", [1001])

    ended = tables('[[roster]]\nmatch = "*"\nid-column = "MRN"\nexclude = "nowhere.csv"\n')

    assert ended.code == 2
    assert "exclude list" in ended.err
    assert house.files() == ["a.csv"]
    assert healthex.calls == []


def test_a_damaged_ledger_touches_no_roster(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator, private_home: Path
) -> None:
    house.put("a.csv", range(1001, 1041))
    assert night().code == 0
    path = private_home / "data" / "ledger.sqlite3"
    content = path.read_bytes()
    assert b"\x001017" in content or b"1017https" in content
    path.write_bytes(content.replace(b"1017https", b"1O17https", 1))
    house.put("b.csv", range(1001, 1042))

    ended = night()

    assert ended.code == 2
    assert "it is damaged" in ended.err
    assert house.files() == [f"done/{TODAY}/a.csv", "b.csv"] or house.files() == ["b.csv", f"done/{TODAY}/a.csv"]
    assert healthex.link_calls == 40


def test_it_is_said_where_results_have_another_name(night: Callable[..., Ended], house: House) -> None:
    for _ in range(2):
        house.put("a.csv", [1001])
        ended = night()

    assert "a.csv: The results are a (2).links.csv and so on, since " in ended.last_line


def test_a_marker_left_over_from_another_day_lets_nothing_in(night: Callable[..., Ended], house: House) -> None:
    house.put("a.csv", [1001], age_s=0)
    house.put("a.csv.done", [], age_s=86_400)

    assert night("--ready", "{name}.done").code == 0
    assert "a.csv" in house.files()


# --- tables ---------------------------------------------------------------------------------------------------

TABLES = f"""
[[project]]
name = "spring"
project-id = "{PROJECT}"

[[roster]]
name = "clinic"
match = "clinic_*.csv"
project = "spring"
id-column = "MRN"

[[roster]]
match = ["plan*.csv", "member*.csv"]
project-id = "project-2"
id_column = "Chart"
any-length = true
"""


def test_tables_say_which_project_and_column_a_file_gets(
    tables: Callable[..., Ended], house: House, start_healthex: StartHealthEx, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthex = start_healthex(projects=(PROJECT, "project-2"))
    monkeypatch.setenv("HEALTHEX_PROJECT_ID", "for-all-that-say-nothing")
    house.put("CLINIC_7.csv", [1001])
    (house.inbox / "members.csv").write_text("MRN,Chart\n1,20202\n", encoding="utf-8")
    os.utime(house.inbox / "members.csv", (1, 1))
    house.put("other.csv", [3])

    ended = tables(TABLES)

    assert house.files() == [f"done/{TODAY}/CLINIC_7.csv", f"done/{TODAY}/members.csv", "other.csv"]
    assert ended.code == 0, ended.err
    assert "other.csv" in ended.last_line
    assert results.summary(house.outbox / TODAY / "CLINIC_7.summary.json")["project_id"] == PROJECT
    assert results.summary(house.outbox / TODAY / "members.summary.json")["project_id"] == "project-2"
    assert set(healthex.links) == {"1001", "20202"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('id-column = "MRN"\n', ""), "at night nothing is guessed"),
        (('match = "clinic_*.csv"\n', ""), "match says which files"),
        (('name = "clinic"', 'nmae = "clinic"'), "Did you mean name"),
        (('name = "clinic"', 'name = "clinic"\nexpect_by = "25:00"'), "expect_by is a time of day"),
        (('name = "clinic"', 'name = "clinic"\nmax_new = -1'), "max_new is"),
        (('name = "clinic"', 'name = "clinic"\nmax_error_share = 5'), "max_error_share is"),
        (('name = "clinic"', 'name = "clinic"\nid-width = "wide"'), "id-width takes"),
        (('name = "clinic"', 'name = "clinic"\nid-width = 0'), "--id-width takes"),
        (('name = "clinic"', 'name = "clinic"\noutput-dir = "here"'), "no option: output-dir"),
        (('name = "clinic"', 'name = "plan*.csv"'), "two [[roster]] tables"),
        (('project = "spring"', 'project = "autumn"'), "There is: spring"),
        (('name = "clinic"', 'name = "clinic"\napi_secret = "x"'), "holds a secret"),
    ],
)
def test_a_table_that_cannot_be_used_is_exit_2_before_any_roster_is_touched(
    tables: Callable[..., Ended],
    house: House,
    healthex: RunningSimulator,
    change: tuple[str, str],
    said: str,
) -> None:
    house.put("clinic_1.csv", [1001])
    assert change[0] in TABLES

    ended = tables(TABLES.replace(*change, 1))

    assert ended.code == 2
    assert said in ended.err
    assert house.files() == ["clinic_1.csv"]
    assert healthex.calls == []


def test_a_flag_beats_a_table_which_beats_the_rest_of_the_file(
    tables: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    text = 'id-width = 6\n[[roster]]\nmatch = "*.csv"\nid-column = "MRN"\nid-width = 7\n'
    house.put("a.csv", [1])
    assert tables(text).code == 0
    house.put("b.csv", [1])
    assert tables(text, "--id-width", 8).code == 0
    house.put("c.csv", [1])
    assert tables(text.replace("id-width = 7\n", "")).code == 0

    assert set(healthex.links) == {"000001", "0000001", "00000001"}


@pytest.mark.parametrize(("limit", "said"), [("max_error_share = 0.2", "max_error_share"), ("max_new = 2", "max_new")])
def test_a_roster_beyond_its_tables_limits_is_stopped_before_its_first_call(
    tables: Callable[..., Ended], house: House, healthex: RunningSimulator, limit: str, said: str
) -> None:
    house.put("a.csv", [1001, 1002, 1003, "N/A"])

    ended = tables(f'[[roster]]\nmatch = "*.csv"\nid-column = "MRN"\n{limit}\n')

    assert ended.code == 2
    assert said in ended.err
    assert healthex.calls == []
    assert house.files() == [f"failed/{TODAY}/a.csv", f"failed/{TODAY}/a.csv.reason.txt"]
    assert said in (house.inbox / "failed" / TODAY / "a.csv.reason.txt").read_text(encoding="utf-8")


def test_a_roster_just_within_its_limits_is_run(
    tables: Callable[..., Ended], house: House, healthex: RunningSimulator
) -> None:
    house.put("a.csv", [1001, 1002, 1003, "N/A"])

    ended = tables('[[roster]]\nmatch = "*"\nid-column = "MRN"\nmax_error_share = 0.25\nmax_new = 3\n')

    assert ended.code == 3, ended.err
    assert healthex.link_calls == 3


# --- what HealthEx does to it ---------------------------------------------------------------------------------


def test_after_a_refusal_no_other_roster_of_that_project_is_tried_and_the_next_night_goes_on(
    tables: Callable[..., Ended], house: House, start_healthex: StartHealthEx, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = start_healthex()
    bad = start_healthex(every_status=403)
    house.put("clinic_1.csv", range(1001, 1011), age_s=900)
    house.put("clinic_2.csv", range(2001, 2011), age_s=800)

    ended = tables(TABLES)

    assert ended.code == 4
    assert house.files() == ["clinic_2.csv", "working/clinic_1.csv"]
    assert 0 < bad.link_calls <= 10
    assert "refused" in ended.err

    monkeypatch.setenv("HEALTHEX_API_URL", good.url)
    assert tables(TABLES, "--concurrency", 1).code == 0
    asked = [call.external_id for call in good.calls if call.external_id]
    assert asked == [*map(str, range(1001, 1011)), *map(str, range(2001, 2011))]
    assert house.files() == [f"done/{TODAY}/clinic_1.csv", f"done/{TODAY}/clinic_2.csv"]
    assert len(house.links("clinic_1")) == 10


def test_a_roster_that_could_not_be_finished_is_taken_up_first_and_its_results_are_whole_then(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx
) -> None:
    start_healthex(every_status=500)
    house.put("first.csv", [1001, 1002])

    ended = night("--patience", 0.3)
    assert ended.code == 5, ended.err
    assert house.files() == ["working/first.csv"]

    good = start_healthex()
    house.put("older.csv", [3001], age_s=90_000)
    ended = night("--concurrency", 1)

    assert ended.code == 0, ended.err
    assert [call.external_id for call in good.calls if call.external_id] == ["1001", "1002", "3001"]
    assert set(house.links("first")) == {"1001", "1002"}


def test_a_list_that_takes_two_nights_has_all_its_results_under_the_date_of_the_first(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx, clock: Callable[[str], None]
) -> None:
    start_healthex(every_status=500)
    house.put("a.csv", [1001])
    clock("2026-03-01 02:00")
    assert night("--patience", 0.3, "--settle", 0).code == 5

    start_healthex()
    clock("2026-03-02 02:00")
    assert night("--settle", 0).code == 0

    assert house.links("a", "2026-03-01").keys() == {"1001"}
    assert house.files() == ["done/2026-03-01/a.csv"]
    assert [path.name for path in house.outbox.iterdir() if path.is_dir()] == ["2026-03-01"]


@contextmanager
def another_nightly(house: House, moment: Callable[[], object], *more: str) -> "Iterator[subprocess.Popen[str]]":
    """One in a process of its own, in which this moment has come; or that is over, if it has gone by unseen."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlinks", "nightly", *house.arguments, "--id-column", "MRN", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not moment() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_second_nightly_says_that_one_is_at_work(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx
) -> None:
    healthex = start_healthex(latency_ms=400)
    house.put("a.csv", range(1001, 1031))

    with another_nightly(house, lambda: healthex.link_calls) as first:
        second = night()
        late = night("--max-hours", 1e-9)
        _, err = first.communicate(timeout=60)

    assert second.code == 0
    assert "Another nightly is at work in this inbox since" in second.last_line
    assert late.code == 5
    assert "look what holds it up" in late.err
    assert first.returncode == 0, err
    assert healthex.link_calls == 30
    assert night().last_line == "Night done: no new patient list."


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_night_that_is_stopped_leaves_everything_for_the_next(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx
) -> None:
    healthex = start_healthex(latency_ms=100)
    house.put("a.csv", range(1001, 1201), age_s=100)
    house.put("b.csv", [2001], age_s=90)

    with another_nightly(house, lambda: healthex.link_calls) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert house.files() == ["b.csv", "working/a.csv"]

    assert night().code == 0
    assert house.files() == [f"done/{TODAY}/a.csv", f"done/{TODAY}/b.csv"]
    assert house.links("a") | house.links("b") == healthex.links


KILLS: dict[str, Callable[[House, RunningSimulator], object]] = {
    "as it begins": lambda house, _: (house.inbox / ".batchlinks-nightly.lock").exists(),
    "with the roster taken": lambda house, _: (house.inbox / "working" / "a.csv").exists(),
    "in its first call": lambda _, healthex: healthex.link_calls,
    "in the middle": lambda _, healthex: healthex.link_calls > 20,
    "with its last call": lambda _, healthex: healthex.link_calls >= 40,
    "as the first file appears": lambda house, _: any(house.outbox.glob("*/.*pending")),
    "with the links in place": lambda house, _: any(house.outbox.glob("*/a.links.csv")),
    "with the summary in place": lambda house, _: any(house.outbox.glob("*/a.summary.json")),
    "with the roster put away": lambda house, _: any(house.inbox.glob("done/*/a.csv")),
}


SELDOM_ALONE = {
    "with the roster taken",
    "with its last call",
    "with the summary in place",
    "as it begins",
    "in its first call",
    "with the links in place",
}
"""Moments that lie so close to others that they are left to the wide search."""


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=pytest.mark.slow if moment in SELDOM_ALONE else ()) for moment in KILLS]
)
def test_a_night_that_was_killed_goes_on_where_it_was(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx, moment: str
) -> None:
    healthex = start_healthex(latency_ms=5, reject_pattern="1017")
    house.put("a.csv", [*range(1001, 1041), 1001])

    with another_nightly(house, lambda: KILLS[moment](house, healthex), "--only-new", "--concurrency", "8") as process:
        process.kill()
        process.communicate()
    ended = night("--only-new")

    assert ended.code in (0, 3), ended.err
    assert house.files() == [f"done/{TODAY}/a.csv"]
    assert house.links("a") == healthex.links
    assert len(house.links("a")) == 39
    errors = results.csv_rows(house.outbox / TODAY / "a.errors.csv")
    assert [(row["error_row"], row["error_code"]) for row in errors] == [("18", "rejected_by_healthex")]
    assert house.hidden() == []
    assert sorted(path.name for path in (house.outbox / TODAY).iterdir()) == [
        "a.duplicates.csv",
        "a.errors.csv",
        "a.links.csv",
        "a.summary.json",
    ]


def night_that_dies_before_it_puts_away(night: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.Inbox, "put_away", die)
        with pytest.raises(SystemExit):
            night("--only-new")


def test_a_night_killed_after_its_run_was_finished_only_puts_the_roster_away(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("a.csv", [1001, 1002])

    night_that_dies_before_it_puts_away(night, monkeypatch)
    assert house.files() == ["working/a.csv"]

    ended = night("--only-new")

    assert ended.code == 0, ended.err
    assert house.files() == [f"done/{TODAY}/a.csv"]
    assert house.links("a") == healthex.links
    assert len(house.links("a")) == 2
    assert sorted(path.name for path in (house.outbox / TODAY).iterdir()) == [
        "a.duplicates.csv",
        "a.errors.csv",
        "a.links.csv",
        "a.summary.json",
    ]


def test_of_two_attempts_whose_results_have_two_names_the_latest_counts(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_healthex(every_status=500)
    house.put("a.csv", [1001, 1002])
    assert night("--only-new", "--patience", 0.3).code == 5
    (house.outbox / TODAY / "a.links.csv").write_text("somebody's notes", encoding="utf-8")
    healthex = start_healthex()
    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.Inbox, "put_away", lambda *_: sys.exit(9))
        with pytest.raises(SystemExit):
            night("--only-new")

    ended = night("--only-new")

    assert ended.code == 0, ended.err
    assert house.files() == [f"done/{TODAY}/a.csv"]
    assert house.links("a (2)") == healthex.links
    assert len(healthex.links) == 2


def test_results_stay_of_a_night_killed_after_them_when_somebody_went_on_writing_to_its_list(
    night: Callable[..., Ended], house: House, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("a.csv", [1001, 1002])

    night_that_dies_before_it_puts_away(night, monkeypatch)
    with (house.inbox / "working" / "a.csv").open("a", encoding="utf-8") as file:
        file.write("1003,Pat\n")

    ended = night("--only-new")

    assert ended.code == 0, ended.err
    assert house.files() == [f"done/{TODAY}/a.csv"]
    assert house.links("a").keys() == {"1001", "1002"}
    assert house.links("a (2)").keys() == {"1003"}
    assert house.links("a") | house.links("a (2)") == healthex.links


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk is made as Linux does")
def test_a_disk_that_fills_up_loses_nothing_and_the_next_night_goes_on(
    command: Command,
    start_healthex: StartHealthEx,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthex = start_healthex()
    disk = small_disk(420)
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(disk / "data"))
    house = House(disk)
    house.put("a.csv", range(100_001, 100_801))

    ended = command("nightly", *house.arguments, "--id-column", "MRN")

    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err
    assert house.files() == ["working/a.csv"]
    assert not (house.outbox / TODAY / "a.links.csv").exists() or house.links("a").items() <= healthex.links.items()

    small_disk(20_000)
    ended = command("nightly", *house.arguments, "--id-column", "MRN")

    assert ended.code == 0, ended.err
    assert house.links("a") == healthex.links
    assert len(healthex.links) == 800
    assert healthex.link_calls < 800 + 400, "most of what was answered before had been kept"


# --- what should have come ------------------------------------------------------------------------------------

EXPECTED = '[[roster]]\nname = "clinic"\nmatch = "*.csv"\nid-column = "MRN"\nexpect_by = "05:00"\n'


def test_a_roster_that_has_not_come_in_time_is_a_message_and_exit_3(
    tables: Callable[..., Ended], house: House, clock: Callable[[str], None]
) -> None:
    clock("2026-03-01 04:59")
    assert tables(EXPECTED).code == 0
    clock("2026-03-01 05:00")
    ended = tables(EXPECTED)
    assert ended.code == 3
    assert "clinic (no patient list came by 05:00 of 2026-03-01)" in ended.last_line

    house.put("a.csv", [1001])
    assert tables(EXPECTED).code == 0
    clock("2026-03-01 23:00")
    assert tables(EXPECTED).code == 0, "it has come today"
    clock("2026-03-02 04:00")
    assert tables(EXPECTED).code == 0
    clock("2026-03-02 06:00")
    assert tables(EXPECTED).code == 3


def test_a_job_that_runs_before_the_hour_looks_at_the_day_before(
    tables: Callable[..., Ended], house: House, clock: Callable[[str], None]
) -> None:
    house.put("a.csv", [1001])
    clock("2026-03-01 02:00")
    assert tables(EXPECTED, "--settle", 0).code == 0
    clock("2026-03-02 02:00")
    assert tables(EXPECTED).code == 0
    clock("2026-03-03 02:00")
    assert tables(EXPECTED).code == 3


@pytest.mark.parametrize(
    ("ids", "said"), [([], "only an empty patient list came"), ([1001], "only the same patient list as before came")]
)
def test_an_empty_roster_or_yesterdays_again_counts_as_none(
    tables: Callable[..., Ended],
    house: House,
    clock: Callable[[str], None],
    ids: list[int],
    said: str,
) -> None:
    house.put("a.csv", [1001])
    clock("2026-03-01 06:00")
    assert tables(EXPECTED, "--settle", 0).code == 0

    house.put("a.csv", ids)
    clock("2026-03-02 06:00")
    ended = tables(EXPECTED, "--settle", 0)
    assert ended.code == 3
    assert said in ended.last_line

    house.put("a.csv", [1001, 1002])
    assert tables(EXPECTED, "--settle", 0).code == 0


def test_a_roster_that_a_killed_night_put_away_has_come(
    tables: Callable[..., Ended], house: House, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=5)
    text = EXPECTED.replace("*.csv", "a.csv").replace("05:00", "00:00")
    text += '[[roster]]\nname = "plan"\nmatch = "b.csv"\nid-column = "MRN"\n'
    metrics = tmp_path / "batchlinks.prom"
    success = 'batchlinks_nightly_roster_last_success_timestamp_seconds{table="clinic"}'
    assert tables(text, "--metrics", metrics).code == 3
    assert metrics_in(metrics)[success] == 0
    house.put("a.csv", [1001], age_s=100)
    house.put("b.csv", range(2001, 2041), age_s=90)
    began = time.time()

    with another_nightly(house, lambda: healthex.link_calls > 5, "--metrics", str(metrics)) as process:
        process.kill()
    assert house.files() == [f"done/{TODAY}/a.csv", "working/b.csv"]
    ended = tables(text, "--metrics", metrics)

    assert ended.code == 0, ended.last_line
    assert began <= metrics_in(metrics)[success] <= time.time()
    assert metrics_in(metrics)['batchlinks_nightly_roster_missing{table="clinic"}'] == 0


def test_a_roster_that_came_and_could_not_be_run_has_come_all_the_same(
    tables: Callable[..., Ended], house: House, start_healthex: StartHealthEx, clock: Callable[[str], None]
) -> None:
    start_healthex(every_status=500)
    house.put("a.csv", [1001])
    clock("2026-03-01 06:00")

    ended = tables(EXPECTED, "--settle", 0, "--patience", 0.3)

    assert ended.code == 5
    assert "Missing" not in ended.last_line


# --- what is kept ---------------------------------------------------------------------------------------------


def test_what_is_older_than_keep_days_is_deleted_and_nothing_else(night: Callable[..., Ended], house: House) -> None:
    folders = [house.inbox / "done", house.inbox / "failed", house.outbox]
    old, young = (str(date.today() - timedelta(days=days)) for days in (31, 29))
    for folder in folders:
        for name in (old, young, "2020-1-1", "archive"):
            (folder / name).mkdir(parents=True)
            (folder / name / "file.csv").touch()

    assert night().code == 0

    for folder in folders:
        assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted([young, "2020-1-1", "archive"])


def test_a_clock_that_leaps_ahead_deletes_nothing_on_its_first_word(
    night: Callable[..., Ended], house: House, clock: Callable[[str], None]
) -> None:
    house.put("a.csv", [1001])
    clock("2026-03-01 02:00")
    assert night("--settle", 0).code == 0
    clock("2036-03-01 02:00")

    ended = night()

    assert "the last night was on 2026-03-01" in ended.err
    assert house.files() == ["done/2026-03-01/a.csv"]
    clock("2026-03-02 02:00")
    assert night().code == 0
    assert house.files() == ["done/2026-03-01/a.csv"]


def test_a_roster_with_a_time_in_the_far_future_is_taken(night: Callable[..., Ended], house: House) -> None:
    house.put("a.csv", [1001], age_s=-400_000_000)

    assert night().code == 0
    assert house.files() == [f"done/{TODAY}/a.csv"]


# --- whom it tells --------------------------------------------------------------------------------------------


def test_one_message_at_the_end_holds_counts_and_no_patient_and_no_name_of_a_file(
    tables: Callable[..., Ended], house: House
) -> None:
    house.put("Smith_Ann.csv", [1001, "N/A"])
    (house.inbox / "Jones_Bob.xlsx").write_bytes(b"no workbook")
    os.utime(house.inbox / "Jones_Bob.xlsx", (1, 1))

    with web_hook() as (address, posted):
        ended = tables(
            f'notify = ["json://{address}"]\n[[roster]]\nname = "clinic"\nmatch = ["*.csv", "*.xlsx"]\nid-column = "MRN"\n'
        )

    assert ended.code == 2
    (message,) = map(json.loads, posted)
    assert "exit code 2" in message["title"]
    run_id = results.summary(house.outbox / TODAY / "Smith_Ann.summary.json")["run_id"]
    assert f"Run {run_id}: 2 rows, 1 linked" in message["message"]
    assert "clinic: cannot be used" in message["message"]
    for name in ("Smith", "Jones", "1001", "xid"):
        assert name not in posted[0].decode()


def test_a_night_that_cannot_begin_is_told_as_well(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_hook() as (address, posted):
        monkeypatch.setenv("BATCHLINKS_NOTIFY", f"json://{address}")
        ended = command("nightly", "--inbox", "nowhere", "--outbox", "out", "--id-column", "MRN")

    assert ended.code == 2
    assert "is not there" in json.loads(posted[0])["message"]


def test_a_message_that_nobody_takes_changes_nothing_but_is_said(tables: Callable[..., Ended], house: House) -> None:
    house.put("a.csv", [1001])

    with web_hook(status=500) as (address, _):
        ended = tables(f'notify = ["json://secret@{address}"]\n[[roster]]\nmatch = "*"\nid-column = "MRN"\n')

    assert ended.code == 0
    assert "was not taken by address 1 of notify (json://…)" in ended.err
    assert "secret" not in ended.err


def test_the_metrics_are_those_of_the_night_and_remember_the_last_good_one(
    night: Callable[..., Ended], house: House, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    file = tmp_path / "batchlinks.prom"
    house.put("a.csv", [1001, 1002, "N/A"])
    assert night("--metrics", file).code == 3
    good = metrics_in(file)
    start_healthex(every_status=500)
    house.put("b.csv", [2001])
    assert night("--metrics", file, "--patience", 0.3).code == 5

    bad = metrics_in(file)
    assert good["batchlinks_nightly_exit_code"] == 3
    assert good['batchlinks_nightly_rows_linked{table="all"}'] == 2
    assert good['batchlinks_nightly_rows_refused{code="placeholder_id",table="all"}'] == 1
    assert bad["batchlinks_nightly_exit_code"] == 5
    success = "batchlinks_nightly_last_success_timestamp_seconds"
    assert bad[success] == good[success] > 0
    assert bad["batchlinks_nightly_last_run_timestamp_seconds"] >= good["batchlinks_nightly_last_run_timestamp_seconds"]


def metrics_in(file: Path) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in file.read_text(encoding="utf-8").splitlines() if line[:1] != "#")
    return {name: float(value) for name, _, value in lines}


# --- what it says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 3], 3),
        ([3, 2, 0], 2),
        ([2, 130], 130),
        ([130, 5, 2], 5),
        ([5, 4], 4),
        ([0, 3, 2, 130, 5, 4, 1], 1),
    ],
)
def test_the_exit_code_is_the_first_of_a_fixed_order(codes: list[int], expected: int) -> None:
    night = Night("2026-03-01", [RosterOutcome("a.csv", "all", ExitCode(code)) for code in codes])

    assert night.exit_code == expected


def test_the_message_holds_counts_and_run_ids_and_no_name_of_a_file() -> None:
    night = Night("2026-03-01", [RosterOutcome("Smith_Ann.csv", "clinic", ExitCode.UNUSABLE)], unmatched=["Jones.csv"])

    title, text = notice.compose(night.record(datetime.now().astimezone(), 1))

    assert title == "batchlinks nightly 2026-03-01: needs attention (exit code 2)"
    assert "Smith" not in text
    assert "Jones" not in text
    assert "clinic: cannot be used" in text


def test_as_json_every_line_is_an_object_and_a_roster_has_its_counts(night: Callable[..., Ended], house: House) -> None:
    house.put("a.csv", ["ZQX1001", "N/A"])

    ended = night("--log-format", "json")

    lines = [json.loads(line) for line in ended.err.splitlines()]
    done = next(line for line in lines if line["message"] == "Run ended.")
    assert (done["rows"], done["linked"], done["errors"], done["exit_code"]) == (2, 1, {"placeholder_id": 1}, 3)
    assert done["seconds"] > 0
    assert {line["run_id"] for line in lines[:-1]} == {done["run_id"]}
    of_the_list, of_the_night = lines[-2:]
    assert (of_the_list["table"], of_the_list["roster"], of_the_list["exit_code"]) == ("all", "a.csv", 3)
    assert json.loads((house.outbox / "night.json").read_text()) == {
        name: value for name, value in of_the_night.items() if name not in ("message", "level", "time")
    }
    assert "ZQX" not in ended.err


def test_quiet_leaves_nothing_but_errors(night: Callable[..., Ended], house: House) -> None:
    house.put("a.csv", [1001])

    ended = night("--quiet")

    assert (ended.code, ended.out, ended.err) == (0, "", "")
