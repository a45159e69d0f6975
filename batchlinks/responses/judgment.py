"""From what HealthEx shows of one patient's consents to one word, on the day on which it was asked."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from batchlinks.healthex.consents import ConsentRecord, PatientConsents


class Response(StrEnum):
    """What HealthEx shows, in the words that stand in a cell. It holds for the day on which it was asked, and no other."""

    CONSENTED = "consented"
    EXPIRED = "expired"
    """A consent whose time is over."""

    DECLINED = "declined"
    """HealthEx shows a no that somebody has recorded."""

    NONE = "no consent found"
    """Nothing, or a no that nobody has recorded: the patient may have said no, never got the letter, or signed on paper."""

    UNKNOWN = "not known"
    """The call failed, or what was shown is not certain to be one patient's, or means something that is not known."""


_FIRST_THAT_IS = (Response.CONSENTED, Response.DECLINED, Response.UNKNOWN, Response.EXPIRED, Response.NONE)
"""What one person with several records has said: the first of these that one record says."""


@dataclass(frozen=True, slots=True)
class ConsentVerdict:
    """What HealthEx shows of one patient and one kind of consent."""

    response: Response
    expires_at: datetime | None = None
    """When a consent ends, or has ended; None where it does not, or there is none."""

    reason: str = ""
    """Why it is not known, in words without anything of the patient."""


@dataclass(frozen=True, slots=True)
class PatientResponse:
    """What one answer comes to."""

    verdicts: dict[str, ConsentVerdict]
    """By kind of consent."""

    patient_ids: tuple[str, ...] = field(default=(), repr=False)
    """HealthEx's own IDs of the patient, one for each organization that has a record."""


def judge_consents(
    patients: Sequence[PatientConsents], consent_types: Iterable[str], project_id: str, now: datetime
) -> PatientResponse:
    """What these records come to. `now` tells whether a consent has expired."""
    doubt = "" if _are_one_person(patients) else "HealthEx shows two patients of one organization under this ID"
    records = [record for patient in patients for record in patient.records]
    verdicts = {
        kind: ConsentVerdict(Response.UNKNOWN, reason=doubt)
        if doubt
        else _judge_records([record for record in records if record.consent_type == kind], project_id, now)
        for kind in consent_types
    }
    return PatientResponse(verdicts, tuple(dict.fromkeys(patient.patient_id for patient in patients)))


def unanswered(consent_types: Iterable[str], reason: str) -> PatientResponse:
    """What a call that failed comes to."""
    return PatientResponse({kind: ConsentVerdict(Response.UNKNOWN, reason=reason) for kind in consent_types})


def combine(responses: Collection[Response]) -> Response:
    """What one person has said in several records, or to several questions."""
    return next((each for each in _FIRST_THAT_IS if each in responses), Response.NONE)


def _are_one_person(patients: Iterable[PatientConsents]) -> bool:
    """Whether no organization has two patients among these: organizations know one patient under IDs of their own."""
    by_organization: dict[str, str] = {}
    return all(
        by_organization.setdefault(patient.organization_id, patient.patient_id) == patient.patient_id
        for patient in patients
    )


def _judge_records(records: Sequence[ConsentRecord], project_id: str, now: datetime) -> ConsentVerdict:
    ours = [record for record in records if record.study_id in ("", project_id)]
    if records and not ours:
        return ConsentVerdict(Response.UNKNOWN, reason="HealthEx shows consents of another project only")
    verdicts = [_judge_record(record, now) for record in ours]
    response = combine({verdict.response for verdict in verdicts})
    found = [verdict for verdict in verdicts if verdict.response is response]
    reason = next((verdict.reason for verdict in found if verdict.reason), "")
    return ConsentVerdict(response, _latest(verdict.expires_at for verdict in found), reason)


def _judge_record(record: ConsentRecord, now: datetime) -> ConsentVerdict:
    match record.has_consented:
        case True if record.expires_at is not None and record.expires_at <= now:
            return ConsentVerdict(Response.EXPIRED, record.expires_at)
        case True:
            return ConsentVerdict(Response.CONSENTED, record.expires_at)
        case False:
            return ConsentVerdict(Response.DECLINED if record.record_id else Response.NONE)
        case None:
            word = f" ({record.said})" if record.said else ""
            return ConsentVerdict(
                Response.UNKNOWN, reason=f"HealthEx shows neither yes nor no, but something new{word}"
            )


def _latest(ends: Iterable[datetime | None]) -> datetime | None:
    """The end of the consent that holds longest; None where one has no end."""
    known = list(ends)
    return None if None in known else max((end for end in known if end is not None), default=None)
