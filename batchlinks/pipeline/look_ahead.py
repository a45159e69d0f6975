"""What would happen now: made from the screened list, the ledger and the audit log, before anything is sent."""

from collections import Counter
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.config.paths import data_folder
from batchlinks.config.settings import DEFAULT_API_URL, RunSettings
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.ledger import Ledger
from batchlinks.pipeline.context import RunContext
from batchlinks.pipeline.history import read_history
from batchlinks.pipeline.intake import Roster
from batchlinks.pipeline.preview import Preview
from batchlinks.row_codes import ErrorCode, ToDo
from batchlinks.screening.result import Screened

_IN_DOUBT = (ErrorCode.CONFLICTING_ID, ErrorCode.AMBIGUOUS_ID, ErrorCode.KNOWN_AS_OTHER)
_FINISHED = (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS)


def look_ahead(
    roster: Roster,
    screened: Screened,
    known: pa.Array,
    to_send: int,
    ledger: Ledger | None,
    owner: str,
    settings: RunSettings,
    context: RunContext,
    *,
    api: str,
    project_id: str,
) -> Preview:
    """The preview of a list. `known` are the external IDs of patients with a link; `ledger` is None where there is none yet."""
    counts = screened.counts()
    names = {each: name for name, each in context.config.projects.items()}
    return Preview(
        roster=roster.table.name,
        id_column=roster.id_column.name,
        project_id=project_id,
        host=api,
        rows=len(roster.table),
        to_send=to_send,
        known=len(known),
        to_do=ToDo.of(counts),
        duplicates=int(screened.duplicates.sum()),
        refresh=settings.refresh,
        cluster=settings.cluster,
        project=settings.project or names.get(project_id, ""),
        is_production=api == DEFAULT_API_URL,
        withdrawn=counts.get(ErrorCode.WITHDRAWN.value, 0),
        held_back=sum(counts.get(code.value, 0) for code in _IN_DOUBT),
        answered={} if ledger is None else _answered(ledger, known),
        missing=0 if ledger is None else _missing(ledger, owner, screened, context.former_results),
        done_before=_done_before(roster.table.sha256, api, project_id, context),
    )


def _answered(ledger: Ledger, known: pa.Array) -> dict[str, int]:
    """Response -> patients. Of several kinds of consent, each counts."""
    asked = ledger.responses_for(known)
    return dict(Counter(record.response for kinds in asked.values() for record in kinds.values()))


def _missing(ledger: Ledger, owner: str, screened: Screened, former_results: str | None) -> int:
    former = ledger.patients_of_list(owner, former_results)
    return int(pc.sum(pc.invert(pc.is_in(former, value_set=screened.ids))).as_py() or 0)


def _done_before(sha256: str, api: str, project_id: str, context: RunContext) -> datetime | None:
    try:
        entries = read_history(data_folder(context.environment))
    except BatchlinksError:  # what cannot be read is said where it is written
        return None
    for entry in entries:
        facts = entry.facts
        here = (facts.get("roster_sha256"), facts.get("project_id")) == (sha256, project_id)
        if entry.what == "run" and entry.exit_code in _FINISHED and here and facts.get("api") in (api, None):
            return entry.at
    return None
