"""A fixed error report is judged as strictly as the list that it comes from.

Its few rows do not show any more how long IDs usually are, and whoever opened it to fix one row has not looked at another.
So the report tells what screening knew (`EarlierVerdict`), and what it says of a row holds until the row's ID is changed.
"""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.identifier import SEPARATORS, clean, fold
from batchlinks.patients.people import Difference
from batchlinks.row_codes import Action, ErrorCode, WarningCode
from batchlinks.screening.result import Screened
from batchlinks.table import EarlierVerdict, ListProfile, Table, most_common_profile

_JUDGED_ANEW = frozenset(
    {
        ErrorCode.WITHDRAWN,  # the ledger tells
        ErrorCode.KNOWN_AS_OTHER,  # the same, and where it does not, `pipeline.known_people` refuses it again
        ErrorCode.REJECTED_BY_HEALTHEX,
        ErrorCode.LINK_MISMATCH,
    }
    | {code for code in ErrorCode if code.action is Action.AGAIN}
)
"""What a report says of these may have changed although nobody has touched the row."""

_OF_SEVERAL_ROWS = frozenset({ErrorCode.CONFLICTING_ID, ErrorCode.AMBIGUOUS_ID})
_ONLY_THE_LIST_TELLS = frozenset({ErrorCode.LOST_ZEROS, ErrorCode.EXCLUDED, ErrorCode.NOT_A_PATIENT})
_WITHOUT_SEPARATORS = str.maketrans("", "", SEPARATORS)


def id_digest(code: ErrorCode | None, *cells: str) -> str:
    """Stands for what the ID cell, or the cells that are joined to an ID, held; white space around it does not count.

    Nor does how an ID is written where its patient is left out on purpose: Excel may take zeros away, and that lifts nothing.
    """
    texts = [clean(cell) for cell in cells]
    if code is not None and code.action is Action.NOTHING:
        texts = [fold(text.translate(_WITHOUT_SEPARATORS)) for text in texts]
    return hashlib.sha256("\x1f".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def profile_of(table: Table, screened: Screened, *, any_length: bool) -> ListProfile:
    """How the IDs of this list usually look, for whoever fixes a part of it; of a report, what its own list was like."""
    if table.earlier:
        return most_common_profile(table.earlier)
    profile = ListProfile(
        list_sha256=table.sha256,
        sheet=table.sheet or "",
        corrections=sum(int(mask.sum()) for mask in table.typed.values()),
    )
    from batchlinks.screening.frames import series  # with pandas, which is imported while the roster is read
    from batchlinks.screening.id_shapes import COMPARED_FROM, shapes_of
    from batchlinks.screening.lengths import usual_length

    used = screened.codes == 0
    if np.count_nonzero(used) < COMPARED_FROM:
        return profile
    shapes = shapes_of(series(screened.ids), used)
    kinds = sorted(shapes.names[shapes.kinds].tolist()) if shapes.are_telling else []
    lengths = dict(
        zip(shapes.lengths[shapes.all_digits].tolist(), shapes.rows[shapes.all_digits].tolist(), strict=True)
    )
    return replace(profile, usual_length=None if any_length else usual_length(lengths), shapes=tuple(kinds))


def keep_earlier_verdicts(screened: Screened, table: Table, column: IdColumn, lifted: Collection[ErrorCode]) -> None:
    """Refuse again what nobody has fixed, and what was fixed to something that the list would not have let pass.

    `lifted`: codes that an option of this run has made void.
    """
    if not table.earlier:
        return
    profile = most_common_profile(table.earlier)
    digests = _digests(table, column)
    present = Counter(_group(verdict) for verdict in table.earlier.values())
    doubtful = []
    for position in range(len(table)):
        verdict = table.earlier.get(position, EarlierVerdict(None, profile=profile))
        code = verdict.code
        in_doubt = False
        if code is not None and code not in lifted and code not in _JUDGED_ANEW:
            complete = code in _OF_SEVERAL_ROWS and present[_group(verdict)] >= verdict.group_size > 0
            in_doubt = verdict.id_digest is None and _stays_in_doubt(verdict)
            if in_doubt or (verdict.id_digest == digests[position] and not complete):
                _refuse_again(screened, position, verdict, int(table.row_numbers[position]))
        _hold_against(verdict.profile, screened, position, lifted)
        untold = code in _ONLY_THE_LIST_TELLS and verdict.id_digest is None
        if (in_doubt or untold) and screened.codes[position]:
            doubtful.append(int(table.row_numbers[position]))
    if doubtful:
        screened.warnings[WarningCode.OLD_REPORT] = doubtful


def corrected(table: Table, column: IdColumn) -> npt.NDArray[np.bool_]:
    """Rows whose ID was typed since the list was made.

    A correction of the list; or, in a report that is handed in alone, as far as it tells: changed, or in a row that was
    added.
    """
    found = np.zeros(len(table), dtype=bool)
    for part in column.parts:
        found |= table.typed.get(part, found)
    for position, digest in enumerate(_digests(table, column) if table.earlier else ()):
        verdict = table.earlier.get(position, EarlierVerdict(None))
        asked_again = verdict.code is not None and verdict.code.action is Action.AGAIN
        found[position] |= verdict.id_digest != digest and not (asked_again and verdict.id_digest is None)
    return found


def unchanged_with(code: ErrorCode, table: Table, column: IdColumn) -> npt.NDArray[np.bool_]:
    """Rows of a report that were refused with this code, and whose ID is what it was, or may be."""
    found = np.zeros(len(table), dtype=bool)
    refused = {position: verdict for position, verdict in table.earlier.items() if verdict.code is code}
    digests = _digests(table, column) if refused else []
    for position, verdict in refused.items():
        found[position] = verdict.id_digest in (None, digests[position])
    return found


def _stays_in_doubt(verdict: EarlierVerdict) -> bool:
    """Whether only the list can tell if a row was fixed, since the report does not say what stood in it."""
    code, profile = verdict.code, verdict.profile
    if code is ErrorCode.LOST_ZEROS:
        return profile.usual_length is None
    if code is None or code in _ONLY_THE_LIST_TELLS:
        return code is not None
    if not verdict.is_garbled:
        return False
    if code is ErrorCode.ODD_SHAPE:
        return not profile.shapes
    return code in _OF_SEVERAL_ROWS or code is ErrorCode.PATTERN_MISMATCH or code.action is Action.NOTHING


def _refuse_again(screened: Screened, position: int, verdict: EarlierVerdict, row: int) -> None:
    code = verdict.code
    if code is None or screened.code_at(position) is code:
        return
    gaps = dict(verdict.gaps)
    if code in _OF_SEVERAL_ROWS and verdict.is_garbled:
        gaps = {"rows": f"{row} and others", "difference": Difference.ANY}
    if code is ErrorCode.LOST_ZEROS:
        gaps.setdefault("found", len(screened.ids[position].as_py()))
        gaps.setdefault("expected", verdict.profile.usual_length or "more")
    try:
        if code is ErrorCode.CONFLICTING_ID:
            gaps["difference"] = Difference(str(gaps["difference"]))
        code.message(**gaps)
    except (KeyError, IndexError, ValueError):  # somebody has changed the column that only programs read
        return
    screened.refuse(position, code, **gaps)


def _hold_against(profile: ListProfile, screened: Screened, position: int, lifted: Collection[ErrorCode]) -> None:
    """Refuse an ID that is shorter than the list's, or made unlike them."""
    identifier = screened.ids[position].as_py()
    if not identifier or screened.codes[position]:
        return
    digits = identifier.isdigit()
    if digits and ErrorCode.LOST_ZEROS in lifted:
        return
    if digits and profile.usual_length is not None and len(identifier) < profile.usual_length:
        screened.refuse(position, ErrorCode.LOST_ZEROS, found=len(identifier), expected=profile.usual_length)
        return
    from batchlinks.screening.id_shapes import shape

    lengths_vary = digits and sum(not made.strip("9") for made in profile.shapes) > 1
    known = not profile.shapes or lengths_vary or shape(identifier) in profile.shapes
    if not known and ErrorCode.ODD_SHAPE not in lifted:
        screened.refuse(position, ErrorCode.ODD_SHAPE)


def _group(verdict: EarlierVerdict) -> tuple[ErrorCode | None, object]:
    """What rows have in common that were refused because of each other."""
    return verdict.code, verdict.gaps.get("rows")


def _digests(table: Table, column: IdColumn) -> list[str]:
    """Of every row's ID, as it is now."""
    codes = (table.earlier[position].code if position in table.earlier else None for position in range(len(table)))
    typed = zip(*(table.column(part).to_pylist() for part in column.parts), strict=True)
    return [id_digest(code, *cells) for code, cells in zip(codes, typed, strict=True)]
