"""What a spreadsheet's number cell shows, for the number formats that can be rendered for certain.

Formats are those of ECMA-376, part 1, section 18.8.31. Understood are runs of `0` and `#` with literals between
them (`00000000`, `000-00-0000`, `"A"0000`, `(###) ###-####`), sections for negative numbers and zero, colors and
conditions such as `[<=9999999]`. Every other format is named for what it is and never rendered by guess.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from batchlinks.table import CellKind

# Formats with a number below 164 need no definition in the file (ECMA-376, part 1, 18.8.30). Those that depend
# on the language of the program (5-8, 23-36, 41-44, 50-81) are left out on purpose: they are unreadable.
BUILT_IN_FORMATS: Mapping[int, str] = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "mm-dd-yy",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yy h:mm",
    37: "#,##0_);(#,##0)",
    38: "#,##0_);[Red](#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);[Red](#,##0.00)",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
}

NO_DAY_TEXT = "########"
"""What a date format shows of a number that is no day: one below 0, or beyond 9999-12-31."""

_LAST_DAY = 2_958_465
_DAYS_TO_1904 = 1_462
_LEAP_DAY = 60


def is_day(number: float, *, from_1904: bool) -> bool:
    """Whether a date format shows a date or time of `number`; `from_1904`: in a workbook that counts days from 1904."""
    return 0 <= number < _LAST_DAY + 1 - (_DAYS_TO_1904 if from_1904 else 0)


def is_made_up_leap_day(number: float, *, from_1904: bool) -> bool:
    """Whether a date format shows the 29 February 1900, which Excel has and the calendar has not."""
    return not from_1904 and _LEAP_DAY <= number < _LEAP_DAY + 1


_WHOLE_LIMIT = 1e15  # a spreadsheet keeps 15 digits; from here on the last ones are made up

Shown = tuple[str, CellKind]
"""The text of a cell, and what the cell is."""


def general(value: float) -> str:
    """`value` as the format General shows it in a wide column; whole numbers of up to 15 digits in full."""
    if value == int(value) and abs(value) < _WHOLE_LIMIT:
        return str(int(value))
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent <= 10:
        # Eleven characters, the decimal point among them.
        return _without_trailing_zeros(f"{value:.{max(10 - max(exponent + 1, 1), 0)}f}")
    if -9 <= exponent < -4 and float(f"{value:.9f}") == value:
        return _without_trailing_zeros(f"{value:.9f}")
    mantissa, power = f"{value:.5E}".split("E")
    return f"{_without_trailing_zeros(mantissa)}E{power}"


def _without_trailing_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_general(value: float) -> Shown:
    """What a number cell without a format of its own shows."""
    if isinstance(value, float) and not math.isfinite(value):
        return "", CellKind.ERROR
    return general(value), _kind_of_value(value)


def _kind_of_value(value: float) -> CellKind:
    if abs(value) >= _WHOLE_LIMIT:
        return CellKind.LOST_DIGITS
    return CellKind.NUMBER if value == int(value) else CellKind.FRACTION


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One number format of a workbook, taken apart once and used for many cells."""

    code: str
    _sections: "tuple[_FormatSection, ...]"
    _text: tuple[str, ...] | None = ("@",)
    """What a text is shown as, in pieces of which `@` is the text itself; None where that cannot be told."""

    @property
    def is_plain(self) -> bool:
        """A number in it shows what General shows, for every whole number."""
        return len(self._sections) == 1 and self._sections[0].kind is CellKind.NUMBER and not self._sections[0].parts

    @property
    def is_date(self) -> bool:
        """Positive numbers in it are shown as dates or times."""
        return self._sections[0].kind is CellKind.DATE

    @property
    def changes_text(self) -> bool:
        """A text in it shows something else, or nothing."""
        return self._text != ("@",)

    def show_text(self, text: str) -> Shown:
        """What a cell with `text` shows; the text itself, and a kind that says why, where that is not certain."""
        if self._text is None or not self._text:
            return text, CellKind.UNREADABLE_FORMAT
        return "".join(text if piece == "@" else piece[1:] for piece in self._text), CellKind.TEXT

    def show(self, value: float) -> Shown:
        """What a cell of `value` shows.

        Where that is not certain, the text is the one that General shows and the kind says why.
        """
        text, kind = format_general(value)
        if kind in (CellKind.LOST_DIGITS, CellKind.ERROR):
            return text, kind
        section = self._section_for(value)
        if section is None:
            return text, CellKind.UNREADABLE_FORMAT
        if section.kind is not CellKind.NUMBER:
            return text, section.kind
        if kind is not CellKind.NUMBER or not section.parts:
            return text, kind
        rendered = _render(section.parts, abs(int(value)))
        if rendered is None:
            return text, CellKind.UNREADABLE_FORMAT
        sign = "-" if value < 0 and len(self._sections) == 1 else ""
        return sign + rendered, CellKind.NUMBER

    def _section_for(self, value: float) -> "_FormatSection | None":
        """The section that applies, or None where programs differ about it."""
        sections = self._sections
        if any(section.condition for section in sections):
            if value < 0 or len(sections) != 2 or not sections[0].condition or sections[1].condition:
                return None
            return sections[0] if sections[0].condition(value) else sections[1]
        if len(sections) == 1 or value > 0:
            return sections[0]
        if value < 0:
            return sections[1]
        return sections[2] if len(sections) > 2 else sections[0]


@lru_cache(maxsize=1024)
def parse_format(code: str) -> NumberFormat:
    """Take `code` apart. Never fails: a format that is not understood shows UNREADABLE_FORMAT."""
    sections = _split_sections(code)
    text: tuple[str, ...] | None = ("@",)
    if len(sections) > 3 or _stands_for_text(sections[-1]):
        text = _text_section(sections[min(len(sections), 4) - 1])
        if len(sections) > 1:
            del sections[min(len(sections), 4) - 1 :]
    return NumberFormat(code, tuple(_section(section) for section in sections[:3]), text)


def _stands_for_text(section: str) -> bool:
    return any(match["other"] == "@" for match in _TOKEN.finditer(section))


def _text_section(section: str) -> tuple[str, ...] | None:
    """What the section for text cells shows: `@` for the text, and literals, each behind a `=`; None where that is not certain.

    Blanks around it are no part of what a person reads.
    """
    pieces: list[str] = []
    for match in _TOKEN.finditer(section):
        match match.lastgroup:
            case "quoted":
                pieces.append("=" + match[0][1:-1])
            case "escaped":
                pieces.append("=" + match["escaped"])
            case "literal":
                pieces.append("=" + match[0])
            case "padding":
                pieces.append("= ")
            case "general":
                pieces.append("@")
            case "bracket" if _COLOUR.fullmatch(match[0]) or _ENGLISH.fullmatch(match[0]):
                pass
            case "other" if match[0] == "@":
                pieces.append("@")
            case _:
                return None
    while pieces and pieces[0] != "@" and not pieces[0][1:].strip():
        del pieces[0]
    while pieces and pieces[-1] != "@" and not pieces[-1][1:].strip():
        del pieces[-1]
    return tuple(piece for piece in pieces if piece != "=")


@dataclass(frozen=True, slots=True)
class _FormatSection:
    """A format for some of the numbers.

    `parts` are its runs of `0` and `#`, and ("literal", text) between them; none where the number is shown as General shows
    it.
    """

    kind: CellKind
    parts: tuple[tuple[str, str], ...] = ()
    condition: Callable[[float], bool] | None = None


_TOKEN = re.compile(
    r"""
      (?P<quoted>"[^"]*")
    | \\(?P<escaped>.)
    | (?P<bracket>\[[^\]]*\])
    | (?P<padding>_.)
    | (?P<general>General)
    | (?P<ampm>AM/PM|A/P)
    | (?P<scientific>E[+-])
    | (?P<digits>[0\#]+)
    | (?P<date>[ymdhsYMDHS]+)
    | (?P<literal>[-+():\ ]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_COLOUR = re.compile(r"\[(black|blue|cyan|green|magenta|red|white|yellow|color ?\d+)\]", re.IGNORECASE)
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_ENGLISH = re.compile(r"\[\$-(0*409|en-US)\]", re.IGNORECASE)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)\s*(\d{1,15})\]")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


def _split_sections(code: str) -> list[str]:
    sections = [""]
    for match in _TOKEN.finditer(code):
        if match["other"] == ";":
            sections.append("")
        else:
            sections[-1] += match[0]
    return sections


def _section(code: str) -> _FormatSection:
    if code.strip().lower() == "general" or code.strip() in ("@", "0"):
        return _FormatSection(CellKind.NUMBER)
    parts: list[tuple[str, str]] = []
    condition: Callable[[float], bool] | None = None
    kinds: set[CellKind] = set()
    for match in _TOKEN.finditer(code):
        match match.lastgroup:
            case "quoted":
                parts.append(("literal", match[0][1:-1]))
            case "escaped":
                parts.append(("literal", match["escaped"]))
            case "literal":
                parts.append(("literal", match[0]))
            case "padding":
                parts.append(("literal", " "))
            case "digits":
                parts.append(("digits", match[0]))
            case "date" | "ampm":
                kinds.add(CellKind.DATE)
            case "scientific":
                kinds.add(CellKind.SCIENTIFIC)
            case "bracket" if found := _CONDITION.fullmatch(match[0]):
                condition = _condition(*found.groups())
            case "bracket" if _ELAPSED.fullmatch(match[0]):
                kinds.add(CellKind.DATE)
            case "bracket" if _COLOUR.fullmatch(match[0]) or _ENGLISH.fullmatch(match[0]):
                pass
            case "other" if match[0] == ".":
                kinds.add(CellKind.FRACTION)
            case _:
                kinds.add(CellKind.UNREADABLE_FORMAT)
    for kind in (CellKind.DATE, CellKind.SCIENTIFIC, CellKind.UNREADABLE_FORMAT, CellKind.FRACTION):
        if kind in kinds:
            return _FormatSection(kind, condition=condition)
    if not any(role == "digits" for role, _ in parts):
        return _FormatSection(CellKind.UNREADABLE_FORMAT, condition=condition)
    return _FormatSection(CellKind.NUMBER, tuple(parts), condition)


def _condition(comparison: str, limit: str) -> Callable[[float], bool]:
    compare, bound = _COMPARISONS[comparison], float(limit)
    return lambda value: compare(value, bound)


def _render(parts: tuple[tuple[str, str], ...], value: int) -> str | None:
    """The digits of `value` put into the places of `parts`, the surplus into the leftmost place.

    None where a `#` is left without a digit and literals stand between the places, or nothing at all would be
    shown: what a person sees then depends on the program.
    """
    places = "".join(text for role, text in parts if role == "digits")
    required = len(places.lstrip("#"))
    digits = (str(value) if value else "").rjust(required, "0")
    runs = sum(role == "digits" for role, _ in parts)
    if not digits or (runs > 1 and len(digits) < len(places)):
        return None
    surplus = len(digits) - len(places) if runs > 1 else len(digits)
    shown: list[str] = []
    position = 0
    for role, text in parts:
        if role == "literal":
            shown.append(text)
            continue
        end = position + len(text) + (surplus if position == 0 else 0)
        shown.append(digits[position:end])
        position = end
    return "".join(shown).strip(" ")
