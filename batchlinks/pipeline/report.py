"""How a run or check ended: counts, files, and what stands in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from batchlinks.columns.cautions import Caution
from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.pipeline.preview import Preview
from batchlinks.plural import counted
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.results.sheets import RefusedRow
from batchlinks.results.summary import Summary
from batchlinks.results.xlsx.sheet import Sheet

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Report:
    """How a run or check ended."""

    summary: Summary
    """All counts, as the summary file has them."""

    published: PublishedFiles
    """Where the files are."""

    sheets: Mapping[str, Sheet] = field(repr=False)
    """`links` (of a run), `errors`, `duplicates`, and `corrections` where there are any: what stands in the files."""

    refused: Sequence[RefusedRow] = field(default=(), repr=False)
    """The rows without a link, in the order of the error report."""

    stopped_by: BatchlinksError | None = None
    """Why a run ended before every patient was requested; None where it went through."""

    moved: int = 0
    """Patients who are in the workbook of another value than before: of another clinic, say."""

    known: int = 0
    """Of a check with a project: how many of the patients who can be sent have a link already."""

    undecided: Sequence[Caution] = ()
    """Of a check: columns such as `Deceased` about which a run will ask."""

    preview: Preview | None = None
    """What was about to be done, before anything was sent; None of a check without a project."""

    corrections: Sequence[CellCorrection] = field(default=(), repr=False)
    """Cells of the list that were corrected."""

    confirmed: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Rows whose patients were said to be those whose IDs they have, each with what stands for its ID."""

    @property
    def exit_code(self) -> ExitCode:
        """As the command would end: 0 where every patient has a link, 3 where some rows are in the error report, …"""
        return self.summary.exit_code

    @property
    def remarks(self) -> list[str]:
        """What is to be said of the links workbook and of those that were there before: a sentence each."""
        said, published = [], self.published
        if not self.summary.check and "links" not in published.paths:
            said.append("Nobody is new, so there is no new links workbook.")
        if self.moved:
            said.append(
                f"{counted(self.moved, 'patient was', 'patients were')} in the workbook of another value before."
            )
        if published.kept_as:
            number = published.outgoing.patients
            said.append(
                f"{counted(number, 'patient is', 'patients are')} only in the links workbook of before, which stays: "
                f"{', '.join(published.kept_as)}."
            )
        return said

    def frame(self, name: Literal["links", "errors", "duplicates", "corrections"]) -> "pandas.DataFrame":
        """One of the `sheets` as a DataFrame of text, for callers who go on in Python."""
        sheet = self.sheets[name]
        frame: pandas.DataFrame = pa.table(list(sheet.columns), names=list(sheet.headers)).to_pandas()
        return frame
