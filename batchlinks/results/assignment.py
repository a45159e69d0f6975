"""Which row gets which link: by its ID and by nothing else. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import positions_among
from batchlinks.screening.result import Screened


@dataclass(frozen=True, slots=True)
class Assignment:
    """The rows of the table that get a link, and which."""

    rows: npt.NDArray[np.bool_]
    """Whether each row of the table gets one."""

    never_handed_out: npt.NDArray[np.bool_]
    """Whether it gets one of a patient who stands in no links workbook."""

    moved: npt.NDArray[np.bool_]
    """Whether its patient stands in the workbook of another value than the row's, and in none of a value that the patient
    has now. Of a list that is split."""

    _links: pa.Table
    _places: npt.NDArray[np.int64]
    """Where in `_links` the link stands of each row that gets one."""

    def of(self, rows: npt.NDArray[np.bool_]) -> pa.Table:
        """Columns `link`, `issued_at` and `is_new`: for each of these rows of the table, all of which get a link, a row.

        Where these are the links as they are known, nothing is copied: a million are 110 MB.
        """
        places = self._places[rows[self.rows]]
        as_known = np.array_equal(places, np.arange(len(self._links)))
        return self._links if as_known else self._links.take(pa.array(places))


def assign(
    screened: Screened,
    links: pa.Table,
    *,
    keep_duplicates: bool,
    values: pa.Array | None = None,
    before: pa.Table | None = None,
) -> Assignment:
    """Give each row the link that was issued for the ID in it.

    `links` is what `Ledger.links_for` tells, each ID once. A row that was refused
    gets none, nor does a duplicate unless `keep_duplicates`. Of a list that is split, `values` is the value of each row, and
    `before` what `Ledger.handed_out_under` tells.
    """
    entitled = np.flatnonzero(screened.sendable | screened.duplicates if keep_duplicates else screened.sendable)
    # The link is looked up by the ID that stands in the row: there is no order of answers to get wrong.
    found = positions_among(screened.ids.take(pa.array(entitled)), links.column("external_id"))
    linked = entitled[found.is_valid().to_numpy(zero_copy_only=False)]
    places = found.drop_null().to_numpy().astype(np.int64)
    handed_out = links.column("handed_out").to_numpy()[places]
    return Assignment(
        rows=_mask(screened, linked),
        never_handed_out=_mask(screened, linked[~handed_out]),
        moved=_moved(screened, linked[handed_out], values, before),
        _links=links.select(["link", "issued_at", "is_new"]),
        _places=places,
    )


def _moved(
    screened: Screened, rows: npt.NDArray[np.int64], values: pa.Array | None, before: pa.Table | None
) -> npt.NDArray[np.bool_]:
    """Those of these rows whose patient was handed out under a value that none of the patient's rows has."""
    if values is None or before is None or not len(before):
        return np.zeros(len(screened.ids), dtype=bool)
    ids, theirs = screened.ids.take(pa.array(rows)), values.take(pa.array(rows))
    earlier = before.column("value").take(positions_among(ids, before.column("external_id")))
    known = earlier.is_valid().to_numpy()
    same = pc.fill_null(pc.equal(earlier, theirs), False).to_numpy()
    stayed = pc.is_in(ids, value_set=ids.filter(pa.array(same))).to_numpy(zero_copy_only=False)
    return _mask(screened, rows[known & ~stayed])


def _mask(screened: Screened, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(screened.ids), dtype=bool)
    mask[positions] = True
    return mask
