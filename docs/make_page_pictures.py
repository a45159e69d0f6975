"""Makes the pictures of the upload page: a server, a stand-in for HealthEx, and Chromium. `make_pictures.py` runs it too.

python docs/make_page_pictures.py
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
SAMPLE = HERE.parent / "sample_data" / "clinic_roster.xlsx"
WIDTH = 1000
PROJECT = '[[project]]\nname = "Spring outreach"\nproject-id = "demo-project"\n'


def main() -> None:
    """Write the pictures. Raises what a program raises that is missing or fails."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Simulator(SimulatorOptions()).running() as healthex,
        served(Path(folder), healthex) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 800},
            color_scheme="light",
            locale="en-US",
            timezone_id="America/New_York",
        )
        page.goto(address)
        page.set_input_files("#roster", SAMPLE)
        page.wait_for_selector("[data-state=checked]")
        photograph(page, "page-checked.png", height=860)
        page.click("[data-start]:not([data-limit])")
        page.wait_for_selector("[data-state=done]")
        photograph(page, "page-done.png", height=560)


def photograph(page: Page, name: str, *, height: int) -> None:
    """The upper part of what is shown, in few colours and so in few bytes. The time of the upload is always the same."""
    page.evaluate("document.querySelectorAll('time').forEach(time => { time.textContent = 'Mar 3, 2026, 9:12 AM' })")
    page.evaluate("document.activeElement.blur()")
    target = PICTURES / name
    page.screenshot(path=target, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    subprocess.run(["convert", target, "+dither", "-colors", "96", "-strip", target], check=True)  # noqa: S603, S607 - our own words


@contextmanager
def served(folder: Path, healthex: RunningSimulator) -> Iterator[str]:
    """The page's address with its token, for as long as the block runs."""
    (folder / "batchlinks.toml").write_text(PROJECT, encoding="utf-8")
    own = {
        "BATCHLINKS_DATA_DIR": folder,
        "BATCHLINKS_PROJECT": "Spring outreach",
        "HEALTHEX_API_URL": healthex.url,
        "HEALTHEX_LINK_HOST": healthex.options.link_host,
        "HEALTHEX_API_KEY": healthex.options.api_key,
        "HEALTHEX_API_SECRET": healthex.options.api_secret,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlinks", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {name: str(value) for name, value in own.items()},
    )
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None  # noqa: S101 - it said nothing: its error is on the screen
        yield found[0]
    finally:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    main()
