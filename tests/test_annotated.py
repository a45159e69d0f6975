"""The coordinator's own workbook with links in it: everything of theirs kept, and known again when it is handed in."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import msoffcrypto
import openpyxl
import pytest
import results
from conftest import Ended
from openpyxl.comments import Comment
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table

from batchlinks.simulator import RunningSimulator


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A workbook as people keep them: a title, an Excel table, a comment, a formula, validation, a hidden row, other sheets."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Outreach"
    sheet.append(["Fall outreach"])
    sheet.append(["MRN", "First Name", "Birth Date", "Score"])
    for n in range(24):
        sheet.append([f"0010{n:04}", f"Name{n}", f"1960-01-{n + 1:02}", f"=ROW()*{n}"])
    sheet.append([2001, "Short", "1970-02-03", 4])
    sheet.append(["00100003", "Name3", "1960-01-04", 5])
    sheet.merge_cells("A1:D1")
    sheet.add_table(Table(displayName="Patients", ref="A2:D28"))
    sheet["A27"].comment = Comment("ask Maria", "Jo")
    sheet["A3"].comment = Comment("theirs", "Jo")
    sheet.row_dimensions[5].hidden = True
    validation = DataValidation(type="whole", operator="between", formula1="0", formula2="99")
    validation.add("D3:D28")
    sheet.add_data_validation(validation)
    sheet.column_dimensions["B"].width = 31
    sheet.protection.sheet = True
    book.create_sheet("Notes")["B2"] = "keep me"
    book.create_sheet("Hidden").sheet_state = "hidden"
    path = tmp_path / "patients.xlsx"
    book.save(path)
    return path


def test_all_that_was_theirs_is_there_with_links_and_notes_and_it_is_its_list_when_handed_in(
    command: Callable[..., Ended], healthex: RunningSimulator, own: Path
) -> None:
    ended = command("run", own, "--annotate")

    assert ended.code == 3, ended.err
    assert "results of formulas" in ended.err
    path = own.with_name("patients.annotated.xlsx")
    before, after = openpyxl.load_workbook(own), openpyxl.load_workbook(path)
    old, new = before["Outreach"], after["Outreach"]
    assert after.sheetnames == before.sheetnames
    assert {
        cell.coordinate: cell.value for row in old.iter_rows() for cell in row if cell.value is not None
    }.items() <= {
        cell.coordinate: cell.value for row in new.iter_rows() for cell in row if cell.value is not None
    }.items()
    assert (new["E2"].value, new["F2"].value) == ("link", "link_status")
    assert new["E3"].value == healthex.links["00100000"]
    assert [new[f"F{row}"].value for row in (3, 27, 28)] == ["linked", "fix the row", "duplicate of row 6"]
    assert new["E27"].value is None
    assert new.tables["Patients"].ref == "A2:F28"  # sorted together
    assert new["A3"].comment is not None
    assert new["A3"].comment.text == "theirs"
    assert new["A27"].comment is not None
    assert new["A27"].comment.text.startswith("ask Maria\nbatchlinks:\nThis patient ID has 4 digits")
    assert new.row_dimensions[5].hidden
    assert new.protection.sheet
    assert str(new.merged_cells) == str(old.merged_cells)
    assert len(new.data_validations.dataValidation) == 1
    assert new.column_dimensions["B"].width == 31
    assert after["Hidden"].sheet_state == "hidden"
    ((area, rules),) = ((str(each.sqref), each.rules) for each in new.conditional_formatting)
    assert (area, rules[0].formula) == ("A3:A28 F3:F28", ['$F3="fix the row"'])

    new["A27"].value = "00002001"
    after.save(path)
    again = command("run", path)

    assert again.code == 0, again.err
    assert "1 cell in 1 row corrected" in again.err
    links = results.links(own.with_name("patients.links.xlsx"))
    assert len(links) == 25
    assert links[0].keys() == {"MRN", "First Name", "Birth Date", "Score", "link"}
    record = results.sheet(own.with_name("patients.errors.xlsx"), "Corrections")
    assert [(row["row"], row["was"], row["is"]) for row in record] == [("27", "2001", "00002001")]
    assert command("run", own, "--corrections", path).code == 0
    assert healthex.link_calls == 25

    rows = list(new.iter_rows(min_row=3, max_row=4))
    for one, other in zip(*rows, strict=True):
        one.value, other.value = other.value, one.value
    after.save(path)
    moved = command("run", own, "--corrections", path)
    assert moved.code == 2
    assert "Rows were moved" in moved.err
    assert command("run", path).code == 0
    assert [row["First Name"] for row in results.links(own.with_name("patients.links.xlsx"))][:2] == ["Name1", "Name0"]


@pytest.mark.usefixtures("healthex")
def test_it_is_encrypted_or_not_written_and_only_for_workbooks(
    command: Callable[..., Ended], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_RESULT_PASSWORD", "a secret of the tests")
    roster = tmp_path / "list.csv"
    roster.write_text("MRN,Name\n00417,Ann\n", encoding="utf-8")

    assert command("run", own, "--annotate", "--protect").code == 3
    assert command("run", roster, "--annotate").code == 2
    assert command("run", own, "--annotate", "--columns", "MRN").code == 2

    with own.with_name("patients.annotated.xlsx").open("rb") as file:
        locked = msoffcrypto.OfficeFile(file)
        locked.load_key(password="a secret of the tests")
        clear = io.BytesIO()
        locked.decrypt(clear)
    assert openpyxl.load_workbook(clear)["Outreach"]["F2"].value == "link_status"


@pytest.mark.usefixtures("healthex")
def test_what_openpyxl_cannot_keep_is_named_beforehand(command: Callable[..., Ended], own: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(own) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "xl/worksheets/sheet2.xml":
                text = text.replace(
                    b"</worksheet>",
                    b'<extLst><ext uri="{05C60535-1F16-4fd2-B633-F4F36F0B64E0}" '
                    b'xmlns:x14="http://schemas.microsoft.com/office/spreadsheetml/2009/9/main"><x14:sparklineGroups>'
                    b"<x14:sparklineGroup></x14:sparklineGroup></x14:sparklineGroups></ext></extLst></worksheet>",
                )
            new.writestr(name, text)
        new.writestr("xl/ctrlProps/ctrlProp1.xml", "<formControlPr/>")
        new.writestr("_xmlsignatures/sig1.xml", "<Signature/>")
        new.writestr("xl/unheardOf/part1.xml", "<a/>")
    own.write_bytes(content.getvalue())

    ended = command("run", own, "--annotate")

    assert ended.code == 3, ended.err
    for what in (
        "sparklines",
        "form controls",
        "the digital signature",
        "xl/unheardOf/part1.xml",
        "results of formulas",
    ):
        assert what in ended.err
