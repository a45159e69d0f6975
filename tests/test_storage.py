"""What a place promises, wherever it is."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from batchlinks.errors import ExitCode, FolderError, FolderLost
from batchlinks.storage import local, temporary_names
from batchlinks.storage.folder import Folder, is_plain
from batchlinks.storage.opening import is_address, open_folder

SFTP = pytest.param("sftp", marks=pytest.mark.needs("sshd"))


@pytest.fixture(params=["local", "s3", SFTP, "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder of each kind. But for S3, it is not there yet."""
    if request.param == "s3":
        return open_folder(request.getfixturevalue("s3").folder())
    if request.param == "memory":
        return open_folder(f"memory://{tmp_path.name}-{os.getpid()}/in")
    if request.param == "sftp":
        return open_folder(f"{request.getfixturevalue('sshd').address}{tmp_path}/in")
    return open_folder(str(tmp_path / "in"))


def names(place: Folder) -> list[str]:
    return [entry.name for entry in place.entries()]


def every_folder_exists(place: Folder) -> bool:
    """On S3 a folder is but the beginning of names: it cannot be told from an empty one."""
    return place.address.startswith("s3://")


# --- everywhere -------------------------------------------------------------------------------------------------


def test_a_place_that_is_not_there_is_empty_and_is_made_by_what_is_put_there(place: Folder) -> None:
    assert place.exists() is every_folder_exists(place)
    assert (place.entries(), place.folders()) == ([], [])

    place.folder("done").folder("2026-11-25").write("patients.csv", b"MRN\n00417\n")

    assert place.exists()
    assert place.folders() == ["done"]
    assert place.folder("done").folders() == ["2026-11-25"]
    assert place.folder("done").folder("2026-11-25").read("patients.csv") == b"MRN\n00417\n"
    assert place.entries() == []


def test_a_file_is_listed_with_its_size_and_its_time(place: Folder) -> None:
    before = time.time()
    place.write("b.csv", b"12345")
    place.write("a.csv", b"")

    a, b = place.entries()

    assert (a.name, a.size, b.name, b.size) == ("a.csv", 0, "b.csv", 5)
    assert all(before - 5 < entry.modified < time.time() + 5 for entry in (a, b))


def test_what_is_written_again_is_replaced_whole(place: Folder, tmp_path: Path) -> None:
    place.write("patients.csv", b"first, and longer")
    source = tmp_path / "source"
    source.write_bytes(b"second")

    place.upload(source, "patients.csv")

    assert place.read("patients.csv") == b"second"
    assert names(place) == ["patients.csv"]


def test_a_file_can_be_read_in_part(place: Folder) -> None:
    place.write("patients.csv", b"0123456789")

    assert place.read("patients.csv", at_most=4) == b"0123"
    assert place.read("patients.csv", at_most=40) == b"0123456789"


def test_a_large_file_and_an_empty_one_come_back_as_they_went(place: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 12_000)
    place.upload(source, "large.csv")
    place.write("empty.csv", b"")

    assert place.read("large.csv") == source.read_bytes()
    assert place.read("large.csv", at_most=1_000_001) == source.read_bytes()[:1_000_001]
    assert place.read("empty.csv") == place.read("empty.csv", at_most=10) == b""


def test_names_as_people_give_them_come_back_as_they_are(place: Folder) -> None:
    given_names = sorted(
        ["Übersicht März #2 (50%).csv", "a?b=c&d.csv", "[1]*.csv", "x" * 200, "café+tea.csv", " b .csv"]
    )
    for name in given_names:
        place.write(name, name.encode())

    assert names(place) == given_names
    for name in given_names:
        assert place.read(name) == name.encode()
        place.move(name, place.folder("moved"), name)
    assert names(place.folder("moved")) == given_names


def test_a_file_is_moved_but_never_over_another(place: Folder) -> None:
    place.write("patients.csv", b"first")
    done = place.folder("done").folder("2026-11-25")
    place.move("patients.csv", done, "patients.csv")
    place.write("patients.csv", b"second")

    with pytest.raises(FileExistsError):
        place.move("patients.csv", done, "patients.csv")
    assert place.read("patients.csv") == b"second"

    place.move("patients.csv", done, "patients (2).csv")
    assert names(place) == []
    assert [done.read(name) for name in ("patients.csv", "patients (2).csv")] == [b"first", b"second"]


def test_a_file_is_not_moved_over_itself(place: Folder) -> None:
    place.write("patients.csv", b"only")

    with pytest.raises(FileExistsError):
        place.move("patients.csv", place, "patients.csv")

    assert place.read("patients.csv") == b"only"


def test_a_file_goes_from_here_to_elsewhere_and_back(place: Folder, tmp_path: Path) -> None:
    here = open_folder(str(tmp_path / "here"))
    here.write("patients.csv", b"MRN")
    here.move("patients.csv", place, "patients.csv")
    assert (names(here), place.read("patients.csv")) == ([], b"MRN")

    place.move("patients.csv", here, "back.csv")
    assert (names(place), here.read("back.csv")) == ([], b"MRN")

    place.write("back.csv", b"another")
    with pytest.raises(FileExistsError):
        place.move("back.csv", here, "back.csv")


def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(place: Folder) -> None:
    place.write("a.csv", b"a")
    place.folder("done").folder("deep").write("b.csv", b"b")
    place.folder("done").write("c.csv", b"c")

    for _ in range(2):
        place.remove("a.csv")
        place.folder("done").remove_folder()

    assert (place.entries(), place.folders()) == ([], [])
    assert place.folder("done").exists() is every_folder_exists(place)


def test_a_file_that_is_not_there_cannot_be_read_or_moved(place: Folder) -> None:
    place.write("other.csv", b"")

    with pytest.raises(FolderError) as read:
        place.read("patients.csv")
    with pytest.raises(FolderError) as moved:
        place.move("patients.csv", place.folder("done"), "patients.csv")

    for raised in (read, moved):
        assert raised.value.exit_code == ExitCode.UNUSABLE
        assert place.address in str(raised.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "/etc/passwd", "a\nb", "a\0b"])
def test_a_name_is_never_a_path(place: Folder, name: str) -> None:
    with pytest.raises(FolderError):
        place.write(name, b"")
    with pytest.raises(FolderError):
        place.read(name)
    with pytest.raises(FolderError):
        place.folder(name)


@pytest.mark.parametrize("place", ["local", SFTP, "memory"], indirect=True)
def test_remains_of_an_upload_that_was_killed_are_gone_after_the_next(place: Folder) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = f".batchlinks-{temporary_names._HERE}-{process.pid}-0123456789abcdef.part"
    alive = f".batchlinks-{temporary_names._HERE}-1-0123456789abcdef.part"
    elsewhere = ".batchlinks-00000000-1-0123456789abcdef.part"
    for name in (dead, alive, elsewhere):
        place.write(name, b"half")

    place.write("patients.csv", b"whole")

    assert names(place) == sorted([alive, elsewhere, "patients.csv"])


# --- on this computer -------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_files_and_folders_are_private_unless_they_are_for_the_group(tmp_path: Path) -> None:
    place = open_folder(str(tmp_path / "out"))
    place.folder("private").write("a.csv", b"")
    place.folder("group").write("a.csv", b"", mode=0o640)

    def mode(*parts: str) -> int:
        return stat.S_IMODE(tmp_path.joinpath("out", *parts).stat().st_mode)

    assert (mode(), mode("private"), mode("private", "a.csv")) == (0o700, 0o700, 0o600)
    assert (mode("group"), mode("group", "a.csv")) == (0o2750, 0o640)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "other.csv").write_bytes(b"")
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "patients.csv").symlink_to(tmp_path / "secret" / "other.csv")
    (inbox / "folder").symlink_to(tmp_path / "secret")

    place = open_folder(str(inbox))

    assert (place.entries(), place.folders()) == ([], [])


def test_a_disk_that_is_full_leaves_the_former_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_folder(str(tmp_path))
    place.write("patients.csv", b"former")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FolderLost, match="No space left") as raised:
            place.write("patients.csv", b"new")

    assert raised.value.exit_code == ExitCode.BROKEN
    assert (names(place), place.read("patients.csv")) == (["patients.csv"], b"former")


@pytest.mark.parametrize("way", ["no renameat2", "no renameat2, no hard links"])
def test_a_file_system_that_can_do_less_never_replaces_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def refuse(_target: Path, _source: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(local, "_renameat2", lambda _source, _target: False)
    if "hard links" in way:
        monkeypatch.setattr(Path, "hardlink_to", refuse)

    test_a_file_is_moved_but_never_over_another(open_folder(str(tmp_path / "in")))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system at hand")
def test_a_file_is_moved_to_another_disk_with_its_time_and_never_over_another(tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"batchlinks-test-{os.getpid()}"
    here, there = open_folder(str(tmp_path)), open_folder(str(other))
    try:
        for number in (1, 2):
            here.write(f"{number}.csv", b"%d" % number)
        os.utime(tmp_path / "1.csv", (1_000_000, 1_000_000))
        here.move("1.csv", there, "patients.csv")

        with pytest.raises(FileExistsError):
            here.move("2.csv", there, "patients.csv")

        assert (names(here), names(there), there.read("patients.csv")) == (["2.csv"], ["patients.csv"], b"1")
        assert there.entries()[0].modified == 1_000_000
    finally:
        shutil.rmtree(other)


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"")
    place = open_folder(str(tmp_path / "in"))

    assert not place.exists()
    for attempt in (place.entries, place.folders, lambda: place.write("a.csv", b"")):
        with pytest.raises(FolderError, match=r"Not a directory"):
            attempt()


# --- names and addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["patients.csv", "/srv/in", r"C:\in", "C:/in", "C://in", r"\\server\share\in", "-", ""]
)
def test_a_path_is_no_address(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize("text", ["s3://bucket/in", "sftp://host/in", "S3://bucket", "https://host/a.csv"])
def test_an_address_is_no_path(text: str) -> None:
    assert is_address(text)


def test_a_file_address_is_a_folder_of_this_computer(tmp_path: Path) -> None:
    folder = tmp_path / "Übersicht März"

    assert open_folder(folder.as_uri()).local == folder


@given(some.text(max_size=20))
def test_a_plain_name_never_leads_out_of_its_folder(name: str) -> None:
    if is_plain(name):
        assert Path("/in").joinpath(name).parent == Path("/in")
        assert Path(os.path.normpath(f"/in/{name}")).parent == Path("/in")
