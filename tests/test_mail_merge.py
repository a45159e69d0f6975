"""The letter in the package, merged by LibreOffice with a links workbook; and the CSV that senders of texts and mails take."""

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended
from test_results import csv_roster

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

# The steps of docs/mail-merge.md, as LibreOffice calls them: File > New > Database, and the merge itself.
MERGE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "module.dtd">
<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Module1" script:language="StarBasic">
Sub Merge(folder As String)
  On Error Goto Failed
  sources = createUnoService("com.sun.star.sdb.DatabaseContext")
  source = sources.createInstance()
  source.URL = "sdbc:calc:" &amp; folder &amp; "/patients.links.xlsx"
  source.DatabaseDocument.storeAsURL(folder &amp; "/patients.odb", Array())
  sources.registerObject("patients", source)
  merging = createUnoService("com.sun.star.text.MailMerge")
  merging.DataSourceName = "patients"
  merging.CommandType = com.sun.star.sdb.CommandType.TABLE
  merging.Command = "Links"
  merging.DocumentURL = folder &amp; "/letter.docx"
  merging.OutputType = com.sun.star.text.MailMergeType.FILE
  merging.OutputURL = folder
  merging.FileNamePrefix = "letters"
  merging.SaveAsSingleFile = True
  merging.SaveFilter = "Text (encoded)"
  merging.execute(Array())
Failed:
End Sub
</script:module>
"""


def merged(folder: Path) -> str:
    """The letters that LibreOffice makes of `letter.docx` and `patients.links.xlsx` in this folder, as text."""
    profile = folder / "profile"
    office = ["soffice", f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore"]
    subprocess.run([*office, "--terminate_after_init"], check=True, capture_output=True, timeout=60)
    (profile / "user" / "basic" / "Standard" / "Module1.xba").write_text(MERGE, encoding="utf-8")
    macro = f'macro:///Standard.Module1.Merge("{folder.as_uri()}")'
    subprocess.run([*office, macro], check=True, capture_output=True, timeout=60)
    return (folder / "letters0.txt").read_text(encoding="utf-8-sig")


@pytest.mark.needs("soffice with Writer and Base")
def test_every_letter_has_the_name_and_the_link_of_one_patient(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    command("templates", tmp_path)
    names = {"00417": ("Ann", "Lee"), "00418": ("Żółw", "O'Brien & Söhne"), "2 <3>": ("N", "A")}
    address = "1 Main St,Boston,MA,02139"
    rows = "".join(f"{mrn},{first},{last},{address}\n" for mrn, (first, last) in names.items())
    command("run", csv_roster(tmp_path, f"MRN,First Name,Last Name,Address,City,State,ZIP\n{rows}"))

    letters = merged(tmp_path).split("[street, city, state, ZIP]")[1:]

    assert len(letters) == 2
    for letter, mrn in zip(letters, ("00417", "00418"), strict=True):
        assert f"{' '.join(names[mrn])}\n1 Main St\nBoston, MA 02139" in letter
        assert re.findall(r"https://\S+", letter) == [healthex.links[mrn]]


@pytest.mark.parametrize("encoding", ["raw", "percent"])
def test_the_csv_gives_every_link_back_byte_for_byte(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path, encoding: str
) -> None:
    healthex = start_healthex(xid_encoding=encoding)
    mrns = ["00417", "A/7:b", "9~1*2", "00 12", "5#6", "1.2_3", "-".join("12345")]
    roster = csv_roster(tmp_path, "MRN,Name\n" + "".join(f'{mrn},"=1+1, ""x"""\n' for mrn in mrns))

    ended = command("run", roster, "--format", "csv", "--id-column", "MRN")

    assert ended.code == 0, ended.err
    content = (tmp_path / "patients.links.csv").read_bytes()
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert [row["link"] for row in rows] == [healthex.links[mrn] for mrn in mrns]
    assert all(healthex.links[mrn].encode() in content for mrn in mrns)


def test_an_outreach_number_of_your_own_keeps_the_mrn_out_of_every_message(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, "MRN,Outreach No,First Name\n00417733,R-58213,Ann\n00418842,R-90417,Bob\n")

    ended = command("run", roster, "--id-column", "Outreach No", "--columns", "Outreach No,First Name")

    assert ended.code == 0, ended.err
    assert set(healthex.links) == {"R-58213", "R-90417"}
    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [list(row) for row in rows] == [["Outreach No", "First Name", "link"]] * 2
    assert not [row for row in rows if "00417733" in str(row) or "00418842" in str(row)]
