"""An error report that was fixed in place and is handed in again as a roster."""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from batchlinks.columns.header_words import key
from batchlinks.patients.identifier import read_id
from batchlinks.row_codes import Action, ErrorCode
from batchlinks.table import CellKind, EarlierVerdict, ListProfile, Table

ERROR_COLUMNS = ("error_row", "error_code", "error_action", "error_message", "error_cells", "screened_as")
DUPLICATE_COLUMNS = ("error_row", "error_code", "error_action", "error_message", "kept_row")
"""What the report's two sheets add in front of the roster's own columns."""

FIELD_COLUMN = "error_field_{number}"
"""Behind the roster's columns: the fields, one by one, of rows that had more or fewer than the header."""

_KEYS = frozenset(key(name) for name in (*ERROR_COLUMNS, *DUPLICATE_COLUMNS))
_FIELD_KEY = re.compile(key("error_field_") + r"\d+")
_LENGTHS_OF_OLD = re.compile(r"has ([0-9]{1,4}) digits, almost all others have ([0-9]{1,4}): it has probably lost")
"""As versions 0.1 and 0.2 said it, which had no column for these numbers. It reads files of old versions, not sentences of
this one: what was written then does not change any more, whatever the sentence is today."""


def without_report_columns(table: Table) -> Table:
    """The roster inside an error report; any other table as it is.

    Each row keeps the number that it had in the first roster (`error_row`), through any number of rounds; a row that was
    added by hand has the number it has in the report.
    """
    keys = [key(header) for header in table.headers]
    if key("error_row") not in keys or key("error_code") not in keys:
        return table
    row_numbers = table.row_numbers.copy()
    for position, text in enumerate(table.column(keys.index(key("error_row"))).to_pylist()):
        if text.isascii() and text.isdigit() and 0 < int(text) <= np.iinfo(np.int32).max:
            row_numbers[position] = int(text)
    kept = [position for position, name in enumerate(keys) if name not in _KEYS and not _FIELD_KEY.fullmatch(name)]
    number_here = {int(here): int(first) for here, first in zip(table.row_numbers, row_numbers, strict=True)}
    cells = table.cells.select([str(position) for position in kept])
    renumbered = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        table,
        is_error_report=True,
        earlier=_earlier(table, keys),
        headers=tuple(table.headers[position] for position in kept),
        cells=cells.rename_columns([str(position) for position in range(len(kept))]),
        kinds={renumbered[old]: kinds for old, kinds in table.kinds.items() if old in renumbered},
        date_formats={renumbered[old]: code for old, code in table.date_formats.items() if old in renumbered},
        ragged_fields=_fields_apart(table, keys, kept)
        | {
            position: tuple(fields[old] for old in kept if old < len(fields)) + fields[len(keys) :]
            for position, fields in table.ragged_fields.items()
        },
        row_numbers=row_numbers,
        hidden_rows=tuple(number_here[row] for row in table.hidden_rows),
    )


def _fields_apart(table: Table, keys: list[str], kept: list[int]) -> dict[int, tuple[str, ...]]:
    """Rows whose fields still stand apart, behind blank columns: nobody has put them where they belong."""
    apart = [position for position, name in enumerate(keys) if _FIELD_KEY.fullmatch(name)]
    if not apart:
        return {}
    fields = list(zip(*(table.column(column).to_pylist() for column in apart), strict=True))
    waiting = [position for position, row in enumerate(fields) if any(row)]
    blank = set(waiting)
    for column in kept:
        cells = table.column(column)
        blank -= {position for position in blank if cells[position].as_py()}
    return {position: tuple("\0".join(fields[position]).rstrip("\0").split("\0")) for position in blank}


def screened_as(profile: ListProfile, verdict: EarlierVerdict | None = None, row: int = 0) -> str:
    """The cell of the column `screened_as`: what is needed to judge a fixed row as strictly as the list was.

    It names its row and its code, so that one that was moved or changed is known for that. `verdict` None: for rows that
    another run may do.
    """
    told: dict[str, object] = {
        "usual_length": profile.usual_length,
        "shapes": profile.shapes,
        "list_sha256": profile.list_sha256,
    }
    if profile.sheet:
        told["sheet"] = profile.sheet
    if profile.corrections:
        told["corrections"] = profile.corrections
    if verdict is not None:
        told |= {"row": row, "code": verdict.code and verdict.code.value, "id": verdict.id_digest}
        if verdict.gaps:
            told["gaps"] = dict(verdict.gaps)
        if verdict.group_size:
            told["of"] = verdict.group_size
    return json.dumps(told | {"check": _checksum(told)}, separators=(",", ":"))


def _checksum(told: Mapping[str, object]) -> str:
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def text_as_refused(text: str, kind: int) -> str:
    """How a report writes an ID cell of this kind, so that it does not pass when it is handed in again as it is.

    A number that was refused for its format would, as plain text, look like an ID: it gets back what it was refused for.
    """
    if kind <= CellKind.NUMBER or read_id(text)[1] is not None:
        return text
    if kind == CellKind.FRACTION:
        return f"{text}.0"
    if kind == CellKind.SCIENTIFIC:
        mantissa, _, exponent = f"{float(text):.14E}".partition("E")
        return f"{mantissa.rstrip('0').rstrip('.')}E{exponent}"
    return f"{text} (?)"


def _earlier(table: Table, keys: list[str]) -> dict[int, EarlierVerdict]:
    """What the report says of each row: by its column for programs, or, before there was one, by its code."""

    def column(name: str) -> list[str]:
        return table.column(keys.index(key(name))).to_pylist() if key(name) in keys else [""] * len(table)

    is_new = key("screened_as") in keys
    codes = [_CODES.get(text.strip()) for text in column("error_code")]
    read = zip(codes, column("error_row"), column("screened_as"), strict=True)
    verdicts = [_verdict(code, row, text) if is_new else EarlierVerdict(code) for code, row, text in read]
    told = Counter(verdict.profile for verdict in verdicts if verdict.profile != ListProfile())
    profile = told.most_common(1)[0][0] if told else _profile_of_old(codes, column("error_message"))
    return {
        position: verdict if verdict.profile != ListProfile() else dataclasses.replace(verdict, profile=profile)
        for position, verdict in enumerate(verdicts)
    }


def _verdict(code: ErrorCode | None, row: str, text: str) -> EarlierVerdict:
    """One cell of `screened_as`, beside the row's own code and number. One that was changed or moved says nothing."""
    told = _told(text)
    own_code = _CODES.get(str(told.get("code")))
    if own_code is not None and str(told.get("row")) == row.strip():
        digest, gaps, size = told.get("id"), told.get("gaps"), told.get("of")
        return EarlierVerdict(
            own_code,
            gaps if isinstance(gaps, dict) else {},
            digest if isinstance(digest, str) else None,
            size if isinstance(size, int) else 0,
            _profile(told),
        )
    is_plain = code is not None and code.action is Action.AGAIN and told and own_code is None
    code = code or own_code
    return EarlierVerdict(code, profile=_profile(told), is_garbled=code is not None and not is_plain)


def _profile(told: Mapping[str, Any]) -> ListProfile:
    usual, shapes, sha256 = told.get("usual_length"), told.get("shapes"), told.get("list_sha256")
    sheet, corrections = told.get("sheet"), told.get("corrections")
    return ListProfile(
        usual if isinstance(usual, int) and not isinstance(usual, bool) and 0 < usual <= _LONGEST_ID else None,
        tuple(shape for shape in shapes if isinstance(shape, str)) if isinstance(shapes, list) else (),
        sha256 if isinstance(sha256, str) else "",
        sheet if isinstance(sheet, str) else "",
        corrections if isinstance(corrections, int) and corrections > 0 else 0,
    )


@lru_cache(maxsize=1024)
def _told(text: str) -> Mapping[str, Any]:
    """What a cell of `screened_as` holds; nothing where it is not what was written."""
    told = dict(_json_of(text))
    check = told.pop("check", None)
    return told if check is not None and check == _checksum(told) else {}


def _json_of(text: str) -> Mapping[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _profile_of_old(codes: list[ErrorCode | None], messages: list[str]) -> ListProfile:
    found = [
        int(numbers[2])
        for code, message in zip(codes, messages, strict=True)
        if code is ErrorCode.LOST_ZEROS and (numbers := _LENGTHS_OF_OLD.search(message))
    ]
    return ListProfile(usual_length=Counter(found).most_common(1)[0][0]) if found else ListProfile()


_CODES = {code.value: code for code in ErrorCode}
_LONGEST_ID = 128
