"""How the upload page speaks: what it calls the settings, and what its readers do next."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from batchlinks.errors import BatchlinksError
from batchlinks.next_steps import Advice, Do, Door, Setting

LABELS = MappingProxyType(
    {
        "id_column": "Patient ID column",
        "any_column": "Use this column anyway",
        "heed": "Leave out patients marked in",
        "ignore": "Ignore the marks in",
        "sheet": "Sheet",
        "header_row": "Row with the headers",
        "encoding": "Encoding",
        "id_join": "Text between the parts of an ID",
        "id_pattern": "ID pattern",
        "id_width": "Number of digits in each ID",
        "any_length": "Shorter IDs are correct",
        "any_shape": "IDs that look unlike the others are correct",
        "exact_ids": "IDs that differ only in case, zeros, or separators are different people's",
        "annotate": "Also my own workbook with links in it",
        "project": "Project",
        "project_id": "Project ID",
        "columns": "Columns for staff",
        "only_new": "Only patients not in an earlier links workbook",
        "keep_duplicates": "Give duplicate rows the link too",
        "link_dates": "Add the date each link was created",
        "clickable": "Clickable links",
        "qr": "A QR code beside each link",
        "split_by": "Separate workbook for each",
        "format": "File type",
        "protect": "Protect the workbooks with the password that IT has set",
    }
)
"""What the page calls the settings: on their controls, and in the sentences that speak of them."""


def label(name: str) -> str:
    """What the page calls a setting, in the quotation marks of a sentence."""
    return f"“{LABELS.get(name, name.replace('_', ' ').capitalize())}”"


PAGE = Door(
    advice={
        Do.ALLOW_LENGTHS: (
            f"Or open “More choices”: {label('id_width')} {{number}} adds leading zeros, and {label('any_length')} accepts "
            "short IDs."
        ),
        Do.DESCRIBE_IDS: "If your IDs really look like this, ask IT to set up the ID format.",
        Do.ALLOW_SHAPES: f"If these IDs are right, tick {label('any_shape')} under “More choices”.",
        Do.TELL_APART: f"If these are different people, tick {label('exact_ids')} under “More choices”.",
        Do.CONFIRM_PERSON: (
            "If it is the same person, click “Same person”. If the ID was typed wrong, correct it. If you aren't sure, leave it: "
            "the row stays held back."
        ),
        Do.LIFT_LIMIT: "Click “Get all” for the rest.",
        Do.GO_ON: "Click “Continue” to go on.",
        Do.CHOOSE_SHEET: "Choose the right one.",
        Do.GIVE_PASSWORD: "Type its password.",
        Do.CHECK_PASSWORD: "Type its password again.",
        Do.REFUSE_UNNAMED: "",
        Do.CHANGE_ENCODING: f"If they don't, choose another {label('encoding')}.",
        Do.CORRECT_THE_LIST: "Correct these rows here or in your list.",
        Do.CORRECT_WITH_LIST: "Upload it on the page of the list that it came from, to get one links workbook with everybody.",
        Do.CHOOSE_ID_COLUMN: "Choose it.",
        Do.CHOOSE_OTHER_COLUMN: f"Choose another column. If this one is right, tick {label('any_column')}.",
        Do.NAME_HEADER: (
            f"If there is one, enter its row under {label('header_row')}. If there is none, enter {label('header_row')} 0 and "
            f"{label('id_column')} with the column's letter (A)."
        ),
        Do.NAME_HEADER_ROW: f"Enter the row of the headers under {label('header_row')}.",
        Do.SPLIT_TABLES: (
            "Put each into a sheet or file of its own, with its headers above it. Or enter the row of the right headers under "
            f"{label('header_row')} ({{number}}?); the other rows are then left out and listed under “Rows to fix”."
        ),
        Do.TRY_UTF_16: "",
        Do.CHANGE_FOLDER: "Contact IT.",
        Do.WRITE_CSV: f"Choose CSV as {label('format')}, or split the list.",
        Do.KEEP_FEWER_COLUMNS: f"Choose CSV as {label('format')}, or fewer {label('columns')}.",
        Do.GIVE_RESULT_PASSWORD: "ask IT to set one.",
        Do.GIVE_PROJECT: f"choose one under “More choices” ({label('project_id')}), or ask IT to set one.",
        Do.CHANGE_LEDGER: "Contact IT.",
        Do.RESTORE_LEDGER: "Contact IT.",
        Do.MEND_LEDGER: "Contact IT.",
    },
    name_of=label,
    variable_of=lambda _name: "a setting of the server",
)
"""Somebody in front of a browser, who sets what the page offers, and has IT for the rest."""

Asks = Literal["sheet", "tables", "column", "password"]
"""What the page can ask about a list that cannot be read as it is."""

_ASKED_BY: Mapping[Do, Asks] = MappingProxyType(
    {
        Do.CHOOSE_SHEET: "sheet",
        Do.SPLIT_TABLES: "tables",
        Do.GIVE_PASSWORD: "password",
        Do.CHECK_PASSWORD: "password",
        Do.NAME_HEADER: "column",
        Do.NAME_HEADER_ROW: "column",
        Do.CHOOSE_ID_COLUMN: "column",
        Do.CHOOSE_OTHER_COLUMN: "column",
    }
)
_COLUMN_SETTINGS = frozenset({"header_row", "id_column"})


def asks(error: BatchlinksError) -> Asks | None:
    """What an answer to this error could be, by its parts; None where it has to be mended elsewhere."""
    for part in error.args:
        if isinstance(part, Advice) and part.do in _ASKED_BY:
            return _ASKED_BY[part.do]
    names_column = any(isinstance(part, Setting) and part.name in _COLUMN_SETTINGS for part in error.args)
    return "column" if names_column else None
