"""Who has answered, on one page: a roster is read and screened as for a run, and HealthEx asked about whoever has a link."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.config.paths import find_ledger
from batchlinks.config.secrets import read_credentials
from batchlinks.config.settings import RunSettings, StatusSettings, check_values, validate
from batchlinks.errors import ExitCode, SettingsError
from batchlinks.ledger import DoNotContact, FilePurpose, Ledger, PatientFile
from batchlinks.logs import logger
from batchlinks.next_steps import Setting
from batchlinks.outreach.minors import find_minors
from batchlinks.outreach.outreach_plan import OutreachPlan
from batchlinks.pipeline import audit
from batchlinks.pipeline.consent_answers import ConsentRequester, ConsentResult, log_failures
from batchlinks.pipeline.contact_guard import ContactGuard, OptedOutMeanwhile
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.delivery import plan_letters_and_messages, plan_output
from batchlinks.pipeline.handing_out import place_of
from batchlinks.pipeline.intake import Roster, Source, apply_screening, load_roster, log_warnings, open_results
from batchlinks.pipeline.known_people import KnownPeople
from batchlinks.pipeline.link_verification import LinkChecks
from batchlinks.pipeline.project import find_endpoint
from batchlinks.pipeline.run_ledger import open_run_ledger
from batchlinks.pipeline.status_report import StatusReport
from batchlinks.plural import counted
from batchlinks.responses.asking import AskingRule
from batchlinks.responses.judgment import Response
from batchlinks.responses.reminding import MAY_BE_REMINDED, Mailing, NotReminded, ReminderRule
from batchlinks.results.assignment import assign
from batchlinks.results.publish.publisher import LostPatients
from batchlinks.results.publish.result_files import LettersFile, LinksFile, PublishedFiles
from batchlinks.results.sheets import OutputColumns, links_sheet
from batchlinks.results.status_sheets import PatientStatus, status_sheet
from batchlinks.results.status_summary import StatusSummary
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.screening.result import Mask, Screened, in_words

_NO_HOOKS = RunHooks()
_ROWS_NAMED = 20


def status(
    source: Source,
    settings: RunSettings,
    chosen: StatusSettings,
    context: RunContext,
    hooks: RunHooks = _NO_HOOKS,
    *,
    calls_at_most: int | None = None,
    on_finished: Callable[[StatusReport], object] = lambda _: None,
) -> StatusReport:
    """Ask HealthEx about every patient of a roster who has a link, and write who has answered; no link is asked for.

    Raises SettingsError or RosterError before any call is made, another BatchlinksError when results or ledger cannot be
    written. What HealthEx or a signal stopped raises nothing: its results hold what was answered.
    """
    with (
        audit.audited_status(source.name, context) as summary,
        hooks.interruption.deferrable() as defer_interruptions,
    ):
        settings = validate(settings)
        check_values(chosen)
        _require_ledger(settings, context)
        endpoint = find_endpoint(settings, context)
        summary.project_id, summary.api = endpoint.project_id, endpoint.api_url
        credentials = read_credentials(context.environment)
        do_not_contact = DoNotContact.open(settings.do_not_contact, context.environment)
        reminding = _reminder_rule(chosen, settings)
        with open_results(source, settings, context, endpoint.project_id, status=True) as files:
            roster = load_roster(source, settings, context, hooks, summary)
            output = plan_output(roster, settings, endpoint.link_host)
            outreach = plan_letters_and_messages(roster, settings, output)
            with open_run_ledger(settings, context, api=endpoint.api_url, project_id=endpoint.project_id) as ledger:
                summary.ledger_id = ledger.ledger_id
                guard = ContactGuard(do_not_contact, ledger, exact_ids=settings.exact_ids)
                screened = apply_screening(roster, settings, withdrawn=guard.listed)
                people = KnownPeople(roster, screened, ledger.people, changes_ledger=False)
                people.hold_back_others()
                guard.watch(screened)
                place = place_of(files.folder, context.delivered_to)
                repeats = files.supersede(files.unfinished_sets())
                ledger.begin_beside(summary.run_id, files.owner)
                checks = LinkChecks(roster, screened, ledger, endpoint.link_host, strict=settings.strict_links)
                links = checks.keep_certain(ledger.links_for(screened.ids.filter(pa.array(screened.sendable))))
                log_warnings(screened)

                audit.begin(summary, context, to_send=len(links))
                defer_interruptions()
                requester = ConsentRequester(endpoint, credentials, settings, ledger, guard, hooks)
                rule = AskingRule(datetime.now(UTC), timedelta(hours=chosen.max_age))
                result = requester.ask(links.column("external_id").combine_chunks(), rule, at_most=calls_at_most)
                log_failures(result)
                if result.stopped_by is not None:
                    summary.reason = str(result.stopped_by)
                _tell_same_patients(result, roster, screened, summary)
                links = guard.leave_out(links)
                writer = _StatusWriter(roster, screened, output, outreach, settings, ledger, result, repeats)
                while True:
                    written = writer.write(links, reminding if chosen.reminder else None, summary)
                    try:
                        published = files.publish_status(
                            summary,
                            written.sheets,
                            written.split_values,
                            written.letters,
                            last_look=guard.check_unchanged,
                            lost=writer.lost_patients(written, files.owner, place),
                            on_placing=partial(_announce, ledger, written, place),
                        )
                        break
                    except OptedOutMeanwhile:
                        files.discard()
                        links = guard.leave_out(links)
                hooks.on_published(published)
                _note(ledger, written, published, summary, place, repeats)
                ledger.forget_responses(older_than_days=settings.response_keep_days)
        audit.append(summary, context)
        report = StatusReport(summary, published, written.sheets, chosen.reminder, result.stopped_by)
        on_finished(report)
        files.finish()
    return report


def _require_ledger(settings: RunSettings, context: RunContext) -> None:
    if settings.no_ledger:
        raise SettingsError("Who has a link stands in the ledger, and ", Setting("no_ledger"), " does without it.")
    path = find_ledger(settings.ledger, context.environment)
    if not path.exists():
        raise SettingsError(
            f"There is no ledger at {path}: no link was made yet, or it is elsewhere (", Setting("ledger"), ")."
        )


def _reminder_rule(chosen: StatusSettings, settings: RunSettings) -> ReminderRule:
    today = datetime.now().astimezone().date()
    return ReminderRule(today, chosen.after_days, chosen.mailed, include_minors=settings.minors is not None)


def _tell_same_patients(result: ConsentResult, roster: Roster, screened: Screened, summary: StatusSummary) -> None:
    here = set(result.answers)
    rows = []
    for ids in result.same_patient:
        found = pa.array(sorted(ids & here), pa.string())
        rows += roster.table.row_numbers[screened.positions_of(found)].tolist()
    if rows:
        summary.warnings = {**summary.warnings, "same_person": len(rows)}
        logger().warning(
            f"{counted(len(rows), 'row')} {'has' if len(rows) == 1 else 'have'} an ID that stands for the same HealthEx patient "
            f"as another ID: row {in_words(sorted(rows), most=_ROWS_NAMED)}.",
            code="same_person",
            rows=sorted(rows),
        )


@dataclass(frozen=True, slots=True)
class _Written:
    """What is about to be put in place."""

    sheets: Mapping[str, Sheet]
    shown: Mask = field(repr=False)
    """Rows of the roster whose patients stand in the status workbook."""

    reminded: Mask = field(repr=False)
    """The same of the reminder."""

    ids: pa.Array = field(repr=False)
    """External ID of each row of the roster."""

    row_numbers: npt.NDArray[np.integer] = field(repr=False)
    still_open: pa.Array = field(repr=False)
    """External IDs of patients who are not in this reminder, and may need the one of before."""

    split_values: pa.Array | None = field(default=None, repr=False)
    letters: Mapping[str, LettersFile] = field(default_factory=dict, repr=False)

    def reminders(self, with_links: Sequence[LinksFile]) -> list[PatientFile]:
        """The files of the reminder, and who is in them."""
        ids, rows = self.ids.filter(pa.array(self.reminded)), self.row_numbers[self.reminded]
        return [
            PatientFile(
                FilePurpose.LETTERS if file.is_letters else FilePurpose.REMINDER,
                file.name,
                file.sha256,
                ids if file.positions is None else ids.take(pa.array(file.positions)),
                (rows if file.positions is None else rows[file.positions]).tolist(),
                value=file.value,
            )
            for file in with_links
        ]

    def status(self, name: str, sha256: str) -> PatientFile:
        """The status workbook, and who is in it."""
        ids, rows = self.ids.filter(pa.array(self.shown)), self.row_numbers[self.shown]
        return PatientFile(FilePurpose.STATUS, name, sha256, ids, rows.tolist())


@dataclass(frozen=True, slots=True)
class _StatusWriter:
    """Makes the sheets of a status, and counts what stands in them."""

    roster: Roster
    screened: Screened
    output: OutputColumns
    outreach: OutreachPlan
    settings: RunSettings
    ledger: Ledger
    result: ConsentResult
    repeats: frozenset[str]
    """Runs whose reminder gives way to this one's: it is as if it had never been."""

    def write(self, links: pa.Table, reminding: ReminderRule | None, summary: StatusSummary) -> _Written:
        """`links`: of the patients who may stand in the files; `reminding`: None where nobody wants a reminder."""
        table, screened = self.roster.table, self.screened
        assignment = assign(screened, links, keep_duplicates=False)
        shown = assignment.rows
        ids = screened.ids.filter(pa.array(shown)).to_pylist()
        issued = assignment.of(shown).column("issued_at").to_pylist()
        mailings = self._mailings(ids)
        statuses = [
            self._status(one, issued_at, mailing) for one, issued_at, mailing in zip(ids, issued, mailings, strict=True)
        ]
        sheets = {
            "status": status_sheet(
                table,
                self.roster.id_column,
                screened,
                rows=shown,
                statuses=statuses,
                consent_types=self.settings.consent_type,
            )
        }
        reminded = np.zeros(len(table), dtype=bool)
        self._count(statuses, summary)
        if reminding is not None and self.result.stopped_by is None:
            reminded[np.flatnonzero(shown)] = self._due(shown, statuses, mailings, reminding, summary)
        split_values = None
        letters: Mapping[str, LettersFile] = {}
        if reminded.any():
            due = assignment.of(reminded)
            texts = due.column("link").to_pylist()
            if self.output.split_by is not None:
                split_values = table.column(self.output.split_by).filter(pa.array(reminded))
            if self.outreach.letters:
                letters = self.outreach.letter_files(screened, reminded, texts, split_values)
            sheets["reminder"] = links_sheet(
                table,
                self.roster.id_column,
                screened,
                rows=reminded,
                links=due,
                output=self.output,
                more=self.outreach.more_columns(screened, reminded, texts),
            )
        return _Written(
            sheets,
            shown,
            reminded,
            screened.ids,
            table.row_numbers,
            pa.array(
                [one for one, each in zip(ids, statuses, strict=True) if each.response in MAY_BE_REMINDED], pa.string()
            ),
            split_values,
            letters,
        )

    def lost_patients(self, written: _Written, owner: str, folder: str) -> LostPatients:
        """Tells of a reminder that is to be replaced how many patients it holds who still count and are not in the new one."""
        new = written.ids.filter(pa.array(written.reminded))
        left = written.still_open.filter(pc.invert(pc.is_in(written.still_open, value_set=new)))

        def count(former: Mapping[str, str]) -> int:
            held = self.ledger.patients_standing_in(owner, folder, former)
            return len(left) if held is None else int(pc.sum(pc.is_in(left, value_set=held)).as_py() or 0)

        return count

    def _mailings(self, ids: Sequence[str]) -> list[Mailing]:
        wanted = pa.array(ids, pa.string())
        handed_out = self.ledger.handed_out_at(wanted)
        reminders = self.ledger.reminders_for(wanted, but=self.repeats)
        found = []
        for one in ids:
            reminder = reminders.get(one)
            found.append(
                Mailing(
                    _local(handed_out[one]).date() if one in handed_out else None,
                    None if reminder is None else _local(reminder.last_at).date(),
                    0 if reminder is None else reminder.times,
                )
            )
        return found

    def _status(self, external_id: str, issued_at: str, mailing: Mailing) -> PatientStatus:
        answer = self.result.answers[external_id]
        return PatientStatus(
            response=answer.response,
            by_type=answer.by_type,
            response_on="" if answer.asked_at is None else answer.asked_at.astimezone().date().isoformat(),
            consent_expires_on="" if answer.expires_at is None else answer.expires_at.astimezone().date().isoformat(),
            link_issued_on=issued_at[:10],
            in_a_file_since="" if mailing.handed_out_on is None else mailing.handed_out_on.isoformat(),
            reminded_on="" if mailing.reminded_on is None else mailing.reminded_on.isoformat(),
        )

    def _count(self, statuses: Sequence[PatientStatus], summary: StatusSummary) -> None:
        """Raises BatchlinksError where the counts do not add up: then no file is released."""
        screened, result = self.screened, self.result
        summary.rows = len(self.roster.table)
        summary.linked = len(statuses)
        summary.duplicates = int(screened.duplicates.sum())
        summary.errors = screened.counts()
        summary.without_link = int(screened.sendable.sum()) - len(statuses)
        days = sorted(status.response_on for status in statuses if status.response_on)
        summary.responses_from, summary.responses_until = (days[0], days[-1]) if days else ("", "")
        summary.responses = _tally(status.response for status in statuses)
        types = self.settings.consent_type
        if len(types) > 1:
            summary.by_type = {kind: _tally(status.by_type[kind] for status in statuses) for kind in types}
        summary.requested, summary.calls = result.counts.requested, result.counts.calls
        summary.retries, summary.left_for_later = result.counts.retries, result.left_for_later
        summary.warnings = dict(summary.warnings) | {
            code.value: max(1, len(rows)) for code, rows in screened.warnings.items()
        }
        summary.finished_at = datetime.now(UTC)
        unknown = sum(status.response is Response.UNKNOWN and status.response_on != "" for status in statuses)
        if result.stopped_by is not None:
            summary.exit_code = result.stopped_by.exit_code
        else:
            summary.exit_code = ExitCode.DONE_WITH_ERRORS if unknown > 0 else ExitCode.DONE
        summary.reconcile()

    def _due(
        self,
        shown: Mask,
        statuses: Sequence[PatientStatus],
        mailings: Sequence[Mailing],
        rule: ReminderRule,
        summary: StatusSummary,
    ) -> list[bool]:
        """Whether each patient is reminded; counts why the others are not."""
        table = self.roster.table
        ages = find_minors(table, self.roster.id_column, rule.today)
        if not rule.include_minors and not ages.has_birth_dates:
            logger().warning("The list has no birth dates, so we can't tell who is under 18.")
        wanted = self.outreach.handed_out[shown]
        refusals = [
            rule.refusal(status.response, mailing, is_minor=minor) if handed_out else NotReminded.NOT_WANTED
            for status, mailing, minor, handed_out in zip(
                statuses, mailings, ages.minors[shown].tolist(), wanted.tolist(), strict=True
            )
        ]
        summary.reminded = refusals.count(None)
        summary.not_reminded = dict(Counter(refusal.value for refusal in refusals if refusal is not None))
        if summary.reminded and not self.ledger.has_response(Response.CONSENTED.value):
            logger().warning(
                "HealthEx has shown no consent of anybody in this project so far. Before reminders go out, make sure with a test "
                "patient who has consented that HealthEx shows it."
            )
        return [refusal is None for refusal in refusals]


def _announce(ledger: Ledger, written: _Written, folder: str, with_links: Sequence[LinksFile]) -> None:
    """Let the ledger know of the reminder that is about to be placed."""
    ledger.announce_files(folder, written.reminders(with_links))


def _note(
    ledger: Ledger,
    written: _Written,
    published: PublishedFiles,
    summary: StatusSummary,
    folder: str,
    repeats: frozenset[str],
) -> None:
    """Who stands in the files that are in their place now; only then was somebody reminded."""
    ids = written.ids.filter(pa.array(written.reminded))
    ledger.record_reminders(ids.to_pylist(), run_id=summary.run_id, instead_of=repeats)
    files = written.reminders(published.with_links)
    if "status" in published.paths:
        name = published.paths["status"].name
        files.append(written.status(name, summary.outputs[name]))
    ledger.note_files(folder, files, replaced=published.outgoing.replaced, renamed=published.outgoing.renamed)


def _tally(responses: Iterable[Response]) -> dict[str, int]:
    counts = Counter(responses)
    return {response.value: counts[response] for response in Response}


def _local(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone()
