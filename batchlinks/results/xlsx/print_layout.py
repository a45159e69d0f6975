"""What of a sheet is printed, so that every page can be read and no page is anonymous. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchlinks.results.xlsx.sheet import Sheet

Span = tuple[int, int]
"""First and last position of columns that stand side by side."""

MARGIN_INCHES = 0.4

_PAGE_INCHES = 11.0
"""A Letter page lying on its side, which is narrower than A4."""

_PIXELS_PER_INCH = 96
_PIXELS_PER_CHARACTER, _CELL_PADDING = 7, 5
"""Of the workbook's font, Calibri 11, by which a column's width is counted."""

_FONT_POINTS, _SMALLEST_POINTS = 11, 8

SMALLEST_SCALE = _SMALLEST_POINTS / _FONT_POINTS

_ROOM = int((_PAGE_INCHES - 2 * MARGIN_INCHES) * _PIXELS_PER_INCH / SMALLEST_SCALE)
"""Pixels that fit side by side when the font is printed at 8 points."""

_LINES_OF_A_LINK = 2
_SPARE_CHARACTERS = 4
"""A link breaks where it has a slash or a hyphen, so its lines are not all full."""


@dataclass(frozen=True, slots=True)
class PrintLayout:
    """How a sheet prints: one page wide, at 8 points or more."""

    area: Span | None
    """The columns that are printed; None for all."""

    repeated: Span | None
    """Columns left of the area that every page begins with."""

    @property
    def leaves_out(self) -> bool:
        """Whether some columns are not printed."""
        return self.area is not None


def plan_print(sheet: Sheet, widths: Sequence[float]) -> PrintLayout:
    """All columns where they fit at 8 points; else those that say whose row it is, and those that the row is for."""
    visible = [position for position in range(len(widths)) if position not in sheet.hidden]
    if _pixels(sheet, widths, (0, len(widths) - 1)) <= _ROOM or not visible or not sheet.essential:
        return PrintLayout(None, None)
    essential = (min(sheet.essential), max(sheet.essential))
    left = _ROOM - _pixels(sheet, widths, essential)
    for identity in _spans_of_identity(sheet.identity):
        first, second = sorted((identity, essential))
        if _pixels(sheet, widths, identity) > left:
            continue
        if first[1] + 1 >= second[0]:
            return PrintLayout((first[0], max(first[1], second[1])), None)
        return PrintLayout(second, first)
    return PrintLayout(essential, None)


def link_width(length: float) -> float:
    """Characters that a column of links is wide: each is broken into two lines."""
    return length / _LINES_OF_A_LINK + _SPARE_CHARACTERS


def _spans_of_identity(positions: Sequence[int]) -> list[Span]:
    """From all columns that say whose row it is, with what is between them, to the first alone (the ID's)."""
    spans = []
    for count in range(len(positions), 0, -1):
        some = positions[:count]
        spans.append((min(some), max(some)))
    return spans


def _pixels(sheet: Sheet, widths: Sequence[float], span: Span) -> int:
    return sum(
        int(widths[position] * _PIXELS_PER_CHARACTER) + _CELL_PADDING
        for position in range(span[0], span[1] + 1)
        if position not in sheet.hidden
    )
