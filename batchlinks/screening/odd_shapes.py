"""Rows that are unlike the others: somebody has to look at them. Nothing here is proof that a row is no patient."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from batchlinks.screening.footers import FOOTER_WORDS, header_key, is_plain_total, is_total_label
from batchlinks.screening.frames import series, true
from batchlinks.screening.id_shapes import rare_rows, shape
from batchlinks.screening.result import Mask, Positions
from batchlinks.screening.rows import Refusals, Rows

_NOTHING: Mapping[str, object] = {}


def find_odd_shapes(rows: Rows) -> Refusals:
    """Rows whose ID is made unlike the others, or that are unlike the others beside it."""
    if rows.rules.any_shape:
        return
    yield more_than_an_id(rows), _NOTHING
    yield unlike_a_patient(rows), _NOTHING
    yield rare_rows(rows.shapes, any_length=rows.rules.any_length), _NOTHING


# --- more than an ID in its cell ------------------------------------------------------------------------------

_HEADER_WORDS = frozenset("mrn id ids no nr num number patient patientid memberid member pt record chart".split())
_BEFORE_AN_ID = re.compile(
    r"([A-Za-z]+)[\s:#.=_-]*[0-9]|([A-Za-z][A-Za-z .]*?)[\s:#.=_-]+[A-Za-z]{0,3}[0-9]"  # MRN123, MRN: A123
)
_CODE = re.compile(r"[A-Z]{1,6}")


def more_than_an_id(rows: Rows) -> Mask:
    """A usual ID and a name, a word or a second ID in one cell; or the header's own word before an ID, as few cells have it."""
    found = np.zeros(len(rows), dtype=bool)
    shapes, words = rows.shapes, _words_of_header(rows)
    unusual = np.flatnonzero(rows.readable & ~shapes.rows_of(shapes.usual))
    texts = rows.ids.iloc[unusual]
    if shapes.usual.any():
        parted = true(texts.str.contains("[^A-Za-z0-9]"))
        found[unusual[parted]] = _hold_more(texts[parted].tolist(), [str(name) for name in shapes.names[shapes.usual]])
    first_words = "|".join(map(re.escape, sorted(words)))
    perhaps = true(texts.str.contains(f"^(?i:{first_words})[^A-Za-z]"))
    labelled = np.array([_begins_with(text, words) for text in texts[perhaps]], dtype=bool)
    if 2 * labelled.sum() <= shapes.total:
        found[unusual[perhaps][labelled]] = True
    return found


def _hold_more(texts: Sequence[str], usual: Sequence[str]) -> list[bool]:
    """Whether each of `texts` holds an ID of one of the `usual` shapes and something else.

    A code in capitals that three or more of them have in the same place (`MGH:`) belongs to the ID.
    """
    longest_first = sorted(usual, key=len, reverse=True)
    an_id = re.compile("|".join(rf"(?<![A-Za-z0-9]){_expression(each)}(?![A-Za-z0-9])" for each in longest_first))
    beside = [an_id.sub("\0", text) for text in texts]
    forms = Counter(zip(beside, map(shape, texts), strict=True))
    return [
        "\0" in rest
        and not (forms[rest, shape(text)] >= 3 and _CODE.fullmatch(re.sub(r"[\0:_.#*~/-]", "", rest)))
        and _says_something(rest)
        for rest, text in zip(beside, texts, strict=True)
    ]


def _says_something(rest: str) -> bool:
    """Whether what stands beside the IDs (each of them a NUL) is a word, something apart, or another ID; `-01` is not."""
    words = rest.replace("\0", "")
    return bool(
        re.search(r"[A-Za-z]{2}", words)
        or re.search(r"(?:^|\s)[A-Za-z0-9]|[A-Za-z0-9](?:\s|$)", rest)
        or (rest.count("\0") > 1 and re.search(r"[\s/:]", words))
    )


def _expression(made: str) -> str:
    """For IDs of this shape."""
    return "".join({"9": "[0-9]", "a": "[A-Za-z]"}.get(sign, re.escape(sign)) for sign in made)


def _words_of_header(rows: Rows) -> frozenset[str]:
    headers = [rows.table.headers[part] for part in rows.column.parts]
    words = {word.lower() for header in headers for word in re.findall(r"[A-Za-z]{2,}", header)}
    return _HEADER_WORDS | words | {header_key(header) for header in headers}


def _begins_with(text: str, words: frozenset[str]) -> bool:
    found = _BEFORE_AN_ID.match(text)
    said = found and (found[1] or found[2])
    return bool(said) and all(word.lower() in words for word in re.findall(r"[A-Za-z]+", said or ""))


# --- rows that are not like a patient's -----------------------------------------------------------------------

_HEADING = (
    r"(?i)^(?:unit|ward|wing|floor|room|bay|dept|department|clinic|site|facility|location|provider|pcp|dr|doctor|physician|nurse"
    r"|team|group|panel|section|service|region|district|county|practice|office|page|station|abteilung|haus|zimmer|etage|praxis"
    r"|salle|cabinet|piso|sala|unidad|reparto|afdeling|kamer)\b.*[0-9]"
)
_MORE_LINES = 3
"""Lines that a record takes at most beside its first."""

_MANY_PAIRS = 5
"""Records of two lines that cannot be chance."""


def is_rare(rows: Rows) -> Mask:
    """Rows whose ID has a shape that under a quarter of the rows have, or no other one."""
    shapes = rows.shapes
    return shapes.rows_of((4 * shapes.rows < shapes.total) | ((shapes.rows == 1) & (shapes.total > 1)))


def strangers(rows: Rows) -> Mask:
    """Sparse rows whose ID is made like none in a fuller row."""
    shapes = rows.shapes
    in_full_rows = np.zeros(len(shapes.names), dtype=bool)
    in_full_rows[shapes.of_row[rows.readable & ~rows.sparse]] = True
    return rows.sparse & shapes.rows_of(~in_full_rows)


def unlike_a_patient(rows: Rows) -> Mask:
    """Sparse rows of a rare shape that name nobody; headings, subtotals, second lines of a record."""
    speaks = rows.readable & (rows.cells.report_lines | rows.cells.headers | rows.aggregates | rows.declared_totals)
    second = _second_lines(rows)
    if not rows.sparse.any():
        return speaks | second
    strange, rare = strangers(rows), is_rare(rows)
    heading = np.zeros(len(rows), dtype=bool)
    heading[strange] = true(rows.ids[strange].str.contains(_HEADING))
    unborn = ~rows.birth_date if rows.identity.birth_date is not None else ~rows.first_name
    found = rows.sparse & rare & ~rows.names_somebody
    found |= (
        (heading & rare)
        | _in_rhythm(strange & ~rows.names_somebody)
        | _in_alternation(strange & unborn)
        | _labelled(rows)
    )
    return speaks | second | (found & ~_known_elsewhere(rows, found))


def _in_rhythm(strange: Mask) -> Mask:
    """Rows that come again and again in runs of one length, three rows at most."""
    lengths, _ = _runs(strange)
    usual = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    again = len(lengths) >= 3 and usual <= _MORE_LINES and 10 * (lengths == usual).sum() >= 9 * len(lengths)
    return strange if again else np.zeros(len(strange), dtype=bool)


def _in_alternation(strange: Mask) -> Mask:
    """Rows in such a rhythm with one other row between their runs, as where each record takes several lines."""
    _, between = _runs(strange)
    return _in_rhythm(strange & (10 * (between == 1).sum() >= 9 * len(between)))


def _second_lines(rows: Rows) -> Mask:
    """Every other row of a list of five or more such pairs, of which the first names a person: records that take two lines.

    The second is sparse and names none, or has no birth date, where all the first have one, and an ID that is made otherwise.
    """
    perhaps = [rows.readable & rows.sparse & ~rows.a_person]
    if rows.identity.birth_date is not None:
        born = np.zeros(len(rows.shapes.names), dtype=bool)
        born[rows.shapes.of_row[rows.readable & rows.birth_date]] = True
        perhaps.append(~rows.birth_date & rows.shapes.rows_of(~born))
    for second in perhaps:
        places = np.flatnonzero(second)
        alternate = (
            len(places) >= _MANY_PAIRS and bool((np.diff(places) == 2).all()) and 2 * len(places) >= len(rows) - 1
        )
        if alternate and places[0] > 0 and rows.a_person[places - 1].all():
            return second
    return np.zeros(len(rows), dtype=bool)


def _runs(rows: Mask) -> tuple[Positions, Positions]:
    """How many rows each run has, and how many others stand between one and the next."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    return ends - starts, starts[1:] - ends[:-1]


def _labelled(rows: Rows) -> Mask:
    """Sparse rows that name nobody and have a total's words beside the ID. Where a name stands, only those that are no name."""
    found = np.zeros(len(rows), dtype=bool)
    perhaps = rows.sparse & rows.readable & ~rows.names_somebody
    if perhaps.any():
        for index in set(range(len(rows.table.headers))) - set(rows.column.parts):
            is_label = is_plain_total if index == rows.identity.last_name else is_total_label
            texts = series(rows.table.column(index))[perhaps]
            texts = texts[true(texts.str.contains(FOOTER_WORDS))]
            for position, text in zip(texts.index.tolist(), texts, strict=True):
                found[position] |= is_label(text)
    return found


def _known_elsewhere(rows: Rows, found: Mask) -> Mask:
    """Rows whose ID stands in a row too that is like the others: then it is a patient's."""
    if not found.any():
        return found
    others = rows.ids[rows.readable & ~found].unique()
    return found & true(rows.ids.isin(others))
