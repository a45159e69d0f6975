"""The upload page's API: from an uploaded list to downloaded results, and what is said when that cannot be."""

import dataclasses
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import results
import rosters
from msoffcrypto.format.ooxml import OOXMLFile
from page import Page, csv_of, environment, served

from batchlinks.config.settings import RunSettings
from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions

SAMPLE = Path(__file__).parent.parent / "sample_data" / "clinic_roster.xlsx"
MEMBERS = b"MRN,Member ID,Name\n" + b"".join(b"%d,M%d,Pat %d\n" % (100_001 + n, 50_001 + n, n) for n in range(30))


@pytest.fixture(scope="module")
def healthex() -> Iterator[RunningSimulator]:
    with Simulator(SimulatorOptions(consented_ids=frozenset({"420001"}), consent_lag_s=0.0)).running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def page(healthex: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    data = tmp_path_factory.mktemp("page")
    (data / "batchlinks.toml").write_text('[[project]]\nname = "Spring"\nproject-id = "demo-project"\n')
    with served(data, "--max-upload", "3", env=environment(data, healthex)) as running:
        yield running


def detail_of(answer: Any) -> str:
    assert set(answer.json()) <= {"detail", "asks", "sheets", "header_rows"}
    return str(answer.json()["detail"])


def test_a_list_goes_from_upload_to_workbook_with_the_same_results_as_by_command(
    page: Page, healthex: RunningSimulator, tmp_path: Path
) -> None:
    answer = page.upload(SAMPLE)

    found = answer.json()
    assert answer.status_code == 201
    assert (found["state"], found["id_column"], found["candidates"]) == ("checked", "MRN", [])
    assert (found["rows"], found["sendable"], found["duplicates"]) == (56, 38, 2)
    assert sum(found["errors"].values()) == 16
    assert found["project"] == "Spring"
    assert "Last Name" in found["columns"]
    assert healthex.link_calls == 0
    for kind in ("links", "errors", "summary"):
        assert page.client.get(f"/api/runs/{found['id']}/{kind}").status_code == 409
    assert results.codes(page.download(found["id"], "check", tmp_path)) != {}

    page.start(found["id"])
    page.start(found["id"])
    done = page.wait(found["id"])

    assert (done["state"], done["exit_code"], done["linked"], done["done"], done["total"]) == ("done", 3, 38, 38, 38)
    assert done["errors"] == found["errors"]
    assert healthex.link_calls == 38
    given = results.links(page.download(found["id"], "links", tmp_path))
    assert {row["MRN"]: row["link"] for row in given} == healthex.links
    assert len(results.errors(page.download(found["id"], "errors", tmp_path))) == 16
    summary = results.summary(page.download(found["id"], "summary", tmp_path))
    assert (summary["roster"], summary["linked"]) == ("clinic_roster.xlsx", 38)
    assert {path.name for path in tmp_path.iterdir()} >= {"clinic_roster.links.xlsx", "clinic_roster.summary.json"}
    page.start(found["id"])
    assert page.run(found["id"])["state"] == "done"
    assert page.client.get("/api/runs").json()[0]["id"] == found["id"]
    assert_audited(page.data / "audit.jsonl", found["id"])


def test_what_would_happen_now_stands_before_the_start(page: Page, healthex: RunningSimulator) -> None:
    first = page.upload(csv_of(4, first=410_001), "outlook.csv").json()
    expected = {"project": "Spring", "place": healthex.url, "withdrawn": 0, "held_back": 0, "answered": {}}
    said = {"new": 4, "known": 0, "missing": 0, "done_before": None, "in_words": "4 new, 0 with a link already"}
    assert first["preview"] == expected | said
    page.start(first["id"])
    assert page.wait(first["id"])["preview"] is None

    again = page.upload(csv_of(4, first=410_001), "outlook.csv").json()
    fewer = page.upload(csv_of(3, first=410_003), "outlook.csv").json()["preview"]
    other = page.upload(csv_of(3, first=410_003), "other.csv").json()["preview"]

    assert (again["preview"]["new"], again["preview"]["known"], again["preview"]["missing"]) == (0, 4, 0)
    assert again["preview"]["done_before"].startswith("20")
    assert (fewer["new"], fewer["known"], fewer["missing"], fewer["done_before"]) == (1, 2, 2, None)
    assert other["missing"] == 0
    shown = " ".join(page.client.get(f"/runs/{again['id']}").text.split())
    words = f"Now, for project <strong>Spring</strong> ({healthex.url}): 0 new, 4 with a link already."
    assert f"{words} This very list was done before, on <time" in shown


def test_who_has_answered_is_asked_of_a_finished_list(page: Page, healthex: RunningSimulator, tmp_path: Path) -> None:
    run_id = page.uploaded(csv_of(4, first=420_001), "answers.csv")

    def ask(**wanted: object) -> int:
        return page.client.post(f"/api/runs/{run_id}/status", json=wanted).status_code

    def answered() -> dict[str, Any]:
        found: dict[str, Any] = page.wait(run_id, lambda run: run["status"]["state"] != "running")["status"]
        return found

    assert page.run(run_id)["status"] is None
    assert ask() == 409
    page.start(run_id)
    page.wait(run_id)
    assert [page.client.get(f"/api/runs/{run_id}/{kind}").status_code for kind in ("status", "reminder")] == [404, 404]
    assert (ask(after_days=-1), ask(days=3)) == (422, 422)
    links = healthex.link_calls

    assert (ask(), ask()) == (202, 409)
    first = answered()
    assert (first["state"], first["exit_code"], first["message"], first["reminded"]) == ("done", 0, None, None)
    assert {response: count for response, count in first["responses"].items() if count} == {
        "consented": 1,
        "no consent found": 3,
    }
    today = date.today().isoformat()
    assert (first["asked_from"], first["asked_until"], first["files"]) == (today, today, ["status"])
    shown = results.sheet(page.download(run_id, "status", tmp_path), "Status")
    assert [row["MRN"] for row in shown if row["response"] == "consented"] == ["420001"]
    assert page.client.get(f"/api/runs/{run_id}/reminder").status_code == 404

    assert ask(reminder=True, after_days=0) == 202
    assert (answered()["reminded"], answered()["files"]) == (3, ["reminder", "status"])
    reminded = results.links(page.download(run_id, "reminder", tmp_path))
    assert {row["MRN"]: row["link"] for row in reminded} == {
        one: healthex.links[one] for one in ("420002", "420003", "420004")
    }
    assert healthex.link_calls == links
    html = page.client.get(f"/runs/{run_id}").text
    assert f"On {today} HealthEx shows:" in html
    assert f'aria-label="HealthEx shows on {today}: 1 consented, 3 no consent found"' in html
    assert "“No consent found” may be a no, a letter that never came, or a form on paper" in html

    assert ask() == 202
    assert page.client.delete(f"/api/runs/{run_id}").status_code == 204
    assert not (page.data / "uploads" / run_id).exists()


def assert_audited(log: Path, run_id: str) -> None:
    """Who did what is told by the run's ID, and nothing of patients."""
    text = log.read_text(encoding="utf-8")
    mine = [line for line in map(json.loads, text.splitlines()) if line.get("upload") == run_id]
    assert [line["event"] for line in mine] == ["uploaded", "downloaded", "started", *["downloaded"] * 3]
    assert [line["file"] for line in mine if "file" in line] == ["check", "links", "errors", "summary"]
    assert all(line["user"] and line["time"] and line["host"] for line in mine)
    assert len({line["run_id"] for line in mine if "run_id" in line}) == 1
    assert not re.search("00412870|xid=|Fernwood", text)


def test_where_two_columns_could_be_it_the_list_waits_for_the_choice(page: Page) -> None:
    found = page.upload(MEMBERS).json()

    assert found["id_column"] is None
    assert set(found["candidates"]) == {"MRN", "Member ID"}
    assert found["columns"] == ["MRN", "Member ID", "Name"]
    assert (found["rows"], found["sendable"]) == (30, None)
    refused = page.client.post(f"/api/runs/{found['id']}/start")
    assert refused.status_code == 409
    assert "Choose" in detail_of(refused)

    chosen = page.client.patch(f"/api/runs/{found['id']}", json={"id_column": "Member ID"})

    assert chosen.status_code == 200
    assert (chosen.json()["id_column"], chosen.json()["sendable"], chosen.json()["candidates"]) == ("Member ID", 30, [])


def test_options_come_with_the_upload_and_obey_the_same_rules_as_for_the_command(page: Page, tmp_path: Path) -> None:
    done = page.finished(
        b"Chart;Name\n0041;Ann\n52;Bob\n52;Bob\n",
        "../../etc/pass\\wd.CSV",
        id_column="chart",
        format="csv",
        any_length="true",
        link_dates="on",
        sheet="",
        keep_duplicates="1",
    )

    assert (done["name"], done["linked"]) == ("wd.CSV", 3)
    assert done["settings"] == {
        "id_column": "chart", "format": "csv", "any_length": True, "link_dates": True, "keep_duplicates": True,
    }  # fmt: skip
    rows = results.csv_rows(page.download(done["id"], "links", tmp_path))
    assert [row["Chart"] for row in rows] == ["0041", "52", "52"]
    assert rows[0]["link_is_new"] == "yes"
    assert page.client.get(f"/api/runs/{done['id']}/duplicates").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads the size of a process in /proc")
def test_neither_page_nor_server_grows_with_a_list_of_100_000_rows(page: Page) -> None:
    def memory_kb() -> int:
        status = Path(f"/proc/{page.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    small = page.uploaded(
        b"MRN\n" + b"N/A\n" * 200 + b"".join(b"%d\n" % (1_000_001 + n) for n in range(50)), id_column="MRN"
    )
    before = memory_kb()
    rows = b"".join(b"%d\n" % (1_000_001 + n) if n % 20 else b"N/A\n" for n in range(100_000))
    large = page.uploaded(b"MRN\n" + rows, id_column="MRN")

    assert (page.run(large)["rows"], page.run(large)["errors"]) == (100_000, {"placeholder_id": 5_000})
    assert len(page.client.get(f"/runs/{large}").content) < 1.2 * len(page.client.get(f"/runs/{small}").content) + 1_000
    assert memory_kb() - before < 20_000


def test_links_in_several_files_come_as_one_archive(page: Page, tmp_path: Path) -> None:
    roster = b"MRN,Clinic\n" + b"".join(b"%d,%s\n" % (310_001 + n, (b"North", b"South")[n % 2]) for n in range(12))
    done = page.finished(roster, "march.csv", split_by="Clinic", qr="true")
    assert done["state"] == "done", done
    path = page.download(done["id"], "links", tmp_path)

    assert path.name == "march.links.zip"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert {"march.links/North.xlsx", "march.links/South.xlsx", "march.files.csv"} <= set(names)
    assert sum(name.endswith(".png") for name in names) == 12
    assert len(results.links(tmp_path / "march.links" / "South.xlsx")) == 6
    assert page.download(done["id"], "errors", tmp_path).name == "march.errors.xlsx"


def test_a_workbook_that_stays_since_somebody_would_be_lost_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    done = page.finished(b"MRN\n" + b"".join(b"%d\n" % number for number in range(320_001, 320_004)), "april.csv")

    def again(**options: str | None) -> dict[str, Any]:
        assert page.client.patch(f"/api/runs/{done['id']}", json=options).status_code == 200
        page.start(done["id"])
        return page.wait(done["id"])

    nobody = again(only_new="true")
    assert nobody["message"] == "Nobody is new, so there is no new links workbook."
    assert len(results.links(page.download(done["id"], "links", tmp_path))) == 3

    first = again(only_new="false", limit="1")
    assert first["message"].startswith(
        "2 patients are only in the links workbook of before, which stays: april.links (before "
    )
    with zipfile.ZipFile(page.download(done["id"], "links", tmp_path)) as archive:
        archive.extractall(tmp_path / "both")
    assert sorted(len(results.links(path)) for path in (tmp_path / "both").iterdir()) == [1, 3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id_colum": "MRN"}, "no such field. Did you mean id_column?"),
        ({"output_dir": "/tmp"}, "no such field"),
        ({"ledger": "/etc/passwd"}, "no such field"),
        ({"exclude": "/etc/passwd"}, "no such field"),
        ({"config": "x"}, "no such field"),
        ({"no_ledger": "true"}, "no such field"),
        ({"limit": "0"}, "takes a whole number, at least 1"),
        ({"limit": "many"}, "takes a whole number, at least 1"),
        ({"refresh": "perhaps"}, "takes true or false"),
        ({"format": "pdf"}, "takes one of xlsx, csv"),
        ({"id_pattern": "("}, "not a regular expression"),
        ({"id_width": "6", "any_length": "true"}, "contradict each other"),
        ({"id_column": "Chart"}, "no column is called"),
        ({"project": "Autumn"}, "There is: Spring"),
        ({"id_column": "x" * 6_000}, "is too long"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_a_sentence(
    page: Page, options: dict[str, str], said: str
) -> None:
    answer = page.upload(csv_of(3), **options)

    assert answer.status_code == 422
    assert said in detail_of(answer)
    assert "--" not in detail_of(answer)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"PK\x03\x04 and then nothing", "patients.xlsx", "damaged"),
        (b"MRN,Name\n1,\"open", "patients.csv", "quote"),
        (b"\x89PNG\r\n\x1a\n and more", "patients.xlsx", "is a picture, not a patient list. "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence_and_not_kept(
    page: Page, content: bytes, name: str, said: str
) -> None:
    kept = {path.name for path in (page.data / "uploads").iterdir()}

    answer = page.upload(content, name)

    assert answer.status_code == 422
    assert said in detail_of(answer)
    assert {path.name for path in (page.data / "uploads").iterdir()} == kept


def test_sentences_tell_somebody_without_a_command_line_what_to_do(page: Page, tmp_path: Path) -> None:
    plain = rosters.workbook(tmp_path / "plain.xlsx", {"March": [["MRN", "Name"], ["100417", "Ann"]]})
    locked = io.BytesIO()
    with plain.open("rb") as file:
        OOXMLFile(file).encrypt("correct horse", locked)
    refused = page.upload(locked.getvalue(), "locked.xlsx")
    assert detail_of(refused) == "locked.xlsx is protected with a password. Type its password."

    run_id = page.uploaded(csv_of(25, first=10_000_001) + b"417,Ann,1980-01-01\n")
    shown = page.client.get(f"/runs/{run_id}").text
    assert (
        "Or open “More choices”: “Number of digits in each ID” 8 adds leading zeros, and “Shorter IDs are correct” accepts "
        "short IDs." in shown
    )


def test_where_two_sheets_could_be_it_their_names_are_told(page: Page, tmp_path: Path) -> None:
    rows = [["MRN", "Name"], ["100417", "Ann"], ["100418", "Bob"]]
    book = rosters.workbook(tmp_path / "months.xlsx", {"March": rows, "April": [rows[0], rows[1]]})

    answer = page.upload(book)

    assert (answer.status_code, answer.json()["sheets"]) == (422, ["March", "April"])
    assert answer.json()["asks"] == "sheet"


def test_changes_are_whole_or_not_at_all_and_what_is_deleted_is_gone_from_the_disk_too(page: Page) -> None:
    run_id = page.uploaded(csv_of(4))
    changes: list[Any] = [{"id_column": "Nope"}, {"limit": -1}, {"colour": "red"}, {"limit": "x"}, [], "x"]
    for change in changes:
        assert page.client.patch(f"/api/runs/{run_id}", json=change).status_code == 422
    broken = page.client.patch(f"/api/runs/{run_id}", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 422
    assert (page.run(run_id)["settings"], page.run(run_id)["id_column"]) == ({}, "MRN")
    assert (page.data / "uploads" / run_id / "roster").exists()

    assert page.client.delete(f"/api/runs/{run_id}").status_code == 204

    assert not (page.data / "uploads" / run_id).exists()
    for answer in (
        page.client.get(f"/api/runs/{run_id}"),
        page.client.delete(f"/api/runs/{run_id}"),
        page.client.post(f"/api/runs/{run_id}/start"),
        page.client.get(f"/api/runs/{run_id}/links"),
        page.client.get("/api/runs/..%2f..%2fetc%2fpasswd"),
    ):
        assert answer.status_code == 404


def test_a_run_that_healthex_refuses_says_so_and_goes_on_once_it_is_mended_with_progress_as_events(page: Page) -> None:
    stopped = page.finished(csv_of(40, first=800_001), project_id="inactive-project", rate="60")
    run_id = stopped["id"]
    assert (stopped["state"], stopped["exit_code"], stopped["linked"]) == ("stopped", 4, 0)
    assert "project" in stopped["message"]
    assert page.client.get(f"/api/runs/{run_id}/links").status_code == 200

    mended = page.client.patch(f"/api/runs/{run_id}", json={"project_id": None, "limit": 30})
    assert (mended.json()["state"], mended.json()["settings"]) == ("checked", {"limit": 30, "rate": 60})
    assert page.client.get(f"/api/runs/{run_id}/links").status_code == 200  # until it is started again
    page.start(run_id)
    with page.client.stream("GET", f"/api/runs/{run_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]

    news = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert [news[0]["state"], news[-1]["state"]] == ["running", "done"]
    assert [run["done"] for run in news] == sorted(run["done"] for run in news)
    assert (news[-1]["linked"], news[-1]["total"], news[-1]["exit_code"]) == (30, 30, 3)
    assert news[-1]["errors"] == {"not_attempted": 10}


def test_a_form_without_a_list_or_that_is_none_is_refused_with_a_sentence(page: Page) -> None:
    client = page.client
    for answer in (
        client.post("/api/runs", json={"roster": "x"}),
        client.post("/api/runs", data={"roster": "x"}),
        client.post("/api/runs", files={"list": ("a.csv", b"MRN\n1")}),
        client.post("/api/runs", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"}),
        client.post("/api/runs", content=b"x", headers={"Content-Type": "multipart/form-data"}),
        client.post("/api/runs", files=[("roster", ("a.csv", b"MRN\n1")), ("roster", ("b.csv", b"MRN\n1"))]),
    ):
        assert answer.status_code == 422
        assert detail_of(answer).endswith(".")


def test_openapi_names_every_option_but_those_that_are_for_it_to_say(page: Page) -> None:
    document = page.client.get("/openapi.json").json()

    fields = document["components"]["schemas"]["RunFields"]["properties"]
    of_the_server = {
        "exclude", "corrections", "do_not_contact", "letters", "message", "output_dir", "ledger", "no_ledger", "ledger_keep_days",
        "share_with_group", "cluster", "workers",
    }  # fmt: skip
    assert set(fields) == {entry.name for entry in dataclasses.fields(RunSettings)} - of_the_server
    form = document["paths"]["/api/runs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"roster", "password", "letters", "letters_es", *fields}


def test_letters_are_written_from_an_uploaded_template_for_a_finished_list(
    page: Page, healthex: RunningSimulator, tmp_path: Path
) -> None:
    people = b"MRN,First Name,Last Name,Address,City,State,ZIP\n" + b"".join(
        b"%d,Ann,Lee,%d Main St,Boston,MA,02139\n" % (700_001 + n, n) for n in range(3)
    )
    done = page.client.post("/api/runs", files={"roster": ("people.csv", people)}).json()
    page.start(done["id"])
    page.wait(done["id"])
    draft = page.client.get("/api/templates/letter.docx")
    assert draft.status_code == 200
    assert page.client.get("/api/templates/other.docx").status_code == 404

    refused = page.client.post(f"/api/runs/{done['id']}/letters", files={"letters": ("t.docx", b"no document")})
    assert refused.status_code == 422
    assert "is not a Word document" in detail_of(refused)
    taken = page.client.post(f"/api/runs/{done['id']}/letters", files={"letters": ("letter.docx", draft.content)})
    assert taken.status_code == 200, taken.text
    page.start(done["id"])
    assert page.wait(done["id"])["exit_code"] == 0

    letters = page.download(done["id"], "letters", tmp_path)
    assert letters.name == "people.letters.docx"
    with zipfile.ZipFile(letters) as package:
        text = package.read("word/document.xml").decode()
    assert all(healthex.links[str(mrn)] in text for mrn in range(700_001, 700_004))
    assert len(results.links(page.download(done["id"], "links", tmp_path))) == 3
