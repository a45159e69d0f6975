"""Which column holds the external ID: by its header, and borne out by its values.

Asking is fine, the wrong column is not: it would send somebody's Social Security number, a visit's or a
physician's number to an API. So a column is taken unasked only where its header says plainly that it is the
patient's, nothing else could be it, and nothing in its values speaks against it.
"""

import difflib
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlinks.columns.header_meaning import Kind, Standing, id_meaning, people_words
from batchlinks.columns.header_words import is_plain, key, notes_an_insurance
from batchlinks.columns.unsuitable import Content, unsuitable_content
from batchlinks.columns.value_evidence import (
    FRAIL,
    Candidate,
    candidate_at,
    is_worth_offering,
    numbers_each_row,
    objection,
    person_code,
    says_nothing,
)
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Advice, Do, Part, Setting

if TYPE_CHECKING:
    from batchlinks.table import Table


@dataclass(frozen=True, slots=True)
class IdColumn:
    """The column, or the columns to be joined, whose cells are the external IDs."""

    parts: tuple[int, ...]
    """Positions; two or more for `A+B`."""

    name: str
    """As people know it: the header, `MRN (2)` for a repeated one, `Column H` for a blank one, `A+B` for two."""


class IdColumnUndecided(RosterError):
    """Nobody but the user can say which column it is. The message holds nothing that could be a patient's."""

    def __init__(
        self, *parts: Part, candidates: tuple[int, ...], names: tuple[str, ...], joined: str | None = None
    ) -> None:
        super().__init__(*parts)
        self.joined = joined
        """Two columns that together seem to be it, as `--id-column` takes them: `Subscriber ID+Suffix`."""
        self.candidates = candidates
        """Positions of the columns that could be it, the most likely first; may be empty."""
        self.names = names
        """What each candidate is called, as `--id-column` takes it; `column C` where its header may be a person's."""


class IdColumnUnsuitable(SettingsError):
    """The named column, or one of those to be joined, holds what no patient ID is."""

    def __init__(self, name: str, content: Content) -> None:
        super().__init__(f"{name} holds {content.value}, not patient IDs. ", Advice(Do.CHOOSE_OTHER_COLUMN))
        self.name = name
        """As it may stand in a message: the header, or a letter where that may be a person's."""
        self.content = content


def columns_for_ids(table: "Table") -> list[str]:
    """The names of the columns that somebody may choose from: all but those that hold dates, names and the like.

    Nor the same few values again and again, as ZIP codes and clinics do, under a header that speaks of no ID.
    """
    names = display_names(table.headers)
    speaking = set(possible_id_headers(table.headers))
    return [
        name
        for at, name in enumerate(names)
        if unsuitable_content(table, at) is None and (at in speaking or not _repeats_itself(table, at))
    ]


def _repeats_itself(table: "Table", at: int) -> bool:
    values = [text for text in table.cells.column(at).slice(0, _SAMPLE).to_pylist() if text]
    return len(values) >= _FEW and 2 * len(set(values)) < len(values)


_SAMPLE = 2_000
_FEW = 10


def possible_id_headers(headers: Sequence[str]) -> list[int]:
    """Positions of the headers that could be an external ID's, on their own words alone; generous."""
    meanings = map(id_meaning, headers)
    return [
        at
        for at, meaning in enumerate(meanings)
        if meaning.standing > Standing.NONE and meaning.kind is not Kind.UNKNOWN
    ]


def choose_id_column(table: "Table", wanted: str | None = None, *, any_column: bool = False) -> IdColumn:
    """The ID column that the user named, or else the one that is found.

    `wanted`: a header (case, accents, spaces and punctuation do not count, unless one fits exactly), `MRN (2)` for
    the second of two, `A+B` to join columns, a column letter where no header is called so; without header row also
    a number, 1 for the first. `any_column`: a named one is meant whatever it holds.

    Raises SettingsError where `wanted` fits no column, IdColumnUnsuitable where that column cannot hold patient IDs,
    IdColumnUndecided where it fits several, or where no column was named and none can be taken without asking.
    """
    if wanted is None:
        return _found(table)
    named = _named(table, wanted)
    for part in () if any_column else named.parts:
        content = unsuitable_content(table, part)
        if content is not None:
            raise IdColumnUnsuitable(_describe(table.headers, [part])[0], content)
    return named


# --- the column that the user named ---------------------------------------------------------------------------


def _named(table: "Table", wanted: str) -> IdColumn:
    headers = table.headers
    at = column_called(headers, wanted)
    if at is not None:
        return IdColumn((at,), display_names(headers)[at])
    if "+" in wanted:
        parts = tuple(column_called(headers, part) for part in wanted.split("+"))
        known = tuple(part for part in parts if part is not None)
        if len(known) == len(parts) > len(set(known)):
            raise SettingsError(Setting("id_column"), " joins a column with itself. Name two different columns.")
        if len(known) == len(parts):
            names = display_names(headers)
            return IdColumn(known, "+".join(names[part] for part in known))
    raise SettingsError(*_not_there(headers, wanted))


def column_called(headers: Sequence[str], wanted: str) -> int | None:
    """Position of the one column that is called so, None if there is none.

    Raises IdColumnUndecided if there are several.
    """
    wanted = wanted.strip()
    for same in _ways_to_compare(headers, wanted):
        if len(same) == 1:
            return same[0]
        if same:
            raise _undecided(headers, same, f"several columns are called so: {_list_columns(headers, same)}")
    return _column_lettered(headers, wanted)


def _ways_to_compare(headers: Sequence[str], wanted: str) -> Iterator[list[int]]:
    yield [at for at, header in enumerate(headers) if header and header == wanted]
    given = enumerate(zip(headers, display_names(headers), strict=True))
    yield [at for at, (header, name) in given if name != header and name.casefold() == wanted.casefold()]
    if sought := key(wanted):
        yield [at for at, header in enumerate(headers) if key(header) == sought]


def _column_lettered(headers: Sequence[str], wanted: str) -> int | None:
    """Position of the column with this letter, or in a list without header with this number.

    Beside headers one letter, or `column AB`: two letters more often are a header misspelt.
    """
    headerless = not any(headers)
    lettered = re.fullmatch(r"(column )?([a-z]{1,3})", wanted.casefold())
    if lettered and (headerless or lettered[1] or len(lettered[2]) == 1):
        at = 0
        for letter in lettered[2]:
            at = at * 26 + string.ascii_lowercase.index(letter) + 1
    elif headerless and re.fullmatch("[0-9]{1,5}", wanted):
        at = int(wanted)
    else:
        return None
    return at - 1 if 1 <= at <= len(headers) else None


def _not_there(headers: Sequence[str], wanted: str) -> Iterator[Part]:
    """What is wrong with a name that fits no column."""
    if not any(headers):
        last = column_letters(len(headers) - 1) if headers else "A"
        yield "the list has no header row, so "
        yield Setting("id_column")
        yield f" takes a column letter (A to {last}) or number (1 to {len(headers)}); what was given is neither."
        return
    yield "no column is called what "
    yield Setting("id_column")
    shown = {key(header): header for header in headers if is_plain(header)}
    near = difflib.get_close_matches(key(wanted), list(shown), n=3, cutoff=0.5)
    there = [shown[name] for name in near] or list(shown.values())[:_HEADERS_SHOWN]
    if not there:
        yield from (" says. Check the header row (", Setting("header_row"), ").")
        return
    what = "The nearest" if near else "Among the columns"
    yield f" says. {what}: {_list([f'`{name}`' for name in there])}."


# --- the column that is found ---------------------------------------------------------------------------------

_HEADERS_SHOWN = 6
_COLUMNS_LISTED = 8

_PROVIDERS_OWN = frozenset({Kind.RECORD, Kind.PATIENT, Kind.SUBJECT})
_INSURERS_OWN = frozenset({Kind.MEMBER, Kind.HOLDER})
# Beside these a member ID may be the insurer's, noted in a list of the clinic's, or an employee's.
_DOUBTS_A_MEMBER = frozenset({Kind.HOLDER, Kind.ACCOUNT, Kind.INSURANCE})


def _found(table: "Table") -> IdColumn:
    headers = table.headers
    if not any(headers):
        raise _undecided(
            headers, _columns_by_values(table), "the list has no header row, so its columns can't be told apart"
        )
    candidates = _candidates(table)
    # a blank column and one that names a kind stand in nobody's way
    living = [candidate for candidate in candidates if not says_nothing(table, candidate)]
    names_insurances = any(map(notes_an_insurance, headers))
    chosen = _unrivaled(living, names_insurances=names_insurances)
    offered = _offered(table, candidates)
    if len(chosen) != 1:
        raise _undecided(headers, offered, _why_none(headers, living or candidates), example=_plainest(living))
    objection = _objection(table, chosen[0])
    if objection:
        beside = person_code(table, chosen[0])
        joined = None if beside is None else "+".join(callable_names(headers, (chosen[0].at, beside)))
        raise _undecided(headers, offered, objection, joined=joined)
    return IdColumn((chosen[0].at,), display_names(headers)[chosen[0].at])


def _candidates(table: "Table") -> list[Candidate]:
    """The columns that could be the external ID's, the plainest first."""
    people = people_words(table.headers)
    found = [candidate_at(table, at, people) for at in range(len(table.headers))]
    return sorted(
        (candidate for candidate in found if candidate is not None),
        key=lambda candidate: (-candidate.meaning.standing, candidate.at),
    )


def _offered(table: "Table", candidates: Sequence[Candidate]) -> list[int]:
    """The positions of the columns to choose from where somebody is asked, the most likely first."""
    likely = dict.fromkeys(candidate.at for candidate in candidates)
    others = [at for at in range(len(table.headers)) if at not in likely and is_worth_offering(table, at)]
    return [at for at in (*likely, *others) if unsuitable_content(table, at) is None]


def _columns_by_values(table: "Table") -> list[int]:
    """Of a list without a header: the columns that number each row."""
    return [
        at for at in range(len(table.headers)) if numbers_each_row(table, at) and unsuitable_content(table, at) is None
    ]


def _unrivaled(candidates: Sequence[Candidate], *, names_insurances: bool) -> list[Candidate]:
    """The likely ones beside which no other could be meant just as well."""
    # by meaning, of which there are few however many columns there are
    meanings = Counter((candidate.meaning.standing, candidate.kind) for candidate in candidates)

    def is_rivaled(candidate: Candidate) -> bool:
        own = (candidate.meaning.standing, candidate.kind)
        return any(
            _stands_in_the_way(*other, candidate, names_insurances=names_insurances)
            for other, count in meanings.items()
            if count > (other == own)
        )

    return [
        candidate
        for candidate in candidates
        if candidate.meaning.standing >= Standing.LIKELY and not is_rivaled(candidate)
    ]


def _stands_in_the_way(standing: Standing, kind: Kind, candidate: Candidate, *, names_insurances: bool) -> bool:
    """Whether another column of this meaning could be meant just as well, so that `candidate` is not taken unasked."""
    if standing is Standing.DOUBTFUL:
        return candidate.kind in FRAIL or (candidate.kind is Kind.MEMBER and kind in _DOUBTS_A_MEMBER)
    if kind is Kind.BARE:
        # a table's own row ID beside the patient's
        return candidate.kind is Kind.BARE
    if kind in _INSURERS_OWN and names_insurances:
        # the insurer's number, noted in a list of the clinic's
        return candidate.kind not in _PROVIDERS_OWN
    if kind is Kind.NATIONAL:
        return candidate.kind is not Kind.RECORD
    # a hospital's list names Medicaid numbers too; a health plan's member ID may be either
    return not (kind is Kind.PUBLIC_PAYER and candidate.kind in _PROVIDERS_OWN)


def _plainest(candidates: Sequence[Candidate]) -> int | None:
    """The position of the column to name as an example.

    It says that it is the patient's, so that nobody copies a wrong one.
    """
    plain = (
        candidate.at
        for candidate in candidates
        if candidate.meaning.standing is Standing.CLEAR and candidate.kind not in FRAIL
    )
    return next(plain, candidates[0].at if len(candidates) == 1 else None)


def _why_none(headers: Sequence[str], candidates: Sequence[Candidate]) -> str:
    if not candidates:
        return "no column's header says that it is the patient ID (MRN, member ID, patient ID …)"
    named = _list_columns(headers, [candidate.at for candidate in candidates])
    if len(candidates) == 1:
        return f"{named} could be the patient ID, but its header does not say so for certain"
    return f"more than one column could be the patient ID: {named}"


def _objection(table: "Table", candidate: Candidate) -> str | None:
    """What speaks against taking this column unasked, as half a sentence; None if nothing does."""
    name = _describe(table.headers, [candidate.at])[0]
    beside = person_code(table, candidate)
    if beside is not None:
        other = _describe(table.headers, [beside])[0]
        return f"{other} beside {name} seems to tell the members of a family apart, so {name} alone may be shared"
    against = objection(table, candidate)
    return f"{name} could be the patient ID, but {against}" if against else None


# --- how columns are called -----------------------------------------------------------------------------------


def display_names(headers: Sequence[str]) -> list[str]:
    """What each column is called in results: a blank header becomes `Column H`, a repeated one gets ` (2)`."""
    names: list[str] = []
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for at, header in enumerate(headers):
        name = plain = header or f"Column {column_letters(at)}"
        count = counts.get(plain, 1)
        while name in taken:
            count += 1
            name = f"{plain} ({count})"
        counts[plain] = count
        taken.add(name)
        names.append(name)
    return names


def column_letters(at: int) -> str:
    """A spreadsheet's letters for a position: 0 is A, 26 is AA."""
    letters = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = string.ascii_uppercase[rest] + letters
    return letters


def callable_names(headers: Sequence[str], columns: Sequence[int]) -> tuple[str, ...]:
    """Names for columns that `--id-column` takes and that cannot be a patient's data."""
    names = display_names(headers)
    certain = _is_header_row(headers)
    counts = Counter(headers)
    return tuple(
        names[at]
        if _may_be_shown(headers[at], certain=certain) and (names[at] != headers[at] or counts[headers[at]] == 1)
        else f"column {column_letters(at)}"
        for at in columns
    )


_LONGEST_SHOWN = 60


def _may_be_shown(header: str, *, certain: bool) -> bool:
    """Whether a header can be no patient's data: it is one by its own words, or by those of the others beside it."""
    if is_plain(header):
        return True
    return certain and bool(header) and len(header) <= _LONGEST_SHOWN and not re.search(r"\d{3}|@", header)


def _is_header_row(headers: Sequence[str]) -> bool:
    """Whether these are headers for certain: half of them, and two at least, say so by their words."""
    plain = sum(map(is_plain, headers))
    return plain >= 2 and 2 * plain >= sum(map(bool, headers))


def _describe(headers: Sequence[str], columns: Sequence[int]) -> list[str]:
    """What columns are called in a message, in a few words each."""
    return [
        name if name == f"column {column_letters(at)}" else f"`{name}` (column {column_letters(at)})"
        for at, name in zip(columns, callable_names(headers, columns), strict=True)
    ]


def _undecided(
    headers: Sequence[str],
    candidates: Sequence[int],
    what: str,
    *,
    example: int | None = None,
    joined: str | None = None,
) -> IdColumnUndecided:
    shown = [] if candidates else [at for at, header in enumerate(headers) if is_plain(header)][:_HEADERS_SHOWN]
    there = f" Among the columns: {_list_columns(headers, shown)}." if shown else ""
    likeliest = "" if example is None else callable_names(headers, [example])[0]
    return IdColumnUndecided(
        f"can't tell which column holds the patient ID: {what}.{there} ",
        Advice(Do.CHOOSE_ID_COLUMN, example=likeliest),
        candidates=tuple(candidates),
        names=callable_names(headers, candidates),
        joined=joined,
    )


def _list_columns(headers: Sequence[str], columns: Sequence[int]) -> str:
    """The first few of these columns by name, and how many more there are."""
    more = len(columns) - _COLUMNS_LISTED
    shown = columns if more <= 0 else columns[:_COLUMNS_LISTED]
    return _list([*_describe(headers, shown), *([f"{more:,} more"] if more > 0 else [])])


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
