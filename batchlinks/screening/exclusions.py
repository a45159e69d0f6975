"""Patients who are not to be contacted. A list that lost zeros, case or separators still holds its people back."""

from collections.abc import Collection

import pandas as pd

from batchlinks.screening.duplicates import folded
from batchlinks.screening.frames import TEXT, true
from batchlinks.screening.result import Mask
from batchlinks.screening.rows import Refusals, Rows


def find_excluded(rows: Rows) -> Refusals:
    """Rows of patients on the exclude list."""
    yield _among(rows, rows.rules.excluded), {}


def find_withdrawn(rows: Rows) -> Refusals:
    """Rows of patients whose link was withdrawn."""
    yield _among(rows, rows.rules.withdrawn), {}


def _among(rows: Rows, listed: Collection[str]) -> Mask:
    """Rows whose ID is listed; or is alike to one that is, unless alike IDs are different people's and that one has a row too."""
    if not listed:
        return rows.mask(())
    ids = pd.Series(list(listed), dtype=TEXT)
    if rows.rules.exact_ids:
        here = true(ids.isin(rows.ids))
        return true(rows.ids.isin(ids[here])) | (rows.with_id & true(folded(rows.ids).isin(folded(ids[~here]))))
    return rows.with_id & true(folded(rows.ids).isin(folded(ids)))
