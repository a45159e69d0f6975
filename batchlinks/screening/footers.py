"""Rows of a report that are not patients: the header again, totals, page, run-date and trailer lines."""

import re

_COUNTED = r"(?:patients?|members?|records?|rows?|lines?|entries|people|persons|results?|items?)"
_TOTAL = rf"(?:grand\s|sub\s?-?|report\s|overall\s|page\s)?totals?(?:\s{_COUNTED})?"
_FRAME = rf"""
    {_TOTAL}                                            # Total, Grand total: 45, Total patients 45
    | {_COUNTED}(?:\s(?:count|total|in\sreport|listed)|\s?[:=]\s?\d[\d,]*)  # Record count: 45, Rows: 45
    | (?:number|no\.?|count|sum)\sof\s{_COUNTED}
    | (?:(?:row|record)\s)?count
    | page(?:\s|\s?:\s?)\d+(?:\s?(?:of|/)\s?\d+)?        # Page 1 of 3
    | end\sof\s(?:report|file|list|data|document)
    | (?:trailer|trl|tlr|trlr|eof|footer)(?:\srecord)?  # TRL|000045
"""
_WORDS = r"""
    (?:run|report|print(?:ed|ing)?|generated|created|export(?:ed)?|extract(?:ed)?|refreshed|updated|(?:data\s)?as\sof)
      (?:\s(?:on|at|by|date|time|run|title|name|id|generated|created|printed))*
    | confidential(?:ity)?(?:\snotice)? | disclaimer | prepared\sby | source | (?:applied\s)?filters? | notes? | legend
    | copyright | \(c\) | ©
"""
# A word of the frame is followed by the end, a colon, a dash with a space, or a number after white space: an ID
# such as TRL-001 or RUN00017 is none.
_LINE = re.compile(
    rf"\W*(?:(?:{_FRAME})\W*(?:[\s:=|]\s*\W?\d[\d,]*\b.*)?|(?:{_WORDS})(?:\s*:.*|\s.*)?|[\d,]+\s{_COUNTED}\b.*|n\s?=\s?\d+)",
    re.IGNORECASE | re.VERBOSE,
)
_BESIDE = re.compile(rf"\W*(?:{_FRAME}|{_COUNTED})\W*(?:[\s:=|]\s*\d[\d,]*\b.*)?", re.IGNORECASE | re.VERBOSE)

FOOTER_WORDS = (
    r"(?i)total|count|page|end|tr[l]?r?|tlr|eof|footer|number|no|sum"
    r"|patient|member|record|row|line|entries|people|person|result|item"
)
"""A cell for which `is_footer_beside` holds has one of these in it (RE2 syntax, for whole columns)."""


def is_report_line(text: str) -> bool:
    """Whether a cleaned ID cell says that its row is part of the report's frame and not a patient."""
    return _LINE.fullmatch(text) is not None


def is_footer_beside(text: str) -> bool:
    """Whether a cell beside the ID, in a row that is otherwise almost empty, says that the row is a footer."""
    return _BESIDE.fullmatch(text.strip()) is not None


def header_key(text: str) -> str:
    """What a repeated header has in common with the header, whatever the case, spaces and punctuation."""
    return "".join(character for character in text.casefold() if character.isalnum())
