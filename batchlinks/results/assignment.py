"""Which row gets which link: by its ID and by nothing else. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.memory import in_one_piece
from batchlinks.screening import Screened


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value for each row of the table; null where the row gets no link."""

    links: pa.Array
    issued_at: pa.Array
    handed_out: pa.Array
    """When a links workbook first held this link; null also for a link that none has held yet."""

    is_new: pa.Array
    """Whether this run got the link, or one that it goes on with."""

    @property
    def rows(self) -> npt.NDArray[np.bool_]:
        return _mask(self.links.is_valid())

    @property
    def never_handed_out(self) -> npt.NDArray[np.bool_]:
        return self.rows & _mask(self.handed_out.is_null())


def assign(screened: Screened, links: pa.Table, *, keep_duplicates: bool) -> Assignment:
    """Give each row the link that was issued for the ID in it.

    `links` is what `Ledger.links_for` tells, each ID once. A row that was refused
    gets none, nor does a duplicate unless `keep_duplicates`.
    """
    entitled = screened.sendable | screened.duplicates if keep_duplicates else screened.sendable
    # The link is looked up by the ID that stands in the row: there is no order of answers to get wrong.
    found = pc.index_in(screened.ids, value_set=in_one_piece(links.column("external_id")))
    found = pc.if_else(pa.array(entitled), found, pa.scalar(None, found.type))
    return Assignment(
        *(in_one_piece(links.column(name)).take(found) for name in ("link", "issued_at", "handed_out", "is_new"))
    )


def _mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = array.to_numpy(zero_copy_only=False)
    return mask
