"""Letters from a template: one Word document, in which every letter begins on an odd page and has its own QR code."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from batchlinks.outreach.letter_pages import PageEstimate, estimate_pages, mark
from batchlinks.outreach.word_template import CODE_FIELD, WordTemplate
from batchlinks.plural import counted
from batchlinks.results.qr import qr_code
from batchlinks.screening.result import in_words

if TYPE_CHECKING:
    from docx.document import Document

LETTERS_IN_A_FILE = 500

CODE_MM = 34
"""Width of a QR code, with the white around it that is part of it: at 28 mm phones still read it from a blurred print."""

_CODE = re.compile("\ue000(\\d+)\ue000")
"""What stands in the place of a code until all letters are merged. No value of a row keeps such a character."""

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff\ue000\ue001]")


@dataclass(frozen=True, slots=True)
class Letter:
    """What goes into one letter."""

    values: Mapping[str, str] = field(repr=False)
    """By the keys of the template's fields, the QR code's aside."""

    link: str = field(repr=False)
    name: str = field(repr=False)
    """Stands beside the QR code: the patient's name, or the ID where there is none."""

    row: int
    """As a spreadsheet numbers it."""

    has_address: bool = True


@dataclass(frozen=True, slots=True)
class LetterCount:
    """What the last page of a file says."""

    letters: int
    sheets: int
    long_rows: tuple[int, ...]
    """Rows whose letter seems to need more than one sheet."""

    rows_without_address: tuple[int, ...]


def estimate_of(template: WordTemplate) -> PageEstimate:
    """How long letters of this template are."""
    from docx import Document

    keys = [CODE_FIELD, *(each.key for each in template.fields)]
    marked = _merged(template, [{key: mark(key) for key in keys}])
    code = next((each.key for each in template.fields if each.name == CODE_FIELD), CODE_FIELD)
    return estimate_pages(Document(marked), code)


def count_letters(letters: Sequence[Letter], estimate: PageEstimate) -> LetterCount:
    """How many letters and sheets there are, and which rows somebody has to look at."""
    sheets = [estimate.sheets(letter.values) for letter in letters]
    return LetterCount(
        len(letters),
        sum(sheets),
        tuple(letter.row for letter, count in zip(letters, sheets, strict=True) if count > 1),
        tuple(letter.row for letter in letters if not letter.has_address),
    )


def write_letters(
    target: BinaryIO, template: WordTemplate, letters: Sequence[Letter], count: LetterCount, *, part: str = ""
) -> None:
    """Write one Word document with these letters (at least one), and a last page that counts them, to `target`.

    `part`: what the last page says of its place among several files, such as `Part 2 of 3`.
    """
    from docx import Document

    code_keys = [CODE_FIELD, *(each.key for each in template.fields if each.name == CODE_FIELD)]
    values = []
    for number, letter in enumerate(letters):
        row = {key: _plain(text) for key, text in letter.values.items()}
        row.update(dict.fromkeys(code_keys, f"\ue000{number}\ue000"))
        values.append(row)
    document = Document(_merged(template, values))
    _draw_codes(document, letters)
    _add_last_page(document, count, part)
    document.core_properties.title = "Letters"
    document.core_properties.author = ""
    document.core_properties.last_modified_by = ""
    document.save(target)


def _merged(template: WordTemplate, values: Sequence[Mapping[str, str]]) -> io.BytesIO:
    from mailmerge import MailMerge

    merged = io.BytesIO()
    with MailMerge(io.BytesIO(_as_pages_of_its_own(template.content, has_code=template.has_code))) as merging:
        merging.merge_templates(list(values), separator="oddPage_section")
        merging.write(merged)
    merged.seek(0)
    return merged


def _plain(text: str) -> str:
    """What XML can hold; line breaks stay."""
    return _NO_XML.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


# --- the document around the fields -----------------------------------------------------------------------------


def _as_pages_of_its_own(content: bytes, *, has_code: bool) -> bytes:
    """The template with pages counted from 1 in each letter; a place for the QR code at its end where it has none."""
    from docx import Document
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    document = Document(io.BytesIO(content))
    body = document.element.body
    body.get_or_add_sectPr()
    sections = list(body.iter(qn("w:sectPr")))
    for number in [each for section in sections for each in section.findall(qn("w:pgNumType"))]:
        number.getparent().remove(number)
    start = OxmlElement("w:pgNumType")
    start.set(qn("w:start"), "1")
    _insert_in_order(sections[0], start)
    if not has_code:
        paragraph = document.add_paragraph()
        _add_field(paragraph, f"MERGEFIELD {CODE_FIELD}")
    changed = io.BytesIO()
    document.save(changed)
    return changed.getvalue()


_BEFORE_PAGE_NUMBERS = ("headerReference", "footerReference", "footnotePr", "endnotePr", "type", "pgSz", "pgMar", "paperSrc",
                        "pgBorders", "lnNumType")  # fmt: skip
"""Elements of a section's properties that come first (CT_SectPr, ECMA-376 part 1, section 17.6.17)."""


def _insert_in_order(section: Any, element: Any) -> None:
    at = sum(1 for child in section if str(child.tag).rpartition("}")[2] in _BEFORE_PAGE_NUMBERS)
    section.insert(at, element)


def _add_field(paragraph: Any, instruction: str) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    simple = OxmlElement("w:fldSimple")
    simple.set(qn("w:instr"), f" {instruction} ")
    simple.append(OxmlElement("w:r"))
    paragraph._p.append(simple)


# --- QR codes ---------------------------------------------------------------------------------------------------


def _draw_codes(document: "Document", letters: Sequence[Letter]) -> None:
    """Put the picture of each letter's link, and the name of its patient, where its mark stands."""
    from docx.oxml.ns import qn

    drawn = 0
    for text in list(document.element.body.iter(qn("w:t"))):
        found = _CODE.fullmatch(text.text or "")
        if found is None:
            continue
        drawn += 1
        letter = letters[int(found[1])]
        run = text.getparent()
        picture = _picture(document, letter, shape_id=_FIRST_SHAPE + drawn)
        run.replace(text, picture)
        beside = deepcopy(run)
        for child in list(beside):
            if child.tag != qn("w:rPr"):
                beside.remove(child)
        beside.append(_text(f"  {_plain(letter.name)}"))
        run.addnext(beside)


_FIRST_SHAPE = 100_000
"""Numbers of our pictures; those of a template's own are smaller."""


def _picture(document: "Document", letter: Letter, *, shape_id: int) -> Any:
    from docx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
    from docx.opc.packuri import PackURI
    from docx.oxml import OxmlElement
    from docx.oxml.shape import CT_Inline
    from docx.parts.image import ImagePart
    from docx.shared import Mm

    # Not by `get_or_add_image`, which compares each picture with all others.
    name = PackURI(f"/word/media/qr{shape_id}.png")
    part = ImagePart(name, CONTENT_TYPE.PNG, qr_code(letter.link))
    relation = document.part.relate_to(part, RELATIONSHIP_TYPE.IMAGE)
    size = Mm(CODE_MM)
    inline = CT_Inline.new_pic_inline(shape_id, relation, f"qr-{shape_id}.png", size, size)
    inline.docPr.set("descr", f"QR code of the HealthEx link for {_plain(letter.name)}")
    drawing = OxmlElement("w:drawing")
    drawing.append(inline)
    return drawing


def _text(text: str) -> Any:
    from docx.oxml import OxmlElement

    element = OxmlElement("w:t")
    element.text = text
    element.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
    return element


# --- the last page ----------------------------------------------------------------------------------------------


def _add_last_page(document: "Document", count: LetterCount, part: str) -> None:
    """A page that goes into no envelope: what has to be there when all of it is printed."""
    from docx.enum.section import WD_SECTION

    document.add_section(WD_SECTION.ODD_PAGE)
    for line in _last_page(count, part):
        document.add_paragraph(line)


def _last_page(count: LetterCount, part: str) -> Iterator[str]:
    yield f"Not a letter: do not mail this page.{f' {part}.' if part else ''}"
    letters, sheets = counted(count.letters, "letter"), counted(count.sheets, "sheet")
    yield f"{letters}, {sheets} of paper when printed on both sides, and this page."
    if count.long_rows:
        yield f"May need more than one sheet: {_rows(count.long_rows)} of the list."
    if count.rows_without_address:
        yield f"No address: {_rows(count.rows_without_address)} of the list."


def _rows(rows: Sequence[int]) -> str:
    return f"{'row' if len(rows) == 1 else 'rows'} {in_words(list(rows), most=200)}"
