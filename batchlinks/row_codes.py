"""Every reason for which a row gets no link, and every warning: its code, its words, and what to do about it.

The order of `ErrorCode` is the order in which the rules apply: a row carries the first that fits.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Action(StrEnum):
    """What the reader of the error report is to do."""

    FIX = "fix the row"
    AGAIN = "run again"
    ASK_IT = "ask IT"


@dataclass(frozen=True, slots=True)
class _Words:
    action: Action
    sentence: str


class ErrorCode(Enum):
    """A row in the error report has exactly one of these. `value` is the code as files and scripts see it.

    A sentence may hold named gaps in braces (`{length}`), which `message` fills; they never take an external
    ID or any other cell of the roster, only numbers, row numbers and words of ours.
    """

    _words: _Words

    def __new__(cls, code: str, action: Action, sentence: str) -> "ErrorCode":
        member = object.__new__(cls)
        member._value_ = code
        member._words = _Words(action, sentence)
        return member

    WRONG_FIELD_COUNT = (
        "wrong_field_count",
        Action.FIX,
        "This row has {found} fields, but the header has {expected}. A separator is missing or one too many, "
        "often a comma inside a name or an address. Put the text in quotes in your list; or move the fields from the end of "
        "this row to where they belong.",
    )
    BLANK_ID = ("blank_id", Action.FIX, "The patient ID is blank. Fill it in.")
    NOT_A_PATIENT = (
        "not_a_patient",
        Action.FIX,
        "This looks like a header, total, page or date line, not like a patient. If so, nothing is to be done.",
    )
    FORMULA_ERROR = (
        "formula_error",
        Action.FIX,
        "The patient ID is a formula that failed (such as #N/A). Type the ID itself.",
    )
    NO_CACHED_VALUE = (
        "no_cached_value",
        Action.FIX,
        "The patient ID is a formula whose result is not in the file. Open the file in Excel, save it, "
        "and use it again; or type the ID itself.",
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
        "It cannot be told for certain what this cell shows as patient ID. Format the cell as text and type "
        "the ID as it should be (numbers in an .xls or .xlsb file: save it as .xlsx).",
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
        "The patient ID is in scientific notation (such as 1.2E+11), so digits may be lost. Take the ID from "
        "its source and type it as text.",
    )
    PLACEHOLDER_ID = (
        "placeholder_id",
        Action.FIX,
        "The patient ID is a placeholder (such as N/A or unknown). Fill in the real ID.",
    )
    NO_DIGIT = (
        "no_digit",
        Action.FIX,
        "The patient ID has no digit in it. If your IDs are like that, ask IT to describe them with --id-pattern.",
    )
    UNEXPECTED_CHARACTER = (
        "unexpected_character",
        Action.FIX,
        "The patient ID has a character that does not belong in one. Letters, digits, single spaces inside "
        "and - _ . / : # * ~ are allowed; it begins and ends with a letter or digit.",
    )
    TOO_LONG = ("too_long", Action.FIX, "The patient ID is longer than 128 characters. Correct it.")
    PATTERN_MISMATCH = (
        "pattern_mismatch",
        Action.FIX,
        "The patient ID does not look like your organisation's IDs (--id-pattern). Correct it.",
    )
    LOST_ZEROS = (
        "lost_zeros",
        Action.FIX,
        "The patient ID has {found} digits, almost all others have {expected}: it has probably lost its leading "
        "zeros. Type it in full as text, or ask IT for --id-width {expected} (fills in zeros) or --any-length "
        "(short IDs are right).",
    )
    EXCLUDED = (
        "excluded",
        Action.FIX,
        "This patient is on your list of people not to be contacted (--exclude). If so, nothing is to be done.",
    )
    WITHDRAWN = (
        "withdrawn",
        Action.ASK_IT,
        "This patient's link was withdrawn. IT can restore it with `batchlinks ledger restore`.",
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
        "Rows {rows} have patient IDs that differ only in upper and lower case or in leading zeros. Check which "
        "ones are right.",
    )
    REJECTED_BY_HEALTHEX = (
        "rejected_by_healthex",
        Action.FIX,
        "HealthEx did not accept this patient ID (answer {status}). Check the ID.",
    )
    BAD_ANSWER = (
        "bad_answer",
        Action.AGAIN,
        "HealthEx answered, but with no link that can be used ({reason}). Run it again; if it stays so, ask IT.",
    )
    LINK_MISMATCH = (
        "link_mismatch",
        Action.ASK_IT,
        "The link that HealthEx answered is not certain to be this patient's ({reason}), so it is not handed out.",
    )
    GAVE_UP = (
        "gave_up",
        Action.AGAIN,
        "HealthEx kept failing for this patient ({reason}, {attempts} attempts). Run it again later.",
    )
    NOT_ATTEMPTED = (
        "not_attempted",
        Action.AGAIN,
        "No link was asked for yet: {reason}. Run it again to go on.",
    )

    @property
    def action(self) -> Action:
        return self._words.action

    def message(self, **gaps: object) -> str:
        """The sentence in plain words. `gaps` must name every gap that the sentence has."""
        return self._words.sentence.format(**gaps)


DUPLICATE = "duplicate"
DUPLICATE_ACTION = "nothing to do"
DUPLICATE_MESSAGE = "The same patient ID as in row {kept_row}, which is the one that was used."


class WarningCode(Enum):
    """Counted in the summary, named with row numbers on standard error.

    Its sentence goes between the number of rows and their row numbers; it stands alone where there are none.
    """

    _of_many: str
    _of_one: str

    def __new__(cls, code: str, of_many: str, of_one: str = "") -> "WarningCode":
        member = object.__new__(cls)
        member._value_ = code
        member._of_many, member._of_one = of_many, of_one
        return member

    def sentence(self, count: int) -> str:
        """What is to be said of `count` rows, with their number; without one for what concerns no row (0)."""
        if not count:
            return self._of_many
        return f"{count:,} {self._of_one if count == 1 and self._of_one else self._of_many}"

    NEAR_LENGTH = (
        "near_length",
        "IDs are not as long as most others (lost zeros?)",
        "ID is not as long as most others (lost zeros?)",
    )
    HIDDEN_ROWS = (
        "hidden_rows",
        "rows are hidden or filtered out in the sheet, and were read all the same",
        "row is hidden or filtered out in the sheet, and was read all the same",
    )
    ENCODING_GUESSED = (
        "encoding_guessed",
        "The file does not say how its letters are encoded, so it was read as Windows-1252 (--encoding changes that)",
    )
    OTHER_LAST_NAME = (
        "other_last_name",
        "duplicates have another last name than the row that was kept",
        "duplicate has another last name than the row that was kept",
    )
    NO_IDENTITY_COLUMNS = (
        "no_identity_columns",
        "rows repeat an ID, and without first name and birth date two people cannot be told from one",
        "row repeats an ID, and without first name and birth date two people cannot be told from one",
    )
    UNNAMED_LINK = (
        "unnamed_link",
        "links do not name their own patient ID and were used all the same (--strict-links refuses them)",
        "link does not name its own patient ID and was used all the same (--strict-links refuses it)",
    )
    OTHER_PROJECT = (
        "other_project",
        "patients already have a link in another project: check that the project is right",
        "patient already has a link in another project: check that the project is right",
    )
