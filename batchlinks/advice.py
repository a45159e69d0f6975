"""What a sentence leaves to whoever shows it: which setting is meant, and what to do next.

A sentence that is thought deep inside the package holds true at every door (command, upload page, workbook), but what
its reader can do differs: one types an option, one ticks a box, one asks IT. So that part of it is a value, and each
door has words of its own for it. Nobody looks for such words in a finished sentence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Do(Enum):
    """A next step. The gaps `{number}` and `{example}` in a door's words are filled from its `Advice`."""

    ALLOW_LENGTHS = auto()
    """IDs are shorter than the others: have zeros filled in up to `number` digits, or say that short IDs are right."""

    DESCRIBE_IDS = auto()
    """IDs look as no rule expects: give the pattern that they follow, or correct the one that was given."""

    ALLOW_SHAPES = auto()
    """IDs look unlike the others and are right."""

    TELL_APART = auto()
    """IDs that differ only in case, zeros or separators are different people."""

    CONFIRM_PERSON = auto()
    """An ID stood for somebody else before, and is this patient's all the same."""

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


Part = str | Setting | Advice
"""Of a sentence: said alike everywhere, or in words of each door."""


def part_as_json(part: Part) -> object:
    """For another process; `part_of_json` reads it."""
    match part:
        case Setting(name=name):
            return {"setting": name}
        case Advice(do=do, number=number, example=example):
            return {"do": do.name, "number": number, "example": example}
        case _:
            return part


def part_of_json(told: object) -> Part:
    """What `part_as_json` wrote."""
    match told:
        case {"setting": str(name)}:
            return Setting(name)
        case {"do": str(do), "number": number, "example": str(example)}:
            return Advice(Do[do], number, example)
        case _:
            return str(told)


@dataclass(frozen=True, slots=True)
class Door:
    """How one door speaks: the command, the upload page, the workbook."""

    advice: Mapping[Do, str]
    """The words for each next step: a sentence or more, "" where this door has nothing to add."""

    name_of: Callable[[str], str]
    """What a setting is called here."""

    def say(self, parts: Iterable[Part]) -> str:
        """The whole sentence in this door's words."""
        return "".join(self._said(part) for part in parts).strip()

    def advise(self, advice: Advice) -> str:
        """What to do next, in this door's words."""
        return self.advice[advice.do].format(number=advice.number, example=advice.example)

    def _said(self, part: Part) -> str:
        if isinstance(part, Setting):
            return self.name_of(part.name)
        return self.advise(part) if isinstance(part, Advice) else str(part)


COMMAND = Door(
    advice={
        Do.ALLOW_LENGTHS: "Use --id-width {number} to add leading zeros, or --any-length if short IDs are right.",
        Do.DESCRIBE_IDS: "Use --id-pattern to describe what your IDs look like.",
        Do.ALLOW_SHAPES: "Use --any-shape if these IDs are right.",
        Do.TELL_APART: "Use --exact-ids if these are different people.",
        Do.CONFIRM_PERSON: "Use `batchlinks ledger confirm` if it is the same person.",
        Do.LIFT_LIMIT: "Run it without --limit to get the rest.",
        Do.GO_ON: "Run the same command again to go on.",
        Do.CHOOSE_SHEET: "Name the right one with --sheet.",
        Do.GIVE_PASSWORD: "Set BATCHLINKS_ROSTER_PASSWORD to it, or save the file without one.",
        Do.CHECK_PASSWORD: "Check BATCHLINKS_ROSTER_PASSWORD, or save the file without a password.",
        Do.REFUSE_UNNAMED: "Use --strict-links to refuse such links.",
        Do.CHANGE_ENCODING: "Use --encoding to change that.",
        Do.CORRECT_THE_LIST: "Correct these rows in your list, and run the list again.",
    },
    name_of=lambda name: f"--{name.replace('_', '-')}",
)
"""Somebody at a command line, who can set every option."""

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
    },
    name_of=lambda name: f"“{name.replace('_', ' ')}”",
)
"""A coordinator with the error report open, who can set nothing, and has IT to ask."""
