"""Letters from a Word template: one patient each, on sheets of their own; what a template may not do."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import docx
import msoffcrypto
import packages
import pytest
import rendered
import zxingcpp
from conftest import Ended
from docx.text.paragraph import Paragraph
from PIL import Image
from test_results import csv_roster

from batchlinks.ledger import Records
from batchlinks.outreach import letter_merge
from batchlinks.outreach.word_template import word_template
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

LIST = """MRN,First Name,Last Name,DOB,Street Address,Apt,City,State,ZIP Code,Language,Clinic
00417,Siobhán,Ó Briain,1/5/1980,1 Main St,Apt 4,Boston,MA,02139,English,North
00418,María,García & Söhne,5/1/1975,2 Main St,,Boston,MA,02139,es-MX,North
00419,Nguyễn,<Lee>,3/3/1960,,,Boston,MA,02139,,South
00420,Max,Kid,3/3/2020,4 Main St,,Boston,MA,02139,English,South
"""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drafts that come with batchlinks."""
    from batchlinks.cli.main import main

    folder = tmp_path_factory.mktemp("templates") / "drafts"
    assert main(["templates", str(folder)]) == 0
    return folder


def texts_of(document: Path | io.BytesIO) -> list[str]:
    return [paragraph.text for paragraph in docx.Document(document).paragraphs]  # type: ignore[arg-type]  # a path too


def links_drawn(document: Path) -> list[str]:
    """What the QR codes say, in the order of the letters."""
    with zipfile.ZipFile(document) as package:
        names = sorted(name for name in package.namelist() if name.startswith("word/media/qr"))
        pictures = [Image.open(io.BytesIO(package.read(name))) for name in names]
        return [zxingcpp.read_barcodes(picture)[0].text for picture in pictures]


def test_each_letter_has_the_name_address_link_and_code_of_its_patient(
    command: Command, healthex: RunningSimulator, templates: Path, tmp_path: Path, private_home: Path
) -> None:
    roster = csv_roster(tmp_path, LIST)

    ended = command("run", roster, "--letters", templates / "letter.docx", "--language-column", "Language")

    assert ended.code == 0, ended.err
    assert "patients.letters (a folder of 2 files)" in ended.last_line
    assert "1 patient is under 18 and gets no letter or message: row 5" in ended.err
    assert "1 letter has no address: row 4." in ended.err
    assert "3 letters (1 in Spanish)." in ended.err
    assert "letter.docx is still a draft" in ended.err
    english, spanish = tmp_path / "patients.letters" / "letters.docx", tmp_path / "patients.letters" / "letters.es.docx"
    assert links_drawn(english) == [healthex.links["00417"], healthex.links["00419"]]
    assert links_drawn(spanish) == [healthex.links["00418"]]
    text = texts_of(english)
    assert "Siobhán Ó Briain\n1 Main St\nApt 4\nBoston, MA 02139" in text
    assert "  Nguyễn <Lee>" in text  # beside the code
    assert [line for line in text if line.startswith("Your link")] == [
        f"Your link: {healthex.links[mrn]}" for mrn in ("00417", "00419")
    ]
    assert "María García & Söhne\n2 Main St\nBoston, MA 02139" in texts_of(spanish)
    assert text[-2:] == [
        "2 letters, 2 sheets of paper when printed on both sides, and this page.",
        "No address: row 4 of the list.",
    ]
    assert not any("Max" in line for line in text)
    packages.assert_parts_fit(english)
    with Records(private_home / "data" / "ledger.sqlite3") as records:
        (project,) = records.projects()
        noted = {(row.file.name, row.file.purpose, row.row) for row in records.rows_in_files(project, {"00418"})}
    assert noted == {("patients.links.xlsx", "links", 3), ("patients.letters/letters.es.docx", "letters", 3)}
    assert command("run", roster, "--letters", templates / "letter.docx").code == 0
    assert len(links_drawn(tmp_path / "patients.letters.docx")) == 3  # the folder is gone: these are its patients' now
    assert not (tmp_path / "patients.letters").exists()


@pytest.mark.needs("soffice with Writer and Base")
@pytest.mark.needs("pdftoppm")
def test_printed_letters_begin_on_odd_pages_and_their_codes_can_be_read(
    command: Command, healthex: RunningSimulator, templates: Path, tmp_path: Path
) -> None:
    names = {f"{number:05d}": f"Ann {number}" for number in range(100, 104)}
    rows = "".join(f"{mrn},{name},Lee,1 Main St,Boston,MA,02139\n" for mrn, name in names.items())
    letter = short_letter(tmp_path / "short.docx")  # one page each
    for template, folder in ((templates / "letter.docx", "two"), (letter, "one")):
        roster = csv_roster(tmp_path, f"MRN,First Name,Last Name,Address,City,State,ZIP\n{rows}")
        command("run", roster, "--letters", template, "--output-dir", tmp_path / folder)
        (tmp_path / folder / "patients.letters.docx").rename(tmp_path / f"{folder}.docx")

    printed = rendered.as_pdf(tmp_path, tmp_path / "two.docx", tmp_path / "one.docx", kind=rendered.BLANK_PAGES)

    for pdf in printed:
        pages, codes = rendered.texts_of(pdf), rendered.codes_of(pdf)
        assert len(pages) == 2 * len(names) + 1  # a sheet each, and the page that counts them
        for at, (mrn, name) in enumerate(names.items()):
            (code,) = codes[2 * at]
            assert code.text == healthex.links[mrn]
            assert code.width_mm * 57 / 49 >= 28
            assert code.top_mm > 95
            assert len(re.findall(rf"{name} Lee", pages[2 * at])) == 2  # the address, and beside the code
            assert not codes[2 * at + 1]
        assert "4 letters, 4 sheets" in pages[-1]


def short_letter(path: Path) -> Path:
    """A template as an office may make it: simple fields, in a table, its own place for the code."""
    document = docx.Document()
    table = document.add_table(1, 2)
    add_fields(table.cell(0, 0).paragraphs[0], "MERGEFIELD First_Name \\* Upper", " MERGEFIELD  Last_Name ")
    for _ in range(14):
        document.add_paragraph("Hello")
    add_fields(document.add_paragraph(), "MERGEBARCODE link QR \\q 1")
    add_fields(document.add_paragraph("To "), "MERGEFIELD First_Name", "MERGEFIELD Last_Name \\f !")
    document.save(str(path))
    return path


def add_fields(paragraph: Paragraph, *instructions: str) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    for instruction in instructions:
        field = OxmlElement("w:fldSimple")
        field.set(qn("w:instr"), instruction)
        field.append(OxmlElement("w:r"))
        paragraph._p.append(field)
        paragraph.add_run(" ")


def template_with(path: Path, *instructions: str, parts: Mapping[str, str] | None = None) -> Path:
    """A template with these fields, and some parts of its package changed: by name, what is added before their end."""
    document = docx.Document()
    add_fields(document.add_paragraph("Hello "), *instructions)
    content = io.BytesIO()
    document.save(content)
    with zipfile.ZipFile(content) as package, zipfile.ZipFile(path, "w") as changed:
        for name in package.namelist():
            text = package.read(name)
            if parts and name in parts:
                before, end, after = text.rpartition(b"</")
                text = before + parts[name].encode() + end + after
            changed.writestr(name, text)
        for name, added in (parts or {}).items():
            if name not in package.namelist():
                changed.writestr(name, added)
    return path


RELATIONS = "word/_rels/document.xml.rels"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def relation(kind: str, target: str, mode: str = "External") -> dict[str, str]:
    return {RELATIONS: f'<Relationship Id="rId99" Type="{OFFICE}/{kind}" Target="{target}" TargetMode="{mode}"/>'}


@pytest.mark.parametrize(
    ("instructions", "parts", "said"),
    [
        (["MERGEFIELD Shoe_Size"], None, "«Shoe_Size»"),
        (['INCLUDETEXT "C:\\\\secrets.txt"'], None, "the field INCLUDETEXT"),
        (['DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe "/k calc"'], None, "the field DDEAUTO"),
        (['IF "1" = "1" "a" "b"'], None, "the field IF"),
        (["NEXT"], None, "the field NEXT"),
        (["wondrous 00417"], None, "a field of another kind"),
        (['HYPERLINK "file:///etc/passwd"'], None, "the field HYPERLINK"),
        (["MERGEFIELD link"], relation("image", "https://tracker.invalid/a.png"), "loaded from elsewhere"),
        (["MERGEFIELD link"], relation("oleObject", "https://x.invalid/a.doc"), "another document inside it"),
        (["MERGEFIELD link"], relation("hyperlink", "file://server/share/x.exe"), "loaded from elsewhere"),
        (["MERGEFIELD link"], {"word/vbaProject.bin": "macro"}, "a macro"),
        (["MERGEFIELD link"], {"word/header9.xml": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}, "DOCTYPE"),
        (["MERGEFIELD link"], {"word/header9.xml": "<a>"}, "is damaged"),
    ],
)
def test_a_template_that_would_do_something_is_refused_before_anything_is_sent(
    command: Command,
    healthex: RunningSimulator,
    tmp_path: Path,
    instructions: Sequence[str],
    parts: Mapping[str, str] | None,
    said: str,
) -> None:
    template = template_with(tmp_path / "t.docx", *instructions, parts=parts)

    ended = command("run", csv_roster(tmp_path, "MRN,Name\n00417,Lee\n"), "--letters", template)

    assert ended.code == 2
    assert said in ended.err
    assert "00417" not in ended.err and "secrets" not in ended.err
    assert healthex.links == {}


def test_a_field_inside_a_field_is_refused(tmp_path: Path) -> None:
    inner = '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
    nested = f"<w:p>{inner}<w:r><w:instrText> IF </w:instrText></w:r>{inner}</w:p>"
    path = template_with(tmp_path / "t.docx", parts={"word/document.xml": ""})
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    parts["word/document.xml"] = parts["word/document.xml"].replace(b"<w:sectPr", nested.encode() + b"<w:sectPr", 1)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        for name, text in parts.items():
            package.writestr(name, text)

    with pytest.raises(Exception, match="a field inside another one"):
        word_template("t.docx", content.getvalue())


def test_a_template_that_word_has_tied_to_a_list_is_taken_without_the_tie(tmp_path: Path) -> None:
    tie = relation("mailMergeSource", "file:///C:/patients.xlsx")[RELATIONS]
    settings = '<w:mailMerge xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"/>'
    parts = {RELATIONS: tie, "word/settings.xml": settings}

    template = word_template("t.docx", template_with(tmp_path / "t.docx", "MERGEFIELD link", parts=parts).read_bytes())

    with zipfile.ZipFile(io.BytesIO(template.content)) as package:
        whole = b"".join(package.read(name) for name in package.namelist())
    assert b"patients.xlsx" not in whole and b"mailMerge" not in whole
    assert [field.name for field in template.fields] == ["link"]


def test_letters_come_in_parts_by_clinic_and_behind_the_password(
    command: Command,
    healthex: RunningSimulator,
    templates: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(letter_merge, "LETTERS_IN_A_FILE", 2)
    monkeypatch.setenv("BATCHLINKS_RESULT_PASSWORD", "orbit velvet cactus plank")
    rows = "".join(f"{mrn},Ann,Lee,1 Main St,Boston,MA,02139,{'North' if mrn % 2 else ''}\n" for mrn in range(101, 107))
    roster = csv_roster(tmp_path, f"MRN,First Name,Last Name,Address,City,State,ZIP,Clinic\n{rows}")

    ended = command("run", roster, "--letters", templates / "letter.docx", "--split-by", "Clinic", "--protect")

    assert ended.code == 0, ended.err
    folder = tmp_path / "patients.letters"
    assert sorted(path.name for path in folder.iterdir()) == [
        "(blank) 1.docx", "(blank) 2.docx", "North 1.docx", "North 2.docx",
    ]  # fmt: skip
    opened = io.BytesIO()
    with (folder / "North 2.docx").open("rb") as file:
        assert file.read(4) == b"\xd0\xcf\x11\xe0"  # no clear package
        protected = msoffcrypto.OfficeFile(file)
        protected.load_key("orbit velvet cactus plank")
        protected.decrypt(opened)
    text = texts_of(opened)
    assert f"Your link: {healthex.links['105']}" in text
    assert "Not a letter: do not mail this page. Part 2 of 2." in text
    assert "1 letter, 1 sheet of paper when printed on both sides, and this page." in text


def test_a_letter_that_needs_more_than_a_sheet_is_said(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    template = template_with(tmp_path / "t.docx", "MERGEFIELD Note", "MERGEFIELD link")
    roster = csv_roster(tmp_path, f"MRN,Name,Note\n101,Ann Lee,short\n102,Bob Ray,{'long ' * 2000}\n")

    ended = command("run", roster, "--letters", template)

    assert ended.code == 0, ended.err
    assert "1 letter may need more than one sheet: row 3." in ended.err
    assert "May need more than one sheet: row 3 of the list." in texts_of(tmp_path / "patients.letters.docx")
    assert links_drawn(tmp_path / "patients.letters.docx") == [healthex.links["101"], healthex.links["102"]]


@pytest.mark.parametrize(
    ("option", "in_letter"),
    [("include", "Max Kid"), ("To the parent or guardian of", "To the parent or guardian of Max Kid")],
)
def test_a_minor_gets_a_letter_where_somebody_says_so(
    command: Command, healthex: RunningSimulator, templates: Path, tmp_path: Path, option: str, in_letter: str
) -> None:
    ended = command("run", csv_roster(tmp_path, LIST), "--letters", templates / "letter.docx", "--minors", option)

    assert "under 18" not in ended.err
    assert f"{in_letter}\n4 Main St\nBoston, MA 02139" in texts_of(tmp_path / "patients.letters.docx")
    assert healthex.links["00420"] in links_drawn(tmp_path / "patients.letters.docx")


def test_templates_never_replace_a_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("mine", encoding="utf-8")

    ended = command("templates", tmp_path)

    assert ended.code == 2
    assert "text.txt is in" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
