"""What a sentence leaves to whoever shows it: which setting is meant, and what to do next.

A sentence that is thought deep inside the package holds true at every door (command, upload page, workbook), but what
its reader can do differs: one types an option, one ticks a box, one asks IT. So that part of it is a value, and each
door has words of its own for it. Nobody looks for such words in a finished sentence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Do(Enum):
    """A next step. The gaps in a door's words are filled by `Door.advise`."""

    ALLOW_LENGTHS = auto()
    """IDs are shorter than the others: have zeros filled in up to `number` digits, or say that short IDs are right."""

    DESCRIBE_IDS = auto()
    """IDs look as no rule expects: give the pattern that they follow, or correct the one that was given."""

    ALLOW_SHAPES = auto()
    """IDs look unlike the others and are right."""

    TELL_APART = auto()
    """IDs that differ only in case, zeros or separators are different people."""

    CONFIRM_PERSON = auto()
    """An ID was somebody else's in an earlier list, and it is the same person after all."""

    LIFT_LIMIT = auto()
    """Only the first patients were asked for: get the rest."""

    GO_ON = auto()
    """The run stopped early: start it again."""

    REFUSE_UNNAMED = auto()
    """Links that do not name their own ID can be refused."""

    CHANGE_ENCODING = auto()
    """The encoding of a CSV file was assumed: say which it is."""

    CHOOSE_SHEET = auto()
    """Several sheets of the workbook could be the list."""

    GIVE_PASSWORD = auto()
    """The list is protected with a password."""

    CHECK_PASSWORD = auto()
    """The list does not open with the password that was given."""

    CORRECT_THE_LIST = auto()
    """What a report cannot tell, the list can: correct the rows there."""

    CORRECT_WITH_LIST = auto()
    """An error report was handed in without the list that it came from, to which its corrections belong."""

    CHOOSE_ID_COLUMN = auto()
    """Nobody but the user can say which column is the patient ID; `example` names the likeliest, if one is."""

    CHOOSE_OTHER_COLUMN = auto()
    """The column that was named holds what no patient ID is."""

    NAME_HEADER = auto()
    """No row of headers was found above the patients: say where it is, or that there is none."""

    NAME_HEADER_ROW = auto()
    """No table was found: say in which row its headers are."""

    SPLIT_TABLES = auto()
    """There are several tables in a sheet: part them, or name the headers of the right one (row `number`)."""

    TRY_UTF_16 = auto()
    """What looks like no text may be UTF-16 without a mark."""

    CHANGE_FOLDER = auto()
    """The folder of the results cannot be used."""

    WRITE_CSV = auto()
    """A workbook cannot hold so many rows."""

    KEEP_FEWER_COLUMNS = auto()
    """A workbook cannot hold so many columns."""

    GIVE_RESULT_PASSWORD = auto()
    """Results are to be encrypted, and there is no password for them."""

    GIVE_PROJECT = auto()
    """No project is set."""

    CHANGE_LEDGER = auto()
    """The ledger is somewhere where it cannot be used."""

    RESTORE_LEDGER = auto()
    """The ledger is gone, or another than before: bring the right one back, or say that it is meant to be new."""

    MEND_LEDGER = auto()
    """The ledger does not hold any more what was written."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A next step, and what it takes."""

    do: Do
    number: int | None = None
    example: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """An option of a run in the middle of a sentence, by its name in `RunSettings`."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment in the middle of a sentence, by its name."""

    name: str


Part = str | Setting | Variable | Advice
"""Of a sentence: said alike everywhere, or in words of each door."""


def part_as_json(part: Part) -> object:
    """For another process; `part_of_json` reads it."""
    match part:
        case Setting(name=name):
            return {"setting": name}
        case Variable(name=name):
            return {"variable": name}
        case Advice(do=do, number=number, example=example):
            return {"do": do.name, "number": number, "example": example}
        case _:
            return part


def part_of_json(told: object) -> Part:
    """What `part_as_json` wrote."""
    match told:
        case {"setting": str(name)}:
            return Setting(name)
        case {"variable": str(name)}:
            return Variable(name)
        case {"do": str(do), "number": number, "example": str(example)}:
            return Advice(Do[do], number, example)
        case _:
            return str(told)


@dataclass(frozen=True, slots=True)
class Door:
    """How one door speaks: the command, the upload page, the workbook."""

    advice: Mapping[Do, str]
    """The words for each next step: a sentence or more, "" where this door has nothing to add.

    Gaps are `{number}`; the name of a setting, such as `{sheet}`; a setting with its value, as in `{id_width:{number}}` or,
    where it is switched on, `{any_length:on}`; and `{by_name}`, how a column is named with `id_column`.
    """

    name_of: Callable[[str], str]
    """What a setting is called here."""

    variable_of: Callable[[str], str]
    """What a variable of the environment is called here."""

    set_to: Callable[[str, str], str] = lambda name, value: f"{name} {value}"
    """How a setting is given a value here; `on` where it is switched on."""

    def say(self, parts: Iterable[Part]) -> str:
        """The whole sentence in this door's words."""
        return "".join(self._said(part) for part in parts).strip()

    def advise(self, advice: Advice) -> str:
        """What to do next, in this door's words."""
        return self.advice[advice.do].format_map(_Gaps(self, advice))

    def _said(self, part: Part) -> str:
        match part:
            case Setting(name=name):
                return self.name_of(name)
            case Variable(name=name):
                return self.variable_of(name)
            case Advice():
                return self.advise(part)
            case _:
                return str(part)


class _Gaps(dict[str, object]):
    """What stands in the gaps of a door's words: whatever is not known by itself is a setting."""

    def __init__(self, door: Door, advice: Advice) -> None:
        example = door.set_to("id_column", f'"{advice.example}"')
        by_name = f", for example {example}" if advice.example else ", by its header or its letter"
        super().__init__(number=advice.number, by_name=by_name)
        self._door = door

    def __missing__(self, name: str) -> "_SettingGap":
        return _SettingGap(name, self._door)


@dataclass(frozen=True, slots=True)
class _SettingGap:
    """A gap for a setting, or for a setting and its value."""

    name: str
    door: Door

    def __format__(self, value: str) -> str:
        return self.door.set_to(self.name, value) if value else self.door.name_of(self.name)


_FOR_IT: Mapping[Do, str] = {
    Do.ALLOW_LENGTHS: "Use {id_width:{number}} to add leading zeros, or {any_length:on} if short IDs are right.",
    Do.DESCRIBE_IDS: "Use {id_pattern} to describe what your IDs look like.",
    Do.ALLOW_SHAPES: "Use {any_shape:on} if these IDs are right.",
    Do.TELL_APART: "Use {exact_ids:on} if these are different people.",
    Do.CONFIRM_PERSON: "If it is the same person, say so with batchlinks ledger confirm.",
    Do.LIFT_LIMIT: "Run it without {limit} to get the rest.",
    Do.GO_ON: "Run the same command again to go on.",
    Do.CHOOSE_SHEET: "Name the right one with {sheet}.",
    Do.GIVE_PASSWORD: "Set BATCHLINKS_ROSTER_PASSWORD to it, or save the file without one.",
    Do.CHECK_PASSWORD: "Check BATCHLINKS_ROSTER_PASSWORD, or save the file without a password.",
    Do.REFUSE_UNNAMED: "Use {strict_links:on} to refuse such links.",
    Do.CHANGE_ENCODING: "Use {encoding} to change that.",
    Do.CORRECT_THE_LIST: "Correct these rows in your list, and run the list again.",
    Do.CORRECT_WITH_LIST: (
        "Only its own rows get links. To get one links workbook with everybody, run the list itself and name this report "
        "with {corrections}."
    ),
    Do.CHOOSE_ID_COLUMN: "Name it with {id_column}{by_name}.",
    Do.CHOOSE_OTHER_COLUMN: ("Name another column with {id_column}. If it is the right one, add {any_column:on}."),
    Do.NAME_HEADER: (
        "If there is one, name its row with {header_row}; if the list has none, use {header_row:0} and {id_column} with "
        "the column's letter (A)."
    ),
    Do.NAME_HEADER_ROW: "Name the row of the headers with {header_row}.",
    Do.SPLIT_TABLES: (
        "Put each into a sheet or file of its own, with its headers above it; or name the right headers with {header_row:"
        "{number}}, and the other rows are left out and listed in the error report."
    ),
    Do.TRY_UTF_16: "If it is UTF-16, {encoding:utf-16-le} may help.",
    Do.CHANGE_FOLDER: "Mend that, or choose another folder with {output_dir}.",
    Do.WRITE_CSV: "Use {format:csv}, or split the list.",
    Do.KEEP_FEWER_COLUMNS: "Use {format:csv}, or name the columns to keep with {columns}.",
    Do.GIVE_RESULT_PASSWORD: (
        "set BATCHLINKS_RESULT_PASSWORD (or the same with _FILE, or keep it in the system's keyring)."
    ),
    Do.GIVE_PROJECT: "give {project_id}, or set HEALTHEX_PROJECT_ID.",
    Do.CHANGE_LEDGER: "Mend that, or give another place with {ledger}.",
    Do.RESTORE_LEDGER: (
        "Restore it from a backup, or correct {ledger}. If it is meant to be new, add {new_ledger:on} to this one command: all "
        "patients are then asked for again, and links sent before may stop working."
    ),
    Do.MEND_LEDGER: (
        "Restore it from a backup, or give another place with {ledger}; links recorded in it would be asked for again."
    ),
}
"""What somebody does who can set every option."""

COMMAND = Door(
    advice=_FOR_IT,
    name_of=lambda name: f"--{name.replace('_', '-')}",
    variable_of=lambda name: name,
    set_to=lambda name, value: f"--{name.replace('_', '-')}" + ("" if value == "on" else f" {value}"),
)
"""Somebody at a command line."""


def _keyword(name: str, value: str) -> str:
    """As it stands in a call."""
    written = "True" if value == "on" else value if value.isdigit() or value.startswith('"') else f'"{value}"'
    return f"{name}={written}"


PYTHON = Door(
    advice={
        **_FOR_IT,
        Do.GO_ON: "Make the same call again to go on.",
        Do.CORRECT_THE_LIST: "Correct these rows in your list, and run the list again.",
    },
    name_of=lambda name: name,
    variable_of=lambda name: name,
    set_to=_keyword,
)
"""A caller in Python, whose settings are keyword arguments."""

WORKBOOK = Door(
    advice={
        Do.ALLOW_LENGTHS: "Or ask IT to add leading zeros up to {number} digits, or to accept short IDs if they are right.",
        Do.DESCRIBE_IDS: "If your IDs really look like this, ask IT to set up the ID format.",
        Do.ALLOW_SHAPES: "If this ID is right, ask IT to accept IDs of this kind.",
        Do.TELL_APART: "If these are different people, ask IT to keep such IDs apart.",
        Do.CONFIRM_PERSON: "If it is the same person, ask IT to confirm that.",
        Do.LIFT_LIMIT: "Get the rest when you are ready.",
        Do.GO_ON: "Run it again to continue.",
        Do.CHOOSE_SHEET: "Ask IT which one is right.",
        Do.GIVE_PASSWORD: "Save it without one, or ask IT.",
        Do.CHECK_PASSWORD: "Save it without one, or ask IT.",
        Do.REFUSE_UNNAMED: "",
        Do.CHANGE_ENCODING: "",
        Do.CORRECT_THE_LIST: "Correct these rows in your list.",
        Do.CORRECT_WITH_LIST: "",
        Do.CHOOSE_ID_COLUMN: "Ask IT to name it.",
        Do.CHOOSE_OTHER_COLUMN: "Ask IT to name another one.",
        Do.NAME_HEADER: "Give each column a header, or ask IT.",
        Do.NAME_HEADER_ROW: "Give each column a header, or ask IT.",
        Do.SPLIT_TABLES: "Put each into a sheet or file of its own, with its headers above it.",
        Do.TRY_UTF_16: "",
        Do.CHANGE_FOLDER: "Ask IT.",
        Do.WRITE_CSV: "Split the list, or ask IT for CSV files.",
        Do.KEEP_FEWER_COLUMNS: "Remove columns that staff do not need, or ask IT for CSV files.",
        Do.GIVE_RESULT_PASSWORD: "ask IT to set one.",
        Do.GIVE_PROJECT: "ask IT.",
        Do.CHANGE_LEDGER: "Ask IT.",
        Do.RESTORE_LEDGER: "Ask IT.",
        Do.MEND_LEDGER: "Ask IT.",
    },
    name_of=lambda name: f"“{name.replace('_', ' ')}”",
    variable_of=lambda _name: "a setting of IT",
)
"""A coordinator with the error report open, who can set nothing, and has IT to ask."""
