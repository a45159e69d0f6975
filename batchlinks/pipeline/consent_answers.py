"""Who has answered: the calls, each answer into the ledger as it comes, and what is known of each patient then."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from batchlinks.config.secrets import Credentials
from batchlinks.config.settings import RunSettings
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.outcomes import Answered, ConsentOutcome, RequestCounts
from batchlinks.ledger import Ledger, ResponseRecord
from batchlinks.logs import logger
from batchlinks.pipeline.call_loop import one_by_one, request_policy, run_until_told_to_stop
from batchlinks.pipeline.contact_guard import ContactGuard
from batchlinks.pipeline.context import RunHooks
from batchlinks.plural import counted
from batchlinks.responses.asking import AskingRule, KnownResponse, oldest_first
from batchlinks.responses.judgment import Response, combine, judge_consents


@dataclass(frozen=True, slots=True)
class PatientAnswer:
    """What HealthEx showed of one patient, and when."""

    by_type: Mapping[str, Response]
    asked_at: datetime | None
    """None where nobody has ever asked."""

    expires_at: datetime | None = None

    @property
    def response(self) -> Response:
        """To all kinds of consent taken together."""
        return combine(set(self.by_type.values()))


@dataclass(slots=True)
class ConsentResult:
    """What became of the patients whom HealthEx was asked about, and of those of whom enough was known."""

    answers: dict[str, PatientAnswer] = field(default_factory=dict, repr=False)
    """By external ID: one for each that was given."""

    counts: RequestCounts = field(default_factory=RequestCounts)
    left_for_later: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """Why it is not known -> of how many patients."""

    same_patient: list[frozenset[str]] = field(default_factory=list, repr=False)
    """IDs of ours that are one patient to HealthEx."""

    stopped_by: BatchlinksError | None = None


@dataclass(frozen=True, slots=True)
class ConsentRequester:
    """Asks HealthEx who has consented, in one project, and puts each answer into the ledger as it comes."""

    endpoint: Endpoint
    credentials: Credentials
    settings: RunSettings
    ledger: Ledger
    guard: ContactGuard
    hooks: RunHooks

    def ask(self, external_ids: pa.Array, rule: AskingRule, *, at_most: int | None = None) -> ConsentResult:
        """What HealthEx shows of each of these IDs, each of which is given once; asked now unless `rule` says otherwise.

        At most so many are asked, those whose answer is the oldest. What stops it is a value here.
        """
        types = self.settings.consent_type
        known = self._known(external_ids)
        asked = [one for one in external_ids.to_pylist() if rule.needs(known.get(one, {}), types)]
        result = ConsentResult()
        if at_most is not None and len(asked) > at_most:
            result.left_for_later = len(asked) - at_most
            asked = oldest_first(known, asked)[:at_most]
        failed = self._request(pa.array(asked, pa.string()), result)
        if asked:
            known = self._known(external_ids)
        now = datetime.now(UTC)
        for external_id in external_ids.to_pylist():
            if external_id in failed:
                result.answers[external_id] = PatientAnswer(dict.fromkeys(types, Response.UNKNOWN), now)
            else:
                result.answers[external_id] = _answer(known.get(external_id, {}), types)
        result.same_patient = self._same_patients(external_ids)
        return result

    def _known(self, external_ids: pa.Array) -> dict[str, dict[str, KnownResponse]]:
        return {
            external_id: {kind: _known_response(record) for kind, record in records.items()}
            for external_id, records in self.ledger.responses_for(external_ids).items()
        }

    def _request(self, ids: pa.Array, result: ConsentResult) -> set[str]:
        """Make the calls. Returns the IDs of which is not known what HealthEx shows."""
        failed = set(ids.to_pylist())
        if not failed:
            return failed
        from batchlinks.healthex.consent_inquiry import request_consents  # the HTTP client takes a quarter of a second

        settings, progress = self.settings, self.hooks.progress

        def record(outcome: ConsentOutcome) -> None:
            if isinstance(outcome, Answered):
                failed.discard(outcome.external_id)
                certain = self._record(outcome, result)
            else:
                certain = False
                if not outcome.withheld:
                    result.failures[outcome.reason] = result.failures.get(outcome.reason, 0) + 1
            progress.advance(linked=certain)

        progress.start(len(ids))
        try:
            run_until_told_to_stop(
                lambda stopping: request_consents(
                    one_by_one(ids),
                    settings.consent_type,
                    endpoint=self.endpoint,
                    credentials=self.credentials,
                    policy=request_policy(settings, len(ids)),
                    record=record,
                    stopping=stopping,
                    counts=result.counts,
                    withholds=self.guard.withholds,
                ),
                self.hooks.interruption,
            )
        except SettingsError:
            raise
        except BatchlinksError as error:
            result.stopped_by = error
        finally:
            progress.finish()
        try:
            self.ledger.flush()
        except BatchlinksError as error:
            result.stopped_by = error
        return failed

    def _record(self, answered: Answered, result: ConsentResult) -> bool:
        """Returns whether it is known now what HealthEx shows."""
        moment = datetime.now(UTC)
        judged = judge_consents(answered.patients, self.settings.consent_type, self.endpoint.project_id, moment)
        hashes = sorted({self.ledger.key.digest(one, kind="healthex patient") for one in judged.patient_ids})
        self.ledger.record_responses(
            ResponseRecord(
                external_id=answered.external_id,
                consent_type=kind,
                response=verdict.response.value,
                asked_at=moment.isoformat(timespec="seconds"),
                expires_at=verdict.expires_at.isoformat(timespec="seconds") if verdict.expires_at else "",
                patients=" ".join(hashes),
            )
            for kind, verdict in judged.verdicts.items()
        )
        for reason in {verdict.reason for verdict in judged.verdicts.values() if verdict.reason}:
            result.failures[reason] = result.failures.get(reason, 0) + 1
        return all(verdict.response is not Response.UNKNOWN for verdict in judged.verdicts.values())

    def _same_patients(self, external_ids: pa.Array) -> list[frozenset[str]]:
        of_ours = {
            each
            for records in self.ledger.responses_for(external_ids).values()
            for record in records.values()
            for each in record.patients.split()
        }
        owners = self.ledger.ids_of_patients(of_ours) if of_ours else {}
        return sorted({frozenset(ids) for ids in owners.values() if len(ids) > 1}, key=sorted)


def log_failures(result: ConsentResult) -> None:
    """Say of how many patients it is not known what HealthEx shows, and why."""
    for reason, number in result.failures.items():
        logger().warning(
            f"What HealthEx shows is not known for {counted(number, 'patient')}: {reason}.", patients=number
        )


def _known_response(record: ResponseRecord) -> KnownResponse:
    expires_at = datetime.fromisoformat(record.expires_at) if record.expires_at else None
    return KnownResponse(Response(record.response), datetime.fromisoformat(record.asked_at), expires_at)


def _answer(known: Mapping[str, KnownResponse], consent_types: Sequence[str]) -> PatientAnswer:
    found = [known[kind] for kind in consent_types if kind in known]
    by_type = {kind: known[kind].response if kind in known else Response.UNKNOWN for kind in consent_types}
    return PatientAnswer(by_type, min((each.asked_at for each in found), default=None), _latest_end(found))


def _latest_end(known: Iterable[KnownResponse]) -> datetime | None:
    return max((each.expires_at for each in known if each.expires_at is not None), default=None)
