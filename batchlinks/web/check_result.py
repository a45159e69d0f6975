"""What a check of an uploaded list found: made by the job, kept in `run.json`, shown by the API and the page.

The names of its fields are the keys in the file, where what version 0.2.0 wrote lies for as long as uploads are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from batchlinks.web.wording import Asks


@dataclass(frozen=True, slots=True)
class RowValues:
    """A row of the list, as far as somebody needs to see it to know whose it is."""

    row: int
    """As a spreadsheet numbers it."""

    cells: Sequence[str]

    before: str = ""
    """Where its ID was seen before, with somebody else: list, row and day."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of reason for which rows get no link."""

    code: str
    action: str
    count: int
    sentences: Sequence[str]
    """What is wrong and what to do; a few, where rows of one kind differ in it."""

    in_rows: str
    """Which, as a spreadsheet numbers them: the first of them."""

    task: str = ""
    """What to do, as a verb with a count: `Type 14 IDs in full: leading zeros are missing`."""

    columns: Sequence[str] = ()
    """Of the cells in `rows`."""

    to_correct: Sequence[str] = ()
    """Those of these columns whose cells may be corrected on the page."""

    rows: Sequence[RowValues] = ()
    """The first of them, with their values."""


@dataclass(frozen=True, slots=True)
class SamplePreview:
    """The first rows as they were read, shortened, without Social Security numbers."""

    row_numbers: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    """Positions of those that are shown: not an empty one beside the table, and not the hundredth."""

    rows: list[list[str | None]] = field(default_factory=list)
    """A cell for each of these columns; None where it is held back."""

    ids: list[str] = field(default_factory=list)
    """The ID of each row as it will be sent; "" where it will not."""


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What would have happened if the list had been run when it was checked: `pipeline.preview.Preview` as JSON takes it."""

    project: str
    """By its name, else its ID."""

    place: str
    """`production`, or the address of another deployment of HealthEx."""

    new: int
    """Patients without a link."""

    known: int
    """Patients who have a link already."""

    withdrawn: int = 0
    held_back: int = 0
    answered: Mapping[str, int] = field(default_factory=dict)
    """Response -> patients with a link."""

    missing: int = 0
    """Patients in the last run of this list who are not in it any more."""

    done_before: str | None = None
    """When this very list was last done for this project, in UTC."""

    in_words: str = ""
    """These counts as a part of a sentence."""


@dataclass(frozen=True, slots=True)
class CautionQuestion:
    """A column such as `Deceased`, about which somebody has to decide."""

    name: str
    """As the settings `heed` and `ignore` take it."""

    question: str
    rows: int
    """How many patients are marked."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A list that can be read, whether or not it can be sent yet."""

    columns: tuple[str, ...]
    """Of the list, by the names that results give them."""

    rows: int
    sheet: str | None = None
    id_column: str | None = None
    """None while nobody has decided which it is."""

    at: tuple[int, ...] = ()
    """Positions of the ID column, or of the columns that are joined."""

    candidates: tuple[str, ...] = ()
    """Columns that could be the ID, while that is undecided."""

    can_hold_ids: tuple[str, ...] | None = None
    """Columns that may be chosen as the ID; None in what version 0.2.0 wrote, where any may."""

    cautions: tuple[CautionQuestion, ...] = ()
    sendable: int | None = None
    """Patients for whom a link can be requested; None while the ID column is undecided."""

    duplicates: int | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    """Rows without a link for each code."""

    warnings: tuple[str, ...] = ()
    """Sentences."""

    warning_rows: tuple[str, ...] = ()
    """For each warning the rows that it is about, "" for none."""

    lengths: tuple[tuple[int, int], ...] = ()
    """Digits, and how many all-digit IDs have so many; the most frequent first."""

    lengths_in_doubt: bool = False
    """Whether somebody should say if the shorter ones have lost their zeros."""

    sheets: tuple[str, ...] = ()
    header_row: int = 0
    encoding: str | None = None
    doubt: str = ""
    """Why the ID column is undecided."""

    list_sha256: str = ""
    """Of the file."""

    report_of: str = ""
    """Of an error report or an annotated workbook: the SHA-256 of the list to which it belongs."""

    corrections: tuple[Mapping[str, Any], ...] = ()
    """Cells that were corrected, as `CellCorrection.as_json` has them."""

    confirmed: Mapping[str, str] = field(default_factory=dict)
    """Rows whose patients somebody has confirmed -> what stands for their ID."""

    problems: tuple[Problem, ...] = ()
    preview: SamplePreview = field(default_factory=SamplePreview)
    forecast: RunForecast | None = None
    """None while no project is set, and in what version 0.2.0 wrote."""

    for_staff: tuple[int, ...] = ()
    """Positions of the columns that the links workbook will have."""

    file: str | None = None
    """Path of the rows to fix, from the upload's folder."""

    @property
    def choosable(self) -> tuple[str, ...]:
        """The columns that may be chosen as the ID."""
        return self.columns if self.can_hold_ids is None else self.can_hold_ids

    def as_json(self) -> dict[str, Any]:
        """For `run.json`; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` wrote, here or in version 0.2.0; what an earlier version did not write gets its default."""
        values = _known(cls, told)
        for name in (
            "columns",
            "at",
            "candidates",
            "can_hold_ids",
            "warnings",
            "warning_rows",
            "for_staff",
            "sheets",
            "corrections",
        ):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values["cautions"] = tuple(
            CautionQuestion(**_known(CautionQuestion, each)) for each in values.get("cautions", ())
        )
        values["lengths"] = tuple((digits, rows) for digits, rows in values.get("lengths", ()))
        values["problems"] = tuple(problem_of_json(each) for each in values.get("problems", ()))
        values["preview"] = SamplePreview(**_known(SamplePreview, values.get("preview", {})))
        if values.get("forecast") is not None:
            values["forecast"] = RunForecast(**_known(RunForecast, values["forecast"]))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class CheckRefusal:
    """Why a list cannot be checked as it is. Goes from the job to the server and is kept nowhere."""

    refused: str
    """The sentence, in words of the page."""

    asks: Asks | None = None
    """What somebody could answer to it."""

    sheets: tuple[str, ...] = ()
    """Of which somebody has to choose one, where `asks` is "sheet"."""

    header_rows: tuple[int, ...] = ()
    """Of which somebody has to choose one, where `asks` is "tables"."""

    def as_json(self) -> dict[str, Any]:
        """For the server; `read_check` reads it."""
        return asdict(self)


def read_check(told: Mapping[str, Any]) -> CheckResult | CheckRefusal:
    """What a job has answered."""
    if "refused" in told:
        return CheckRefusal(told["refused"], told["asks"], tuple(told["sheets"]), tuple(told["header_rows"]))
    return CheckResult.from_json(told)


def problem_of_json(told: Mapping[str, Any]) -> Problem:
    """What `asdict` made of one, here or in version 0.2.0."""
    values = _known(Problem, told)
    return Problem(**{**values, "rows": [RowValues(**each) for each in values.get("rows", ())]})


def _known(kind: type, told: Mapping[str, Any]) -> dict[str, Any]:
    """Without keys that a later version may have written."""
    names = {entry.name for entry in fields(kind)}
    return {name: value for name, value in told.items() if name in names}
