"""Runs of the same patients over days: nobody is lost between workbooks, and nobody is handed out twice under --only-new."""

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import batchlinks
from batchlinks.ledger import Records, project_links
from batchlinks.ledger.database import open_ledger
from batchlinks.results.publish.publisher import Publisher
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

CLINICS = {"N": "North", "S": "South", "W": "West"}
NAMES = ("Ada", "Ben", "Cleo", "Dora", "Egon", "Fritz", "Gil", "Hugo")


def roster(folder: Path, numbers: Sequence[int], clinics: str = "", name: str = "patients.csv") -> Path:
    """Patients by number; `clinics` has a letter for each: N, S, W."""
    path = folder / name
    rows = [f"{100_000 + number},{NAMES[number]},{CLINICS[clinic]}"
            for number, clinic in zip(numbers, clinics or "N" * len(numbers), strict=True)]  # fmt: skip
    path.write_text("\n".join(["MRN,First name,Clinic", *rows]) + "\n", encoding="utf-8")
    return path


def held(folder: Path) -> dict[str, str]:
    """Links file in the folder, without the time in its name -> the numbers of the patients in it, as in `013`."""
    found = {}
    for path in sorted(folder.rglob("*.xlsx")):
        name = path.relative_to(folder).as_posix()
        if ".links" in name:
            rows = results.links(path)
            assert all(f"xid={row['MRN']}." in row["link"] for row in rows)
            before = name.partition(" (before ")
            name = f"{before[0]} (before){before[2].partition(')')[2]}" if before[2] else name
            assert name not in found
            found[name] = "".join(row["MRN"][-1] for row in rows)
    return found


PLAIN, BEFORE = "patients.links.xlsx", "patients.links (before).xlsx"


def test_whoever_was_tried_out_first_is_handed_out_with_all_and_a_run_without_new_ones_empties_nothing(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    patients = roster(tmp_path, range(8))
    assert command("run", patients, "--limit", 5).code == 3
    assert held(tmp_path) == {PLAIN: "01234"}

    assert command("run", patients, "--only-new").code == 0
    assert held(tmp_path) == {PLAIN: "01234567"}

    ended = command("run", patients, "--only-new")
    assert "Nobody is new, so there is no new links workbook." in ended.last_line
    assert held(tmp_path) == {PLAIN: "01234567"}
    assert results.summary(tmp_path / "patients.summary.json")["written"] == 0
    assert command("run", patients, "--only-new").code == 0  # and its workbook is still known as ours
    assert held(tmp_path) == {PLAIN: "01234567"}

    ended = command("run", patients, "--limit", 2)
    assert held(tmp_path) == {BEFORE: "01234567", PLAIN: "01"}
    assert (
        "6 patients are only in the links workbook of before, which stays: patients.links (before " in ended.last_line
    )
    command("run", patients, "--only-new")
    assert held(tmp_path) == {BEFORE: "01234567", PLAIN: "01"}
    assert command("run", patients).code == 0
    assert held(tmp_path) == {BEFORE: "01234567", PLAIN: "01234567"}
    assert [healthex.requests_for(str(100_000 + number)) for number in range(8)] == [1] * 8


@pytest.mark.usefixtures("healthex")
def test_the_newest_has_the_plain_name_and_whoever_would_be_lost_stays_in_the_one_of_before(
    command: Command, tmp_path: Path
) -> None:
    command("run", roster(tmp_path, range(3)), "--only-new")
    ended = command("run", roster(tmp_path, range(5)), "--only-new")
    assert held(tmp_path) == {BEFORE: "012", PLAIN: "34"}
    assert "3 patients are only in" in ended.last_line

    # Everybody in the new one: the former has nobody whom it lacks.
    assert command("run", roster(tmp_path, range(5))).code == 0
    assert held(tmp_path) == {BEFORE: "012", PLAIN: "01234"}

    # Left the roster, withdrawn, excluded: nobody of them counts, and the workbook gives way.
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("100003\n", encoding="utf-8")
    withdraw = tmp_path / "withdraw.txt"
    withdraw.write_text("100002\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", withdraw).code == 0
    ended = command("run", roster(tmp_path, range(1, 5)), "--exclude", exclude)
    assert held(tmp_path) == {BEFORE: "012", PLAIN: "14"}
    assert "of before" not in ended.last_line

    # Patient 3 stood in no workbook since, and counts no more; 2 stands in the one of before.
    assert command("ledger", "restore", "--ids", withdraw).code == 0
    assert command("run", roster(tmp_path, range(5)), "--only-new").code == 0
    (first, second) = sorted(tmp_path.glob("patients.links (before *).xlsx"))
    assert [row["MRN"][-1] for row in results.links(tmp_path / PLAIN)] == ["3"]
    assert {len(results.links(first)), len(results.links(second))} == {3, 2}


@pytest.mark.usefixtures("healthex")
def test_a_workbook_that_somebody_took_away_was_handed_out_and_one_that_somebody_changed_stays(
    command: Command, tmp_path: Path
) -> None:
    command("run", roster(tmp_path, range(3)), "--only-new")
    (tmp_path / PLAIN).rename(tmp_path / "mailed.xlsx")
    command("run", roster(tmp_path, range(4)), "--only-new")
    assert held(tmp_path) == {PLAIN: "3"}

    with (tmp_path / PLAIN).open("ab") as file:
        file.write(b"\\0")
    assert "Nobody is new" in command("run", roster(tmp_path, range(4)), "--only-new").last_line
    assert not list(tmp_path.glob("patients (2)*"))  # nothing was in the way of an error report
    command("run", roster(tmp_path, range(5)), "--only-new")
    assert held(tmp_path) == {PLAIN: "3", "patients (2).links.xlsx": "4"}
    command("run", roster(tmp_path, range(6)), "--only-new")
    assert held(tmp_path) == {
        PLAIN: "3", "patients (2).links (before).xlsx": "4", "patients (2).links.xlsx": "5",
    }  # fmt: skip


@pytest.mark.usefixtures("healthex")
def test_whoever_moved_is_handed_out_again_there_once(command: Command, tmp_path: Path) -> None:
    split = ("--split-by", "clinic", "--only-new")
    command("run", roster(tmp_path, range(4), "NNSS"), *split)
    assert held(tmp_path) == {"patients.links/North.xlsx": "01", "patients.links/South.xlsx": "23"}

    ended = command("run", roster(tmp_path, range(4), "NSSS"), *split)
    before = {"patients.links (before)/North.xlsx": "01", "patients.links (before)/South.xlsx": "23"}
    assert held(tmp_path) == {**before, "patients.links/South.xlsx": "1"}
    assert "1 patient was in the workbook of another value before." in ended.last_line

    assert "Nobody is new" in command("run", roster(tmp_path, range(4), "NSSS"), *split).last_line
    # Moved in a run for everybody, and then not again under --only-new; nor where the list isn't split.
    command("run", roster(tmp_path, range(4), "WSSS"), "--split-by", "clinic")
    for options in (split, ("--only-new",)):
        assert "Nobody is new" in command("run", roster(tmp_path, range(4), "WSSS"), *options).last_line, options


def test_a_refresh_that_nobody_answers_keeps_links_and_workbook(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    patients = roster(tmp_path, range(4))
    assert command("run", patients).code == 0
    links = [row["link"] for row in results.links(tmp_path / PLAIN)]
    for number in range(1, 4):
        healthex.script(f"{100_000 + number}", [503])

    ended = command("run", patients, "--refresh", "--concurrency", 1, "--max-attempts", 1)

    assert ended.code == 0
    after = [row["link"] for row in results.links(tmp_path / PLAIN)]
    assert after[1:] == links[1:]
    assert "3 patients got no new link and keep the one of before." in ended.err
    assert results.errors(tmp_path / "patients.errors.xlsx") == []
    assert held(tmp_path) == {PLAIN: "0123"}

    for number in range(4):
        healthex.script(f"{100_000 + number}", [403])
    assert command("run", patients, "--refresh").code == 4
    assert [row["link"] for row in results.links(tmp_path / PLAIN)] == after


@pytest.mark.parametrize("moment", ["publish", "finish"])
@pytest.mark.usefixtures("healthex")
def test_a_run_that_was_killed_is_gone_on_with_and_the_files_of_before_are_where_they_were(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    private_home: Path,
) -> None:
    command("run", roster(tmp_path, range(3)), "--only-new")
    real = Publisher.publish
    with monkeypatch.context() as patch:
        if moment == "finish":
            patch.setattr(Publisher, "finish", lambda _: sys.exit(9))
        else:
            patch.setattr(Publisher, "publish", lambda *args, **options: (real(*args, **options), sys.exit(9)))
        with pytest.raises(SystemExit):
            command("run", roster(tmp_path, range(5)), "--only-new")

    ended = command("run", roster(tmp_path, range(5)), "--only-new")

    assert held(tmp_path) == {BEFORE: "012", PLAIN: "34"}
    assert "3 patients are only in" in ended.last_line
    with Records(private_home / "data" / "ledger.sqlite3") as records:
        (project,) = records.projects()
        assert project.project_id == PROJECT
        standing = {
            each.file.name for each in records.rows_in_files(project, ["100000", "100004"]) if not each.file.replaced_at
        }
    assert standing == {path.name for path in tmp_path.glob("*.links*.xlsx")}


def test_two_that_refresh_at_once_lose_nobody(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path
) -> None:
    start_healthex(latency_ms=20)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    lists = [roster(tmp_path / name, range(8)) for name in ("one", "two")]
    command("run", lists[0])
    with ThreadPoolExecutor() as pool:
        reports = list(pool.map(lambda path: batchlinks.run(path, id_column="MRN", refresh=True, concurrency=2), lists))
    assert [(report.exit_code, report.summary.linked) for report in reports] == [(0, 8), (0, 8)]
    assert [held(path.parent) for path in lists] == [{PLAIN: "01234567"}] * 2


@pytest.mark.parametrize("pages", [0, 3])
def test_a_full_disk_is_said_to_be_full_and_no_list_is_blamed(
    command: Command,
    healthex: RunningSimulator,
    tmp_path: Path,
    private_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    pages: int,
) -> None:
    command("run", roster(tmp_path, range(2)))
    asked = healthex.link_calls
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "night.csv").write_text(
        "MRN\n" + "".join(f"{number}\n" for number in range(200_000, 200_060)), encoding="utf-8"
    )

    with closing(sqlite3.connect(private_home / "data" / "ledger.sqlite3")) as ledger:
        room = ledger.execute("PRAGMA page_count").fetchone()[0] + pages

    def opened(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = open_ledger(*arguments, **options)  # type: ignore[arg-type]
        connection.execute(f"PRAGMA max_page_count = {room}")
        return connection

    night = ("nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--settle", 0)
    with monkeypatch.context() as patch:
        patch.setattr(project_links, "open_ledger", opened)
        ended = command(*night)
        assert ended.code in (1, 2)
        assert "disk" in ended.err
        assert "defect" not in ended.err
        assert not list(inbox.glob("failed/**/*.csv"))
        assert command("run", inbox / "working" / "night.csv", "--output-dir", tmp_path).code in (1, 2)

    assert command(*night).code == 0
    assert healthex.link_calls - asked <= 3 * 60


# --- any order ----------------------------------------------------------------------------------------------------

PATIENTS = range(5)
PATIENT = st.sampled_from(PATIENTS)


class Killed(BaseException):
    """At this moment the power went."""


def killed_at(moment: str, patch: pytest.MonkeyPatch) -> None:
    """Before any file is in its place, after all are and before the ledger knows, or at the very last step."""
    publish = Publisher.publish

    def dies(*args: object, **options: object) -> None:
        if moment == "placing":
            options["on_placing"] = lambda *_: (_ for _ in ()).throw(Killed)
        publish(*args, **options)  # type: ignore[arg-type]
        raise Killed

    def dies_last(_: Publisher) -> None:
        raise Killed

    patch.setattr(Publisher, *(("finish", dies_last) if moment == "finish" else ("publish", dies)))


class ManyRuns(RuleBasedStateMachine):
    """A few patients on one list, over days: whatever happens, in whatever order."""

    def __init__(self, command: Command, healthex: RunningSimulator) -> None:
        super().__init__()
        self.command, self.healthex = command, healthex
        self.home = Path(tempfile.mkdtemp(prefix="many-runs-"))
        self.folder, self.mailed = self.home / "lists", self.home / "mailed"
        for folder in (self.folder, self.mailed):
            folder.mkdir()
        os.environ["BATCHLINKS_DATA_DIR"] = str(self.home / "data")
        self.clinics = dict.fromkeys(PATIENTS, "N")
        self.listed = set(PATIENTS)
        self.withdrawn: set[int] = set()
        self.handed_out: set[int] = set()
        """By a run that came to its end; nobody of them is to be handed out again under --only-new."""
        self.trials: set[bytes] = set()
        self.there: dict[Path, frozenset[int]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    # --- what people do -------------------------------------------------------------------------------------------

    @rule(patient=PATIENT, clinic=st.sampled_from("NS"))
    def moves(self, patient: int, clinic: str) -> None:
        self.clinics[patient] = clinic

    @rule(patient=PATIENT)
    def leaves_the_list_or_comes_back(self, patient: int) -> None:
        self.listed ^= {patient}

    @rule(patient=PATIENT)
    def is_withdrawn_or_restored(self, patient: int) -> None:
        ids = self.home / "ids.txt"
        ids.write_text(f"{100_000 + patient}\n", encoding="utf-8")
        what = "restore" if patient in self.withdrawn else "withdraw"
        assert self.command("ledger", what, "--ids", ids).code == 0
        self.withdrawn ^= {patient}

    @rule()
    def mails_the_workbook(self) -> None:
        for number, name in enumerate((PLAIN, "patients.links")):
            if (self.folder / name).exists():
                (self.folder / name).rename(self.mailed / f"{len(list(self.mailed.iterdir()))}.{number}.{name}")

    @rule()
    def changes_the_workbook(self) -> None:
        if (self.folder / PLAIN).exists():
            with (self.folder / PLAIN).open("ab") as file:
                file.write(b" ")

    @rule(
        only_new=st.booleans(),
        limit=st.sampled_from([None, None, None, 2]),
        split=st.booleans(),
        refresh=st.sampled_from([False, False, True]),
        forbidden=st.sampled_from([(), (), (3,), PATIENTS]),
        killed=st.sampled_from([None, None, "placing", "publish", "finish"]),
    )
    def runs(
        self,
        only_new: bool,
        limit: int | None,
        split: bool,
        refresh: bool,
        forbidden: Sequence[int],
        killed: str | None,
    ) -> None:
        listed = sorted(self.listed)
        if not listed:
            return
        path = roster(self.folder, listed, "".join(self.clinics[patient] for patient in listed))
        before, links_before = set(self.workbooks()), self.known_links()
        for patient in forbidden:
            self.healthex.script(f"{100_000 + patient}", [403])
        finished = False
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                killed_at(killed, patch)
            try:
                report = batchlinks.run(
                    path, id_column="MRN", only_new=only_new, limit=limit, refresh=refresh,
                    split_by="Clinic" if split else None,
                )  # fmt: skip
                finished = report.stopped_by is None
            except Killed:
                pass
        for patient in forbidden:
            self.healthex.script(f"{100_000 + patient}", [])
        new = [self.workbooks()[each] for each in set(self.workbooks()) - before if " (before " not in each.as_posix()]
        members = frozenset().union(*new)
        assert not members & self.withdrawn
        anew = {each for each, link in self.known_links().items() if links_before.get(each, link) != link}
        sendable = [each for each in listed if each not in self.withdrawn]
        trial = limit is not None and limit < len(sendable)
        self.handed_out -= anew
        if only_new and not split:
            assert not members & self.handed_out
        if trial:
            return
        if not finished:
            self.handed_out -= members  # the next run may hand them out, or leave it at that
            return
        self.handed_out |= members
        if not only_new:
            assert members == frozenset(sendable) - self.forbidden_now(report)
        standing = self.standing(split=split)
        assert frozenset(sendable) - self.forbidden_now(report) <= standing

    def forbidden_now(self, report: "batchlinks.Report") -> frozenset[int]:
        return frozenset(int(row["MRN"]) - 100_000 for row in report.frame("errors").to_dict("records"))

    # --- what is on disk ------------------------------------------------------------------------------------------

    def workbooks(self) -> dict[Path, frozenset[int]]:
        """Workbooks with links, by path and content, and who is in them."""
        found = {}
        for path in [*self.folder.rglob("*.xlsx"), *self.mailed.rglob("*.xlsx")]:
            if ".links" not in path.as_posix():
                continue
            key = path / str(path.stat().st_mtime_ns)
            if key not in self.there:
                rows = results.links(path)
                for row in rows:
                    assert f"xid={row['MRN']}." in row["link"]
                self.there[key] = frozenset(int(row["MRN"]) - 100_000 for row in rows)
            found[key] = self.there[key]
        return found

    def standing(self, *, split: bool) -> frozenset[int]:
        """Who is in a workbook; of a list that is split in one of their clinic."""
        found: set[int] = set()
        for key, members in self.workbooks().items():
            value = key.parent.stem
            if value in CLINICS.values():
                found |= {each for each in members if not split or CLINICS[self.clinics[each]] == value}
            else:
                found |= members
        return frozenset(found)

    def known_links(self) -> dict[int, str]:
        path = self.home / "data" / "ledger.sqlite3"
        if not path.exists():
            return {}
        with Records(path) as records:
            return {int(each.external_id) - 100_000: each.link for each in records.links(None)}

    @invariant()
    def whoever_counts_as_handed_out_is_in_a_workbook(self) -> None:
        path = self.home / "data" / "ledger.sqlite3"
        if path.exists():
            with Records(path) as records:
                counts = {int(each.external_id) - 100_000 for each in records.links(None) if each.handed_out_at}
            assert counts <= self.standing(split=False)


def test_in_whatever_order_nobody_is_lost_and_nobody_handed_out_twice(
    command: Command, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", os.environ["BATCHLINKS_DATA_DIR"])  # and back at the end
    search(command, healthex, max_examples=8, stateful_step_count=7)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_in_many_more_orders(command: Command, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", os.environ["BATCHLINKS_DATA_DIR"])
    search(command, healthex, max_examples=300, stateful_step_count=15)


def search(command: Command, healthex: RunningSimulator, *, max_examples: int, stateful_step_count: int) -> None:
    run_state_machine_as_test(
        lambda: ManyRuns(command, healthex),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=stateful_step_count,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
