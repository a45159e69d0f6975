"""What a run is given besides its roster and its settings: where it happens, and who hears of it on the way."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from batchlinks.columns.cautions import Caution
from batchlinks.config.settings import Config
from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.pipeline.preview import Preview
from batchlinks.pipeline.report import Report
from batchlinks.progress import Progress, Silent
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.screening.result import Screened
from batchlinks.signals import Interruption
from batchlinks.table import Table


@dataclass(frozen=True, slots=True)
class RunContext:
    """Where a run happens: values that are no settings."""

    config: Config = field(default_factory=Config)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """Environment variables, by name: secrets, the data folder, the deployment."""

    owner: str | None = None
    """Whose results these are, where the roster's own place does not tell: see `results.publish.existing_set.Owner`."""

    former_results: str | None = None
    """Folder with the results of the last run of this list, "" where there is none; None where the roster's own place tells
    which list it is."""

    corrections: Sequence[CellCorrection] = field(default=(), repr=False)
    """Cells of the list that were typed since, where its door takes them itself."""

    confirmed: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Rows, as a spreadsheet numbers them, whose patients somebody has said to be those whose IDs they have, whatever an earlier
    list said; each with what its report has beside it then (`Report.confirmed`), or "" for an answer that is new."""

    is_trial: bool = False
    """Whether nothing of it is to be remembered, as of the demo."""

    delivered_to: str | None = None
    """Folder that the results are taken to, where that is not the one they are written into."""

    table: str | None = None
    """Name of the `[[roster]]` table that it belongs to, for the audit log."""

    user: str | None = None
    """Who asked for it, for the audit log, where that is not this process's own user."""


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What the door that started a run hears of it on the way, and what it may say."""

    progress: Progress = field(default_factory=Silent)
    interruption: Interruption = field(default_factory=Interruption)
    confirm: Callable[[Preview], bool] = lambda _: True
    """Asked before the first call; False ends the run."""

    heed: Callable[[Caution], bool | None] = lambda _: None
    """Asked whether patients are left out whom a column such as `Deceased` marks, where no setting says. None where
    nobody can say, which ends a run, and a check unless it leaves that open."""

    leave_cautions_open: bool = False
    """Whether a check goes on without an answer, since somebody can be asked before the run."""

    on_table: Callable[[Table], object] = lambda _: None
    """Hears of the table as soon as it is read: before its ID column is chosen, and also where that is undecided."""

    on_screened: Callable[[Screened], object] = lambda _: None
    """Hears what became of every row, as soon as that is known; a run goes on to change it."""

    on_published: Callable[[PublishedFiles], object] = lambda _: None
    """Takes the results further once they are in place: only then does a patient count as handed out."""

    on_finished: Callable[[Report], object] = lambda _: None
    """Says how a run ended. It is finished only after that: who was not told gives the same command again."""
