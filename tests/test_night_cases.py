"""Nights as they happen, through the command. After each, the files alone say what happened, why, and where everything is.

The files are `night.json`, the metrics, the message, and the reasons beside lists that failed.
"""

import gzip
import io
import json
import os
import re
import socket
import stat
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended
from test_message import web_hook

from batchlinks.nightly import inbox as inbox_module
from batchlinks.nightly import night as nightly
from batchlinks.nightly.due import read_due_time
from batchlinks.simulator import RunningSimulator

TODAY = date.today().isoformat()
SMITH = "Smith_Ann"
TABLE = f'[[roster]]\nname = "clinic"\nmatch = ["{SMITH}*"]\nid-column = "MRN"\nformat = "csv"\n'


def csv(ids: Iterable[object], *more: str) -> bytes:
    return ("MRN,Name\n" + "".join(f"{each},Zqxpat\n" for each in ids) + "".join(f"{each}\n" for each in more)).encode()


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return content.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped(a__csv=csv([1001])))
    content[6] |= 1  # the flag, in the entry and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def climbing() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../../etc/evil.csv", csv(range(1001, 1004)))
        archive.writestr("__MACOSX/._evil.csv", b"\0")
    return content.getvalue()


class Place:
    """An inbox, an outbox, and who is told of the night."""

    def __init__(self, folder: Path, command: Callable[..., Ended], address: str, posted: list[bytes]) -> None:
        self.folder, self.command, self.posted = folder, command, posted
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.metrics, self.settings = folder / "batchlinks.prom", folder / "night.toml"
        self.inbox.mkdir()
        self.top = (
            f'inbox = "{self.inbox}"\noutbox = "{self.outbox}"\nmetrics = "{self.metrics}"\n'
            f'notify = ["json://{address}"]\npatience = 3\n'
        )

    def put(self, name: str, content: bytes, *, age_s: float = 3600) -> None:
        path = self.inbox / name
        path.write_bytes(content)
        os.utime(path, (time.time() - age_s,) * 2)

    def night(self, tables: str = TABLE, *more: object) -> Ended:
        self.settings.write_text(self.top + tables, encoding="utf-8")
        return self.command("nightly", "--config", self.settings, *more)

    @property
    def told(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.outbox / "night.json").read_text(encoding="utf-8"))
        return content

    def files(self) -> set[str]:
        found = (path.relative_to(self.inbox) for path in self.inbox.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if not path.name.startswith(".")}

    def check_what_is_told(self, before: set[str], ended: Ended) -> dict[str, Any]:
        """What holds after every night."""
        told = self.told
        assert told["exit_code"] == ended.code
        mentioned = [each["roster"] for each in told["lists"]]
        for kind in ("unmatched", "ignored", "arriving", "waiting"):
            mentioned += told[kind]
        assert before <= set(mentioned), "something in the inbox goes unmentioned"
        for each in told["lists"]:
            where = Path(each["put_into"])
            assert where.is_file()
            assert (where.parent.parent.name if each["exit_code"] in (0, 2, 3) else where.parent.name) == {
                0: "done",
                2: "failed",
                3: "done",
            }.get(each["exit_code"], "working")
            if each["exit_code"] == 2:
                beside = where.with_name(f"{where.name}.reason.txt").read_text(encoding="utf-8")
                assert each["reason"] in beside
            for name in each["results"]:
                assert (Path(each["results_in"]) / name).exists()
        assert f"batchlinks_nightly_exit_code {ended.code}" in self.metrics.read_text()
        message = json.loads(self.posted[-1])
        text = message["title"] + message["message"]
        assert message["type"] == told["severity"]
        assert f"(exit code {ended.code})" in message["title"]
        assert socket.gethostname() in text
        for each in told["lists"]:
            assert f"{each['table']}: " in text
            assert each["run_id"] is None or each["run_id"] in text
        for leaves in (text, self.metrics.read_text()):
            assert SMITH not in leaves
            assert "Zqxpat" not in leaves
        history = json.loads(self.command("history", "--format", "json").out)
        assert [each["reason"] for each in told["lists"] if each["exit_code"] == 2] == [
            each["reason"]
            for entry in history
            if entry.get("run_id") == told["night_id"]
            for each in entry["lists"]
            if each["exit_code"] == 2
        ]
        everything = json.dumps(told) + ended.err + ended.out
        assert "Zqxpat" not in everything
        assert not re.search(r"\b1\d{3}\b", re.sub(r"[T_\d.:-]*\d{4}-\d\d-\d\d[T_\d.:Z-]*", "", text))
        return told


@pytest.fixture
def place(
    tmp_path: Path, command: Callable[..., Ended], healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> Iterable[Place]:
    assert healthex.link_calls == 0
    monkeypatch.setattr(inbox_module, "_SECOND_LOOK_S", 0.01)
    with web_hook() as (address, posted):
        yield Place(tmp_path, command, address, posted)


@dataclass(frozen=True)
class Case:
    """What lies in the inbox, by which table, and what is told of it then."""

    name: str
    lists: Mapping[str, bytes]
    code: int
    says: str = ""
    """A part of the reason of the first list, or of what is wrong beside the lists."""

    table: str = ""
    """More lines of the table."""

    limit: str | None = None
    earlier: Mapping[str, bytes] = field(default_factory=dict)
    """What the night before had taken."""

    healthex: Mapping[str, Any] = field(default_factory=dict)
    ignored: int = 0
    unmatched: int = 0
    missing: bool = False
    severity: str | None = None
    linked: int | None = None
    slow: bool = False


FULL, HALF = csv(range(1001, 1041)), csv(range(1001, 1021))
BOMB = gzip.compress(b"MRN\n" + b"1" * 70_000_000, 9)

CASES = [
    Case("new patients", {f"{SMITH}.csv": csv([1001, 1002])}, 0, severity="success", linked=2),
    Case("rows to fix", {f"{SMITH}.csv": csv([1001, "N/A"])}, 3, severity="warning", linked=1),
    Case("damaged", {f"{SMITH}.xlsx": b"PK\x03\x04nothing"}, 2, SMITH, severity="failure"),
    Case("nothing is a list", {"b.csv.pgp": b"?", "noending": b"?", "c.zip": zipped(a__csv=FULL)}, 0, ignored=3),
    Case("no table for it", {"other.csv": HALF}, 0, unmatched=1, severity="warning"),
    Case("too many at first", {f"{SMITH}.csv": HALF}, 2, "has been done yet", "max_new = 5", "max_new"),
    Case(
        "too many later",
        {f"{SMITH}_2.csv": FULL},
        2,
        "--accept",
        "max_new = 20",
        "max_new",
        {f"{SMITH}_1.csv": csv([1001])},
    ),
    Case(
        "half of it",
        {f"{SMITH}_25.csv": HALF},
        2,
        "the last one of its name had 40",
        "max_drop = 0.3",
        "max_drop",
        {f"{SMITH}_24.csv": FULL},
    ),
    Case(
        "nearly all of it",
        {f"{SMITH}_25.csv": csv(range(1001, 1030))},
        0,
        table="max_drop = 0.3",
        earlier={f"{SMITH}_24.csv": FULL},
        slow=True,
    ),
    Case("too few", {f"{SMITH}.csv": csv([1001])}, 2, "needs 2 rows", "min_rows = 2", "min_rows", slow=True),
    Case(
        "a trailer that is right",
        {f"{SMITH}.csv": csv(range(1001, 1041), "TRAILER,00041")},
        3,
        table='trailer = "count"',
        linked=40,
    ),
    Case(
        "a trailer that is wrong",
        {f"{SMITH}.csv": csv(range(1001, 1021), "TRAILER,40")},
        2,
        "another number of rows",
        'trailer = "count"',
        "trailer",
        slow=True,
    ),
    Case(
        "cut off before its trailer",
        {f"{SMITH}.csv": csv(range(1001, 1021))},
        2,
        "like the others",
        'trailer = "count"',
        "trailer",
    ),
    Case("too many to fix", {f"{SMITH}.csv": csv([1001, "?"])}, 2, "", "max_error_share = 0.1", "max_error_share"),
    Case("a zip", {f"{SMITH}_1.zip": zipped(list__csv=csv([1001, 1002]))}, 0, linked=2),
    Case("a gzip", {f"{SMITH}_1.csv.gz": gzip.compress(csv([1001]))}, 0, linked=1),
    Case("a gzip without an inner ending", {f"{SMITH}_1.gz": gzip.compress(csv([1001]))}, 0, linked=1, slow=True),
    Case("a path in a zip", {f"{SMITH}.zip": climbing()}, 0, linked=3),
    Case("two in a zip", {f"{SMITH}.zip": zipped(a__csv=FULL, b__csv=HALF)}, 2, "Right now it has 2 files"),
    Case("none in a zip", {f"{SMITH}.zip": zipped()}, 2, "has no file", slow=True),
    Case("another kind in a zip", {f"{SMITH}.zip": zipped(a__exe=b"MZ")}, 2, "something else", slow=True),
    Case("a zip with a password", {f"{SMITH}.zip": encrypted()}, 2, "protected with a password"),
    Case("a bomb", {f"{SMITH}.gz": BOMB}, 2, "unsafe size"),
    Case("half a gzip", {f"{SMITH}.csv.gz": gzip.compress(FULL)[:-20]}, 2, "damaged", slow=True),
    Case("no zip", {f"{SMITH}.zip": b"PK\x03\x04nothing"}, 2, "damaged", slow=True),
    Case("nothing came", {}, 3, "no patient list came", 'expect_by = "00:00"', missing=True, severity="warning"),
    Case(
        "the same again",
        {f"{SMITH}.csv": HALF},
        3,
        "only the same patient list",
        'expect_by = "00:00"',
        earlier={f"{SMITH}.csv": HALF},
        missing=True,
        slow=True,
    ),
    Case(
        "the same again, which is fine",
        {f"{SMITH}.csv": HALF},
        0,
        table='expect_by = "00:00"\nsame_list = "fine"',
        earlier={f"{SMITH}.csv": HALF},
        slow=True,
    ),
    Case("HealthEx is down", {f"{SMITH}.csv": HALF}, 5, healthex={"every_status": 500}, severity="failure"),
    Case("another project", {f"{SMITH}.csv": HALF}, 4, healthex={"projects": ("another",)}, severity="failure"),
    Case("other credentials", {f"{SMITH}.csv": HALF}, 4, healthex={"api_key": "another"}, slow=True),
    Case("others at work on theirs", {f"{SMITH}.csv": csv([1001]), "~$x.xlsx": b"", "y.csv.part": b""}, 0, slow=True),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in CASES],
)
def test_what_happened_stands_in_files(
    place: Place, start_healthex: Callable[..., RunningSimulator], monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    tables = TABLE + case.table + "\n"
    if case.earlier:
        for name, content in case.earlier.items():
            place.put(name, content)
        with monkeypatch.context() as yesterday:
            yesterday.setattr(nightly, "local_now", lambda: datetime.now().astimezone() - timedelta(days=1))
            assert place.night(tables).code in (0, 2, 3)
    if case.healthex:
        start_healthex(**case.healthex)
        monkeypatch.setenv(
            "HEALTHEX_API_KEY", "demo-key" if "api_key" in case.healthex else os.environ["HEALTHEX_API_KEY"]
        )
    for name, content in case.lists.items():
        place.put(name, content)

    ended = place.night(tables)

    told = place.check_what_is_told(set(case.lists), ended)
    assert ended.code == case.code, ended.err
    assert "Traceback" not in ended.err
    assert (len(told["ignored"]), len(told["unmatched"])) == (case.ignored, case.unmatched)
    assert list(told["missing"]) == (["clinic"] if case.missing else [])
    assert case.severity in (None, told["severity"])
    if told["lists"]:
        (only,) = told["lists"]
        assert only["limit"] == case.limit
        assert case.says in (only["reason"] or "") or case.says in str(told["missing"])
        assert case.linked in (None, only["linked"])
        if case.limit:
            assert f"stopped by {case.limit}" in json.loads(place.posted[-1])["message"]
    else:
        assert case.says in str(told["missing"])


# --- letting a list through --------------------------------------------------------------------------------------


def test_a_list_that_failed_is_let_through_once_and_the_next_is_not(place: Place, healthex: RunningSimulator) -> None:
    tables = TABLE + "max_new = 5\n"
    place.put(f"{SMITH}.csv", csv(range(1001, 1021)))
    assert place.night(tables).code == 2
    failed = f"failed/{TODAY}/{SMITH}.csv"
    assert place.files() == {failed, f"{failed}.reason.txt"}
    assert healthex.link_calls == 0

    ended = place.night(tables, "--accept", f"{SMITH}.csv")

    assert ended.code == 0, ended.err
    assert place.told["lists"][0]["linked"] == 20
    assert place.files() == {f"done/{TODAY}/{SMITH}.csv"}
    place.put(f"{SMITH}.csv", csv(range(2001, 2021)))
    assert place.night(tables).code == 2


def test_a_list_that_is_let_through_stays_so_when_healthex_is_down(
    place: Place, start_healthex: Callable[..., RunningSimulator]
) -> None:
    tables = TABLE + "max_new = 5\n"
    start_healthex(every_status=500)
    place.put(f"{SMITH}.csv", csv(range(1001, 1021)))
    assert place.night(tables, "--accept", f"{SMITH}.csv").code == 5
    start_healthex()

    assert place.night(tables).code == 0
    assert place.told["lists"][0]["linked"] == 20


@pytest.mark.parametrize(
    ("name", "said"), [("nobody.csv", "no patient list of the name"), ("new.csv", "still arriving")]
)
def test_a_list_that_cannot_be_let_through_is_said(place: Place, name: str, said: str) -> None:
    place.put("new.csv", csv([1001]), age_s=1)

    ended = place.night(TABLE.replace(SMITH, "new"), "--accept", name)

    assert ended.code == 2
    assert said in ended.err
    assert place.files() == {"new.csv"}


def test_what_is_for_one_night_stands_in_no_settings_file(place: Place) -> None:
    ended = place.night('accept = "a.csv"\n' + TABLE)

    assert ended.code == 2
    assert "--accept with the command, once" in ended.err


# --- settings that are wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("nmae = 1\n", "has a key that is no option: nmae"),
        ('settle = "soon\n', "is not valid TOML"),
        (TABLE + "max_new = -1\n", "max_new is"),
        (TABLE.replace("clinic", "x" * 101), "too long"),
        (TABLE + f'ready = "{{name}}{"x" * 300}"\n', "too long"),
        (TABLE + "max_new = 100000000000000000000\n", "max_new is"),
        (TABLE + 'trailer = "sum"\n', 'trailer can only be "count"'),
        (TABLE + 'same_list = "never"\n', "same_list can only be"),
        (TABLE + 'expect_by = "05:00 Mon-Foo"\n', "expect_by is a time of day"),
        (TABLE.replace(f'["{SMITH}*"]', str(["x*"] * 101)), "at most 100 patterns"),
        (TABLE.replace(f"{SMITH}*", "x" * 300), "too long"),
    ],
)
def test_a_settings_file_that_is_wrong_reaches_metrics_message_and_outbox(place: Place, tables: str, said: str) -> None:
    place.outbox.mkdir()
    place.put(f"{SMITH}.csv", csv([1001]))

    ended = place.night(tables)

    assert ended.code == 2
    assert said in ended.err
    assert "batchlinks_nightly_exit_code 2.0" in place.metrics.read_text()
    message = json.loads(place.posted[-1])
    assert message["type"] == "failure"
    assert said in message["message"]
    assert said in place.told["problems"][0]
    assert place.files() == {f"{SMITH}.csv"}
    (entry,) = json.loads(place.command("history", "--format", "json").out)
    assert (entry["command"], entry["exit_code"]) == ("nightly", 2)
    assert said in entry["reason"]


def test_a_variable_that_is_wrong_reaches_the_metrics(
    command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_SETTLE", "soon")

    ended = command("nightly", f"--metrics={tmp_path / 'night.prom'}")

    assert ended.code == 2
    assert "batchlinks_nightly_exit_code 2.0" in (tmp_path / "night.prom").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_a_settings_file_that_is_not_to_be_obeyed_tells_nobody(place: Place) -> None:
    place.night("nmae = 1\n")
    told = len(place.posted)
    place.metrics.unlink()
    place.settings.chmod(0o666)

    ended = place.command("nightly", "--config", place.settings)

    assert ended.code == 2
    assert "can be changed by everybody" in ended.err
    assert (len(place.posted), place.metrics.exists()) == (told, False)


# --- trying it out -----------------------------------------------------------------------------------------------


def test_a_dry_run_tries_everything_and_changes_nothing(place: Place, healthex: RunningSimulator) -> None:
    place.put(f"{SMITH}_1.csv", csv([1001, 1002]))
    assert place.night().code == 0
    night, calls = place.told, healthex.link_calls
    place.put(f"{SMITH}_2.csv", csv([1001, 1002, 1003, "N/A"]))
    place.put("b.pgp", b"?")
    before = place.files()

    ended = place.night(TABLE, "--dry-run")

    assert ended.code == 3, ended.out
    for said in (
        "1 table: clinic",
        "accepts the API key",
        f"{place.outbox} can be written",
        "1 of 1 address took a test message",
        "1 patient list to take",
        "left alone: b.pgp",
        f"{SMITH}_2.csv: 4 rows, 3 patients to hand out, 1 of them to ask for, 0 duplicates, 1 to fix",
    ):
        assert said in ended.out
    assert json.loads(place.posted[-1])["title"].endswith("dry run")
    assert (place.files(), place.told, healthex.link_calls) == (before, night, calls)
    assert [path.name for path in place.inbox.glob(".*")] == []

    ended = place.night(TABLE + "max_new = 0\n", "--dry-run")
    assert ended.code == 2
    assert "1 link" in ended.out
    assert "more than max_new allows" in ended.out


def test_a_dry_run_says_all_that_is_wrong_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHEX_API_URL", "http://127.0.0.1:9")
    place.inbox.rmdir()
    place.metrics.mkdir()
    (place.metrics / ".batchlinks-dry-run").mkdir()

    ended = place.night(TABLE.replace("night.prom", "x"), "--dry-run")

    assert ended.code == 5
    assert ended.out.count("PROBLEM") >= 2
    assert "is not there" in ended.out
    assert "cannot be reached" in ended.out


# --- who may read it ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_working_done_and_failed_are_the_groups_too_where_results_are(
    place: Place, start_healthex: Callable[..., RunningSimulator]
) -> None:
    (place.inbox / "failed").mkdir(mode=0o700)  # as an older version made it
    shared = "share-with-group = true\n" + TABLE
    for name, content in ((f"{SMITH}_1.csv", csv([1001])), (f"{SMITH}_2.xlsx", b"?")):
        place.put(name, content)
        (place.inbox / name).chmod(0o600)
    assert place.night(shared).code == 2
    start_healthex(every_status=500)
    place.put(f"{SMITH}_3.csv", csv([1002]))
    assert place.night(shared).code == 5

    for folder in ("done", "failed", "working", f"done/{TODAY}", f"failed/{TODAY}"):
        assert stat.S_IMODE((place.inbox / folder).stat().st_mode) == 0o2750, folder
    for name in (
        f"done/{TODAY}/{SMITH}_1.csv",
        f"failed/{TODAY}/{SMITH}_2.xlsx",
        f"failed/{TODAY}/{SMITH}_2.xlsx.reason.txt",
    ):
        assert stat.S_IMODE((place.inbox / name).stat().st_mode) == 0o640, name
    assert stat.S_IMODE((place.outbox / "night.json").stat().st_mode) == 0o640


# --- when it is due ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        ("05:00", "2026-11-24 05:00", "2026-11-24"),
        ("05:00", "2026-11-24 04:59", "2026-11-23"),
        ("05:00 Mon-Fri", "2026-11-29 12:00", "2026-11-27"),  # a Sunday
        ("5:00 mon-fri", "2026-11-30 04:00", "2026-11-27"),
        ("05:00 Mon-Fri", "2026-11-30 05:00", "2026-11-30"),
        ("05:00 Sat, Sun", "2026-11-27 05:00", "2026-11-22"),
        ("05:00 Fri-Mon", "2026-11-26 05:00", "2026-11-23"),
        ("02:30", "2026-03-08 03:01", "2026-03-08"),  # half past two does not exist on that day
        ("01:30", "2026-11-01 01:40", "2026-11-01"),  # and this one is there twice
    ],
)
def test_when_a_list_is_due(text: str, now: str, due: str) -> None:
    schedule = read_due_time(text, "a table")

    assert schedule is not None
    assert schedule.latest(datetime.fromisoformat(now)).isoformat() == due


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be changed there")
def test_on_the_days_when_the_clock_changes_a_list_is_missed_once_and_only_where_it_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        expecting = TABLE + 'expect_by = "01:30"\n'

        def night_at(seconds: float) -> list[str]:
            monkeypatch.setattr(nightly, "local_now", lambda: datetime.fromtimestamp(seconds).astimezone())
            place.night(expecting, "--settle", 0)
            return list(place.told["missing"].values())

        first = datetime(2026, 10, 31, 6, 0).astimezone().timestamp()
        place.put(f"{SMITH}_1.csv", csv([1001]))
        assert night_at(first) == []
        half_past_one = datetime(2026, 11, 1, 1, 40, fold=0).astimezone().timestamp()
        assert night_at(half_past_one) == ["no patient list came by 01:30 of 2026-11-01"]
        place.put(f"{SMITH}_2.csv", csv([1002]))
        assert night_at(half_past_one + 3600) == []
        assert night_at(half_past_one + 7200) == []
        assert night_at(datetime(2026, 11, 2, 1, 40).astimezone().timestamp()) != []
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_list_that_is_taken_up_again_is_not_the_same_as_before(
    place: Place, start_healthex: Callable[..., RunningSimulator]
) -> None:
    expecting = TABLE + 'expect_by = "00:00"\n'
    start_healthex(every_status=500)
    place.put(f"{SMITH}.csv", csv([1001]))
    assert place.night(expecting).code == 5
    start_healthex()

    ended = place.night(expecting)

    assert (ended.code, place.told["missing"]) == (0, {})


# --- what somebody must see --------------------------------------------------------------------------------------


def test_quiet_says_what_somebody_must_see_and_nothing_of_a_good_night(place: Place) -> None:
    place.put(f"{SMITH}.csv", csv([1001, "N/A"]))
    ended = place.night(TABLE, "--quiet")
    assert (ended.code, ended.out, ended.err) == (3, "", "")

    place.put("b.pgp", b"?")
    place.put("other.csv", csv([1001]))
    ended = place.night(
        TABLE
        + 'expect_by = "00:00"\n[[roster]]\nname = "plan"\nmatch = "p*"\nid-column = "MRN"\nexpect_by = "00:00"\n',
        "--quiet",
    )

    assert ended.code == 3
    for said in ("plan: no patient list came", "left in the inbox: b.pgp", "No [[roster]] table is for: other.csv"):
        assert said in ended.err


# --- what fails on this computer ---------------------------------------------------------------------------------


def test_an_outbox_that_cannot_be_used_is_said_by_its_own_name(place: Place) -> None:
    place.outbox.write_bytes(b"a file")
    place.put(f"{SMITH}.csv", csv([1001]))

    ended = place.night()

    assert ended.code == 2
    assert "--outbox" in ended.err
    assert "--output-dir" not in ended.err
    assert place.files() == {f"{SMITH}.csv"}


def test_a_data_folder_with_a_name_that_none_can_have_is_a_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", f"/tmp/{'x' * 300}")

    ended = place.night()

    assert ended.code == 2
    assert "BATCHLINKS_DATA_DIR is too long" in ended.err


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk is made as Linux does")
@pytest.mark.parametrize(
    "left_kb", [36, pytest.param(8, marks=pytest.mark.slow), pytest.param(90, marks=pytest.mark.slow)]
)
def test_a_data_disk_that_is_full_blames_no_list(
    place: Place, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, left_kb: int
) -> None:
    disk = small_disk(4_000)
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(disk / "data"))
    place.put(f"{SMITH}_1.csv", csv([1001]))
    assert place.night().code == 0
    state = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(b"x" * max(0, state.f_bavail * state.f_frsize - left_kb * 1024))
    place.put(f"{SMITH}_2.csv", csv(range(1002, 1302)))

    ended = place.night()

    assert ended.code in (1, 2), ended.err
    assert not [name for name in place.files() if name.startswith("failed")]
    assert "Traceback" not in ended.err
    (disk / "filler").unlink()
    assert place.night().code == 0
    assert len(list((place.outbox / TODAY).glob(f"{SMITH}_2.links.csv"))) == 1
