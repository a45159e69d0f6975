"""Columns that cannot hold the patient ID, even where somebody names them: telephone numbers, dates, names and the like.

Judged by the header, or by the form of nine in ten values. Bare digits have no form: in a column that somebody named
they are believed.
"""

import re
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from batchlinks.columns.header_meaning import Standing, id_meaning
from batchlinks.columns.header_words import Sense, name_words, senses_of, words_of
from batchlinks.columns.sensitive import header_says_social_security, sample, share_matching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchlinks.table import Table


class Content(Enum):
    """What a column holds instead of patient IDs, in words."""

    SOCIAL_SECURITY = "Social Security numbers"
    E_MAIL = "e-mail addresses"
    PHONE = "phone numbers"
    ADDRESS = "street addresses"
    DATE = "dates"
    NAME = "names"


def unsuitable_content(table: "Table", at: int) -> Content | None:
    """What the column at this position holds that no patient ID is; None where it may hold patient IDs."""
    said = _said_by_header(table.headers[at])
    if said is not None:
        return said
    # the rows of an error report are those whose IDs were wrong: dates, e-mail addresses
    return None if table.is_error_report else _shown_by_form(table.headers[at], sample(table, at))


# --- by the header --------------------------------------------------------------------------------------------

_E_MAIL_WORDS = frozenset("email mail emails".split())
_PHONE_WORDS = frozenset(
    "phone phones telephone tel cell cellphone mobile fax pager telefon telefono telefonos".split()
)
_ADDRESS_WORDS = frozenset("address addr street adresse strasse line1 line2 direccion calle".split())
_DATE_WORDS = frozenset("date dates dt datetime time timestamp fecha datum".split())
_ID_WORDS = frozenset("id ids identifier uid uuid guid".split())


def _said_by_header(header: str) -> Content | None:
    if header_says_social_security(header):
        return Content.SOCIAL_SECURITY
    if id_meaning(header).standing > Standing.NONE:
        return None
    words, senses = set(words_of(header)), set(senses_of(header))
    if words & _E_MAIL_WORDS:
        return Content.E_MAIL
    if words & _PHONE_WORDS:
        return Content.PHONE
    if words & _ID_WORDS:  # `Address ID`, `Name ID`: a number of some kind
        return None
    names = name_words(header)
    if Sense.BIRTH in senses and not names:
        return Content.DATE
    if words & _ADDRESS_WORDS:
        return Content.ADDRESS
    if words & _DATE_WORDS:
        return Content.DATE
    return Content.NAME if names else None


# --- by the form of the values --------------------------------------------------------------------------------

_NINE_IN_TEN = 0.9

_SOCIAL_SECURITY = r"[0-9Xx*]{3}-[0-9Xx*]{2}-[0-9]{4}"
_E_MAIL = r"[^@\s]+@[^@\s]+"
_PHONE = r"(?:\+?1[-. ]?)?\([2-9]\d{2}\) ?\d{3}[-. ]?\d{4}(?: ?(?:x|ext)\.? ?\d+)?|\+\d[\d ().-]{8,}\d"
# As it may be an ID's grouping too, it counts only where the header does not speak of an ID.
_GROUPED_PHONE = r"(?:1[-.])?[2-9]\d{2}([-.])[2-9]\d{2}\1\d{4}"

_ADDRESS = (
    r"(?:\d+[A-Za-z]?(?:[- /]\d+)? (?:[NSEW]{1,2}\.? )?(?:[\w.'’-]+ ){1,4}(?:st|street|ave?|avenue|rd|road|dr|drive|ln|lane|blvd"
    r"|boulevard|ct|court|pl|place|way|ter|terrace|cir|circle|pkwy|parkway|hwy|highway|sq|square|trl|trail|loop)\.?(?:[ ,#].*)?"
    r"|p\.? ?o\.? ?box \d+.*|[^\W\d][\w. '’-]*(?:str\.|stra(?:ß|ss)e|gasse|weg|allee|platz) ?\d+ ?[a-z]?"
    r"|\d+,? (?:rue|avenue|boulevard|chemin|place) .+|(?:calle|avenida|av\.|c/) .*\d+.*)"
)

_MONTH = r"(?:0?[1-9]|1[0-2])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_NAMED_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
# A year of two digits only between slashes: `12-34-56` is how many an MRN is written.
_DATE = (
    rf"(?:(?:18|19|20)\d\d([-/.]){_MONTH}\1{_DAY}"
    rf"|(?:{_MONTH}([-/.]){_DAY}|{_DAY}([-/.]){_MONTH})[-/.](?:18|19|20)\d\d"
    rf"|(?:{_MONTH}/{_DAY}|{_DAY}/{_MONTH})/\d\d"
    rf"|{_DAY}[- ]{_NAMED_MONTH}[-, ]+(?:\d{{4}}|\d\d)|{_NAMED_MONTH} {_DAY},? \d{{4}}"
    r")(?:[T ]+\d{1,2}:\d\d.*)?"
)


def _shown_by_form(header: str, texts: "Sequence[str]") -> Content | None:
    forms = [
        (_SOCIAL_SECURITY, Content.SOCIAL_SECURITY),
        (_E_MAIL, Content.E_MAIL),
        (_PHONE, Content.PHONE),
        (_DATE, Content.DATE),
        (_ADDRESS, Content.ADDRESS),
    ]
    if id_meaning(header).standing is Standing.NONE:
        forms.append((_GROUPED_PHONE, Content.PHONE))
    return next((content for form, content in forms if share_matching(_compiled(form), texts) >= _NINE_IN_TEN), None)


@cache
def _compiled(form: str) -> re.Pattern[str]:
    """Only where a column is named or asked about, since that costs a start a few milliseconds."""
    return re.compile(form, re.IGNORECASE)
