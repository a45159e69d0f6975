"""How long a letter is on paper, counted without a word processor: enough to say which need a second sheet. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docx.document import Document
    from docx.table import Table
    from docx.text.paragraph import Paragraph

_CHARACTER = 0.5
"""Width of an average character, as a share of the font's size."""

_LINE = 1.2
"""Height of a line, the same."""

_DEFAULT_POINTS, _DEFAULT_AFTER = 11.0, 0.0
_CODE_POINTS = 100.0
POINTS_PER_MM = 72 / 25.4


@dataclass(frozen=True, slots=True)
class _Block:
    """Some text of one width and one size; or a page break."""

    text: str = ""
    """With the keys of merge fields between marks, see `mark`."""

    width: float = 468.0
    points: float = _DEFAULT_POINTS
    spacing: float = 1.0
    around: float = 0.0
    extra: float = 0.0
    """Points of height besides the lines: pictures."""

    breaks_page: bool = False

    def height(self, values: Mapping[str, str]) -> float:
        """Points that it takes with these values in the place of its fields."""
        text = self.text
        for key, value in values.items():
            text = text.replace(mark(key), value)
        per_line = max(self.width / (self.points * _CHARACTER), 1.0)
        lines = sum(max(math.ceil(len(line) / per_line), 1) for line in text.split("\n"))
        return max(lines * self.points * _LINE * self.spacing, self.extra) + self.around


def mark(key: str) -> str:
    """What stands for a merge field in a template's text."""
    return f"\ue001{key}\ue001"


@dataclass(frozen=True, slots=True)
class PageEstimate:
    """A template's blocks, and the page that they go on."""

    blocks: tuple[_Block, ...]
    page: float
    """Points between the upper and the lower margin."""

    top: float
    """Points of the upper margin."""

    code_key: str | None

    def sheets(self, values: Mapping[str, str]) -> int:
        """Sheets, printed on both sides, that a letter with these values takes."""
        pages, height = 0, 0.0
        for block in self.blocks:
            if block.breaks_page:
                pages, height = pages + max(math.ceil(height / self.page), 1), 0.0
            else:
                height += block.height(values)
        return math.ceil((pages + max(math.ceil(height / self.page), 1)) / 2)

    def code_top_mm(self, values: Mapping[str, str]) -> float | None:
        """How far below the upper edge of the first page the QR code begins; None where the template has no place for it."""
        height = self.top
        for block in self.blocks:
            if self.code_key is not None and mark(self.code_key) in block.text:
                return height / POINTS_PER_MM
            height += block.height(values)
        return None


def estimate_pages(document: "Document", code_key: str | None) -> PageEstimate:
    """What can be told of a template whose merge fields stand in it as text between marks."""
    section = document.sections[0]
    page = section.page_height, section.top_margin, section.bottom_margin, section.page_width
    height, top, bottom, width = (side.pt if side is not None else 72.0 for side in page)
    sides = [margin.pt if margin is not None else 72.0 for margin in (section.left_margin, section.right_margin)]
    room = max(width - sum(sides), 36.0)
    default = document.styles["Normal"].font.size if "Normal" in [style.name for style in document.styles] else None
    points = default.pt if default is not None else _DEFAULT_POINTS
    blocks = tuple(_blocks(document, room, points, code_key))
    return PageEstimate(blocks, max(height - top - bottom, 36.0), top, code_key)


def _blocks(container: "Document | Table", width: float, points: float, code_key: str | None) -> Iterator[_Block]:
    from docx.table import Table
    from docx.text.paragraph import Paragraph

    for item in container.iter_inner_content():  # type: ignore[union-attr]  # of a cell or a document
        if isinstance(item, Paragraph):
            yield from _of_paragraph(item, width, points, code_key)
        elif isinstance(item, Table):
            yield from _of_table(item, width, points, code_key)


def _of_table(table: "Table", width: float, points: float, code_key: str | None) -> Iterator[_Block]:
    """Row by row: a row is as high as its highest cell, of which the longest stands for it."""
    for row in table.rows:
        cells = list(row.cells)
        share = width / max(len(cells), 1)
        columns = [
            list(_blocks(cell, cell.width.pt if cell.width is not None else share, points, code_key)) for cell in cells
        ]
        yield from max(columns, key=lambda blocks: sum(block.height({}) for block in blocks), default=[])


def _of_paragraph(paragraph: "Paragraph", width: float, points: float, code_key: str | None) -> Iterator[_Block]:
    style, form = paragraph.style, paragraph.paragraph_format
    sizes = [run.font.size.pt for run in paragraph.runs if run.font.size is not None]
    of_style = style.font.size if style is not None else None
    size = max(sizes, default=of_style.pt if of_style is not None else points)
    style_form = style.paragraph_format if style is not None else form
    before = form.space_before if form.space_before is not None else style_form.space_before
    after = form.space_after if form.space_after is not None else style_form.space_after
    spacing = form.line_spacing if form.line_spacing is not None else style_form.line_spacing
    text = paragraph.text
    extra = sum(int(extent.get("cy", 0)) / 12_700 for extent in paragraph._p.iter(_EXTENT))
    if code_key is not None and mark(code_key) in text:
        extra += _CODE_POINTS
    if _PAGE_BREAK in paragraph._p.xml:
        yield _Block(breaks_page=True)
    yield _Block(
        text,
        width,
        size,
        float(spacing) if isinstance(spacing, float) else 1.0,
        sum(each.pt for each in (before, after) if each is not None),
        extra,
    )


_EXTENT = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}extent"
_PAGE_BREAK = 'w:br w:type="page"'
