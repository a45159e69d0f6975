"""What stands in the results folder after runs that went well, were killed, met each other or a person's edits."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.results.publish.existing_set import Owner, SummaryKind
from batchlinks.results.publish.publisher import PublishedSet, Publisher, check_folder

OURS = Owner("/rosters/patients.csv", "project-1")
OTHER_ROSTER = Owner("/other/patients.csv", "project-1")
OTHER_PROJECT = Owner("/rosters/patients.csv", "project-2")

XLSX = ("links.xlsx", "errors.xlsx")
CSV = ("links.csv", "errors.csv", "duplicates.csv")
SPLIT = ("links/North.xlsx", "links/South/1.png", "errors.xlsx")


def publish(
    folder: Path,
    content: str = "first",
    *,
    owner: Owner = OURS,
    suffixes: tuple[str, ...] = XLSX,
    kind: SummaryKind = "summary",
    share: bool = False,
) -> PublishedSet:
    with Publisher(folder, "patients", owner, summary_kind=kind, share_with_group=share) as release:
        for suffix in suffixes:
            with release.open(suffix) as file:
                file.write(f"{content} {suffix}".encode())
        published = release.publish({"rows": 1, "content": content, "errors": {"blank_id": 2}, "exit_code": 3})
    release.finish()
    return published


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def results(folder: Path) -> dict[str, str]:
    """The results as a person finds them, without summaries: name, with that of its folder if it is in one -> text."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def expected(stem: str, content: str, suffixes: tuple[str, ...] = XLSX) -> dict[str, str]:
    return {f"{stem}.{suffix}": f"{content} {suffix}" for suffix in suffixes}


def assert_summary_fits(summary: Path) -> None:
    outputs: Mapping[str, str] = json.loads(summary.read_text())["outputs"]
    for name, digest in outputs.items():
        assert hashlib.sha256((summary.parent / name).read_bytes()).hexdigest() == digest


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- an undisturbed run ------------------------------------------------------------------------------------


def test_a_run_leaves_its_files_and_a_summary_that_lists_them(tmp_path: Path) -> None:
    published = publish(tmp_path)

    assert names(tmp_path) == {"patients.links.xlsx", "patients.errors.xlsx", "patients.summary.json"}
    assert published.paths == {suffix: tmp_path / f"patients.{suffix}" for suffix in XLSX}
    assert (published.stem_used, published.obstacle) == ("patients", None)
    summary = json.loads(published.summary.read_text())
    assert summary["rows"] == 1
    assert summary["outputs"] == published.outputs
    assert_summary_fits(published.summary)


def test_the_summary_does_not_tell_where_the_roster_was(tmp_path: Path) -> None:
    assert "/rosters" not in publish(tmp_path).summary.read_text()


def test_a_file_may_be_written_out_of_order(tmp_path: Path) -> None:
    with Publisher(tmp_path, "patients", OURS) as release:
        with release.open("links.xlsx") as file:
            file.write(b"....later")
            file.seek(0)
            file.write(b"size")
        published = release.publish({})
        release.finish()

    assert published.paths["links.xlsx"].read_bytes() == b"sizelater"
    assert_summary_fits(published.summary)


def test_the_same_run_again_replaces_its_files(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    published = publish(tmp_path, "second")

    assert results(tmp_path) == expected("patients", "second")
    assert published.obstacle is None
    assert_summary_fits(published.summary)


def test_a_run_in_the_other_format_leaves_no_stale_links(tmp_path: Path) -> None:
    publish(tmp_path, "first", suffixes=XLSX)
    publish(tmp_path, "second", suffixes=CSV)

    assert results(tmp_path) == expected("patients", "second", CSV)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    publish(tmp_path, "first", suffixes=(*SPLIT, "links/East.xlsx"))
    (tmp_path / "patients.links" / ".DS_Store").write_text("looked at")
    published = publish(tmp_path, "second", suffixes=SPLIT)

    assert published.obstacle is None
    assert results(tmp_path) == expected("patients", "second", SPLIT)
    assert published.paths["links"] == tmp_path / "patients.links"
    assert set(published.outputs) == {f"patients.{suffix}" for suffix in SPLIT}
    assert_summary_fits(published.summary)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(("before", "after"), [(SPLIT, XLSX), (XLSX, SPLIT)], ids=["to a file", "to a folder"])
def test_a_folder_and_a_file_take_each_others_place(
    tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    publish(tmp_path, "first", suffixes=before)
    publish(tmp_path, "second", suffixes=after)

    assert results(tmp_path) == expected("patients", "second", after)
    assert names(tmp_path) == {f"patients.{suffix.partition('/')[0]}" for suffix in (*after, "summary.json")}


@pytest.mark.parametrize("edit", ["changed", "added", "opened"])
def test_a_folder_in_which_somebody_worked_stays_and_the_whole_set_moves_on(tmp_path: Path, edit: str) -> None:
    publish(tmp_path, "first", suffixes=SPLIT)
    name = {"changed": "North.xlsx", "added": "South/notes.txt", "opened": ".~lock.North.xlsx#"}[edit]
    (tmp_path / "patients.links" / name).write_text("mine")
    before = results(tmp_path)

    published = publish(tmp_path, "second", suffixes=SPLIT)

    assert published.stem_used == "patients (2)"
    assert published.obstacle is not None
    assert published.obstacle.startswith("patients.links is open" if edit == "opened" else f"patients.links/{name} was")
    assert results(tmp_path) == before | expected("patients (2)", "second", SPLIT)


def test_a_folder_that_was_there_before_is_nobodys_to_replace(tmp_path: Path) -> None:
    (tmp_path / "patients.links").mkdir()
    (tmp_path / "patients.links" / "holiday.jpg").write_text("mine")

    assert publish(tmp_path).stem_used == "patients (2)"


def test_a_check_and_a_run_leave_each_other_alone(tmp_path: Path) -> None:
    publish(tmp_path, "run")
    publish(tmp_path, "check", suffixes=("check.xlsx",), kind="check")
    publish(tmp_path, "check again", suffixes=("check.xlsx",), kind="check")

    assert results(tmp_path) == expected("patients", "run") | {"patients.check.xlsx": "check again check.xlsx"}
    assert {"patients.check.json", "patients.summary.json"} <= names(tmp_path)


def test_roster_names_that_no_text_file_can_hold_are_no_obstacle(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with Publisher(tmp_path, "patients", Owner("/rosters/\udcff.csv", None)) as release:
            with release.open("links.xlsx") as file:
                file.write(content.encode())
            published = release.publish({"roster": "\udcff.csv", "by_row": {10: 1, 9: 2}})

    assert published.stem_used == "patients"
    assert json.loads(published.summary.read_text())["roster"] == "\udcff.csv"


# --- files that are someone's ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*XLSX, "summary.json"])
def test_a_file_that_someone_changed_stays_and_the_whole_set_moves_on(tmp_path: Path, suffix: str) -> None:
    publish(tmp_path, "first")
    changed = tmp_path / f"patients.{suffix}"
    changed.write_text(changed.read_text().replace("first", "mine"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    published = publish(tmp_path, "second")

    assert published.stem_used == "patients (2)"
    assert published.obstacle is not None
    assert published.obstacle.startswith(f"{changed.name} was changed")
    assert {path: path.read_bytes() for path in before} == before
    assert results(tmp_path).items() >= expected("patients (2)", "second").items()
    assert_summary_fits(published.summary)


def test_the_next_run_replaces_the_set_that_moved_on(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    (tmp_path / "patients.links.xlsx").write_text("mine")
    publish(tmp_path, "second")
    publish(tmp_path, "third")

    assert results(tmp_path) == (
        expected("patients", "first") | {"patients.links.xlsx": "mine"} | expected("patients (2)", "third")
    )


@pytest.mark.parametrize("owner", [OTHER_ROSTER, OTHER_PROJECT, Owner(OURS.roster, None)])
def test_results_of_another_roster_or_project_stay(tmp_path: Path, owner: Owner) -> None:
    publish(tmp_path, "theirs", owner=owner)
    published = publish(tmp_path, "ours")

    assert published.obstacle == "patients.summary.json belongs to another roster or project"
    assert results(tmp_path) == expected("patients", "theirs") | expected("patients (2)", "ours")


@pytest.mark.parametrize("content", ["", "not JSON", "[]", "{}", "[" * 100_000])
def test_a_summary_that_is_not_ours_is_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "patients.summary.json").write_text(content)

    assert publish(tmp_path).stem_used == "patients (2)"
    assert (tmp_path / "patients.summary.json").read_text() == content


@pytest.mark.parametrize("suffix", [*XLSX, *CSV])
def test_a_file_that_no_summary_knows_is_not_replaced_in_either_format(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"patients.{suffix}").write_text("mine")

    assert publish(tmp_path).stem_used == "patients (2)"
    assert (tmp_path / f"patients.{suffix}").read_text() == "mine"


def test_a_folder_or_a_link_in_a_files_place_stays(tmp_path: Path) -> None:
    (tmp_path / "patients.links.xlsx").mkdir()
    (tmp_path / "patients (2).errors.xlsx").symlink_to(tmp_path / "elsewhere")

    assert publish(tmp_path).stem_used == "patients (3)"


@pytest.mark.parametrize("mark", [".~lock.patients.links.xlsx#", "~$patients.links.xlsx"])
def test_a_file_that_is_open_in_a_spreadsheet_stays(tmp_path: Path, mark: str) -> None:
    publish(tmp_path, "first")
    (tmp_path / mark).write_text("someone")

    published = publish(tmp_path, "second")

    assert published.obstacle == "patients.links.xlsx is open in another program"
    assert results(tmp_path).items() >= (expected("patients", "first") | expected("patients (2)", "second")).items()


def test_a_folder_opened_at_the_last_moment_moves_the_whole_set_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = ("errors.xlsx", "links/North.xlsx")
    publish(tmp_path, "first", suffixes=suffixes)
    replace = os.replace

    def refuse_links(source: Path, target: Path) -> None:
        if Path(source).name == "patients.links":
            raise PermissionError(errno.EACCES, "as Windows does")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_links)
    published = publish(tmp_path, "second", suffixes=suffixes)

    assert published.obstacle == "patients.links is open in another program"
    assert results(tmp_path) == expected("patients", "first", suffixes) | expected("patients (2)", "second", suffixes)


def test_a_file_opened_at_the_last_moment_moves_the_whole_set_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "first")
    replace = os.replace

    def refuse_errors(source: Path, target: Path) -> None:
        if Path(target).name == "patients.errors.xlsx":
            raise PermissionError(errno.EACCES, "as Windows does")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_errors)
    published = publish(tmp_path, "second")

    assert published.stem_used == "patients (2)"
    assert published.obstacle == "patients.errors.xlsx is open in another program"
    assert results(tmp_path) == expected("patients", "first") | expected("patients (2)", "second")
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_moved_and_deleted_results_leave_their_stem_free(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    (tmp_path / "patients.links.xlsx").rename(tmp_path / "sent on Monday.xlsx")

    assert publish(tmp_path, "second").stem_used == "patients"
    assert (tmp_path / "sent on Monday.xlsx").read_text() == "first links.xlsx"


# --- privacy -----------------------------------------------------------------------------------------------


def test_files_are_their_owners_alone_from_the_first_byte(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with Publisher(tmp_path / "new" / "results", "patients", OURS) as release:
            with release.open("links.xlsx") as file:
                assert {permissions(path) for path in (tmp_path / "new" / "results").iterdir()} == {0o600}
                file.write(b"links")
            published = release.publish({})
            release.finish()
    finally:
        os.umask(mask)

    assert permissions(published.paths["links.xlsx"]) == 0o600
    assert permissions(published.summary) == 0o600
    assert permissions(tmp_path / "new") == permissions(tmp_path / "new" / "results") == 0o700


def test_files_can_be_shared_with_the_group_once_they_are_whole(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        with Publisher(tmp_path / "results", "patients", OURS, share_with_group=True) as release:
            with release.open("links.xlsx") as file:
                assert {permissions(path) for path in (tmp_path / "results").iterdir()} == {0o600}
                file.write(b"links")
            published = release.publish({})
            release.finish()
    finally:
        os.umask(mask)

    assert permissions(published.paths["links.xlsx"]) == permissions(published.summary) == 0o640
    assert permissions(tmp_path / "results") == 0o2750


def test_the_mode_of_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    publish(tmp_path, share=True)

    assert permissions(tmp_path) == 0o755


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_a_run_that_does_not_publish_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Publisher(tmp_path, "patients", OURS) as release:
        with release.open("links.xlsx") as file:
            file.write(b"links")
        with release.open("errors.xlsx") as file:
            file.write(b"half of it")
            raise KeyError

    assert names(tmp_path) == set()


def test_a_file_that_could_not_be_finished_is_not_in_the_set_and_can_be_begun_again(tmp_path: Path) -> None:
    with Publisher(tmp_path, "patients", OURS) as release:
        for suffix in XLSX:
            with pytest.raises(KeyError), release.open(suffix) as file:
                file.write(b"half of it")
                raise KeyError
        with release.open("links.xlsx") as file:
            file.write(b"links")
        published = release.publish({})
        release.finish()

    assert results(tmp_path) == {"patients.links.xlsx": "links"}
    assert_summary_fits(published.summary)


def test_a_file_in_the_folders_place_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")

    with pytest.raises(SettingsError, match=r"results: Not a directory\. .*--output-dir"):
        check_folder(tmp_path / "results")
    with pytest.raises(SettingsError, match="Not a directory"):
        Publisher(tmp_path / "results" / "deeper", "patients", OURS)


def test_a_folder_that_takes_no_file_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)

    with pytest.raises(SettingsError, match="Read-only file system"):
        check_folder(tmp_path)


def test_a_name_too_long_for_results_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="too long"):
        Publisher(tmp_path, "x" * 240, OURS)


def test_a_checked_folder_has_nothing_new_in_it(tmp_path: Path) -> None:
    check_folder(tmp_path)

    assert names(tmp_path) == set()


def test_a_full_disk_is_explained_and_leaves_the_former_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, "first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BatchlinksError, match="No space left on device") as raised:
        publish(tmp_path, "second")

    assert str(tmp_path) in str(raised.value)
    assert not isinstance(raised.value, SettingsError)
    assert results(tmp_path) == expected("patients", "first")


def test_a_folder_that_vanished_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    with (
        pytest.raises(BatchlinksError, match="No such file or directory"),
        Publisher(folder, "patients", OURS) as release,
    ):
        with release.open("links.xlsx") as file:
            file.write(b"links")
        shutil.rmtree(folder)
        release.publish({})


# --- kills and other runs ----------------------------------------------------------------------------------

PUBLISH = """
from pathlib import Path
from batchlinks.results.publish.existing_set import Owner
from batchlinks.results.publish.publisher import Publisher

def publish(folder, content, suffixes, owner):
    with Publisher(Path(folder), "patients", owner) as release:
        for suffix in suffixes:
            with release.open(suffix) as file:
                file.write(f"{content} {suffix}".encode())
        release.publish({"rows": 1, "content": content, "errors": {"blank_id": 2}, "exit_code": 3})
    release.finish()
"""

KILLED = """
import json, os, signal, sys

def dies_at(fatal_step, folder):
    step = 0

    def count(event, args):
        nonlocal step
        changes = event in ("os.rename", "os.remove", "os.chmod", "os.mkdir") or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        )
        if changes and str(args[0]).startswith(folder):
            step += 1
            if step == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)

for line in sys.stdin:
    folder, content, suffixes, fatal_step = json.loads(line)
    child = os.fork()
    if not child:
        dies_at(fatal_step, folder)
        publish(folder, content, suffixes, Owner("/rosters/patients.csv", "project-1"))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Publishes again and again, each time in a process of its own that has loaded everything already."""

MANY = """
import json, sys

folder, content, roster = json.loads(sys.argv[1])
for number in range(12):
    publish(folder, f"{content} {number}", ("links.xlsx", "errors.xlsx"), Owner(roster, "project-1"))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISH + program, json.dumps(arguments)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def run_killed_at() -> Iterator[Callable[[int, Path, str, tuple[str, ...]], bool]]:
    """Publishes in a process that kills itself before its n-th change in a folder; False if it made fewer."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH + KILLED],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    say, hear = process.stdin, process.stdout

    def killed_at(step: int, folder: Path, content: str, suffixes: tuple[str, ...]) -> bool:
        print(json.dumps([str(folder), content, suffixes, step]), file=say, flush=True)
        code = int(hear.readline())
        assert code in (0, -signal.SIGKILL)
        return code != 0

    with process:
        yield killed_at


@pytest.mark.parametrize(
    ("former", "suffixes"),
    [
        *((former, XLSX) for former in ("nothing", "a former set", "a set that someone changed")),
        *((former, CSV) for former in ("nothing", "a former set", "a set that someone changed")),
        ("a former folder", SPLIT),
    ],
    ids=lambda value: value if isinstance(value, str) else {XLSX: "same format", CSV: "other format", SPLIT: ""}[value],
)
def test_a_run_killed_anywhere_and_started_again_ends_like_an_undisturbed_one(
    run_killed_at: Callable[[int, Path, str, tuple[str, ...]], bool],
    tmp_path: Path,
    former: str,
    suffixes: tuple[str, ...],
) -> None:
    def prepare(folder: Path) -> None:
        folder.mkdir()
        if former != "nothing":
            publish(folder, "first", suffixes=SPLIT if former == "a former folder" else XLSX)
        if former == "a set that someone changed":
            (folder / "patients.links.xlsx").write_text("mine")
            publish(folder, "moved on")

    undisturbed = tmp_path / "undisturbed"
    prepare(undisturbed)
    publish(undisturbed, "second", suffixes=suffixes)

    step = 0
    killed = True
    while killed:
        step += 1
        folder = tmp_path / f"step {step}"
        prepare(folder)
        killed = run_killed_at(step, folder, "never seen whole", suffixes)
        if killed and step % 2:  # a second kill on the way to the end
            run_killed_at(max(step - 2, 1), folder, "killed too", suffixes)
        publish(folder, "second", suffixes=suffixes)
        assert results(folder) == results(undisturbed), f"killed before change {step}"
        assert names(folder) == names(undisturbed), f"killed before change {step}"
    assert step > 10


def test_temporary_files_of_a_living_run_are_left_alone(tmp_path: Path) -> None:
    with Publisher(tmp_path, "patients", OURS) as first:
        with first.open("links.xlsx") as file:
            file.write(b"first")
        publish(tmp_path, "second", owner=OTHER_ROSTER)
        published = first.publish({})
        first.finish()

    assert published.stem_used == "patients (2)"
    assert published.paths["links.xlsx"].read_bytes() == b"first"


def test_temporary_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    others = {".batchlinks-notes", ".~lock.other.xlsx#", "links.tmp", ".batchlinks.toml"}
    for name in others:
        (tmp_path / name).write_text("someone's")

    publish(tmp_path)

    assert names(tmp_path) >= others


def test_runs_that_publish_at_once_do_not_mix(tmp_path: Path) -> None:
    owners = [("a", OURS), ("b", OURS), ("c", OTHER_ROSTER), ("d", OTHER_ROSTER)]
    children = [start(MANY, str(tmp_path), content, owner.roster) for content, owner in owners]
    complaints = [child.communicate()[1] for child in children]

    assert complaints == [""] * len(owners)
    assert len(names(tmp_path)) == 2 * 3
    for summary in tmp_path.glob("*.summary.json"):
        assert_summary_fits(summary)


@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_network_folder_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    publish(tmp_path, "first")
    publish(tmp_path, "second")

    assert results(tmp_path) == expected("patients", "second")
    assert not [name for name in names(tmp_path) if name.startswith(".")]
