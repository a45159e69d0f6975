"""Which row gets which link: by its ID and by nothing else. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.arrow import positions_among
from batchlinks.screening.result import Screened


@dataclass(frozen=True, slots=True)
class Assignment:
    """The rows of the table that get a link, and which."""

    rows: npt.NDArray[np.bool_]
    """Whether each row of the table gets one."""

    never_handed_out: npt.NDArray[np.bool_]
    """Whether it gets one that no links workbook has held."""

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


def assign(screened: Screened, links: pa.Table, *, keep_duplicates: bool) -> Assignment:
    """Give each row the link that was issued for the ID in it.

    `links` is what `Ledger.links_for` tells, each ID once. A row that was refused
    gets none, nor does a duplicate unless `keep_duplicates`.
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
        _links=links.select(["link", "issued_at", "is_new"]),
        _places=places,
    )


def _mask(screened: Screened, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(screened.ids), dtype=bool)
    mask[positions] = True
    return mask
