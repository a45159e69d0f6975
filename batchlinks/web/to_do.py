"""What somebody has to do about the rows without a link, as verbs with counts: the list that stands first on the page."""

from batchlinks.row_codes import Action, ErrorCode

_TASKS: dict[str, tuple[str, str]] = {
    "wrong_field_count": ("Put the fields of 1 row into the right columns", "Put the fields of {n} rows into the right columns"),
    "other_table": ("Look at 1 row outside of the table", "Look at {n} rows outside of the table"),
    "blank_id": ("Type 1 missing ID", "Type {n} missing IDs"),
    "formula_error": ("Type 1 ID where a formula failed", "Type {n} IDs where a formula failed"),
    "no_cached_value": ("Type 1 ID whose formula has no result", "Type {n} IDs whose formulas have no result"),
    "date_in_id": ("Type 1 ID that Excel turned into a date", "Type {n} IDs that Excel turned into dates"),
    "unreadable_format": ("Type 1 ID whose format can't be read", "Type {n} IDs whose format can't be read"),
    "lost_digits": ("Type 1 ID that lost its last digits", "Type {n} IDs that lost their last digits"),
    "decimal_number": ("Type 1 ID without decimals", "Type {n} IDs without decimals"),
    "scientific_notation": ("Type 1 ID out of scientific notation", "Type {n} IDs out of scientific notation"),
    "placeholder_id": ("Type 1 real ID in place of a placeholder", "Type {n} real IDs in place of placeholders"),
    "no_digit": ("Type 1 ID: what is there has no digit", "Type {n} IDs: what is there has no digit"),
    "unexpected_character": ("Remove odd characters from 1 ID", "Remove odd characters from {n} IDs"),
    "too_long": ("Shorten 1 ID", "Shorten {n} IDs"),
    "pattern_mismatch": ("Correct 1 ID to your organization's format", "Correct {n} IDs to your organization's format"),
    "lost_zeros": ("Type 1 ID in full: leading zeros are missing", "Type {n} IDs in full: leading zeros are missing"),
    "odd_shape": ("Check 1 ID that looks unlike the others", "Check {n} IDs that look unlike the others"),
    "conflicting_id": ("Give 1 ID to the right person", "Give {n} IDs to the right person"),
    "ambiguous_id": ("Check 1 ID that is much like another", "Check {n} IDs that are much like others"),
    "known_as_other": ("Check 1 ID that was somebody else's before", "Check {n} IDs that were somebody else's before"),
    "rejected_by_healthex": ("Check 1 ID that HealthEx didn't accept", "Check {n} IDs that HealthEx didn't accept"),
    "link_mismatch": ("Ask IT about 1 link that may be another patient's", "Ask IT about {n} links that may be other patients'"),
}  # fmt: skip
"""By code: of one row, of many."""

_BY_ACTION = {
    Action.FIX: ("Fix 1 row", "Fix {n} rows"),
    Action.AGAIN: ("Try 1 patient again", "Try {n} patients again"),
    Action.ASK_IT: ("Ask IT about 1 row", "Ask IT about {n} rows"),
    Action.NOTHING: ("1 row is left out on purpose", "{n} rows are left out on purpose"),
}


def task_of(code: ErrorCode, count: int) -> str:
    """What to do about so many rows: `Type 14 IDs in full: leading zeros are missing`."""
    one, many = _TASKS.get(code.value) or _BY_ACTION[code.action]
    return one if count == 1 else many.format(n=f"{count:,}")
