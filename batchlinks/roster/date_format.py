"""What a date cell shows: its day in the form that its number format, or its neighbors in the column, give it. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime

_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | _(?P<padding>.) | \*. | \[(?P<bracket>[^\]]*)\]
    | (?P<half>AM/PM|am/pm|A/P) | (?P<field>y+|m+|d+|h+|s+|Y+|M+|D+|H+|S+) | (?P<plain>[-/.,:\ ]) | (?P<other>.)
    """,
    re.VERBOSE,
)
_ENGLISH = frozenset("409 809 c09 1009 1409 1809 2009 2409 2809 2c09 3009 3409 9 1000409 -409".split())
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

SHORT_DATE, SHORT_DATE_AND_TIME = "m/d/yyyy", "m/d/yyyy h:mm"
"""What the formats 14 and 22 show in a workbook of the United States; elsewhere they follow the computer."""

CANDIDATES = tuple(
    f"{day}{time}"
    for day in (
        "m/d/yyyy", "mm/dd/yyyy", "m/d/yy", "mm/dd/yy", "yyyy-mm-dd", "d/m/yyyy", "dd/mm/yyyy", "d/m/yy", "dd/mm/yy",
        "dd.mm.yyyy", "d.m.yyyy", "dd.mm.yy", "mm-dd-yyyy", "m-d-yyyy", "dd-mm-yyyy", "d-mmm-yy", "d-mmm-yyyy",
        "dd-mmm-yyyy", "mmm d, yyyy", "mmmm d, yyyy", "d mmm yyyy", "d mmmm yyyy",
    )
    for time in ("", " hh:mm", " h:mm", " h:mm AM/PM")
)  # fmt: skip


def show_day(iso: str, code: str) -> str | None:
    """A day such as `1980-03-05` or `1980-03-05 14:30` as the number format `code` shows it; None where that is not certain."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return None
    tokens = list(_TOKEN.finditer(code.partition(";")[0]))
    fields = [match["field"].lower() for match in tokens if match["field"]]
    if not fields or not any(field[0] in "ymd" for field in fields):
        return None
    halves = any(match["half"] for match in tokens)
    shown, seen, native = [], 0, False
    for match in tokens:
        match match.lastgroup:
            case "quoted" | "escaped" | "plain":
                shown.append(match[match.lastgroup])
            case "padding":
                shown.append(" ")
            case "bracket":
                if not match["bracket"].startswith("$") or match["bracket"].lower() in ("$-f800", "$-f400"):
                    return None
                native = match["bracket"].rpartition("-")[2].lower() not in _ENGLISH
            case "half":
                shown.append("AM" if moment.hour < 12 else "PM")
            case "field":
                text = _field(moment, fields, seen, halves=halves)
                if text is None or (native and text[0].isalpha()):
                    return None
                shown.append(text)
                seen += 1
            case None:  # a filler
                continue
            case _:
                return None
    return "".join(shown).strip()


def _field(moment: datetime, fields: Sequence[str], at: int, *, halves: bool) -> str | None:
    field = fields[at]
    before, behind = fields[at - 1][0] if at else "", fields[at + 1][0] if at + 1 < len(fields) else ""
    hour = (moment.hour - 1) % 12 + 1 if halves else moment.hour
    match field[0], len(field):
        case "y", length:
            return f"{moment.year % 100:02d}" if length <= 2 else f"{moment.year:04d}"
        case "m", length if length <= 2 and (before == "h" or behind == "s"):
            return f"{moment.minute:02d}"
        case "m", length:
            return _name_or_number(moment.month, _MONTHS[moment.month - 1], length)
        case "d", length:
            return _name_or_number(moment.day, _DAYS[moment.weekday()], length)
        case "h", length:
            return f"{hour:02d}" if length == 2 else str(hour)
        case "s", length:
            return f"{moment.second:02d}" if length == 2 else str(moment.second)
    return None


def _name_or_number(number: int, name: str, length: int) -> str:
    if length <= 2:
        return f"{number:02d}" if length == 2 else str(number)
    return name[:3] if length == 3 else name[:1] if length == 5 else name


def form_of(examples: Sequence[tuple[str, str]]) -> str | None:
    """The one format of all these (day as ISO 8601, what is shown); None where there is none or they do not tell."""
    fits = [code for code in CANDIDATES if all(show_day(iso, code) == shown for iso, shown in examples)]
    different = {tuple(show_day(iso, code) for iso in _PROBES) for code in fits}
    return fits[0] if examples and len(different) == 1 else None


_PROBES = ("1980-03-05 00:00", "2001-11-22 13:04")
