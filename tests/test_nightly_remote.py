"""A night whose inbox and outbox are on other computers."""

import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import openpyxl
import pytest
from conftest import Ended
from elsewhere import S3, Sshd

from batchlinks.errors import FolderLost
from batchlinks.simulator import RunningSimulator
from batchlinks.storage.folder import Folder
from batchlinks.storage.opening import open_folder
from batchlinks.storage.remote_folder import RemoteFolder

Command = Callable[..., Ended]

ROSTER = b"MRN,Last name\n00417,Lee\n00418,Ray\n"


@pytest.fixture(params=["s3", pytest.param("sftp", marks=pytest.mark.needs("sshd"))])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on another computer."""
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        return open_folder(s3.folder())
    sshd: Sshd = request.getfixturevalue("sshd")
    return open_folder(f"{sshd.address}{tmp_path}")


def night(command: Command, place: Folder, *more: str) -> Ended:
    return command(
        "nightly", "--inbox", f"{place.address}/inbox", "--outbox", f"{place.address}/outbox", "--id-column", "MRN",
        "--settle", "0.01", *more,
    )  # fmt: skip


def names(place: Folder) -> list[str]:
    return [entry.name for entry in place.entries()]


def linked(place: Folder, name: str) -> int:
    sheet = openpyxl.load_workbook(BytesIO(place.read(name)))["Links"]
    return int(sheet.max_row) - 1


def test_new_lists_are_taken_once_and_their_results_put_back(
    command: Command, healthex: RunningSimulator, elsewhere: Folder, private_home: Path
) -> None:
    inbox, outbox = elsewhere.folder("inbox"), elsewhere.folder("outbox")
    inbox.write("patients.csv", ROSTER)
    inbox.write("bad.csv", b"Name\nLee\n")
    inbox.write("arriving.csv.part", ROSTER)

    first, second = night(command, elsewhere), night(command, elsewhere)

    assert (first.code, second.code) == (2, 0), first.err + second.err
    assert names(inbox) == ["arriving.csv.part"]
    (day,) = outbox.folders()
    results = outbox.folder(day)
    assert names(results) == ["patients.errors.xlsx", "patients.links.xlsx", "patients.summary.json"]
    assert linked(results, "patients.links.xlsx") == len(healthex.links) == 2
    assert names(inbox.folder("done").folder(day)) == ["patients.csv"]
    assert names(inbox.folder("failed").folder(day)) == ["bad.csv", "bad.csv.reason.txt"]
    assert names(inbox.folder("working")) == []
    assert not [path for path in (private_home / "data").rglob("*") if "patients" in path.name]


@pytest.mark.usefixtures("healthex")
def test_a_bucket_that_is_not_there_is_exit_2(command: Command, s3: S3) -> None:
    ended = command("nightly", "--inbox", "s3://no-such-bucket/in", "--outbox", "out", "--id-column", "MRN")

    assert ended.code == 2, s3
    assert "s3://no-such-bucket/in" in ended.err


def test_what_a_killed_night_could_not_deliver_comes_the_next_night_under_the_same_names(
    command: Command, healthex: RunningSimulator, elsewhere: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.folder("inbox").write("patients.csv", ROSTER)
    uploaded: list[str] = []
    upload = RemoteFolder.upload

    def killed_at_the_second(self: RemoteFolder, source: Path, name: str, *, mode: int = 0o600) -> None:
        if uploaded:
            raise SystemExit(9)
        uploaded.append(name)
        upload(self, source, name, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "upload", killed_at_the_second)
        with pytest.raises(SystemExit):
            night(command, elsewhere, "--only-new")
    assert uploaded == ["patients.links.xlsx"]
    assert "patients.csv" in names(elsewhere.folder("inbox").folder("working"))

    ended = night(command, elsewhere, "--only-new")

    assert ended.code == 0, ended.err
    (day,) = elsewhere.folder("outbox").folders()
    results = elsewhere.folder("outbox").folder(day)
    assert names(results) == ["patients.errors.xlsx", "patients.links.xlsx", "patients.summary.json"]
    assert linked(results, "patients.links.xlsx") == len(healthex.links) == 2
    assert names(elsewhere.folder("inbox").folder("working")) == []


def test_an_outbox_that_goes_away_keeps_the_roster_for_the_next_night(
    command: Command, healthex: RunningSimulator, elsewhere: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.folder("inbox").write("patients.csv", ROSTER)

    def refuse(*_: object, **__: object) -> None:
        raise FolderLost("The connection broke.")

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "upload", refuse)
        ended = night(command, elsewhere)
    assert ended.code == 1
    assert "The connection broke" in ended.err

    ended = night(command, elsewhere)

    assert ended.code == 0, ended.err
    (day,) = elsewhere.folder("outbox").folders()
    assert linked(elsewhere.folder("outbox").folder(day), "patients.links.xlsx") == 2
    assert healthex.link_calls == 2


def test_a_second_list_of_the_same_name_replaces_nothing(
    command: Command, healthex: RunningSimulator, elsewhere: Folder
) -> None:
    inbox, outbox = elsewhere.folder("inbox"), elsewhere.folder("outbox")
    for roster in (ROSTER, ROSTER + b"00419,Fox\n"):
        inbox.write("patients.csv", roster)
        assert night(command, elsewhere).code == 0

    (day,) = outbox.folders()
    results = outbox.folder(day)
    assert [linked(results, name) for name in ("patients.links.xlsx", "patients (2).links.xlsx")] == [2, 3]
    assert len(inbox.folder("done").folder(day).entries()) == 2
    assert len(healthex.links) == 3


@pytest.mark.needs("sshd")
def test_a_command_that_was_elsewhere_ends_in_good_order(
    healthex: RunningSimulator, s3: S3, sshd: Sshd, tmp_path: Path
) -> None:
    del healthex
    place = open_folder(f"{sshd.address}{tmp_path}")
    place.folder("inbox").write("patients.csv", ROSTER)
    outbox = s3.folder()

    options = [
        "--inbox",
        f"{place.address}/inbox",
        "--outbox",
        outbox,
        "--id-column",
        "MRN",
        "--settle",
        "0.01",
        "--quiet",
    ]
    ended = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-m", "batchlinks", "nightly", *options],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    (day,) = open_folder(outbox).folders()
    assert linked(open_folder(outbox).folder(day), "patients.links.xlsx") == 2
