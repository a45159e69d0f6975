"""What batchlinks 0.2.0 left behind is read, and replaced in place: ledger, results, outbox, page store, error report."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended

from batchlinks.ledger.schema import check_value
from batchlinks.results.publish.existing_set import ExistingSet, Owner, finished_summary, seal
from batchlinks.simulator import RunningSimulator
from batchlinks.web.uploads import Uploads

Command = Callable[..., Ended]

LEFT = Path(__file__).parent / "data" / "from_0_2_0"
OWNER = Owner("/lists/patients.csv", PROJECT)
"""Of the list, where it lay then."""


@pytest.fixture
def lists(healthex: RunningSimulator, tmp_path: Path, private_home: Path) -> Path:
    """The folder with the list and its results; ledger, audit log, nights and uploads are in the data folder."""
    folder, data = tmp_path / "lists", private_home / "data"
    shutil.copytree(LEFT / "lists", folder)
    shutil.copytree(LEFT / "data", data)
    here = Owner(str(folder.resolve() / "patients.csv"), PROJECT).digest
    path = folder / "patients.summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(seal({**{key: value for key, value in summary.items() if key != "seal"}, "owner": here}))
    ledger = sqlite3.connect(data / "ledger.sqlite3")
    ledger.executescript((data / "ledger.sql").read_text(encoding="utf-8"))
    ledger.execute("UPDATE run SET owner = ? WHERE owner = ?", (here, OWNER.digest))
    ledger.execute("UPDATE project SET api = ?, check_value = ?", (healthex.url, check_value(1, healthex.url, PROJECT)))
    ledger.commit()
    ledger.close()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_its_results_are_known_as_they_are() -> None:
    found = ExistingSet.found(LEFT / "lists", "patients", "summary", OWNER, {})
    assert found.obstacle is None
    assert list(found.links) == ["patients.links.xlsx"]


def test_the_same_list_again_replaces_its_results_and_asks_for_nobody(
    command: Command, healthex: RunningSimulator, lists: Path, private_home: Path
) -> None:
    before, there = results.links(lists / "patients.links.xlsx"), names(lists)

    ended = command("run", lists / "patients.csv")

    assert ended.code == 3
    assert healthex.calls == []
    assert names(lists) == there
    assert results.links(lists / "patients.links.xlsx") == before[:2]  # and the third was withdrawn since
    assert results.codes(lists / "patients.errors.xlsx") == {4: "withdrawn", 5: "placeholder_id"}
    assert (private_home / "data" / "ledger.sqlite3.2").exists()
    assert command("run", lists / "patients.csv").code == 3
    assert names(lists) == there


def test_whom_it_handed_out_counts_and_its_workbook_stays_where_it_has_to(command: Command, lists: Path) -> None:
    with (lists / "patients.csv").open("a", encoding="utf-8") as file:
        file.write("100004,Egon\n")

    ended = command("run", lists / "patients.csv", "--only-new")

    assert [row["MRN"] for row in results.links(lists / "patients.links.xlsx")] == ["100004"]
    (before,) = lists.glob("patients.links (before *).xlsx")
    assert [row["MRN"] for row in results.links(before)] == ["100001", "100002", "100003"]
    assert "2 patients are only in the links workbook of before" in ended.last_line


def test_its_error_report_page_store_and_nights_are_read(
    command: Command, healthex: RunningSimulator, lists: Path, tmp_path: Path, private_home: Path
) -> None:
    assert command("run", lists / "patients.errors.xlsx").code == 3
    assert results.codes(lists / "patients.errors.errors.xlsx") == {5: "placeholder_id"}

    uploads = Uploads(private_home / "data" / "uploads")
    (upload,) = uploads.all()
    outcome = uploads.outcome(upload)
    assert outcome is not None
    assert all((uploads.of(upload) / name).is_file() for name in outcome["files"].values())
    owner = Owner("-", PROJECT)
    assert finished_summary(uploads.results(upload), "page", owner) is not None

    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    shutil.copytree(LEFT / "outbox", outbox)
    nights = private_home / "data" / "nights.json"
    nights.write_text(nights.read_text(encoding="utf-8").replace("INBOX", str(inbox.resolve())), encoding="utf-8")
    there = {path: path.read_bytes() for path in outbox.rglob("*.xlsx")}
    (inbox / "clinic.csv").write_text("MRN\n100010\n100011\n", encoding="utf-8")

    ended = command("nightly", "--inbox", inbox, "--outbox", outbox, "--id-column", "MRN", "--settle", "0")

    assert ended.code == 0, ended.err
    assert healthex.calls == []
    assert {path: path.read_bytes() for path in there} == there
    assert len(list(outbox.rglob("clinic*.links.xlsx"))) == 2
