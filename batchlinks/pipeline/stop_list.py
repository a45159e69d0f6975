"""Who answered STOP: a texting service knows telephone numbers only, and the patient list knows whose they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.id_column import choose_id_column
from batchlinks.errors import RosterError
from batchlinks.outreach.outreach_plan import require_extra
from batchlinks.outreach.phone_numbers import check_region, one_in_e164
from batchlinks.roster.error_report import without_report_columns
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions
from batchlinks.screening.result import Rules, in_words
from batchlinks.table import Table


@dataclass(frozen=True, slots=True)
class PhoneMatches:
    """Whom telephone numbers belong to."""

    wanted: Mapping[str, int] = field(repr=False)
    """External IDs, each with its row in the list."""

    numbers: int
    """Different numbers in the file."""

    unmatched: int
    """Of these, those that are nobody's on the list."""


def match_phones(phones: Path, roster: Path, *, id_column: str | None, region: str) -> PhoneMatches:
    """The patients of `roster` one of whose numbers, in whatever column, stands in `phones`, in whatever column.

    Raises RosterError or SettingsError for files that cannot be read, for one without a number, and for a patient with one of
    these numbers whose ID cannot be read: somebody who is to be left alone might not be.
    """
    require_extra()
    region = check_region(region)
    numbers = {
        number for text in _texts(read_roster(phones, ReadOptions(header_row=0))) for number in _of(text, region)
    }
    if not numbers:
        raise RosterError(f"{phones.name} has no valid telephone number in it, so nobody was withdrawn.")
    table = without_report_columns(read_roster(roster, ReadOptions(id_column=id_column)))
    column = choose_id_column(table, id_column)
    from batchlinks.screening.screen import screen  # with pandas, which is imported while the roster is read

    ids = screen(table, column, Rules(any_length=True, any_shape=True)).ids
    found: dict[int, set[str]] = {}
    for position, text in _cells(table, besides=column.parts):
        if held := numbers.intersection(_of(text, region)):
            found.setdefault(position, set()).update(held)
    unreadable = sorted(int(table.row_numbers[position]) for position in found if not ids[position].as_py())
    if unreadable:
        raise RosterError(
            f"{roster.name}, row {in_words(unreadable, most=20)}: a patient with one of these numbers has no ID that can be "
            "read, so nobody was withdrawn. Correct it."
        )
    wanted = {ids[position].as_py(): int(table.row_numbers[position]) for position in sorted(found)}
    matched = set().union(*found.values()) if found else set()
    return PhoneMatches(wanted, len(numbers), len(numbers - matched))


def _of(text: str, region: str) -> Iterator[str]:
    number = one_in_e164(text.strip(), region) if any(character.isdigit() for character in text) else ""
    if number:
        yield number


def _texts(table: Table) -> Iterator[str]:
    for _, text in _cells(table):
        yield text


def _cells(table: Table, besides: tuple[int, ...] = ()) -> Iterator[tuple[int, str]]:
    """Position of the row and text of every cell with something in it, but for those of these columns."""
    for column in range(len(table.headers)):
        if column in besides:
            continue
        texts: pa.ChunkedArray = table.cells.column(column)
        for position in pc.indices_nonzero(pc.not_equal(texts, "")).to_pylist():
            yield position, texts[position].as_py()
    for position, fields in table.ragged_fields.items():
        for text in fields:
            yield position, text
