"""How asking who has answered ended: counts, files, and what stands in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.results.status_summary import StatusSummary
from batchlinks.results.xlsx.sheet import Sheet

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Who has answered, as HealthEx showed it."""

    summary: StatusSummary
    """All counts, as `NAME.status.json` has them."""

    published: PublishedFiles
    """Where the files are: `status`, `reminder` where there is one, `summary`."""

    sheets: Mapping[str, Sheet] = field(repr=False)
    """`status`, and `reminder` where there is one: what stands in the files."""

    wanted_reminder: bool = False
    stopped_by: BatchlinksError | None = None
    """Why it ended before every patient was asked about; None where it went through."""

    @property
    def exit_code(self) -> ExitCode:
        """As the command would end: 0 where it is known of everybody, 3 where some are `not known`, …"""
        return self.summary.exit_code

    def frame(self, name: Literal["status", "reminder"]) -> "pandas.DataFrame":
        """One of the `sheets` as a DataFrame of text, for callers who go on in Python."""
        sheet = self.sheets[name]
        frame: pandas.DataFrame = pa.table(list(sheet.columns), names=list(sheet.headers)).to_pandas()
        return frame
