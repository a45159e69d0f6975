"""How the upload page speaks: what it calls the settings, and what its readers do next."""

from types import MappingProxyType

from batchlinks.advice import Do, Door

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
        "id_width": "Digits of an ID",
        "any_length": "Short IDs are right",
        "project_id": "Project ID",
        "columns": "Columns for staff",
        "split_by": "A workbook for each",
        "protect": "Protect the workbooks",
    }
)
"""What the page calls the settings that sentences speak of."""


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
        Do.ALLOW_SHAPES: "If this ID is right, ask IT to accept IDs of this kind.",
        Do.TELL_APART: "If these are different people, ask IT to keep such IDs apart.",
        Do.CONFIRM_PERSON: "If it is the same person, ask IT to confirm that.",
        Do.LIFT_LIMIT: "Click “Get all” for the rest.",
        Do.GO_ON: "Click “Go on” to continue.",
        Do.CHOOSE_SHEET: "Choose the right one.",
        Do.GIVE_PASSWORD: "Save it without one, or ask IT.",
        Do.CHECK_PASSWORD: "Save it without one, or ask IT.",
        Do.REFUSE_UNNAMED: "",
        Do.CHANGE_ENCODING: "",
        Do.CORRECT_THE_LIST: "Correct these rows in your list, and upload the list again.",
    },
    name_of=label,
)
"""Somebody in front of a browser, who sets what the page offers, and has IT for the rest."""
