"""LibreOffice opens what is written, and what it writes is read."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended

from batchlinks.simulator import RunningSimulator

pytestmark = pytest.mark.needs("soffice")


@pytest.fixture
def convert(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Opens a file in LibreOffice and saves it as another kind, in a folder of its own."""

    def run(source: Path, kind: str) -> Path:
        target = tmp_path / "converted"
        profile = (tmp_path / "profile").as_uri()
        subprocess.run(
            [
                "soffice",
                f"-env:UserInstallation={profile}",
                "--headless",
                "--convert-to",
                kind,
                "--outdir",
                target,
                source,
            ],
            check=True,
            capture_output=True,
            timeout=100,
        )
        return target / f"{source.stem}.{kind.partition(':')[0]}"

    return run


ROSTER = "MRN,Name,ZIP\n00417,Ann Lee,02139\n00418,=1+1,+1 617 555 0100\n00419,Żółw “Zé” <&>,\n"


@pytest.mark.parametrize("options", [[], ["--qr", "--clickable", "--link-dates"]], ids=["plain", "with all in it"])
def test_the_links_workbook_says_the_same_in_libreoffice(
    command: Callable[..., Ended],
    healthex: RunningSimulator,
    convert: Callable[[Path, str], Path],
    tmp_path: Path,
    options: list[str],
) -> None:
    (tmp_path / "patients.csv").write_text(ROSTER, encoding="utf-8")
    assert command("run", tmp_path / "patients.csv", *options).code == 0

    opened = convert(tmp_path / "patients.links.xlsx", "csv:Text - txt - csv (StarCalc):44,34,76")

    with opened.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == results.links(tmp_path / "patients.links.xlsx")
    assert len(healthex.links) == 3


@pytest.mark.parametrize("kind", ["xlsx", "ods", "xls"])
def test_an_error_report_saved_again_by_libreoffice_is_a_roster(
    command: Callable[..., Ended], convert: Callable[[Path, str], Path], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "patients.csv").write_text(ROSTER + "N/A,Cy Doe,\n,Di Fox,\n", encoding="utf-8")
    command("check", tmp_path / "patients.csv")

    saved = convert(tmp_path / "patients.check.xlsx", kind)
    ended = command("check", saved)

    assert ended.code == 3, ended.err
    if kind == "xlsx":
        assert results.errors(saved) == results.errors(tmp_path / "patients.check.xlsx")
        assert results.duplicates(saved) == results.duplicates(tmp_path / "patients.check.xlsx")
    assert results.codes(saved.parent / "patients.check.check.xlsx") == {5: "placeholder_id", 6: "blank_id"}
