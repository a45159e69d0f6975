"""A links workbook for each clinic or coordinator: which column it goes by, and which rows stand in which. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.header_meaning import Standing, id_meaning
from batchlinks.columns.header_words import Sense, is_plain, senses_of, words_of
from batchlinks.columns.id_column import IdColumn, column_letters, display_names
from batchlinks.columns.sensitive import sample, share_matching, social_security_columns
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.next_steps import Setting
from batchlinks.patients.people import identity_columns
from batchlinks.results.file_name import file_names
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.roster.header import clean_header

if TYPE_CHECKING:
    from batchlinks.table import Table

MOST_FILES = 500
_FEW = 30
"""Values that are no mistake however few patients each has."""

_SHOWN = 8
"""Columns that a message names."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one value."""

    value: str
    """Cleaned of white space around it; "" for the rows that have none."""

    name: str
    """Of its file, without ending."""

    sheet: Sheet
    positions: npt.NDArray[np.int64]
    """Of its rows in the sheet that was split."""


def split(sheet: Sheet, values: pa.Array) -> list[Part]:
    """A part for each value, by name; the rows keep their order. `values` has one for each row of the sheet.

    Raises BatchlinksError where the parts are not the whole, so that nothing is released.
    """
    cleaned, part_of = _cleaned(values)
    order = np.argsort(part_of, kind="stable")
    columns = [column.take(pa.array(order)) for column in sheet.columns]
    marks = {position: mask[order] for position, mask in sheet.marked.items()}
    bounds = pairwise(np.searchsorted(part_of[order], np.arange(len(cleaned) + 1)).tolist())
    parts = []
    for value, name, (start, end) in zip(cleaned, file_names(cleaned), bounds, strict=True):
        rows = replace(
            sheet,
            columns=[column.slice(start, end - start) for column in columns],
            marked={position: mask[start:end] for position, mask in marks.items()},
        )
        parts.append(Part(value, name, rows, order[start:end]))
    if sum(len(part.sheet) for part in parts) != len(sheet):
        raise BatchlinksError(
            "The workbooks for each value do not add up to the whole, so no file was written. This is a defect in batchlinks; "
            "answers are kept in the ledger."
        )
    return parts


def clean_values(values: pa.Array) -> pa.Array:
    """The value of each row as its workbook has it."""
    different, part_of = _cleaned(values)
    return pa.array(different, pa.string()).take(pa.array(part_of))


def _cleaned(values: pa.Array) -> tuple[list[str], "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """The different values, sorted, the blank one last; and for each of `values` the position of its own among them."""
    coded = values.dictionary_encode()
    texts = [_clean(text or "") for text in coded.dictionary.to_pylist()]
    different = sorted(set(texts), key=lambda text: (not text, text.casefold(), text))
    position = {text: at for at, text in enumerate(different)}
    of_code = np.array([position[text] for text in texts], dtype=np.int64)
    return different, of_code[coded.indices.to_numpy(zero_copy_only=False)]


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", clean_header(text))


# --- the column ------------------------------------------------------------------------------------------------


def check_split_column(table: "Table", column: IdColumn, at: int) -> None:
    """Make sure that files may be named after the values of column `at`. Raises SettingsError.

    Refused is what holds patients' data, since it would stand in the names, and what has so many values that it must be a
    mistake. The message names headers, never a value.
    """
    objection = _objection(table, column, at)
    if objection is None:
        return
    fit = [_called(table, column, other) for other in range(len(table.headers)) if _would_do(table, column, other)]
    called = _called(table, column, at)
    instead = (
        f"Columns that would do: {', '.join(fit[:_SHOWN])}."
        if fit
        else "No other column of this list would do for certain."
    )
    raise SettingsError(Setting("split_by"), f": {called} {objection}. {instead}")


def _called(table: "Table", column: IdColumn, at: int) -> str:
    """The header where it certainly is one: its own words say so, or those of the ID column beside it."""
    certain = any(is_plain(table.headers[one]) for one in (at, *column.parts))
    return f"`{display_names(table.headers)[at]}`" if certain else f"column {column_letters(at)}"


def _objection(table: "Table", column: IdColumn, at: int) -> str | None:
    if _holds_patient_data(table, column, at):
        return "holds patients' data, which would stand in the names of files"
    values = _count(table, at)
    if _is_mistake(values, len(table)):
        return f"has {values:,} different values in {len(table):,} rows, and a file for each must be a mistake"
    return None


def _would_do(table: "Table", column: IdColumn, at: int) -> bool:
    values = _count(table, at)
    return 2 <= values <= len(table) / 2 and _objection(table, column, at) is None


def _count(table: "Table", at: int) -> int:
    count: int = pc.count_distinct(pc.utf8_trim_whitespace(table.column(at))).as_py()
    return count


def _is_mistake(values: int, rows: int) -> bool:
    return values > MOST_FILES or (values > _FEW and rows < 2 * values)


_STAFF = frozenset({
    Sense.PROVIDER, Sense.PLACE, Sense.PLAN, Sense.INSURER, Sense.INSURANCE, Sense.THING, Sense.EVENT, Sense.SYSTEM,
})  # fmt: skip
_CONTACT = frozenset(
    "phone telephone tel mobile cell cellphone fax email mail telecom address addr street home pager".split()
)
_FREE_TEXT = frozenset("note notes comment comments remark remarks memo reason diagnosis dx condition".split())
_OF_A_STAFF_MEMBER = frozenset({Sense.PROVIDER, Sense.PLACE, Sense.INSURER})

_E_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_TELEPHONE = re.compile(r"\+?[\d().\-/ ]{9,20}")
_NAMED = 0.2


def _holds_patient_data(table: "Table", column: IdColumn, at: int) -> bool:
    others = set(range(len(table.headers))) - {at}
    if at in column.parts or social_security_columns(table, except_for=others):
        return True
    if _says_patient_data(table.headers[at]):
        return True
    texts = sample(table, at)
    if not _OF_A_STAFF_MEMBER.intersection(senses_of(table.headers[at])) and (
        share_matching(_E_MAIL, texts) > _NAMED or share_matching(_TELEPHONE, texts) > _NAMED
    ):
        return True
    beside = {*column.parts, *identity_columns(table.headers, column.parts).positions}
    return any(_repeats(texts, sample(table, other)) for other in beside)


def _says_patient_data(header: str) -> bool:
    senses, words = set(senses_of(header)), set(words_of(header))
    if Sense.BIRTH in senses or id_meaning(header).standing > Standing.NONE or words & _FREE_TEXT:
        return True
    if {Sense.EVENT, Sense.IDENTIFIER} <= senses:  # a visit's number: as good as the patient's
        return True
    if words & _CONTACT or Sense.RELATIVE in senses:
        return not _OF_A_STAFF_MEMBER & senses
    return bool({Sense.NAME, Sense.FIRST_NAME} & senses) and not _STAFF & senses


def _repeats(texts: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether one row in five says what another column says of its patient: the ID, a name."""
    both = [
        (text.casefold(), their.casefold())
        for text, their in zip(texts, theirs, strict=True)
        if text and len(their) > 2
    ]
    return sum(their in text for text, their in both) > _NAMED * max(len(both), 1)
