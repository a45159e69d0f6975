"""What an answer about consents comes to, for one patient: a table of answers. And who is reminded."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from batchlinks.healthex.consents import read_consents, says_unknown_patient
from batchlinks.responses.asking import AskingRule, KnownResponse, oldest_first
from batchlinks.responses.judgment import ConsentVerdict, Response, judge_consents
from batchlinks.responses.reminding import Mailing, NotReminded, ReminderRule

EXCHANGE, FUTURE = "PATIENT_DIRECTED_DATA_EXCHANGE", "FUTURE_DATA_USE"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAST, AHEAD = "2026-11-01T00:00:00.000Z", "2027-11-01T00:00:00.000Z"


def entry(*consents: dict[str, Any], patient: str = "p1", organization: str | None = "o1") -> dict[str, Any]:
    return {"healthcareOrganizationId": organization, "patientId": patient, "consents": list(consents)}


def consent(decided: Any, **changes: Any) -> dict[str, Any]:
    whole = {
        "consentType": EXCHANGE,
        "studyId": "study",
        "hasPatientConsented": decided,
        "source": "STUDY",
        "consentRecordId": "21",
        "expirationTimestamp": None,
    }
    return whole | changes


def judged(*entries: dict[str, Any], consent_type: str = EXCHANGE) -> ConsentVerdict:
    patients = read_consents(json.dumps(entries).encode())
    assert patients is not None
    return judge_consents(patients, [consent_type], "study", NOW).verdicts[consent_type]


YES, NO, OPEN = consent(True), consent(False), consent(False, consentRecordId=None)
EXPIRED = consent(True, expirationTimestamp=PAST)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "no consent found"),
        ([entry()], "no consent found"),
        ([entry(YES)], "consented"),
        ([entry(consent(True, expirationTimestamp=AHEAD))], "consented"),
        ([entry(EXPIRED)], "expired"),
        ([entry(consent(True, expirationTimestamp=1_700_000_000))], "expired"),
        ([entry(consent(True, expirationTimestamp=1_900_000_000_000))], "consented"),
        ([entry(NO)], "declined"),
        ([entry(consent(False, consentRecordId=77))], "declined"),
        ([entry(consent(False, consentRecordId=None, consentRecordIds=["77"]))], "declined"),
        ([entry(OPEN)], "no consent found"),
        ([entry(consent(False, consentRecordId=""))], "no consent found"),
        # One person, however many records: a yes before a no before the rest.
        ([entry(NO, YES)], "consented"),
        ([entry(EXPIRED, YES)], "consented"),
        ([entry(EXPIRED, NO)], "declined"),
        ([entry(OPEN, EXPIRED)], "expired"),
        ([entry(NO), entry(YES, patient="p2", organization="o2")], "consented"),
        ([entry(OPEN), entry(NO, patient="p2", organization="o2")], "declined"),
        ([entry(YES), entry(OPEN)], "consented"),
        # Two patients of one organization: nobody can tell which of them it is.
        ([entry(YES), entry(YES, patient="p2")], "not known"),
        ([entry(OPEN), entry(OPEN, patient="p2")], "not known"),
        ([entry(YES, organization=None), entry(YES, patient="p2", organization=None)], "not known"),
        # What was not asked for, or is not documented.
        ([entry(consent(True, consentType=FUTURE))], "no consent found"),
        ([entry(consent(True, studyId="another"))], "not known"),
        ([entry(consent(True, studyId="another"), NO)], "declined"),
        ([entry(consent(True, studyId=None))], "consented"),
        ([entry(consent("WITHDRAWN"))], "not known"),
        ([entry(consent(None))], "not known"),
        ([entry(consent("WITHDRAWN"), YES)], "consented"),
    ],
)
def test_an_answer_comes_to_one_word(entries: list[dict[str, Any]], expected: str) -> None:
    assert judged(*entries).response == expected


def test_a_verdict_says_when_a_consent_ends_and_why_it_is_not_known() -> None:
    later = consent(True, expirationTimestamp="2028-01-01T00:00:00Z")
    assert judged(entry(consent(True, expirationTimestamp=AHEAD), later)).expires_at == datetime(2028, 1, 1, tzinfo=UTC)
    assert judged(entry(consent(True, expirationTimestamp=AHEAD), YES)).expires_at is None
    assert "WITHDRAWN" in judged(entry(consent("WITHDRAWN"))).reason
    assert "00417" not in judged(entry(consent("00417"))).reason


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "{}",
        '{"consents":[]}',
        "[1]",
        "[{}]",
        '[{"patientId":"p"}]',
        '[{"patientId":"","consents":[]}]',
        '[{"patientId":"p","consents":[{}]}]',
        '[{"patientId":"p","consents":[{"consentType":"X","hasPatientConsented":true,"expirationTimestamp":"soon"}]}]',
        "<html>",
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_an_answer_of_another_form_is_none(body: str | bytes) -> None:
    assert read_consents(body if isinstance(body, bytes) else body.encode()) is None


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ("Patient not found", True),
        ('{"message":"Patient not found","statusCode":404}', True),
        ("No patient found for the given identifier", True),
        ("Could not find patient", True),
        ("The patient does not exist.", True),
        ("Not Found", False),
        ("Study not found", False),
        ("Recruitment not found", False),
        ("Patient's project not found", False),
        ("externalId must be a string", False),
        ("Patient not found " + "x" * 300, False),
        ("", False),
    ],
)
def test_only_a_short_body_that_says_so_means_an_unknown_patient(body: str, unknown: bool) -> None:
    assert says_unknown_patient(body.encode()) is unknown


# --- who is asked about again --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "hours", "max_age", "asked"),
    [
        ("no consent found", 1, 12, False),
        ("no consent found", 12, 12, True),
        ("declined", 13, 12, True),
        ("consented", 29 * 24, 12, False),
        ("consented", 30 * 24, 12, True),
        ("consented", 1, 0, True),
        ("not known", 1, 12, True),
        ("no consent found", -1, 12, True),
    ],
)
def test_an_answer_is_good_enough_for_a_time(response: str, hours: float, max_age: float, asked: bool) -> None:
    rule = AskingRule(NOW, timedelta(hours=max_age))
    known = KnownResponse(Response(response), NOW - timedelta(hours=hours))
    assert rule.needs({EXCHANGE: known}, [EXCHANGE]) is asked
    assert rule.needs({EXCHANGE: known}, [EXCHANGE, FUTURE])


def test_a_consent_that_has_ended_since_is_asked_about_again() -> None:
    known = KnownResponse(Response.CONSENTED, NOW - timedelta(hours=1), NOW - timedelta(minutes=1))
    assert AskingRule(NOW, timedelta(hours=12)).needs({EXCHANGE: known}, [EXCHANGE])


def test_those_nobody_asked_about_come_first_and_then_the_oldest() -> None:
    known = {
        one: {EXCHANGE: KnownResponse(Response.NONE, NOW - timedelta(hours=hours))}
        for one, hours in (("a", 1), ("b", 3), ("d", 2))
    }
    assert oldest_first(known, ["a", "b", "c", "d"]) == ["c", "b", "d", "a"]


# --- who is reminded -----------------------------------------------------------------------------------------------

TODAY = date(2026, 11, 28)


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("response", "mailing", "expected"),
    [
        ("no consent found", Mailing(days_ago(14)), None),
        ("expired", Mailing(days_ago(14)), None),
        ("no consent found", Mailing(days_ago(13)), NotReminded.TOO_SOON),
        ("no consent found", Mailing(days_ago(90), days_ago(14), 1), None),
        ("no consent found", Mailing(days_ago(90), days_ago(13), 1), NotReminded.TOO_SOON),
        ("no consent found", Mailing(days_ago(90), days_ago(30), 2), NotReminded.TWICE),
        ("no consent found", Mailing(None), NotReminded.NEVER_MAILED),
        ("consented", Mailing(days_ago(90)), NotReminded.RESPONDED),
        ("declined", Mailing(days_ago(90)), NotReminded.RESPONDED),
        ("not known", Mailing(days_ago(90)), NotReminded.RESPONDED),
    ],
)
def test_a_patient_is_reminded_only_when_it_is_time(
    response: str, mailing: Mailing, expected: NotReminded | None
) -> None:
    assert ReminderRule(TODAY, 14).refusal(Response(response), mailing, is_minor=False) is expected


def test_letters_that_left_later_count_from_then() -> None:
    mailing = Mailing(days_ago(20))
    late = ReminderRule(TODAY, 14, mailed_on=days_ago(13))
    assert late.refusal(Response.NONE, mailing, is_minor=False) is NotReminded.TOO_SOON
    early = ReminderRule(TODAY, 14, mailed_on=days_ago(30))
    assert early.refusal(Response.NONE, Mailing(days_ago(13)), is_minor=False) is NotReminded.TOO_SOON


def test_minors_are_reminded_only_where_somebody_says_so() -> None:
    mailing = Mailing(days_ago(20))
    assert ReminderRule(TODAY, 14).refusal(Response.NONE, mailing, is_minor=True) is NotReminded.MINOR
    assert ReminderRule(TODAY, 14, include_minors=True).refusal(Response.NONE, mailing, is_minor=True) is None
