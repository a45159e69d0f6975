"""One cell of the ID column: the external ID that a person sees in it, or the reason why it is none.

Never a guess: a cell that could be read in two ways is refused. All of this is pure; `batchlinks.screening`
applies it to a whole column.
"""

import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable

from batchlinks.row_codes import ErrorCode
from batchlinks.table import CellKind

MAX_LENGTH = 128
"""Characters in an external ID, at most."""

# Invisible and without width, so a person who compares two IDs cannot see them. Marks that reorder what is
# shown (U+202A..E, U+2066..9) are not here: with them the cell shows something else than its text says.
_ZERO_WIDTH = dict.fromkeys(map(ord, "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
_FULL_WIDTH = {
    wide: wide - 0xFEE0
    for first, last in (("０", "９"), ("Ａ", "Ｚ"), ("ａ", "ｚ"))
    for wide in range(ord(first), ord(last) + 1)
}
_CLEANING = _ZERO_WIDTH | _FULL_WIDTH

_ALLOWED = re.compile(r"[A-Za-z0-9](?:(?:[A-Za-z0-9_./:#*~-]| (?! ))*[A-Za-z0-9])?")
_DECIMAL = re.compile(r"[+-]?\d+\.\d+", re.ASCII)
_SCIENTIFIC = re.compile(r"[+-]?(?:\d+(?:\.\d+)?E[+-]\d+|\d+\.\d+E\d+)", re.ASCII | re.IGNORECASE)
_FORMULA_ERROR = re.compile(r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA)", re.IGNORECASE)

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*"
_NAMED_MONTH = re.compile(
    rf"(?:\d{{1,2}}[-/ .]{_MONTH}(?:[-/ ,.]+\d{{2,4}})?|{_MONTH}[-/ ]\d{{1,4}}(?:[-/ ,]+\d{{2,4}})?)",
    re.ASCII | re.IGNORECASE,
)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ]\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?Z?)?", re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?: \d{1,2}:\d\d(?::\d\d)?(?: ?[AP]M)?)?", re.ASCII)

_PLACEHOLDERS = frozenset(
    """
    na nan none null nil nill void empty blank unknown unk unkn unkown unavailable notavailable notapplicable
    notknown notassigned notprovided notfound notonfile unassigned undefined missing pending tbd tba tbc todo
    tofollow toassign noid nomrn nonumber nomemberid nomatch mrnpending mrnneeded needmrn needed new newpatient
    same sameasabove seeabove ditto asabove x xx xxx xxxx xxxxx xxxxxx test dummy sample anonymous anon refused
    declined unbekannt inconnu inconnue desconocido keine aucun ninguno
    """.split()
)

_KINDS: dict[int, ErrorCode] = {
    CellKind.DATE: ErrorCode.DATE_IN_ID,
    CellKind.BOOLEAN: ErrorCode.UNREADABLE_FORMAT,
    CellKind.ERROR: ErrorCode.FORMULA_ERROR,
    CellKind.NO_CACHED_VALUE: ErrorCode.NO_CACHED_VALUE,
    CellKind.UNREADABLE_FORMAT: ErrorCode.UNREADABLE_FORMAT,
    CellKind.LOST_DIGITS: ErrorCode.LOST_DIGITS,
    CellKind.FRACTION: ErrorCode.DECIMAL_NUMBER,
    CellKind.SCIENTIFIC: ErrorCode.SCIENTIFIC_NOTATION,
    CellKind.AGGREGATE: ErrorCode.NOT_A_PATIENT,
}


def clean(text: str) -> str:
    """The text as a person reads it: without white space, zero-width characters or an apostrophe around it.

    Full-width letters and digits become plain ones. Cleaning twice changes nothing more.
    """
    text = text.translate(_CLEANING).strip()
    while text.startswith("'"):
        text = text[1:].lstrip()
    return text


def with_width(identifier: str, width: int | None) -> str:
    """An all-digit ID with its lost zeros given back, `width` digits in all; any other ID as it is."""
    if width is not None and identifier.isascii() and identifier.isdigit():
        return identifier.zfill(width)
    return identifier


def read_id(
    text: str, kind: int = CellKind.TEXT, *, fits: Callable[[str], bool] | None = None, width: int | None = None
) -> tuple[str, ErrorCode | None]:
    """The cleaned ID that a cell holds ("" where there is none) and why it cannot be sent, or None.

    An ID comes with a code where it is an ID but not one of this organization's (`fits`).
    """
    found = clean(text)
    if not found and kind in (CellKind.TEXT, CellKind.NUMBER):
        return "", ErrorCode.BLANK_ID
    if code := _KINDS.get(kind):
        return "", code
    if code := _not_an_id(found):
        return "", code
    identifier = with_width(found, width)
    matches = fits is not None and fits(identifier)
    if not matches and not any(character.isdigit() for character in identifier):
        return "", ErrorCode.NO_DIGIT
    if not _ALLOWED.fullmatch(identifier):
        return "", ErrorCode.UNEXPECTED_CHARACTER
    if len(identifier) > MAX_LENGTH:
        return "", ErrorCode.TOO_LONG
    if fits is not None and not matches:
        return identifier, ErrorCode.PATTERN_MISMATCH
    return identifier, None


SEPARATORS = "-_ ./:#*~"
"""Characters between the parts of an ID, which some write and others leave out. (In brackets a regular expression.)"""


def fold(identifier: str) -> str:
    """What two IDs share when they differ only in case or leading zeros."""
    return identifier.lower().lstrip("0")


def _not_an_id(text: str) -> ErrorCode | None:
    if _FORMULA_ERROR.fullmatch(text):
        return ErrorCode.FORMULA_ERROR
    if is_date(text):
        return ErrorCode.DATE_IN_ID
    if text.casefold() in ("true", "false"):
        return ErrorCode.UNREADABLE_FORMAT
    if _DECIMAL.fullmatch(text):
        return ErrorCode.DECIMAL_NUMBER
    if _SCIENTIFIC.fullmatch(text):
        return ErrorCode.SCIENTIFIC_NOTATION
    if is_placeholder(text):
        return ErrorCode.PLACEHOLDER_ID
    return None


def is_placeholder(text: str) -> bool:
    """Whether the text says that there is no ID: `N/A`, `unknown`, dashes, nothing but zeros."""
    bare = "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
    return bare in _PLACEHOLDERS or not bare.strip("0")


def is_date(text: str) -> bool:
    """Whether the text is a date for certain: a month by name, or a valid day with a four-digit year.

    `12-34-56` is not: many hospitals number their charts like that (terminal-digit filing).
    """
    if _NAMED_MONTH.fullmatch(text):
        return True
    if match := _YEAR_FIRST.fullmatch(text):
        year, _, month, day = match.groups()
        return _is_day(year, month, day)
    if match := _YEAR_LAST.fullmatch(text):
        first, _, second, year = match.groups()
        return _is_day(year, first, second) or _is_day(year, second, first)
    return False


def _is_day(year: str, month: str, day: str) -> bool:
    y, m, d = int(year), int(month), int(day)
    return 1850 <= y <= 2150 and 1 <= m <= 12 and 1 <= d <= monthrange(y, m)[1]
