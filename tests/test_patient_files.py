"""In which files and rows the ledger says that patients are: kept small, and forgotten with them."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlinks.errors import SettingsError
from batchlinks.ledger import FilePurpose, Ledger, PatientFile, Placement, Records

API = "https://api.healthex.io"


def opened(path: Path | None, project: str = "p-1") -> Ledger:
    return Ledger(path, api=API, project_id=project)


def file_of(
    ids: Sequence[str],
    name: str = "patients.links.xlsx",
    *,
    rows: Sequence[int] | None = None,
    sha256: str = "1",
    **more: object,
) -> PatientFile:
    rows = range(2, 2 + len(ids)) if rows is None else rows
    more = {"purpose": FilePurpose.LINKS, "hands_out": True, **more}
    return PatientFile(name=name, sha256=sha256, external_ids=pa.array(ids, pa.string()), rows=list(rows), **more)  # type: ignore[arg-type]


def size_of(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT sum(length(content)) FROM member_list").fetchone()[0])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=6), st.integers(1, 2_000_000)), max_size=30),
    st.lists(st.text(min_size=1, max_size=6), max_size=5),
)
def test_whoever_was_noted_is_found_in_every_row_and_nobody_else(
    held: list[tuple[str, int]], others: list[str]
) -> None:
    ids, rows = [external_id for external_id, _ in held], [row for _, row in held]
    with opened(None) as ledger:
        ledger.begin("run-1", "owner")
        ledger.note_files("/results", [file_of(ids, rows=rows)])
        found = ledger.rows_in_files({*ids, *others})
    assert sorted((each.external_id, each.row) for each in found) == sorted(held)
    assert {(each.file.name, each.file.folder, each.file.run_id) for each in found} <= {
        ("patients.links.xlsx", "/results", "run-1")
    }


def test_a_long_list_that_changes_a_little_every_night_costs_little(tmp_path: Path) -> None:
    patients = [f"{number * 7_919 % 10_000_019:08}" for number in range(60_000)]
    with opened(tmp_path / "ledger") as ledger:
        ledger.begin("first", "owner")
        ledger.note_files("/one", [file_of(patients)])
        first = size_of(tmp_path / "ledger")
        for night in range(5):
            patients.insert(night * 10_000, f"new {night}")
            del patients[55_000 - night]
            ledger.note_files(f"/night {night}", [file_of(patients)])
        assert size_of(tmp_path / "ledger") < 2 * first
        found = ledger.rows_in_files([patients[-1]])
    assert [each.row for each in found] == [len(patients) + 1] * 6


def test_a_file_that_gave_way_takes_back_whom_no_other_holds(tmp_path: Path) -> None:
    def known(ledger: Ledger) -> list[bool]:
        return ledger.links_for(pa.array(list("abcd"))).column("handed_out").to_pylist()  # type: ignore[no-any-return]

    with opened(tmp_path / "ledger") as ledger:
        ledger.begin("first", "owner")
        for external_id in "abcd":
            ledger.record(external_id, f"https://{external_id}")
        ledger.flush()
        ledger.mark_complete(pa.array(list("abc")), all_asked=True, placement=Placement("/here", [file_of("abc")]))
        ledger.begin("other", "another owner")
        ledger.mark_complete(
            pa.array([], pa.string()), all_asked=True, placement=Placement("/there", [file_of("b", sha256="2")])
        )
        assert known(ledger) == [True, True, True, False]

        ledger.begin("second", "owner")
        assert ledger.patients_standing_in("owner", "/here", {"patients.links.xlsx": "1"}) == pa.array(list("abc"))
        assert ledger.patients_standing_in("owner", "/here", {"patients.links.xlsx": "2"}) is None
        gone = Placement("/here", [file_of("cd", sha256="3")], replaced={("patients.links.xlsx", "1")})
        ledger.mark_complete(pa.array(["d"]), all_asked=True, placement=gone)
        assert known(ledger) == [False, True, True, True]

        ledger.begin("third", "owner")
        stays = Placement(
            "/here", [file_of("", sha256="4")], renamed={("patients.links.xlsx", "3"): "patients.links (before).xlsx"}
        )
        ledger.mark_complete(pa.array([], pa.string()), all_asked=True, placement=stays)
        assert known(ledger) == [False, True, True, True]

    with Records(tmp_path / "ledger") as records:
        (project,) = records.projects()
        found = [
            (each.file.folder, each.file.name, each.file.replaced_at is None)
            for each in records.rows_in_files(project, "c")
        ]
    assert found == [("/here", "patients.links.xlsx", False), ("/here", "patients.links (before).xlsx", True)]


def test_a_reminder_of_one_name_takes_the_place_of_the_last_and_hands_nobody_out(tmp_path: Path) -> None:
    with opened(tmp_path / "ledger") as ledger:
        ledger.begin("first", "owner")
        for digest in "12":
            reminder = file_of(
                "a", "patients.reminder.xlsx", sha256=digest, purpose=FilePurpose.REMINDER, hands_out=False
            )
            ledger.note_files("/here", [reminder])
        found = ledger.rows_in_files("a")
    assert [(each.file.sha256, each.file.replaced_at is None) for each in found] == [("1", False), ("2", True)]


def test_files_are_forgotten_with_the_patient_in_one_project_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    for project in ("p-1", "p-2"):
        with opened(path, project) as ledger:
            ledger.begin(f"run of {project}", "owner")
            for external_id in "ab":
                ledger.record(external_id, f"https://{external_id}")
            ledger.note_files("/here", [file_of("ab")])
    with Records(path) as records:
        first, second = records.projects()
        assert records.forget(first, external_ids=["a"]) == 1
        assert [len(records.rows_in_files(each, ["a"])) for each in (first, second)] == [0, 1]
        assert [each.row for each in records.rows_in_files(first, ["b"])] == [3]
        assert [file.run_id for file in records.files_of_run("run of p-2")] == ["run of p-2"]
    with sqlite3.connect(path) as file:
        file.execute("UPDATE member_list SET content = x'00' WHERE project = 2")
    file.close()
    with Records(path) as records, pytest.raises(SettingsError, match="damaged"):
        records.rows_in_files(second, ["b"])
