"""The night with its inbox and outbox on other computers: a real S3-speaking server and a real OpenSSH server."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended
from elsewhere import S3, Sshd
from test_nightly import TODAY

from batchlinks.places import Place, open_place
from batchlinks.remote.place import RemotePlace
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
ROSTER = b"MRN,Name\n1001,Ann\n1002,Bob\nN/A,Cy\n"
SET = ["duplicates.csv", "errors.csv", "links.csv", "summary.json"]


class Far:
    """An inbox and an outbox elsewhere."""

    def __init__(self, folder: str) -> None:
        self.arguments = ["--inbox", folder, "--outbox", f"{folder}-out", "--format", "csv", "--id-column", "MRN"]
        self.inbox, self.outbox = open_place(folder), open_place(f"{folder}-out")

    def links(self, stem: str, folder: Path) -> dict[str, str]:
        path = folder / "fetched.csv"
        path.write_bytes(self.outbox.folder(TODAY).read(f"{stem}.links.csv"))
        return {row["MRN"]: row["link"] for row in results.csv_rows(path)}


@pytest.fixture(params=["s3", pytest.param("sftp", marks=pytest.mark.needs("sshd"))])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Far:
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        far = Far(server.folder())
    else:
        sshd: Sshd = request.getfixturevalue("sshd")
        (tmp_path / "there" / "in").mkdir(parents=True)
        far = Far(f"{sshd.address}{tmp_path}/there/in")
    far.inbox.write("patients.csv", ROSTER)
    return far


def names(place: Place) -> list[str]:
    return [entry.name for entry in place.entries()]


def test_rosters_are_fetched_and_results_delivered_and_nothing_stays_here(
    command: Command, far: Far, healthex: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    for _ in range(2):
        far.inbox.write("patients.csv", ROSTER)
        ended = command("nightly", *far.arguments, "--settle", 0)
        assert ended.code == 3, ended.err

    assert names(far.inbox) == []
    assert names(far.inbox.folder("working")) == []
    assert names(far.inbox.folder("done").folder(TODAY)) == ["patients (2).csv", "patients.csv"]
    assert names(far.outbox.folder(TODAY)) == sorted(
        f"{stem}.{kind}" for stem in ("patients", "patients (2)") for kind in SET
    )
    assert far.links("patients", tmp_path) == far.links("patients (2)", tmp_path) == healthex.links
    assert healthex.link_calls == 2
    kept = {path.name for path in private_home.rglob("*") if path.is_file()}
    assert kept <= {"ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "audit.jsonl", "nights.json"}
    assert "1001" not in ended.err


def test_what_could_not_be_delivered_is_delivered_the_next_night_under_the_same_names(
    command: Command, far: Far, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: list[str] = []
    upload = RemotePlace.upload

    def fail_at_the_second(self: RemotePlace, source: Path, name: str, *, mode: int = 0o600) -> None:
        if uploaded:
            raise SystemExit(9)  # as if the process had been killed
        uploaded.append(name)
        upload(self, source, name, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(RemotePlace, "upload", fail_at_the_second)
        with pytest.raises(SystemExit):
            command("nightly", *far.arguments, "--settle", 0, "--only-new")
    assert uploaded == ["patients.links.csv"]
    assert names(far.inbox.folder("working"))[-1:] == ["patients.csv"]

    ended = command("nightly", *far.arguments, "--only-new")

    assert ended.code == 3, ended.err
    assert names(far.outbox.folder(TODAY)) == [f"patients.{kind}" for kind in SET]
    assert far.links("patients", tmp_path) == healthex.links
    assert len(healthex.links) == 2
    assert names(far.inbox.folder("working")) == []


def test_an_outbox_that_goes_away_keeps_the_roster_for_the_next_night(
    command: Command, far: Far, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the line is dead near 1001")

    with monkeypatch.context() as patch:
        patch.setattr(type(far.outbox._store), "put", refuse)  # type: ignore[attr-defined]
        ended = command("nightly", *far.arguments, "--settle", 0, "--inbox", _local_inbox(tmp_path))
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "1001" not in ended.err

    ended = command("nightly", *far.arguments, "--inbox", tmp_path / "here")

    assert ended.code == 3, ended.err
    assert far.links("patients", tmp_path) == healthex.links
    assert healthex.link_calls == 2


def _local_inbox(folder: Path) -> Path:
    inbox = folder / "here"
    inbox.mkdir()
    (inbox / "patients.csv").write_bytes(ROSTER)
    os.utime(inbox / "patients.csv", (1, 1))
    return inbox


@pytest.mark.usefixtures("healthex")
def test_a_bucket_that_is_not_there_is_exit_2(command: Command, s3: S3) -> None:
    ended = command("nightly", "--inbox", "s3://no-such-bucket/in", "--outbox", "out", "--id-column", "MRN")

    assert ended.code == 2, s3
    assert "s3://no-such-bucket/in" in ended.err
