"""What each cell of the ID column says for itself: an ID, or the reason why it is none.

Most cells are plainly IDs, which Arrow tells at the speed of memory; only the others, usually a few, are read one by one.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from batchlinks.patients.identifier import MAX_LENGTH, clean, read_id, with_width
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.footers import header_key, is_report_line
from batchlinks.screening.frames import true
from batchlinks.screening.result import Mask, Rules, number_of
from batchlinks.table import CellKind

# A cell is an ID beyond doubt, so that nobody needs to look, where it is made like one and is not suspect. A property
# test holds both against `read_id` and the footers' rules. (For RE2 and for Python's own expressions: `\d` differs.)
_MADE_LIKE_AN_ID = r"^(?:[A-Za-z0-9](?:[A-Za-z0-9_/#*~-]*[A-Za-z0-9])?|[0-9]+(?: [0-9]+)*)$"
_HAS_A_VALUE = "[1-9]"
_SUSPECT = (
    r"(?i)^[0-9]{4}[-/][0-9]{1,2}[-/][0-9]|^[0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{4}"  # a date
    r"|^(?:[0-9]{1,2}[-/])?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?:[-/]|$)"
    r"|^[0-9]+e-[0-9]+$"  # scientific notation
)
_BLANKS = " \t\r\n\u00a0"


@dataclass(frozen=True, slots=True)
class CellVerdicts:
    """The ID column, cell by cell, as if there were no other rows."""

    ids: "pd.Series[str]"
    """The cleaned ID; "" where there is none."""

    codes: npt.NDArray[np.int8]
    """0, or the number of the code that the cell deserves."""

    report_lines: Mask
    """CellVerdicts that speak of the report and not of a patient: `Total: 45`, `Page 1 of 3`."""

    headers: Mask
    """CellVerdicts that repeat the header."""


def read_cells(
    typed: "pd.Series[str]", kinds: npt.NDArray[np.int8], header_again: Collection[str], rules: Rules
) -> CellVerdicts:
    """Read the column `typed`, whose cells have these `CellKind`s. `header_again`: `header_key` of the header."""
    trimmed = typed.str.rstrip(_BLANKS).str.lstrip(f"{_BLANKS}'")
    plain = _plain(trimmed, header_again) & (kinds <= CellKind.NUMBER)
    ids = trimmed
    codes = np.zeros(len(typed), dtype=np.int8)
    if rules.width is not None:
        digits = true(trimmed.str.fullmatch("[0-9]+"))
        ids = trimmed.where(~digits, trimmed.str.pad(rules.width, side="left", fillchar="0"))
    if rules.pattern is not None:
        matches = rules.pattern.mask(pa.array(ids, pa.string()))
        codes[plain & ~matches] = number_of(ErrorCode.PATTERN_MISMATCH)
    if plain.all():
        return CellVerdicts(ids, codes, ~plain, ~plain)
    return _with_others(CellVerdicts(ids, codes, ~plain, ~plain), typed, kinds, plain, header_again, rules)


def _plain(texts: "pd.Series[str]", header_again: Collection[str]) -> Mask:
    plain = (
        true(texts.str.contains(_MADE_LIKE_AN_ID))
        & true(texts.str.contains(_HAS_A_VALUE))
        & true(texts.str.len() <= MAX_LENGTH)
        & ~true(texts.str.contains(_SUSPECT))
    )
    for header in header_again:
        if any(map(str.isdigit, header)):  # another header is not made like an ID
            letters = texts.str.replace("[^A-Za-z0-9]", "", regex=True).str.lower()
            plain &= true(letters != header)
    return plain


def _with_others(
    cells: CellVerdicts,
    typed: "pd.Series[str]",
    kinds: npt.NDArray[np.int8],
    plain: Mask,
    header_again: Collection[str],
    rules: Rules,
) -> CellVerdicts:
    """The cells that are not plainly IDs, read one by one: each of those that are the same once."""
    others = pd.DataFrame({"text": typed[~plain], "kind": kinds[~plain]})
    which = others.groupby(["text", "kind"], sort=False).ngroup().to_numpy()
    different = others.drop_duplicates()
    fits = _fits(different["text"], rules)
    ids, codes = [], []
    for text, kind in zip(different["text"], different["kind"], strict=True):
        # A formula that adds up is shown as the number that it came to; whether that is a total shows among the other rows.
        kind = CellKind.NUMBER if kind == CellKind.AGGREGATE else kind
        identifier, code = read_id(text, kind, fits=fits, width=rules.width)
        ids.append(identifier)
        codes.append(0 if code is None else number_of(code))
    lines = [is_report_line(clean(text)) for text in different["text"]]
    headers = [header_key(text) in header_again for text in different["text"]]
    all_ids = cells.ids.copy()
    all_ids[~plain] = pd.Series(ids, dtype=typed.dtype).take(which).array
    cells.codes[~plain] = np.array(codes, dtype=np.int8)[which]
    report_lines, again = np.zeros((2, len(typed)), dtype=bool)
    report_lines[~plain] = np.array(lines, dtype=bool)[which]
    again[~plain] = np.array(headers, dtype=bool)[which]
    return CellVerdicts(all_ids, cells.codes, report_lines, again)


def _fits(texts: Iterable[str], rules: Rules) -> Callable[[str], bool] | None:
    """Whether an ID is made as the pattern says, for the IDs in these cells: asked for all of them at once."""
    if rules.pattern is None:
        return None
    return rules.pattern.fitting({with_width(clean(text), rules.width) for text in texts}).__contains__
