"""Makes the template letter for a mail merge, `batchlinks/templates/letter.docx`.

    python docs/make_letter.py

WordprocessingML by hand (ECMA-376 part 1, section 17): a page of US Letter with three merge fields, named like the columns of
`sample_data/clinic_roster.xlsx` and the link.
"""

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

LETTER = Path(__file__).parents[1] / "batchlinks" / "templates" / "letter.docx"

PARAGRAPHS = (
    "[Your organisation]",
    "[Address, telephone]",
    "",
    "{First Name} {Last Name}",
    "",
    "Dear {First Name} {Last Name},",
    "with HealthEx you decide yourself who may use your health information, and for what. We invite you to do so. "
    "This address is for you alone:",
    "{link}",
    "Type it into your browser exactly as it stands here, or scan the code if there is one. Please do not pass it on: "
    "whoever opens it is taken for you.",
    "If you do not want to take part, you need do nothing, and your care stays the same. If you do not want to hear "
    "from us about this again, please call [telephone].",
    "Kind regards",
    "",
    "[Name, function]",
)
"""What stands in braces is a merge field, in brackets what every organisation fills in by itself."""

_TWIPS_AN_INCH = 1440
_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPES = (
    f'{_XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    f'{_XML}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)


def main() -> None:
    """Write the letter; the same bytes every time."""
    with zipfile.ZipFile(LETTER, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in (
            ("[Content_Types].xml", _TYPES),
            ("_rels/.rels", _RELATIONS),
            ("word/document.xml", document()),
        ):
            package.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def document() -> str:
    """`word/document.xml`."""
    inch = _TWIPS_AN_INCH
    page = (
        f'<w:sectPr><w:pgSz w:w="{8.5 * inch:.0f}" w:h="{11 * inch}"/><w:pgMar w:top="{inch}" w:right="{inch}" w:bottom="{inch}" '
        f'w:left="{inch}" w:header="720" w:footer="720" w:gutter="0"/></w:sectPr>'
    )
    body = "".join(map(paragraph, PARAGRAPHS))
    return f'{_XML}<w:document xmlns:w="{_MAIN}"><w:body>{body}{page}</w:body></w:document>'


def paragraph(text: str) -> str:
    """A paragraph, with a field for each name in braces."""
    runs = []
    for part in text.replace("}", "{").split("{"):  # text, field, text, field, …
        is_field = len(runs) % 2 == 1
        runs.append(field(part) if is_field else run(part))
    return f'<w:p><w:pPr><w:spacing w:after="160"/></w:pPr>{"".join(runs)}</w:p>'


def run(text: str) -> str:
    """A piece of text in one style."""
    return f'<w:r>{_STYLE}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>' if text else ""


_STYLE = '<w:rPr><w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:cs="Calibri"/><w:sz w:val="22"/></w:rPr>'


def field(name: str) -> str:
    """A merge field (section 17.16.5.35), which takes the value of this column."""
    return (
        f'<w:r>{_STYLE}<w:fldChar w:fldCharType="begin"/></w:r>'
        f'<w:r>{_STYLE}<w:instrText xml:space="preserve"> MERGEFIELD "{escape(name)}" </w:instrText></w:r>'
        f'<w:r>{_STYLE}<w:fldChar w:fldCharType="separate"/></w:r>'
        f'<w:r>{_STYLE}<w:t>«{escape(name)}»</w:t></w:r><w:r>{_STYLE}<w:fldChar w:fldCharType="end"/></w:r>'
    )


if __name__ == "__main__":
    main()
