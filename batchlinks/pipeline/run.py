"""One run, on one page: a roster is read, screened, requested, verified, written."""

import functools

import pyarrow as pa

from batchlinks.config.paths import data_folder
from batchlinks.config.secrets import read_credentials
from batchlinks.config.settings import RunSettings, validate
from batchlinks.errors import SettingsError
from batchlinks.ledger import DoNotContact, Ledger
from batchlinks.logs import door, logger
from batchlinks.outreach.outreach_plan import OutreachPlan
from batchlinks.pipeline import audit
from batchlinks.pipeline.annotation import annotate, open_for_annotation
from batchlinks.pipeline.consent_answers import ConsentRequester
from batchlinks.pipeline.consented import leave_out_consented
from batchlinks.pipeline.contact_guard import ContactGuard, OptedOutMeanwhile
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.delivery import (
    Delivery,
    assign_links,
    plan_letters_and_messages,
    plan_output,
    report_refusals,
)
from batchlinks.pipeline.handing_out import announce, lost_patients, place_of, placement_of, sets_that_give_way
from batchlinks.pipeline.intake import (
    Roster,
    Source,
    apply_screening,
    load_roster,
    log_warnings,
    open_results,
    warn_of_links_before,
)
from batchlinks.pipeline.known_people import KnownPeople
from batchlinks.pipeline.link_verification import LinkChecks, refuse_unanswered
from batchlinks.pipeline.look_ahead import look_ahead
from batchlinks.pipeline.missing_links import (
    LinkRequester,
    RequestPlan,
    RequestResult,
    log_suspect_links,
    plan_requests,
    require_cluster_installed,
)
from batchlinks.pipeline.project import find_endpoint
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run_ledger import open_run_ledger, warn_of_other_ledgers
from batchlinks.plural import counted
from batchlinks.results.sheets import OutputColumns
from batchlinks.results.summary import Summary
from batchlinks.row_codes import WarningCode
from batchlinks.screening.result import Screened

_NO_HOOKS = RunHooks()


def run(source: Source, settings: RunSettings, context: RunContext, hooks: RunHooks = _NO_HOOKS) -> Report:
    """Take a roster from file to results.

    Raises SettingsError or RosterError before any call is made, another BatchlinksError when results or ledger cannot
    be written. A run that HealthEx or a signal stopped raises nothing: its results hold what was answered.
    """
    with (
        audit.audited(source.name, context, check=False) as summary,
        hooks.interruption.deferrable() as defer_interruptions,
    ):
        settings = validate(settings)
        endpoint = find_endpoint(settings, context)
        summary.project_id, summary.api = endpoint.project_id, endpoint.api_url
        credentials = read_credentials(context.environment)
        require_cluster_installed(settings)
        do_not_contact = DoNotContact.open(settings.do_not_contact, context.environment)
        with open_results(source, settings, context, endpoint.project_id) as files:
            roster = load_roster(source, settings, context, hooks, summary)
            output = plan_output(roster, settings, endpoint.link_host)
            outreach = plan_letters_and_messages(roster, settings, output)
            workbook = open_for_annotation(source, roster, output, settings, context.environment)
            with open_run_ledger(settings, context, api=endpoint.api_url, project_id=endpoint.project_id) as ledger:
                summary.ledger_id = None if context.is_trial else ledger.ledger_id
                warn_of_other_ledgers(files.folder, ledger, settings, context)
                guard = ContactGuard(do_not_contact, ledger, exact_ids=settings.exact_ids)
                screened = apply_screening(roster, settings, withdrawn=guard.listed)
                hooks.on_screened(screened)
                guard.watch(screened)
                people = KnownPeople(roster, screened, None if settings.no_ledger else ledger.people, context.confirmed)
                people.hold_back_others()
                place = place_of(files.folder, context.delivered_to)
                give_way = sets_that_give_way(files, ledger, screened, place, only_new=settings.only_new)
                replaced = files.supersede(give_way)
                ledger.begin(summary.run_id, files.owner, refresh=settings.refresh, replaced=replaced)
                checks = LinkChecks(roster, screened, ledger, endpoint.link_host, strict=settings.strict_links)
                plan = plan_requests(screened, checks, ledger, limit=settings.limit)
                warn_of_links_before(roster, screened, plan.known)
                outreach.warn(screened)
                _warn_of_other_projects(roster, screened, plan, ledger)
                _log_what_is_ahead(screened, plan, settings)
                preview = look_ahead(
                    roster,
                    screened,
                    plan.known.column("external_id").combine_chunks(),
                    len(plan.to_send),
                    ledger,
                    files.owner,
                    settings,
                    context,
                    api=endpoint.api_url,
                    project_id=endpoint.project_id,
                )
                if not hooks.confirm(preview):
                    raise SettingsError("Canceled. Nothing was sent.")

                audit.begin(summary, context, to_send=len(plan.to_send))
                defer_interruptions()
                if settings.leave_out_consented:
                    asking = ConsentRequester(endpoint, credentials, settings, ledger, guard, hooks)
                    leave_out_consented(plan, screened, asking)
                people.learn(plan.known, plan.to_send)
                requester = LinkRequester(endpoint, credentials, settings, ledger, checks, guard, hooks)
                delivery, result = _request_and_assign(requester, plan, roster, screened, output, outreach, summary)
                while True:
                    refused, reports = report_refusals(roster, screened, output, settings)
                    sheets = {"links": delivery.sheet, **reports}
                    nobody_new = settings.only_new and not len(delivery.sheet)
                    if workbook is not None:
                        annotate(workbook, roster, screened, delivery)
                    try:
                        published = files.publish(
                            summary,
                            reports if nobody_new else sheets,
                            delivery.split_values,
                            delivery.letters,
                            annotated=workbook,
                            last_look=guard.check_unchanged,
                            lost=lost_patients(delivery, ledger, files.owner, place),
                            on_placing=functools.partial(announce, delivery, ledger, place),
                        )
                        break
                    except OptedOutMeanwhile:
                        files.discard()
                        sendable = screened.ids.filter(pa.array(screened.sendable))
                        links = guard.leave_out(ledger.links_for(sendable, earlier_too=settings.refresh))
                        delivery = assign_links(
                            roster,
                            screened,
                            links,
                            output,
                            outreach,
                            settings,
                            summary,
                            result,
                            ledger,
                            is_limited=plan.is_limited,
                        )
                hooks.on_published(published)
                placement = placement_of(published, delivery, place)
                ledger.mark_complete(delivery.first_time, all_asked=result.stopped_by is None, placement=placement)
                if result.stopped_by is None:
                    people.finish(plan.to_send, result.issued)
                _forget_old_links(ledger, settings, context, summary)
        audit.append(summary, context)
        report = Report(
            summary,
            published,
            sheets,
            refused,
            result.stopped_by,
            moved=len(delivery.moved),
            corrections=roster.corrections,
            confirmed=people.confirmed,
            preview=preview,
        )
        hooks.on_finished(report)
        # From here on the run is finished, and nothing comes after: killed before, the same command does all of it again.
        files.finish()
    return report


def _request_and_assign(
    requester: LinkRequester,
    plan: RequestPlan,
    roster: Roster,
    screened: Screened,
    output: OutputColumns,
    outreach: OutreachPlan,
    summary: Summary,
) -> tuple[Delivery, RequestResult]:
    """The calls, and which row gets which link. Every row that could be sent has a link for certain then, or the reason."""
    settings, checks = requester.settings, requester.checks
    links, result = requester.request_links(plan)
    if settings.refresh:
        _tell_who_keeps_a_link(plan, links, result)
    refuse_unanswered(screened, result.not_linked, links, stopped_by=result.stopped_by, limited_to=settings.limit)
    links = checks.keep_certain(links)
    log_warnings(screened, WarningCode.UNNAMED_LINK)
    links = requester.guard.leave_out(links)
    delivery = assign_links(
        roster,
        screened,
        links,
        output,
        outreach,
        settings,
        summary,
        result,
        requester.ledger,
        is_limited=plan.is_limited,
    )
    return delivery, result


def _tell_who_keeps_a_link(plan: RequestPlan, links: pa.Table, result: RequestResult) -> None:
    """Of those asked for anew: who got no new link."""
    kept = set(plan.to_send.to_pylist()) & set(links.column("external_id").to_pylist()) - set(result.issued)
    if kept:
        number = len(kept)
        logger().warning(
            f"{counted(number, 'patient')} got no new link and {'keeps' if number == 1 else 'keep'} the one of before.",
            links=number,
        )


def _warn_of_other_projects(roster: Roster, screened: Screened, plan: RequestPlan, ledger: Ledger) -> None:
    if elsewhere := ledger.in_other_projects(plan.to_send):
        found = screened.positions_of(pa.array(sorted(elsewhere), pa.string()))
        screened.warnings[WarningCode.OTHER_PROJECT] = sorted(roster.table.row_numbers[found].tolist())


def _log_what_is_ahead(screened: Screened, plan: RequestPlan, settings: RunSettings) -> None:
    log_warnings(screened)
    if settings.no_ledger:
        logger().warning(
            f"Without the ledger ({door().name_of('no_ledger')}) links made before are not known and are asked for again, so "
            "that links sent before may stop working; nor is it known who was withdrawn in one project only."
        )
    log_suspect_links(plan.suspect)
    if settings.refresh and plan.known.num_rows:
        logger().info(
            f"A run of this list with {door().name_of('refresh')} did not finish: {plan.known.num_rows:,} links that it got "
            "are kept, and the others are asked for."
        )
    if settings.refresh and len(plan.to_send):
        logger().warning(
            f"Links are asked for again for all ({door().name_of('refresh')}): links sent before may stop working."
        )


def _forget_old_links(ledger: Ledger, settings: RunSettings, context: RunContext, summary: Summary) -> None:
    ledger.forget_responses(older_than_days=settings.response_keep_days)
    days = settings.ledger_keep_days
    if days is not None and (number := ledger.forget(older_than_days=days)):
        logger().info(
            f"Forgotten in the ledger: {number:,} links that were issued {days} days ago or earlier.", links=number
        )
        facts = {"count": number, "older_than_days": days, "run_id": summary.run_id}
        audit.note(data_folder(context.environment), "forget", command="run", user=context.user, **facts)
