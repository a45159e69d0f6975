"""The upload page in a real browser: what a coordinator does with it, with a mouse, with a keyboard, on a telephone."""

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import results
import rosters
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from page import TOKEN, csv_of, environment, served
from page import Page as Server
from playwright.sync_api import Browser, Page, expect, sync_playwright

from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions

pytestmark = pytest.mark.needs("chromium")

SAMPLE = Path(__file__).parent.parent / "sample_data" / "clinic_roster.xlsx"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
).split()
"""Chromium on a machine without a screen, that calls nobody."""

MEMBERS = b"MRN,Member ID,Name\n" + b"".join(b"%d,M%d,Pat %d\n" % (500_001 + n, 60_001 + n, n) for n in range(30))

Open = Callable[..., Page]

expect.set_options(timeout=20_000)
"""A check starts a process, which takes its time on a computer that is busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def healthex() -> Iterator[RunningSimulator]:
    with Simulator(SimulatorOptions()).running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def server(healthex: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("page")
    with served(data, env=environment(data, healthex)) as running:
        yield running


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page of a browser that has never been here. Whatever it complains of, or asks anybody else for, fails the test."""
    shown = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = shown.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(url) else complaints.append(request.url))
    page.goto(f"{url}/?token={TOKEN}")
    assert page.url == f"{url}/"
    yield page
    shown.close()
    assert [
        each for each in complaints if "status of 422" not in each
    ] == []  # a refused list is told to the console too


def assert_accessible(page: Page) -> None:
    """By axe-core, with all its rules."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def assert_fits(page: Page) -> None:
    """Nothing is wider than the window, so nobody has to scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_whole_way_from_a_list_to_the_links(
    browser: Browser, server: Server, healthex: RunningSimulator, tmp_path: Path
) -> None:
    with opened(browser, server.url) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("A link for every patient on your list")
        assert_accessible(page)
        page.get_by_label("Choose the patient list").set_input_files(SAMPLE)

        expect(page.get_by_role("heading", name="38 patients can get a link")).to_be_visible()
        expect(page.get_by_text("Only patient IDs are sent to HealthEx. Names")).to_be_visible()
        expect(page.get_by_role("combobox", name="The patient ID is in")).to_have_value("MRN")
        rows = page.get_by_role("region", name="The first rows of the list")
        expect(rows.get_by_role("row").nth(1)).to_contain_text("00412870")
        expect(rows).not_to_contain_text(re.compile(r"\d{3}-\d{2}-\d{4}"))
        expect(page.get_by_text("Rows 22, 23 and 24 have the same patient ID")).to_be_visible()
        assert "--" not in page.locator("main").inner_text()
        assert_accessible(page)
        assert healthex.link_calls == 0

        page.get_by_role("button", name="Try the first five").click()
        expect(page.get_by_role("heading", name="5 rows with a link")).to_be_visible(timeout=60_000)
        assert healthex.link_calls == 5
        page.get_by_role("button", name="Get all 38 links").click()
        expect(page.get_by_role("heading", name="38 rows with a link")).to_be_visible(timeout=60_000)
        assert healthex.link_calls == 38
        expect(
            page.get_by_role("img", name="Outcome: 38 have a link, 2 duplicates, 13 to fix, 3 left out on purpose")
        ).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("38 rows with a link")
        assert_accessible(page)

        with page.expect_download() as download:
            page.get_by_role("link", name="Download the links").click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
        given = results.links(tmp_path / "clinic_roster.links.xlsx")
        assert {row["MRN"]: row["link"] for row in given} == healthex.links
        with page.expect_download() as download:
            page.get_by_role("link", name="Rows to fix").click()
        assert download.value.suggested_filename == "clinic_roster.errors.xlsx"

        page.get_by_text("Delete this list and its results").click()
        page.get_by_role("button", name="Delete now").click()
        expect(page.get_by_text("No lists yet")).to_be_visible()
    assert server.client.get("/api/runs").json() == []


def test_who_has_answered_is_shown_as_a_bar_and_a_reminder_is_written(browser: Browser, server: Server) -> None:
    done = server.finished(csv_of(3, first=930_001), "answers.csv")
    with opened(browser, server.url, viewport={"width": 360, "height": 740}) as page:
        page.goto(f"{server.url}/runs/{done['id']}")
        page.get_by_role("button", name="Ask HealthEx who has answered").click()
        expect(page.get_by_role("img", name=re.compile("HealthEx shows on .*: 3 no consent found"))).to_be_visible()
        page.get_by_label("Days since patients got the link or a reminder").fill("0")
        page.get_by_role("button", name=re.compile("may be a no, a letter that never came, or a form on paper")).click()
        expect(page.get_by_text("3 patients are to be reminded.")).to_be_visible()
        assert_fits(page)
        assert_accessible(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the reminder").click()
        assert download.value.suggested_filename == "answers.reminder.xlsx"
    assert server.client.delete(f"/api/runs/{done['id']}").status_code == 204


def test_a_list_that_cannot_be_used_is_explained_and_another_can_be_chosen(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    rows = [["MRN", "Name"], ["100417", "Ann"], ["100418", "Bob"]]
    book = rosters.workbook(tmp_path / "months.xlsx", {"March": rows, "April": rows[:2]})
    with opened(browser, server.url) as page:
        page.get_by_label("Choose the patient list").set_input_files(
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b""}
        )
        refused = page.get_by_role("region", name="We can't read this list yet")
        expect(refused).to_contain_text("is empty")
        expect(refused).to_be_focused()
        assert_accessible(page)

        page.get_by_label("Choose the patient list").set_input_files(book)
        expect(page.get_by_role("heading", name="Which sheet is the patient list?")).to_be_visible()
        page.get_by_role("button", name="April").click()
        expect(page.get_by_role("heading", name="1 patient can get a link")).to_be_visible()
        expect(page.get_by_text("on sheet April")).to_be_visible()
        expect(page.get_by_label("Sheet", exact=True)).to_have_value("April")


def test_what_a_refusal_names_stands_on_the_page_under_that_name(browser: Browser, server: Server) -> None:
    with opened(browser, server.url) as page:
        give(page, "bare.csv", b"100417,Ann,1980-01-01\n100418,Bob,1981-02-02\n100419,Cy,1982-03-03\n")
        expect(page.get_by_role("region", name="We can't read this list yet")).to_contain_text(
            "“Row with the headers” 0 and “Patient ID column” with the column's letter"
        )
        page.get_by_label("Row with the headers").fill("0")
        page.get_by_label("Patient ID column").fill("A")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("heading", name="3 patients can get a link")).to_be_visible()

        page.goto(server.url)
        give(page, "headers.csv", b"MRN,Name\n")
        expect(page.get_by_text("There are no patients in this list")).to_be_visible()


def test_a_column_that_does_not_look_like_the_patient_id_can_be_chosen_all_the_same(
    browser: Browser, server: Server
) -> None:
    rows = b"".join(b"C%d,A%d,Pat %d\n" % (100 + n, 5000 + n, n) for n in range(30))
    with opened(browser, server.url) as page:
        give(page, "charts.csv", b"Chart,Account No,Name\n" + rows)
        expect(page.get_by_role("radio", name="Account No")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("combobox", name="The patient ID is in").select_option("Chart")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("heading", name="30 patients can get a link")).to_be_visible()
        expect(page.get_by_role("columnheader", name="Chart patient ID")).to_be_visible()


def test_staff_get_the_columns_that_are_ticked(browser: Browser, server: Server, tmp_path: Path) -> None:
    rows = b"".join(b'%d,900-45-%d,Pat,"North, 1"\n' % (800_001 + n, 1000 + n) for n in range(3))
    with opened(browser, server.url) as page:
        give(page, "staff.csv", b'MRN,SSN,Name,"Clinic, ""day"" unit"\n' + rows)
        page.get_by_text("More choices", exact=True).click()
        columns = page.get_by_role("group", name="Columns for staff")
        expect(columns.get_by_role("checkbox", name="SSN")).not_to_be_checked()
        columns.get_by_role("checkbox", name="Name").uncheck()
        page.get_by_role("button", name="Check again").click()
        expect(page.get_by_role("heading", name="3 patients can get a link")).to_be_focused()
        page.get_by_role("button", name="Get 3 links").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the links").click(timeout=60_000)
        download.value.save_as(tmp_path / "staff.xlsx")
        assert list(results.links(tmp_path / "staff.xlsx")[0]) == ["MRN", 'Clinic, "day" unit', "link"]

        finished = page.url
        page.get_by_role("button", name="Change settings").click()
        page.wait_for_url(lambda url: url != finished)  # a new check beside it
        page.get_by_text("More choices", exact=True).click()
        expect(columns.get_by_role("checkbox", name="Name")).not_to_be_checked()
        expect(columns.get_by_role("checkbox", name="MRN")).to_be_checked()


def give(page: Page, name: str, content: bytes) -> None:
    """Choose this list."""
    page.get_by_label("Choose the patient list").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": content}
    )


def test_the_patient_id_is_asked_for_and_can_be_changed_with_the_keyboard_alone(
    browser: Browser, server: Server
) -> None:
    with opened(browser, server.url) as page:
        page.get_by_label("Choose the patient list").set_input_files(
            {"name": "members.csv", "mimeType": "text/csv", "buffer": MEMBERS}
        )
        expect(page.get_by_role("heading", name="Which column is the patient ID?")).to_be_visible()
        assert_accessible(page)
        press_tab_until(page, "MRN")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heading = page.get_by_role("heading", name="30 patients can get a link")
        expect(heading).to_be_focused()
        expect(page.get_by_role("columnheader", name="Member ID patient ID")).to_be_visible()

        page.get_by_role("combobox", name="The patient ID is in").focus()
        page.keyboard.press("m")  # to the next that begins so
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")  # past what it could be joined with
        page.keyboard.press("Enter")
        expect(page.get_by_role("columnheader", name="MRN patient ID")).to_be_visible()
        page.get_by_text("More choices", exact=True).focus()
        page.keyboard.press("Enter")
        assert_accessible(page)
        press_tab_until(page, "Add the date each link was created")
        page.get_by_role("button", name="Get 30 links").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="30 rows with a link")).to_be_focused(timeout=60_000)
    assert server.client.get("/api/runs").json()[0]["settings"] == {"id_column": "MRN"}


def press_tab_until(page: Page, words: str) -> None:
    """As somebody without a mouse gets there."""
    for _ in range(40):
        page.keyboard.press("Tab")
        reached = page.evaluate("(document.activeElement.closest('label') || document.activeElement).textContent")
        if words in reached:
            return
    raise AssertionError(f"{words} cannot be reached with the keyboard")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone_everything_fits_and_can_be_read(browser: Browser, server: Server, scheme: str) -> None:
    with opened(
        browser, server.url, viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True
    ) as page:
        assert_fits(page)
        assert_accessible(page)
        page.goto(f"{server.url}/docs")
        assert_fits(page)
        assert_accessible(page)
        if scheme == "dark":
            page.goto(server.url)
            page.get_by_label("Choose the patient list").set_input_files(SAMPLE)
            expect(page.get_by_role("heading", name="38 patients can get a link")).to_be_visible()
            page.get_by_text("More choices", exact=True).click()
            assert_fits(page)
            assert_accessible(page)
            page.goto(server.url)
            expect(page.get_by_role("link", name="clinic_roster.xlsx")).to_be_visible()
            assert_fits(page)
            assert_accessible(page)


def test_a_restart_in_mid_run_is_not_noticed(browser: Browser, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with Simulator(SimulatorOptions()).running() as healthex:
        env = environment(tmp_path, healthex)
        with served(tmp_path, "--port", port, env=env) as first, opened_unwatched(browser, first.url) as page:
            page.get_by_label("Choose the patient list").set_input_files(
                {"name": "march.csv", "mimeType": "text/csv", "buffer": csv_of(90)}
            )
            page.wait_for_url("**/runs/*")
            run_id = page.url.rpartition("/")[2]
            first.client.patch(f"/api/runs/{run_id}", json={"rate": 30})
            page.get_by_role("button", name="Get 90 links").click()
            expect(page.locator("#done")).to_have_text(re.compile("[1-9]"), timeout=60_000)
            first.kill()
            with served(tmp_path, "--port", port, env=env):
                expect(page.get_by_role("heading", name="90 rows with a link")).to_be_visible(timeout=60_000)
        assert len(healthex.links) == healthex.link_calls == 90


def test_a_row_is_corrected_with_the_keyboard_and_nothing_finished_is_lost(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    rows = b"".join(b"%d,Pat %d\n" % (90_410_001 + n, n) for n in range(25))
    with opened(browser, server.url) as page:
        give(page, "corrected.csv", b"MRN,Name\n" + rows + b"4711,Zed\n")
        expect(page.get_by_role("heading", name="25 patients can get a link")).to_be_visible()
        page.get_by_role("link", name="Type 1 ID in full: leading zeros are missing").press("Enter")
        cell = page.get_by_role("textbox", name="MRN, row 27")
        expect(cell).to_be_focused()
        assert_accessible(page)
        cell.fill("90414711")
        cell.press("Enter")
        expect(page.get_by_role("heading", name="26 patients can get a link")).to_be_focused()
        expect(page.get_by_text("1 cell corrected.")).to_be_visible()
        assert_fits(page)
        page.get_by_role("button", name="Get 26 links").click()
        expect(page.get_by_role("heading", name="26 rows with a link")).to_be_visible(timeout=60_000)
        assert page.title() == "Done · corrected.csv · batchlinks"
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the links").click()
        download.value.save_as(tmp_path / "corrected.xlsx")
        assert len(results.links(tmp_path / "corrected.xlsx")) == 26

        page.goto(server.url)
        page.get_by_role("button", name=re.compile("Delete corrected.csv")).click()
        expect(page.get_by_role("heading", name="Delete this list?")).to_be_visible()
        assert_accessible(page)
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("link", name=re.compile("corrected.csv"))).to_be_visible()


def test_a_lost_server_and_an_expired_session_are_said_within_five_seconds(browser: Browser, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = environment(tmp_path)
    with served(tmp_path, "--port", port, env=env) as first, opened_unwatched(browser, first.url) as page:
        give(page, "kept.csv", csv_of(6))
        expect(page.get_by_role("heading", name="6 patients can get a link")).to_be_visible()
        first.kill()
        expect(page.get_by_text("We can't reach the server. If it is down")).to_be_visible(timeout=5_000)
        with served(tmp_path, "--port", port, env={**env, "BATCHLINKS_WEB_TOKEN": "another-token-0001"}):
            expect(page.get_by_text("You've been signed out.")).to_be_visible(timeout=20_000)


@contextmanager
def opened_unwatched(browser: Browser, url: str) -> Iterator[Page]:
    """A page that may complain, as of a server that is gone for a moment."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/?token={TOKEN}")
    yield page
    context.close()


def test_one_patient_is_looked_up_and_left_alone_with_the_keyboard(browser: Browser, server: Server) -> None:
    server.finished(b"MRN\n710001\n710002\n", "one.csv")
    with opened(browser, server.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.get_by_label("Patient ID", exact=True).fill("710001")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Patient 710001")).to_be_focused()
        assert_accessible(page)
        assert_fits(page)
        expect(page.get_by_text("one.links.xlsx, row 2 of its list")).to_be_visible()
        assert "uploads" not in page.locator("#patient-found").inner_text()
        link = page.get_by_role("textbox", name="Link for")
        page.get_by_role("button", name="Copy the link").press("Enter")
        expect(page.get_by_role("button", name="Copied the link")).to_be_focused()
        assert page.evaluate("navigator.clipboard.readText()") == link.input_value()
        assert page.url == f"{server.url}/"

        page.get_by_label("Don't contact this patient").select_option("deceased")
        page.get_by_role("button", name="Do not contact").press("Enter")
        expect(page.get_by_text("A link already sent still works", exact=False).first).to_be_visible()
        expect(page.get_by_text("deceased, by")).to_be_visible()
        expect(link).to_have_count(0)
        assert_accessible(page)
