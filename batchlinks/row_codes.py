"""Every reason for which a row gets no link, and every warning: its code, its words, and what to do about it.

The order of `ErrorCode` is the order in which the rules apply: a row carries the first that fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from batchlinks.next_steps import WORKBOOK, Advice, Do, Door


class Action(StrEnum):
    """What the reader of the error report is to do."""

    FIX = "fix the row"
    AGAIN = "run again"
    ASK_IT = "ask IT"
    NOTHING = "nothing to do"


@dataclass(frozen=True, slots=True)
class _Words:
    action: Action
    sentence: str
    advice: Do | None


class ErrorCode(Enum):
    """A row in the error report has exactly one of these. `value` is the code as files and scripts see it.

    A sentence may hold named gaps in braces (`{length}`), which `message` fills; they never take an external
    ID or any other cell of the roster, only numbers, row numbers, days of runs, names of lists and words of ours. It names
    no option: what a door has to add, such as where the length is set, is its `advice`.
    """

    _words: _Words

    def __new__(cls, code: str, action: Action, sentence: str, advice: Do | None = None) -> "ErrorCode":
        member = object.__new__(cls)
        member._value_ = code
        member._words = _Words(action, sentence, advice)
        return member

    WRONG_FIELD_COUNT = (
        "wrong_field_count",
        Action.FIX,
        "This row has {found} fields, but the header has {expected}. A delimiter is missing or there is one too many, "
        "often a comma inside a name or an address. Put that text in quotes in your list, or move the fields from the "
        "end of this row to where they belong.",
    )
    OTHER_TABLE = (
        "other_table",
        Action.FIX,
        "This row isn't part of the table that was read: it is above the column headers, or below a second row of headers. "
        "If it is a patient, put it in a list of its own.",
    )
    BLANK_ID = ("blank_id", Action.FIX, "The patient ID is blank. Fill it in.")
    NOT_A_PATIENT = (
        "not_a_patient",
        Action.NOTHING,
        "This looks like a header, total, page number, or date, not a patient. If so, you can ignore it. If it is a "
        "patient, type the patient ID in full.",
    )
    FORMULA_ERROR = (
        "formula_error",
        Action.FIX,
        "The patient ID is a formula that failed (such as #N/A). Type the ID itself.",
    )
    NO_CACHED_VALUE = (
        "no_cached_value",
        Action.FIX,
        "The patient ID is a formula whose result isn't in the file. Open the file in Excel, save it, and use it again; "
        "or type the ID itself.",
    )
    DATE_IN_ID = (
        "date_in_id",
        Action.FIX,
        "The patient ID is a date. Excel turns an ID such as 1-5 into one: format the cell as text and type "
        "the ID again.",
    )
    UNREADABLE_FORMAT = (
        "unreadable_format",
        Action.FIX,
        "We can't tell what ID this cell is meant to show. Format the cell as text and type the ID (if the list is an "
        ".xls or .xlsb file: save it as .xlsx).",
    )
    LOST_DIGITS = (
        "lost_digits",
        Action.FIX,
        "The patient ID is a number of more than 15 digits, and Excel keeps only 15. Format the cell as text "
        "and type the ID again.",
    )
    DECIMAL_NUMBER = (
        "decimal_number",
        Action.FIX,
        "The patient ID is a number with decimals. Type the ID without them, as text.",
    )
    SCIENTIFIC_NOTATION = (
        "scientific_notation",
        Action.FIX,
        "The patient ID is in scientific notation (such as 1.2E+11), so digits may be lost. Get the ID from "
        "its source and type it as text.",
    )
    PLACEHOLDER_ID = (
        "placeholder_id",
        Action.FIX,
        "The patient ID is a placeholder (such as N/A or unknown). Type the real ID.",
    )
    NO_DIGIT = (
        "no_digit",
        Action.FIX,
        "This patient ID contains no digits. Type the real ID.",
        Do.DESCRIBE_IDS,
    )
    UNEXPECTED_CHARACTER = (
        "unexpected_character",
        Action.FIX,
        "The patient ID has a character that doesn't belong in one. An ID has letters, digits, single spaces inside "
        "and - _ . / : # * ~, and begins and ends with a letter or digit.",
    )
    TOO_LONG = ("too_long", Action.FIX, "The patient ID is longer than 128 characters. Correct it.")
    PATTERN_MISMATCH = (
        "pattern_mismatch",
        Action.FIX,
        "The patient ID doesn't have the format that was set up for your organization's IDs. Correct it.",
        Do.DESCRIBE_IDS,
    )
    LOST_ZEROS = (
        "lost_zeros",
        Action.FIX,
        "This patient ID has {found} digits, but almost all others have {expected}. It has probably lost its leading "
        "zeros. Type it in full, as text.",
        Do.ALLOW_LENGTHS,
    )
    ODD_SHAPE = (
        "odd_shape",
        Action.FIX,
        "This patient ID doesn't look like the others in the list. If the cell holds something else too (a name, a second "
        "ID, a label), keep only the ID.",
        Do.ALLOW_SHAPES,
    )
    EXCLUDED = (
        "excluded",
        Action.NOTHING,
        "This patient is on your list of people not to contact, or a column of this list says so. No action needed.",
    )
    WITHDRAWN = (
        "withdrawn",
        Action.NOTHING,
        "This patient's link was withdrawn, so it isn't handed out again. No action needed.",
    )
    HAS_CONSENTED = (
        "has_consented",
        Action.NOTHING,
        "On {day} HealthEx showed that this patient has consented, so no link is handed out. No action needed.",
    )
    CONFLICTING_ID = (
        "conflicting_id",
        Action.FIX,
        "Rows {rows} have the same patient ID, but their {difference} differ: they are different people. Give each "
        "the right ID.",
    )
    AMBIGUOUS_ID = (
        "ambiguous_id",
        Action.FIX,
        "Rows {rows} have patient IDs that differ only in upper and lower case, leading zeros, or separators. Check which "
        "ones are right.",
        Do.TELL_APART,
    )
    KNOWN_AS_OTHER = (
        "known_as_other",
        Action.FIX,
        "In an earlier list ({list}, row {row}, {date}), this patient ID was somebody else's: the {difference} differ. "
        "Check the ID, and type the right one.",
        Do.CONFIRM_PERSON,
    )
    REJECTED_BY_HEALTHEX = (
        "rejected_by_healthex",
        Action.FIX,
        "HealthEx didn't accept this patient ID (answer {status}). Check the ID.",
    )
    BAD_ANSWER = (
        "bad_answer",
        Action.AGAIN,
        "HealthEx answered, but without a usable link ({reason}). Run it again; if that doesn't help, ask IT.",
    )
    LINK_MISMATCH = (
        "link_mismatch",
        Action.ASK_IT,
        "The link that HealthEx sent may not be this patient's ({reason}), so it isn't handed out.",
    )
    GAVE_UP = (
        "gave_up",
        Action.AGAIN,
        "HealthEx kept failing for this patient ({reason}, {attempts} attempts). Run it again later.",
    )
    NOT_ATTEMPTED = (
        "not_attempted",
        Action.AGAIN,
        "No link requested yet: {reason}.",
    )

    @property
    def action(self) -> Action:
        return self._words.action

    def message(self, **gaps: object) -> str:
        """The sentence in plain words, as the error report has it. `gaps` must name every gap that the sentence has."""
        return self.said_at(WORKBOOK, gaps)

    def said_at(self, door: Door, gaps: Mapping[str, object]) -> str:
        """The sentence, with what this door has to add.

        `gaps`: those of the sentence; `advice`, a `Do`, where the next step depends on what happened.
        """
        sentence = self._words.sentence.format(**gaps)
        step, expected = gaps.get("advice", self._words.advice), gaps.get("expected")
        if not isinstance(step, Do):
            return sentence
        advice = Advice(step, expected if isinstance(expected, int) else None)
        return f"{sentence} {door.advise(advice)}".rstrip()


def action_of(code: str) -> Action:
    """What is to be done about rows with this code, as files and scripts see it."""
    return ErrorCode(code).action  # type: ignore[call-arg]  # found by its code alone


@dataclass(frozen=True, slots=True)
class ToDo:
    """How many refused rows wait for whom."""

    fix: int = 0
    """Rows that somebody has to fix or to ask IT about: what counts as trouble with a list."""

    again: int = 0
    """Rows that another run may do."""

    nothing: int = 0
    """Rows that are left out on purpose."""

    @classmethod
    def of(cls, errors: Mapping[str, int]) -> "ToDo":
        """From a count for each code."""
        counts = dict.fromkeys(Action, 0)
        for code, count in errors.items():
            counts[action_of(code)] += count
        return cls(counts[Action.FIX] + counts[Action.ASK_IT], counts[Action.AGAIN], counts[Action.NOTHING])

    def in_words(self) -> str:
        """`2 to fix, 5 to run again, 3 left out on purpose`; the latter two only where there are any."""
        again = f", {self.again:,} to run again" if self.again else ""
        nothing = f", {self.nothing:,} left out on purpose" if self.nothing else ""
        return f"{self.fix:,} to fix{again}{nothing}"


DUPLICATE = "duplicate"
DUPLICATE_ACTION = Action.NOTHING
DUPLICATE_MESSAGE = "The same patient ID as in row {kept_row}, which is the one that was used."


class WarningCode(Enum):
    """Counted in the summary, named with row numbers on standard error.

    Its sentence goes between the number of rows and their row numbers; it stands alone where there are none.
    """

    _of_many: str
    _of_one: str
    advice: Do | None

    def __new__(cls, code: str, of_many: str, of_one: str = "", advice: Do | None = None) -> "WarningCode":
        member = object.__new__(cls)
        member._value_ = code
        member._of_many, member._of_one, member.advice = of_many, of_one, advice
        return member

    @property
    def concerns_rows(self) -> bool:
        """Whether it is about rows, and not about the list as a whole."""
        return bool(self._of_one)

    def sentence(self, count: int) -> str:
        """What is to be said of `count` rows, with their number; without one for what concerns no row (0).

        It has no period at its end, and no `advice`, which each door adds in words of its own.
        """
        if not count:
            return self._of_many
        return f"{count:,} {self._of_one if count == 1 and self._of_one else self._of_many}"

    NEAR_LENGTH = (
        "near_length",
        "IDs have a different length from most others and may have lost leading zeros",
        "ID has a different length from most others and may have lost leading zeros",
    )
    MIXED_LENGTHS = (
        "mixed_lengths",
        "numeric IDs are shorter or longer than the others",
        "numeric ID is shorter or longer than the others",
    )
    MIXED_SHAPES = (
        "mixed_shapes",
        "IDs don't look like most others (other letters, digits, or punctuation)",
        "ID doesn't look like most others (other letters, digits, or punctuation)",
    )
    HIDDEN_ROWS = (
        "hidden_rows",
        "rows are hidden or filtered out in Excel; they were included anyway",
        "row is hidden or filtered out in Excel; it was included anyway",
    )
    HIDDEN_SHEET = ("hidden_sheet", "The patient list is on a hidden sheet, which was read anyway")
    FORMATS_UNKNOWN = (
        "formats_unknown",
        "In a file of this kind we can't be sure how numbers are shown, or which rows are hidden. Compare a few rows, or "
        "save it as .xlsx",
    )
    ENCODING_GUESSED = (
        "encoding_guessed",
        "We couldn't tell the file's character encoding and assumed Windows-1252. Check that accented names look right",
        "",
        Do.CHANGE_ENCODING,
    )
    OTHER_LAST_NAME = (
        "other_last_name",
        "duplicates have a different last name from the row that was kept",
        "duplicate has a different last name from the row that was kept",
    )
    NO_IDENTITY_COLUMNS = (
        "no_identity_columns",
        "rows repeat an ID; without first names and birth dates, we can't tell whether they're the same person",
        "row repeats an ID; without first names and birth dates, we can't tell whether it's the same person",
    )
    UNNAMED_LINK = (
        "unnamed_link",
        "links don't name their own patient ID and were used anyway; only the connection ties them to their patients",
        "link doesn't name its own patient ID and was used anyway; only the connection ties it to its patient",
        Do.REFUSE_UNNAMED,
    )
    OTHER_PROJECT = (
        "other_project",
        "patients already have a link in another project. Check that the project is right",
        "patient already has a link in another project. Check that the project is right",
    )
    SAME_PERSON = (
        "same_person",
        "rows have the name and birth date of another row, with a different ID",
        "row has the name and birth date of another row, with a different ID",
    )
    MINORS = (
        "minors",
        "patients are under 18 and get no letter or message",
        "patient is under 18 and gets no letter or message",
    )
    BAD_PHONE = (
        "bad_phone",
        "telephone numbers aren't valid, so nothing can be sent to them",
        "telephone number isn't valid, so nothing can be sent to it",
    )
    SAME_PHONE = (
        "same_phone",
        "patients share a telephone number with another patient and get no message",
        "patient shares a telephone number with another patient and gets no message",
    )
    HAD_A_LINK = (
        "had_a_link",
        "corrected rows have an ID that already has a link. Check that the ID is this patient's",
        "corrected row has an ID that already has a link. Check that the ID is this patient's",
    )
    PERSON_CHANGED = (
        "person_changed",
        "patients have another birth date than in an earlier list. Check that the ID is theirs",
        "patient has another birth date than in an earlier list. Check that the ID is theirs",
    )
    OLD_REPORT = (
        "old_report",
        "rows of this error report stay refused, because it doesn't tell what was changed in them (a version before 0.3 wrote "
        "it, or its hidden column was changed)",
        "row of this error report stays refused, because it doesn't tell what was changed in it (a version before 0.3 wrote "
        "it, or its hidden column was changed)",
        Do.CORRECT_THE_LIST,
    )
