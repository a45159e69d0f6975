"""What `POST /v1/consents` is asked about one patient, and what its answer says: the wire, with no judgment of it.

The documented answer is a list by patient and organization. It does not name the external ID that it is about, so nothing
but its connection ties it to its question: see `HealthExApi.ask_consents`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_MILLISECONDS_FROM = 100_000_000_000
"""A time as a number from here on is in milliseconds: as seconds it would be the year 5138."""

_LONGEST_REFUSAL = 300
"""Bytes up to which the body of a refusal is a sentence, and not a page."""

_UNKNOWN_PATIENT = re.compile(
    r"\bpatient (?:record |reference |with [^.]{1,80} |was |is |could )?"
    r"(?:not (?:be )?found|does not exist|doesn't exist|unknown)"
    r"|\b(?:no|unknown|not find|cannot find|can't find|couldn't find) (?:such |any |a |the |matching )?patient"
)
_ABOUT_SOMETHING_ELSE = re.compile(r"study|studies|project|recruitment|organi[sz]ation|consent type")
_WORD = re.compile(r"[A-Za-z][A-Za-z_ -]{0,39}")
"""What may be said of a value that is not known: no digit in it, so no ID either."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One decision that HealthEx shows, of one kind of consent."""

    consent_type: str
    has_consented: bool | None
    """None where HealthEx says neither true nor false."""

    study_id: str = ""
    record_id: str = ""
    """"" where nothing was recorded: a "no" that nobody has said."""

    expires_at: datetime | None = None
    said: str = ""
    """The word in place of true or false, as far as it may be shown."""


@dataclass(frozen=True, slots=True)
class PatientConsents:
    """What one organization's record of one patient holds."""

    organization_id: str
    patient_id: str = field(repr=False)
    records: tuple[ConsentRecord, ...] = ()


def consents_request(external_id: str, project_id: str, consent_types: Sequence[str]) -> bytes:
    """The body of the call: every decision of these kinds in this project, expired ones too."""
    return json.dumps(
        {
            "consentTypes": list(consent_types),
            "externalId": external_id,
            "studyId": project_id,
            "hasConsented": [True, False],
            "expiredConsents": True,
        }
    ).encode()


def read_consents(body: bytes) -> tuple[PatientConsents, ...] | None:
    """What an answer shows; None where it has another form than the documented one."""
    try:
        content = json.loads(body.decode("utf-8-sig"))
        return tuple(map(_patient, content)) if isinstance(content, list) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def says_unknown_patient(body: bytes) -> bool:
    """Whether a refusal says, in a short body, that there is no such patient. About a project it says nothing then."""
    if len(body) > _LONGEST_REFUSAL:
        return False
    text = " ".join(body.decode("utf-8", "replace").lower().split())
    return bool(_UNKNOWN_PATIENT.search(text)) and not _ABOUT_SOMETHING_ELSE.search(text)


def _patient(entry: Any) -> PatientConsents:
    patient_id, consents = entry["patientId"], entry["consents"]
    if not isinstance(patient_id, str) or not patient_id.strip() or not isinstance(consents, list):
        raise ValueError("no patient")
    return PatientConsents(_text(entry.get("healthcareOrganizationId")), patient_id, tuple(map(_record, consents)))


def _record(entry: Any) -> ConsentRecord:
    decided, kind = entry["hasPatientConsented"], entry["consentType"]
    if not isinstance(kind, str):
        raise TypeError("no kind of consent")
    is_known = isinstance(decided, bool) or decided is None
    return ConsentRecord(
        consent_type=kind,
        has_consented=decided if isinstance(decided, bool) else None,
        study_id=_text(entry.get("studyId")),
        record_id=_text(entry.get("consentRecordId")) or _text(entry.get("consentRecordIds")),
        expires_at=_time(entry.get("expirationTimestamp")),
        said="" if is_known or not _WORD.fullmatch(str(decided)) else str(decided),
    )


def _text(value: object) -> str:
    """An identifier, whatever JSON has it as; of several, all."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_text, value)))
    return "" if value is None or isinstance(value, bool | dict) else str(value).strip()


def _time(value: object) -> datetime | None:
    """Of ISO 8601, or of Unix time in seconds or milliseconds. Raises ValueError for what is neither."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("no time")
    try:
        if isinstance(value, str):
            when = datetime.fromisoformat(value.strip())
            return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_FROM else value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("no time") from error
