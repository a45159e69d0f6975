"""Rows that are no patient's for certain. Each of these is proof, and a row that names a person is a patient's all the same."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from batchlinks.screening.footers import FOOTER_WORDS, is_footer_beside, is_plain_total, is_total_label, is_trailer
from batchlinks.screening.frames import series, true
from batchlinks.screening.odd_shapes import is_rare, strangers
from batchlinks.screening.result import Mask
from batchlinks.screening.rows import Refusals, Rows

_NOTHING: Mapping[str, object] = {}
_COUNT = r"^(?i:t|tr|trl|tlr|trlr|trailer|eof|footer|z|zz|total|count|n)?[\W_]*([0-9]{1,9})$"


def find_no_patients(rows: Rows) -> Refusals:
    """The header again, the report's own lines, and rows that count or add up the others."""
    says_so = rows.cells.headers | rows.cells.report_lines | rows.aggregates | rows.declared_totals
    if says_so.any():
        yield says_so & ~rows.a_person, _NOTHING
    if rows.sparse.any() or rows.few.any():
        yield _count_the_rows_above(rows), _NOTHING
        yield _labelled(rows), _NOTHING
        yield _trailers(rows), _NOTHING


def _count_the_rows_above(rows: Rows) -> Mask:
    """Sparse rows that name nobody, whose ID is how many rows stand above.

    Their ID is like no patient's, and counts all rows above, or those since the last such row.
    """
    strange = strangers(rows) & ~rows.names_somebody
    found = np.zeros(len(rows), dtype=bool)
    if not strange.any():
        return found
    no_patients = strange | rows.cells.report_lines | rows.cells.headers | rows.aggregates | rows.declared_totals
    above = np.cumsum(~no_patients)
    places = np.flatnonzero(no_patients)
    before = np.concatenate([[0], above[places[:-1]]])
    counts = _counts(rows.ids.iloc[places])
    right = (counts > 1) & ((counts == above[places]) | (counts == above[places] - before))
    found[places[right]] = True
    return found & strange


def _counts(ids: "pd.Series[str]") -> npt.NDArray[np.int64]:
    """The number that each ID is, or that a trailer record ends with; -1 for any other."""
    digits = ids.str.extract(_COUNT, expand=False)
    return np.array(pd.to_numeric(digits).fillna(-1), dtype=np.int64)


def _labelled(rows: Rows) -> Mask:
    """Few cells filled, the ID a number like no patient's, nobody named, and beside it a total's words."""
    perhaps = rows.readable & ~rows.names_somebody & ((rows.few & is_rare(rows)) | strangers(rows))
    perhaps[perhaps] = true(rows.ids[perhaps].str.contains("^[1-9][0-9]{0,6}$"))
    found = np.zeros(len(rows), dtype=bool)
    if not perhaps.any():
        return found
    names = {rows.identity.first_name, rows.identity.last_name, rows.identity.full_name}
    for index in set(range(len(rows.table.headers))) - set(rows.column.parts):
        texts = series(rows.table.column(index))[perhaps]
        texts = texts[true(texts.str.contains(FOOTER_WORDS))]
        for position, text in zip(texts.index.tolist(), texts, strict=True):
            in_words = is_plain_total(text) if index in names else is_footer_beside(text) or is_total_label(text)
            found[position] |= in_words and (rows.sparse[position] or is_plain_total(text))
    return found


def _trailers(rows: Rows) -> Mask:
    """`TRAILER45`, alone in the last row; or `T00045` there with 45 rows above, even if IDs are made like that."""
    found = rows.sparse & rows.readable & ~rows.names_somebody
    last = len(rows) - 1
    found[:last] = False
    if found[last:].any():
        text = rows.ids.iloc[last]
        counts = not text.isdigit() and _counts(rows.ids.iloc[last:])[0] == last
        found[last] = counts or (is_trailer(text) and strangers(rows)[last])
    return found
