"""Patients who are not to be contacted. A list that lost zeros, case or separators still holds its people back."""

from collections.abc import Collection

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.patients.id_spelling import alike_to_any
from batchlinks.screening.duplicates import folded
from batchlinks.screening.frames import TEXT, arrow, true
from batchlinks.screening.result import Mask
from batchlinks.screening.rows import Refusals, Rows


def find_excluded(rows: Rows) -> Refusals:
    """Rows of patients on the exclude list."""
    yield _among(rows, rows.rules.excluded), {}


def find_withdrawn(rows: Rows) -> Refusals:
    """Rows of patients whose link was withdrawn, or who are not to be contacted."""
    listed = rows.rules.withdrawn
    yield are_opted_out(arrow(rows.ids), listed, exact_ids=rows.rules.exact_ids) if listed else rows.mask(()), {}


def are_opted_out(ids: pa.Array, listed: Collection[str], *, exact_ids: bool) -> Mask:
    """Which of these IDs are those of people who said no, however they are spelled: case, zeros, separators.

    With `exact_ids` alike IDs are different people's: one that is listed and stands here too holds back nobody but itself.
    """
    wanted = pa.array(sorted(listed), pa.string())
    exactly = pc.is_in(ids, value_set=wanted)
    if exact_ids:
        wanted = wanted.filter(pc.invert(pc.is_in(wanted, value_set=ids.filter(exactly))))
    mask: Mask = pc.or_(exactly, alike_to_any(ids, wanted)).to_numpy(zero_copy_only=False)
    return mask


def _among(rows: Rows, listed: Collection[str]) -> Mask:
    """Rows whose ID is listed; or is alike to one that is, unless alike IDs are different people's and that one has a row too."""
    if not listed:
        return rows.mask(())
    ids = pd.Series(list(listed), dtype=TEXT)
    if rows.rules.exact_ids:
        here = true(ids.isin(rows.ids))
        return true(rows.ids.isin(ids[here])) | (rows.with_id & true(folded(rows.ids).isin(folded(ids[~here]))))
    return rows.with_id & true(folded(rows.ids).isin(folded(ids)))
