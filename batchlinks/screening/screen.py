"""Rows -> IDs to send, refusals with reasons, duplicates. Pure: no file, network, clock or screen.

The order of the rules is `RULES`: the first that fits gives a row its code.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from batchlinks.columns.id_column import IdColumn
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.exclusions import find_excluded, find_withdrawn
from batchlinks.screening.frames import arrow
from batchlinks.screening.id_shapes import mixed_rows
from batchlinks.screening.ids_in_doubt import find_ambiguous, find_conflicts, find_same_people
from batchlinks.screening.lengths import find_longer_than_width, find_lost_zeros, warn_of_lengths
from batchlinks.screening.no_patient import find_no_patients
from batchlinks.screening.odd_shapes import find_odd_shapes
from batchlinks.screening.result import Mask, Rules, Screened, in_words, number_of
from batchlinks.screening.rows import Refusals, Rows
from batchlinks.table import Table

__all__ = ["RULES", "Rules", "Screened", "in_words", "screen"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to refuse a row, and how to find the rows that it fits."""

    code: ErrorCode
    find: Callable[[Rows], Refusals]


def _wrong_field_count(rows: Rows) -> Refusals:
    for position, fields in rows.table.ragged_fields.items():
        yield np.array([position]), {"found": len(fields), "expected": len(rows.table.headers)}


def _other_table(rows: Rows) -> Refusals:
    yield np.array(rows.table.other_table, dtype=np.int64), {}


def _by_its_cell(code: ErrorCode) -> Rule:
    """Where the cell alone, whatever stands in other rows, deserves this code."""

    def find(rows: Rows) -> Refusals:
        yield rows.cells.codes == number_of(code), {}

    return Rule(code, find)


RULES: tuple[Rule, ...] = (
    Rule(ErrorCode.WRONG_FIELD_COUNT, _wrong_field_count),
    Rule(ErrorCode.OTHER_TABLE, _other_table),
    _by_its_cell(ErrorCode.BLANK_ID),
    Rule(ErrorCode.NOT_A_PATIENT, find_no_patients),
    _by_its_cell(ErrorCode.FORMULA_ERROR),
    _by_its_cell(ErrorCode.NO_CACHED_VALUE),
    _by_its_cell(ErrorCode.DATE_IN_ID),
    _by_its_cell(ErrorCode.UNREADABLE_FORMAT),
    _by_its_cell(ErrorCode.LOST_DIGITS),
    _by_its_cell(ErrorCode.DECIMAL_NUMBER),
    _by_its_cell(ErrorCode.SCIENTIFIC_NOTATION),
    _by_its_cell(ErrorCode.PLACEHOLDER_ID),
    _by_its_cell(ErrorCode.NO_DIGIT),
    _by_its_cell(ErrorCode.UNEXPECTED_CHARACTER),
    _by_its_cell(ErrorCode.TOO_LONG),
    _by_its_cell(ErrorCode.PATTERN_MISMATCH),
    Rule(ErrorCode.PATTERN_MISMATCH, find_longer_than_width),
    Rule(ErrorCode.LOST_ZEROS, find_lost_zeros),
    Rule(ErrorCode.ODD_SHAPE, find_odd_shapes),
    Rule(ErrorCode.EXCLUDED, find_excluded),
    Rule(ErrorCode.WITHDRAWN, find_withdrawn),
    Rule(ErrorCode.CONFLICTING_ID, find_conflicts),
    Rule(ErrorCode.AMBIGUOUS_ID, find_ambiguous),
)
"""In this order: the first that fits gives a row its code."""


def screen(table: Table, column: IdColumn, rules: Rules) -> Screened:
    """Give every row its ID or the first code that fits, find duplicates, and hold back IDs that are in doubt."""
    rows = Rows(table, column, rules)
    for rule in RULES:
        for found, gaps in rule.find(rows):
            rows.refuse(found, rule.code, gaps)
    _resolve_duplicates(rows)
    screened = Screened(arrow(rows.ids), rows.codes, rows.kept, rows.gaps)
    _warn(screened, rows)
    return screened


def _resolve_duplicates(rows: Rows) -> None:
    """Make later rows of an ID that is in no doubt duplicates of the first.

    Whatever becomes of that one: each patient is to be fixed once.
    """
    repeats = rows.repeats
    settled = repeats.settled
    rows.kept[repeats.positions[settled]] = repeats.firsts[settled]
    rows.codes[repeats.positions[settled & repeats.repeated]] = 0


def _warn(screened: Screened, rows: Rows) -> None:
    """What was noticed in rows that are used all the same."""
    table, repeats = rows.table, rows.repeats
    screened.lengths, by_length = warn_of_lengths(rows)
    found: dict[WarningCode, Mask] = {
        **by_length,
        WarningCode.MIXED_SHAPES: mixed_rows(rows.shapes, rows.open),
        WarningCode.OTHER_LAST_NAME: rows.mask(repeats.other_last_names),
        WarningCode.NO_IDENTITY_COLUMNS: rows.mask(() if rows.identity else repeats.positions[repeats.repeated]),
        WarningCode.SAME_PERSON: find_same_people(rows),
    }
    for code, mask in found.items():
        if mask.any():
            screened.warnings[code] = table.row_numbers[mask].tolist()
    if table.hidden_rows:
        screened.warnings[WarningCode.HIDDEN_ROWS] = table.hidden_rows
    for code, holds in (
        (WarningCode.HIDDEN_SHEET, table.hidden_sheet),
        (WarningCode.FORMATS_UNKNOWN, table.formats_unknown),
        (WarningCode.ENCODING_GUESSED, table.encoding_guessed),
    ):
        if holds:
            screened.warnings[code] = ()
