"""What speaks against a column that could be the external ID's: its values, and the columns beside it.

Every rule here only ever leads to a question, never to another column. Looks at a sample of some 2,000 rows, so it
costs as much on a million rows as on ten thousand.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlinks.columns.header_meaning import NOT_AN_ID, Kind, Meaning, Standing, id_meaning, says_issuers_number
from batchlinks.columns.header_words import (
    Sense,
    key,
    says_birth_date,
    says_event,
    says_insurance,
    says_name,
    says_physician,
    says_relationship,
    sense_of,
    senses_of,
    words_of,
)
from batchlinks.columns.sensitive import (
    header_says_social_security,
    looks_like_social_security,
    nine_digits,
    sample,
    share_matching,
)

if TYPE_CHECKING:
    from batchlinks.table import Table

FRAIL = frozenset({
    Kind.BARE, Kind.CLIENT, Kind.HOLDER, Kind.EXTERNAL, Kind.ENTERPRISE, Kind.SUBJECT, Kind.PUBLIC_PAYER, Kind.NATIONAL,
})  # fmt: skip
"""Identifiers of nobody named, of somebody who need not be the patient, or issued by somebody else than the organization."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A column that could be the external ID's."""

    at: int
    header: str
    meaning: Meaning
    cells: list[str]  # a sample, "" where blank

    @property
    def texts(self) -> list[str]:
        return [cell for cell in self.cells if cell]

    @property
    def kind(self) -> Kind:
        return self.meaning.kind


def candidate_at(table: "Table", at: int, people: Collection[str] = ()) -> Candidate | None:
    """The column as one that could be the external ID's, None where neither header nor values say so.

    `people`: words for whoever the rows are, as `meaning.people_words` finds them.
    """
    header = table.headers[at]
    meaning = id_meaning(header, people)
    by_values = meaning.kind is Kind.UNKNOWN or (meaning is NOT_AN_ID and _values_may_tell(header, len(table)))
    if meaning is NOT_AN_ID and not by_values:
        return None
    cells = sample(table, at)
    if table.is_error_report:
        # Its rows are the ones whose ID was blank, a placeholder and the like: what is left of that says nothing.
        cells = ["" if _NO_DIGIT.fullmatch(cell) else cell for cell in cells]
    if by_values:
        if len(table) and not _numbers_each_row(header, cells):
            return None
        meaning = Meaning(Standing.DOUBTFUL, Kind.UNKNOWN)
    return Candidate(at, header, meaning, cells)


def _values_may_tell(header: str, rows: int) -> bool:
    """Whether the values alone can make it a column to ask about.

    The lexicon knows no word of its header (`HN`), or it would be a plan's or clinic's own number if that were not another in
    each row.
    """
    unknown = {sense_of(word) for word in words_of(header)} <= {Sense.UNKNOWN, Sense.NEUTRAL, Sense.NOTE}
    return rows > 0 and (unknown or says_issuers_number(header))


def numbers_each_row(table: "Table", at: int) -> bool:
    """Whether the values of a column are made like identifiers, and nearly each row has one of its own."""
    return len(table) > 0 and _numbers_each_row(table.headers[at], sample(table, at))


_NEVER_OFFERED = frozenset({
    Sense.EVENT, Sense.PROVIDER, Sense.RELATIVE, Sense.SOCIAL_SECURITY, Sense.TAX_ID, Sense.NAME, Sense.FIRST_NAME,
    Sense.BIRTH, Sense.PERSON_CODE,
})  # fmt: skip


def is_worth_offering(table: "Table", at: int) -> bool:
    """Whether somebody who is asked may mean this column though its header speaks of something else.

    It is a number (`Unit Number`), and nearly each row has one of its own.
    """
    senses = set(senses_of(table.headers[at]))
    is_number = bool(senses & {Sense.IDENTIFIER, Sense.REFERENCE, Sense.CODE})
    return is_number and not senses & _NEVER_OFFERED and numbers_each_row(table, at)


def objection(table: "Table", candidate: Candidate) -> str | None:
    """What speaks against taking this column unasked, as half a sentence; None if nothing does."""
    return next((words for speaks_against, words in _OBJECTIONS if speaks_against(table, candidate)), None)


_GENERAL = frozenset({Kind.BARE, Kind.EXTERNAL, Kind.ENTERPRISE})
_ISSUED_BY_INSURERS = frozenset({Kind.MEMBER, Kind.HOLDER, Kind.PUBLIC_PAYER})

# --- what else is in the table --------------------------------------------------------------------------------

_NAME_SUFFIX = re.compile(r"[A-Za-z][A-Za-z., ]*|2nd|3rd|4th", re.IGNORECASE)


def person_code(table: "Table", candidate: Candidate) -> int | None:
    """Position of a column that numbers the members of a family: a person code, a dependent number, a suffix."""
    for at, header in enumerate(table.headers):
        senses = senses_of(header)
        if Sense.PERSON_CODE in senses:
            return at
        # `Suffix` is the Jr. of a name as often
        if Sense.SUFFIX not in senses or Sense.NAME in senses or Sense.FIRST_NAME in senses:
            continue
        texts = [text for text in sample(table, at) if text]
        if share_matching(_NAME_SUFFIX, texts) < 0.5 if texts else _may_number_a_family(table, at, candidate):
            return at
    return None


def _may_number_a_family(table: "Table", suffix: int, candidate: Candidate) -> bool:
    """Whether a `Suffix` without values could be a person code, by where it stands: beside the ID, not behind a name."""
    if suffix > 0 and says_name(table.headers[suffix - 1]):
        return False
    if suffix == candidate.at + 1:
        return True
    return len(table) == 0 and candidate.kind in (Kind.MEMBER, Kind.HOLDER, Kind.BARE)


def _is_shared_by_relatives(table: "Table", candidate: Candidate) -> bool:
    """Whether the table lists families and this number repeats, or there is nothing to see whether it does."""
    if candidate.kind in (Kind.RECORD, Kind.PATIENT, Kind.SUBJECT, Kind.NATIONAL, Kind.EXTERNAL):
        return False
    if not any(says_relationship(header) for header in table.headers):
        return False
    if candidate.kind is Kind.HOLDER or len(candidate.texts) < 2:
        return True
    return len(set(candidate.texts)) < len(candidate.texts)


def _may_be_an_event(table: "Table", candidate: Candidate) -> bool:
    """Whether a row may be a visit, an order or a claim whose own number a header as general as `ID` announces."""
    return candidate.kind in _GENERAL and any(map(says_event, table.headers))


def _may_be_a_physician(table: "Table", candidate: Candidate) -> bool:
    return candidate.kind in _GENERAL and any(map(says_physician, table.headers))


def _is_the_holders(table: "Table", candidate: Candidate) -> bool:
    """Whether it is a subscriber's or client's number in a list whose names and birth dates are called the patient's."""
    if candidate.kind not in (Kind.HOLDER, Kind.CLIENT):
        return False
    return any(
        (says_name(header) or says_birth_date(header)) and Sense.PATIENT in senses_of(header)
        for header in table.headers
    )


def _may_be_the_insurers(table: "Table", candidate: Candidate) -> bool:
    """Whether the list is a clinic's that notes insurances, so that a member ID is somebody else's."""
    return candidate.kind in _ISSUED_BY_INSURERS and any(map(says_insurance, table.headers))


def _may_be_nobody(table: "Table", candidate: Candidate) -> bool:
    """Whether a bare `ID` may number things: nothing says that a row is a person."""
    if candidate.kind is not Kind.BARE:
        return False
    return not (any(map(says_name, table.headers)) and any(map(says_birth_date, table.headers)))


def _is_unproven(_table: "Table", candidate: Candidate) -> bool:
    """Whether the header needs values to bear it out, and there are none."""
    return candidate.kind is Kind.CLIENT and not candidate.texts


# --- what the values say --------------------------------------------------------------------------------------

_ID_SHAPED = re.compile(r"(?=(?:[^\d]*\d){3})[A-Za-z0-9]+(?:[-_./:#][A-Za-z0-9]+)*|\d+(?: \d+)+")
_SHORTEST_ID, _LONGEST_ID = 4, 64


def _numbers_each_row(header: str, cells: list[str]) -> bool:
    """Whether the values are made like identifiers, and nearly each row has one of its own."""
    texts = [cell for cell in cells if cell]
    if 2 * len(texts) < len(cells) or len(set(texts)) < 0.9 * len(texts):
        return False
    made = sum(1 for text in texts if _SHORTEST_ID <= len(text) <= _LONGEST_ID and _ID_SHAPED.fullmatch(text))
    if made < 0.8 * len(texts) or looks_like_social_security(header, texts):
        return False
    return all(share_matching(pattern, texts) < 0.3 for pattern in (_DATE, _AMOUNT, _PHONE))


_DATE = re.compile(
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})(?: .*)?"
)
_AMOUNT = re.compile(r"[-+$€£]?\s?[\d,]*\d\.\d{1,2}|[$€£]\s?[\d,.]+")
_PHONE = re.compile(r"\+[\d ().-]{8,}|\(\d{3}\) ?\d{3}[- .]\d{4}|1?[-. ]?\d{3}[-. ]\d{3}[-. ]\d{4}")
_NPI = re.compile(r"[12]\d{9}")
_SHORT_NUMBER = re.compile(r"\d{1,3}")
_NO_DIGIT = re.compile(r"\D*")

_FEW = 3


def says_nothing(table: "Table", candidate: Candidate) -> bool:
    """Blank throughout, or one value throughout: what such a column says, it says of the whole list."""
    if table.is_error_report:
        return False
    return len(table) > 0 and (not candidate.texts or _is_constant(table, candidate))


def _is_constant(_table: "Table", candidate: Candidate) -> bool:
    """Fewer rows may be alike by chance, or all be one patient's."""
    texts = candidate.texts
    return len(texts) >= 5 and len(set(texts)) == 1


def _is_nearly_constant(_table: "Table", candidate: Candidate) -> bool:
    texts = candidate.texts
    if len(texts) < 10:
        return False
    counts = Counter(texts)
    return counts.most_common(1)[0][1] > len(texts) / 2 or len(counts) <= min(_FEW, len(texts) // 10)


def _is_mostly_blank(table: "Table", candidate: Candidate) -> bool:
    return not table.is_error_report and len(candidate.texts) * 2 < len(candidate.cells)


def _names_no_one(_table: "Table", candidate: Candidate) -> bool:
    return share_matching(_NO_DIGIT, candidate.cells) >= 0.5


def _looks_like_social_security(table: "Table", candidate: Candidate) -> bool:
    return (
        looks_like_social_security(candidate.header, candidate.cells)
        or (candidate.kind not in (Kind.RECORD, Kind.MEMBER) and nine_digits(candidate.cells))
        or _repeats_social_security(table, candidate)
    )


def _repeats_social_security(table: "Table", candidate: Candidate) -> bool:
    """Whether it holds what a column of Social Security numbers beside it holds.

    Some eligibility layouts put the employee's into `Member_Number`, for example Avesis's.
    """
    for at, header in enumerate(table.headers):
        if at == candidate.at or not header_says_social_security(header):
            continue
        pairs = [(a, b) for a, b in zip(candidate.cells, sample(table, at), strict=True) if a and b]
        same = sum(1 for a, b in pairs if key(a) == key(b))
        if same > 0 and same >= 0.1 * len(pairs):
            return True
    return False


def _looks_like_dates(_table: "Table", candidate: Candidate) -> bool:
    return share_matching(_DATE, candidate.cells) >= 0.3


def _looks_like_amounts(_table: "Table", candidate: Candidate) -> bool:
    return share_matching(_AMOUNT, candidate.cells) >= 0.5


def _looks_like_addresses(_table: "Table", candidate: Candidate) -> bool:
    """E-mail addresses, and under a header that promises little, telephone numbers."""
    texts = candidate.texts
    if sum("@" in text for text in texts) * 2 > len(texts):
        return True
    return _is_frail(candidate) and share_matching(_PHONE, texts) >= 0.5


def _looks_like_npis(_table: "Table", candidate: Candidate) -> bool:
    if not _is_frail(candidate):
        return False
    texts = candidate.texts
    return share_matching(_NPI, texts) >= 0.8 and sum(map(_is_npi, texts)) >= 0.8 * len(texts)


def _is_npi(text: str) -> bool:
    """Whether ten digits check as a National Provider Identifier: Luhn's sum with the prefix 80840, 24."""
    if not _NPI.fullmatch(text):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in text[-2::-2])
    return (24 + sum(doubled) + sum(int(digit) for digit in text[-1::-2])) % 10 == 0


def _looks_like_row_numbers(table: "Table", candidate: Candidate) -> bool:
    """Whether values fill 1 to n, as they do where somebody numbered the rows."""
    texts = candidate.texts
    if not _is_frail(candidate) or len(texts) < 2 or not all(text.isdecimal() for text in texts):
        return False
    numbers = set(map(int, texts))
    return len(numbers) == len(texts) and max(numbers) <= 1.2 * len(table) + 2


def _looks_like_person_codes(_table: "Table", candidate: Candidate) -> bool:
    """Whether `Person Number` holds 01, 02, 03."""
    return (
        candidate.kind in (Kind.PATIENT, Kind.SUBJECT, Kind.MEMBER)
        and len(candidate.texts) >= 10
        and share_matching(_SHORT_NUMBER, candidate.cells) >= 0.9
        and len(set(candidate.texts)) < 0.5 * len(candidate.texts)
    )


def _repeats(_table: "Table", candidate: Candidate) -> bool:
    """Whether a number that need not be the patient's stands in more rows than a few duplicates explain."""
    texts = candidate.texts
    return candidate.kind in FRAIL - {Kind.EXTERNAL} and len(set(texts)) < 0.9 * len(texts)


def _stands_beside_other_people(table: "Table", candidate: Candidate) -> bool:
    """Whether repeats of a value stand beside different people: a household's number, not a patient's.

    A few such conflicts are wrong rows, to be refused one by one; many are the column's meaning.
    """
    rows_of: dict[str, list[int]] = {}
    for row, text in enumerate(candidate.cells):
        if text:
            rows_of.setdefault(text, []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    shared = _shared_by_different_people(table, repeated) if repeated else 0
    if _is_frail(candidate):
        return shared > 0
    share = 0.1 if candidate.kind is Kind.MEMBER else 0.25
    return shared >= _FEW and shared > share * len(rows_of)


def _shared_by_different_people(table: "Table", repeated: list[list[int]]) -> int:
    """How many of these groups of sampled rows hold two people, by their first names and birth dates."""
    # the rule of when two rows are one person is screening's, which imports this package
    from batchlinks.patients.people import identity_columns, person

    columns = identity_columns(table.headers)
    blank = [""] * len(sample(table, 0))
    birth, first, last, full = (
        blank if at is None else sample(table, at)
        for at in (columns.birth_date, columns.first_name, columns.last_name, columns.full_name)
    )
    shared = 0
    for rows in repeated:
        one, *others = (person(birth[row], first[row], last[row], full[row]) for row in rows)
        shared += any(one.differs_from(other) for other in others)
    return shared


def _is_frail(candidate: Candidate) -> bool:
    return candidate.meaning.standing < Standing.CLEAR or candidate.kind is Kind.BARE


_OBJECTIONS: tuple[tuple[Callable[["Table", Candidate], bool], str], ...] = (
    (_may_be_an_event, "other columns speak of visits, orders or claims, and it may be one's number"),
    (_may_be_a_physician, "the rows seem to be physicians"),
    (_is_the_holders, "the names and birth dates beside it are called the patient's"),
    (_may_be_the_insurers, "other columns speak of the patient's insurance, and it may be the insurer's number"),
    (_may_be_nobody, "no names and birth dates beside it say that it numbers people"),
    (_is_unproven, "there are no values to bear it out"),
    (_looks_like_social_security, "it holds what looks like Social Security numbers"),
    (_is_constant, "all its values are the same"),
    (_is_mostly_blank, "most of it is blank"),
    (_looks_like_dates, "its values are dates"),
    (_looks_like_addresses, "its values are e-mail addresses or telephone numbers"),
    (_looks_like_amounts, "its values are amounts"),
    (_names_no_one, "most of its values have no digit"),
    (_is_nearly_constant, "most of its values are the same"),
    (_looks_like_npis, "its values are numbers of physicians (NPI)"),
    (_looks_like_row_numbers, "its values look like row numbers"),
    (_looks_like_person_codes, "its values number the members of a family"),
    (_stands_beside_other_people, "the same value stands beside different people, as a household's number does"),
    (_is_shared_by_relatives, "a column of relationships beside it says that a family may share it"),
    (_repeats, "its values repeat too often"),
)
