"""Makes the documents' pictures: runs the demo and photographs its workbooks; uses the upload page and photographs that.

    python docs/make_pictures.py

Needs LibreOffice (`soffice`), Poppler (`pdftoppm`), ImageMagick (`convert`) and Chromium (`chromium`).
`pictures/way.svg` and `pictures/data-way.svg` are drawn by hand.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import make_page_pictures

from batchlinks.cli.main import main as batchlinks

PICTURES = Path(__file__).parent / "pictures"
DOTS_PER_INCH = 150


@dataclass(frozen=True, slots=True)
class Picture:
    """The upper left part of a workbook's first page, in inches, after its white margin is gone."""

    workbook: str
    name: str
    width: float
    height: float


SHOWN = (
    Picture("clinic_roster.links.xlsx", "links.png", width=7.75, height=1.83),
    Picture("clinic_roster.errors.xlsx", "errors.png", width=8.3, height=2.9),
)


def main() -> None:
    """Write all pictures. Raises CalledProcessError when a program fails."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        batchlinks(["demo", "--output-dir", folder])
        for picture in SHOWN:
            page = page_of(here / picture.workbook, profile=here / "libreoffice")
            crop(page, picture, PICTURES / picture.name)
    make_page_pictures.main()


def page_of(workbook: Path, *, profile: Path) -> Path:
    """A workbook's first page as PNG, beside it."""
    run(
        "soffice", f"-env:UserInstallation={profile.as_uri()}", "--headless",
        "--convert-to", "pdf", "--outdir", workbook.parent, workbook,
    )  # fmt: skip
    page = workbook.with_suffix("")
    run("pdftoppm", "-png", "-singlefile", "-r", DOTS_PER_INCH, workbook.with_suffix(".pdf"), page)
    return page.with_name(f"{page.name}.png")


def crop(page: Path, picture: Picture, target: Path) -> None:
    """The part that is shown, in few colours and so in few bytes."""
    size = f"{round(picture.width * DOTS_PER_INCH)}x{round(picture.height * DOTS_PER_INCH)}+0+0"
    run(
        "convert", page, "-trim", "+repage", "-crop", size, "+repage", "-bordercolor", "white", "-border", 8,
        "-colors", 32, "-strip", target,
    )  # fmt: skip


def run(*command: object) -> None:
    """Run a program, silently."""
    subprocess.run([str(part) for part in command], check=True, capture_output=True)  # noqa: S603 - no shell, our own words


if __name__ == "__main__":
    main()
