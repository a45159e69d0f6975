"""Who has answered, at night: asked for each list that was done, and never a reason to do anything else with its links."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from batchlinks.config.settings import StatusSettings
from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.logs import logger
from batchlinks.nightly.night_outcome import StatusOutcome
from batchlinks.nightly.nightly_context import NightlyContext
from batchlinks.nightly.tables import RosterTable
from batchlinks.pipeline.context import RunContext
from batchlinks.pipeline.intake import Source
from batchlinks.pipeline.status import status
from batchlinks.results.publish.result_files import PublishedFiles

_MAX_AGE_H = 168.0
"""For so long an answer is good enough."""


def ask_status(
    context: NightlyContext,
    table: RosterTable,
    source: Callable[[], Source],
    run_context: RunContext,
    folder: Path,
    deliver: Callable[[PublishedFiles], object],
) -> StatusOutcome:
    """Ask about the patients of a list, as far as the night's calls last. Raises nothing."""
    settings = replace(table.settings, output_dir=folder)
    left = max(0, context.settings.status_calls - context.status_calls)
    try:
        report = status(
            source(),
            settings,
            StatusSettings(max_age=_MAX_AGE_H),
            run_context,
            replace(context.hooks, on_published=deliver),
            calls_at_most=left,
        )
    except BatchlinksError as error:
        return StatusOutcome(problem=str(error))
    except KeyboardInterrupt:
        return StatusOutcome(problem="Interrupted before everybody was asked about.", interrupted=True)
    except Exception as error:
        return StatusOutcome(problem=defect(error))
    summary = report.summary
    context.status_calls += summary.requested
    problem = None if report.stopped_by is None else str(report.stopped_by)
    if problem is None and summary.exit_code is ExitCode.DONE_WITH_ERRORS:
        problem = "Of some patients it is not known whether they have consented."
    if problem is not None:
        logger().error(problem, table=table.name, run_id=summary.run_id)
    return StatusOutcome(
        dict(summary.responses),
        summary.responses_from,
        summary.responses_until,
        summary.left_for_later,
        tuple(sorted({name.partition("/")[0] for name in summary.outputs})),
        problem,
        interrupted=report.exit_code is ExitCode.INTERRUPTED,
    )
