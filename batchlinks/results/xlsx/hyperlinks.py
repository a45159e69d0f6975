"""Links that can be clicked: an element of the sheet, and relations that it refers to."""

import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xlsxwriter.utility import xl_col_to_name

from batchlinks.results.text_columns import (
    TEXT,
    bytes_of,
    joined,
    literal,
)
from batchlinks.results.xlsx.escapes import escape_text
from batchlinks.results.xlsx.sheet import MAX_HYPERLINKS, Sheet

HYPERLINKS_HERE = "<hyperlinks/>"

RELATION_TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

NO_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"></Relationships>'
)

_ADDRESS = r"^https?://[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+(?:#[ -~]*)?$"
"""What a click can open: up to `#` as RFC 3986 has it, behind it whatever HealthEx puts there."""

_MAX_ADDRESS = 2_079
"""Characters of a hyperlink's address."""


@dataclass(frozen=True, slots=True)
class Hyperlinks:
    """Those of one sheet: the address up to `#` is the target of a relation, what follows is its location.

    Excel joins the two with a `#`, so that together they are the text of the cell again.
    """

    column: int
    clickable: npt.NDArray[np.bool_]
    """For each of the sheet's first `MAX_HYPERLINKS` rows."""

    numbers: pa.LargeStringArray
    """Of the rows, as the sheet counts them; of the clickable ones only, as are the addresses."""

    addresses: pa.LargeStringArray

    @classmethod
    def of(cls, sheet: Sheet) -> "Hyperlinks | None":
        if sheet.hyperlinks is None:
            return None
        texts = sheet.columns[sheet.hyperlinks].slice(0, MAX_HYPERLINKS)
        texts = pc.fill_null(pc.cast(texts, TEXT), "")
        texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        fits = pc.less_equal(pc.utf8_length(texts), _MAX_ADDRESS)
        mask = pc.and_(fits, pc.match_substring_regex(texts, _ADDRESS))
        clickable: npt.NDArray[np.bool_] = mask.to_numpy(zero_copy_only=False)
        numbers = pc.cast(pa.array(np.flatnonzero(clickable) + 2), TEXT)
        return cls(sheet.hyperlinks, clickable, numbers, texts.filter(mask)) if len(numbers) else None

    def among(self, rows: slice) -> pa.BooleanArray:
        """Which of these rows are clickable."""
        there = self.clickable[rows]
        return pa.array(np.pad(there, (0, rows.stop - rows.start - len(there))))

    def as_xml(self) -> bytes:
        """The sheet's element."""
        fragments = pc.utf8_slice_codeunits(pc.replace_substring_regex(self.addresses, "^[^#]*", ""), 1)
        location = joined(['" location="', pc.replace_substring(escape_text(fragments), '"', "&quot;")])
        location = pc.if_else(pc.equal(fragments, ""), literal(""), location)
        start = f'<hyperlink ref="{xl_col_to_name(self.column)}'
        each = joined([start, self.numbers, '" r:id="link', self.numbers, location, '"/>'])
        return b"<hyperlinks>" + bytes(bytes_of(each)) + b"</hyperlinks>"

    def relations_xml(self) -> bytes:
        """The relations that the element refers to."""
        targets = pc.replace_substring(pc.replace_substring_regex(self.addresses, "#.*$", ""), "&", "&amp;")
        start, kind = '<Relationship Id="link', f'" Type="{RELATION_TYPE}/hyperlink" Target="'
        return bytes(bytes_of(joined([start, self.numbers, kind, targets, '" TargetMode="External"/>'])))


def copy_with_hyperlinks(workbook: zipfile.ZipFile, part: str, own: str, hyperlinks: Hyperlinks | None) -> None:
    """Write a sheet's relationships, its own and those of its hyperlinks."""
    before, _, after = own.rpartition("</Relationships>")
    links = hyperlinks.relations_xml() if hyperlinks else b""
    workbook.writestr(part, before.encode() + links + f"</Relationships>{after}".encode())
