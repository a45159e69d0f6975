"""A check: what a run would send and refuse, without one call."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from batchlinks.columns.cautions import question
from batchlinks.config.installation import Installation
from batchlinks.config.paths import find_ledger
from batchlinks.config.settings import RunSettings, choose_project, deployment, validate
from batchlinks.ledger import DoNotContact, Ledger
from batchlinks.logs import logger
from batchlinks.pipeline import audit
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.delivery import count_rows, plan_letters_and_messages, plan_output, report_refusals
from batchlinks.pipeline.intake import Source, apply_screening, load_roster, log_warnings, open_results
from batchlinks.pipeline.known_people import KnownPeople
from batchlinks.pipeline.look_ahead import look_ahead
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run_ledger import open_run_ledger, refuse_lost_ledger
from batchlinks.results.summary import Summary

_NO_HOOKS = RunHooks()


def check(source: Source, settings: RunSettings, context: RunContext, hooks: RunHooks = _NO_HOOKS) -> Report:
    """What `run` would send and refuse, without a call, credentials or a project; touches no result of a run.

    Raises SettingsError or RosterError for a roster that cannot be used.
    """
    with audit.audited(source.name, context, check=True) as summary:
        settings = validate(settings)
        summary.project_id = project_id = choose_project(settings, context.config, context.environment)
        do_not_contact = DoNotContact.open(settings.do_not_contact, context.environment)
        with open_results(source, settings, context, project_id, check=True) as files:
            roster = load_roster(source, settings, context, hooks, summary)
            audit.begin(summary, context)
            output = plan_output(roster, settings, deployment(context.environment).link_host)
            outreach = plan_letters_and_messages(roster, settings, output)
            with _open_known_ledger(settings, project_id, context, summary) as ledger:
                withdrawn = do_not_contact.ids() | (frozenset() if ledger is None else ledger.withdrawn())
                screened = apply_screening(roster, settings, withdrawn=withdrawn)
                people = KnownPeople(
                    roster, screened, None if ledger is None else ledger.people, context.confirmed, changes_ledger=False
                )
                people.hold_back_others()
                sendable = screened.ids.filter(pa.array(screened.sendable))
                preview = None
                known = pa.array([], pa.string())
                if ledger is not None:
                    known = ledger.links_for(sendable).column("external_id").combine_chunks()
                if project_id is not None:
                    preview = look_ahead(
                        roster,
                        screened,
                        known,
                        len(sendable) - len(known),
                        ledger,
                        files.owner,
                        settings,
                        context,
                        api=deployment(context.environment).api_url,
                        project_id=project_id,
                    )
                    logger().info(preview.in_words)
            hooks.on_screened(screened)
            outreach.warn(screened)
            log_warnings(screened)
            for caution in roster.undecided:
                logger().warning(f"{question(caution)} The run will ask whether to leave them out.", rows=caution.rows)
            count_rows(summary, roster.table, screened, linked=screened.sendable)
            refused, sheets = report_refusals(roster, screened, output, settings)
            published = files.publish(summary, sheets)
        audit.append(summary, context)
        files.finish()
    return Report(
        summary,
        published,
        sheets,
        refused,
        known=len(known),
        preview=preview,
        undecided=roster.undecided,
        corrections=roster.corrections,
        confirmed=people.confirmed,
    )


@contextmanager
def _open_known_ledger(
    settings: RunSettings, project_id: str | None, context: RunContext, summary: Summary
) -> Iterator[Ledger | None]:
    """Only where there is a ledger already, since a check makes nothing but its own files.

    Raises SettingsError where there should be one.
    """
    path = find_ledger(settings.ledger, context.environment)
    if settings.no_ledger or project_id is None:
        yield None
        return
    summary.api = deployment(context.environment).api_url
    if not path.exists():
        if not settings.new_ledger:
            refuse_lost_ledger(path, Installation.of(context.environment), summary.api)
        yield None
        return
    with open_run_ledger(settings, context, api=summary.api, project_id=project_id, for_check=True) as ledger:
        summary.ledger_id = ledger.ledger_id
        yield ledger
