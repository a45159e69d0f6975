"""Lists put right on the page: choices, cells typed over, reports given back, and nothing finished lost on the way."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import results
import rosters
from msoffcrypto.format.ooxml import OOXMLFile
from page import Page, csv_of, environment, served
from test_corrections import fix, write_list

from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions


@pytest.fixture(scope="module")
def healthex() -> Iterator[RunningSimulator]:
    with Simulator(SimulatorOptions()).running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def page(healthex: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    data = tmp_path_factory.mktemp("page")
    with served(data, env=environment(data, healthex)) as running:
        yield running


def correct(page: Page, run_id: str, *cells: tuple[int, str, str]) -> dict[str, Any]:
    typed = [{"row": row, "column": column, "is": text} for row, column, text in cells]
    answer = page.client.post(f"/api/runs/{run_id}/corrections", json={"cells": typed})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_cells_typed_on_the_page_and_a_report_given_back_end_in_one_workbook(page: Page, tmp_path: Path) -> None:
    rows: list[list[object]] = [[f"0030{n:04}", f"Name{n}", f"1960-01-{n + 1:02}", ""] for n in range(25)]
    rows += [[2001, "Short", "1970-02-03", ""], ["", "Blank", "1970-02-04", ""]]
    path = write_list(tmp_path / "patients.xlsx", rows)
    run_id = page.uploaded(path)
    shown = page.client.get(f"/runs/{run_id}").text
    assert "Type 1 ID in full: leading zeros are missing" in shown
    assert 'value="2001" aria-label="MRN, row 27"' in shown
    page.start(run_id)
    done = page.wait(run_id)
    assert (done["linked"], done["errors"]) == (25, {"blank_id": 1, "lost_zeros": 1})

    checked = correct(page, run_id, (27, "MRN", "00302001"), (28, "MRN", "abcdef"))
    assert (checked["state"], checked["sendable"], checked["errors"]) == ("checked", 26, {"no_digit": 1})
    assert (checked["corrections"], set(checked["files"])) == (2, {"check", "errors", "links", "summary"})
    assert len(results.links(page.download(run_id, "links", tmp_path))) == 25  # of the last run, until the next

    fixed = fix(page.download(run_id, "check", tmp_path), {(28, "MRN"): "00302002"})
    report = page.upload(fixed).json()
    assert report["belongs_to"] == run_id
    taken = page.client.post(f"/api/runs/{run_id}/corrections/from/{report['id']}").json()
    assert (taken["sendable"], taken["errors"]) == (27, {})
    assert page.client.get(f"/api/runs/{report['id']}").status_code == 404
    page.start(run_id)
    assert page.wait(run_id)["linked"] == 27
    assert len(results.links(page.download(run_id, "links", tmp_path))) == 27
    record = results.sheet(page.download(run_id, "errors", tmp_path), "Corrections")
    assert {(row["row"], row["was"], row["is"]) for row in record} >= {
        ("27", "2001", "00302001"),
        ("28", "", "00302002"),
    }
    assert all(row["by"] for row in record)

    other = page.uploaded(csv_of(3, first=700_001))
    refused = page.client.post(f"/api/runs/{other}/corrections/from/{page.upload(fixed).json()['id']}")
    assert refused.status_code == 422
    assert "doesn't belong to" in refused.json()["detail"]
    taken = page.client.delete(f"/api/runs/{run_id}/corrections").json()
    assert (taken["corrections"], taken["sendable"]) == (0, 25)
    nowhere = page.client.post(
        f"/api/runs/{run_id}/corrections", json={"cells": [{"row": 1, "column": "Nope", "is": "1"}]}
    )
    assert nowhere.status_code == 422


def test_settings_of_a_finished_list_make_a_new_check_beside_it(page: Page, tmp_path: Path) -> None:
    done = page.finished(csv_of(6, first=710_001))

    answer = page.client.post(f"/api/runs/{done['id']}/again", json={"link_dates": True})

    again = answer.json()
    assert (answer.status_code, again["state"], again["settings"]) == (201, "checked", {"link_dates": True})
    assert again["id"] != done["id"]
    assert page.run(done["id"])["state"] == "done"
    assert len(results.links(page.download(done["id"], "links", tmp_path))) == 6


def test_families_are_offered_joined_and_sent_joined_and_so_again_next_time(page: Page) -> None:
    family = b"".join(b"%d,0%d,First%d,1980-01-01\n" % (72_000 + n // 3, n % 3 + 1, n) for n in range(36))
    content = b"Subscriber ID,Suffix,First Name,Birth Date\n" + family

    found = page.upload(content, "families.csv").json()
    assert (found["id_column"], found["candidates"][0]) == (None, "Subscriber ID+Suffix")
    shown = page.client.get(f"/runs/{found['id']}").text
    assert "tell the members of a family apart" in shown
    joined = page.client.patch(f"/api/runs/{found['id']}", json={"id_column": "Subscriber ID+Suffix"}).json()
    assert (joined["sendable"], joined["errors"]) == (36, {})
    assert "7200001" in page.client.get(f"/runs/{found['id']}").text  # as it will be sent
    page.start(found["id"])
    page.wait(found["id"])

    next_time = page.upload(content.replace(b"First1,", b"First9,"), "families again.csv").json()
    assert (next_time["id_column"], next_time["remembered"]) == ("Subscriber ID+Suffix", ["id_column"])


def test_lengths_are_shown_and_asked_about(page: Page) -> None:
    rows = b"".join(b"%d,Pat\n" % (10_730_001 + n if n % 5 else 730_001 + n) for n in range(200))
    found = page.upload(b"MRN,Name\n" + rows).json()

    assert found["lengths"] == [{"digits": 8, "rows": 160}, {"digits": 6, "rows": 40}]
    assert found["lengths_in_doubt"]
    assert any("8 digits: 160 rows, 6 digits: 40 rows" in warning for warning in found["warnings"])
    assert all(found["warning_rows"])
    shown = page.client.get(f"/runs/{found['id']}").text
    assert "Yes: add zeros up to 8 digits" in shown
    assert "data-start" not in shown
    padded = page.client.patch(f"/api/runs/{found['id']}", json={"id_width": 8}).json()
    assert (padded["sendable"], padded["lengths_in_doubt"]) == (200, False)
    assert "00730001" in page.client.get(f"/runs/{found['id']}").text


def test_a_protected_list_opens_with_its_password_which_is_kept_nowhere(page: Page, tmp_path: Path) -> None:
    plain = rosters.workbook(
        tmp_path / "plain.xlsx", {"March": [["MRN", "Name"], ["740417", "Ann"], ["740418", "Bob"]]}
    )
    locked = io.BytesIO()
    with plain.open("rb") as file:
        OOXMLFile(file).encrypt("correct horse", locked)

    assert page.upload(locked.getvalue(), "locked.xlsx").json()["asks"] == "password"
    assert page.upload(locked.getvalue(), "locked.xlsx", password="wrong").json()["asks"] == "password"
    done = page.finished(locked.getvalue(), "locked.xlsx", password="correct horse")

    assert (done["state"], done["linked"]) == ("done", 2)
    kept = [path.read_bytes() for path in page.data.rglob("*") if path.is_file()]
    assert not any(b"correct horse" in content for content in kept)


def test_two_tables_are_a_choice_and_the_annotated_workbook_is_there_when_asked_for(page: Page, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [["00020234", "Smith"], [], ["MRN", "Last Name", "First Name", "Birth Date", "Phone"]]:
        sheet.append(row)
    for n in range(5):
        sheet.append([f"0075010{n}", f"Last{n}", f"Name{n}", "1960-01-01", "617-555-0101"])
    path = tmp_path / "above.xlsx"
    book.save(path)

    refused = page.upload(path).json()
    assert (refused["asks"], refused["header_rows"]) == ("tables", [3])
    done = page.finished(path, header_row="3", annotate="true")
    assert (done["linked"], done["errors"]) == (5, {"other_table": 1})
    own = openpyxl.load_workbook(page.download(done["id"], "annotated", tmp_path))
    assert own.worksheets[0]["F3"].value == "link"
    assert json.loads((page.data / "choices.json").read_text())


def test_somebody_says_on_the_page_who_is_the_same_person(page: Page, tmp_path: Path) -> None:
    before = [["00410001", "Robert", "1980-03-04", ""], ["00410002", "Ida", "1970-01-01", ""]]
    before += [["00410003", "Max", "1960-01-01", ""]]
    first = write_list(tmp_path / "march.xlsx", before)
    page.start(run_id := page.uploaded(first))
    assert page.wait(run_id)["linked"] == 3
    now = [["00410001", "Bob", "1980-03-04", ""], ["00410002", "Hugo", "1955-07-08", ""], ["00410004", "Eve", "", ""]]
    second = write_list(tmp_path / "april.xlsx", now)

    run_id = page.uploaded(second)

    shown = page.client.get(f"/runs/{run_id}").text
    assert "Check 2 IDs that were somebody else" in shown
    assert "march.xlsx, row 2, 20" in shown
    assert 'data-same-person="3"' in shown

    def same(*rows: int) -> dict[str, Any]:
        answer = page.client.post(f"/api/runs/{run_id}/people", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    assert (same(2)["errors"], same(2)["sendable"]) == ({"known_as_other": 1}, 2)
    # The answer is for the ID that stood there: with another one, and back again, somebody has to say it anew.
    assert correct(page, run_id, (2, "MRN", "00410003"))["errors"] == {"known_as_other": 2}
    assert correct(page, run_id, (2, "MRN", "00410001"))["errors"] == {"known_as_other": 2}
    same(2)
    page.start(run_id)
    done = page.wait(run_id)
    assert (done["linked"], done["errors"]) == (2, {"known_as_other": 1})
    assert page.upload(second).json()["errors"] == {"known_as_other": 1}
    assert page.upload(first).json()["errors"] == {"known_as_other": 1}  # now it is Robert who is somebody else
