"""The stand-in's answers about consents and projects, seen from a socket."""

import json
from typing import Any

import pytest
from test_simulator import JSON, PROJECT, Client, Clock, Reply, simulated

from batchlinks.errors import SettingsError
from batchlinks.simulator import SimulatorOptions

EXCHANGE = "PATIENT_DIRECTED_DATA_EXCHANGE"
BOTH = {"hasConsented": [True, False], "expiredConsents": True}


def ask(client: Client, external_id: str = "00417", **changes: Any) -> Reply:
    """A call for consents as it should be, but for these properties; None leaves one out."""
    body = {"consentTypes": [EXCHANGE], "externalId": external_id, "studyId": PROJECT, **changes}
    body = {name: value for name, value in body.items() if value is not None}
    headers = {**JSON, "Authorization": f"Bearer {client.token}"}
    return client.send("POST", "/v1/consents", json.dumps(body), headers)


def shown(reply: Reply) -> list[dict[str, Any]]:
    """The single consent of each record."""
    assert reply.status == 200, reply.body
    return [entry["consents"][0] for entry in json.loads(reply.body)]


def test_a_patient_nobody_knows_is_not_found_as_it_was_seen() -> None:
    with simulated() as (server, client):
        reply = ask(client)
        assert (reply.status, reply.body) == (400, b"Patient not found")
        server.change(unknown_patient="404")
        assert ask(client).status == 404
        server.change(unknown_patient="empty")
        assert shown(ask(client)) == []
        assert server.consent_requests_for("00417") == 3
        assert server.requests_for("00417") == 0


def test_each_decision_is_shown_to_who_asks_for_it() -> None:
    lists: dict[str, Any] = {
        f"{word}_ids": frozenset({word}) for word in ("consented", "declined", "expired", "undecided")
    }
    with simulated(**lists) as (_, client):
        by_default = {word: shown(ask(client, word)) for word in ("consented", "declined", "expired", "undecided")}
        assert {word for word, found in by_default.items() if found} == {"consented"}

        yes, *_ = shown(ask(client, "consented", **BOTH))
        no, *_ = shown(ask(client, "declined", **BOTH))
        old, *_ = shown(ask(client, "expired", **BOTH))
        open_, *_ = shown(ask(client, "undecided", **BOTH))

    assert [each["hasPatientConsented"] for each in (yes, no, old, open_)] == [True, False, True, False]
    assert [bool(each["consentRecordId"]) for each in (yes, no, old, open_)] == [True, True, True, False]
    assert old["expirationTimestamp"] < yes["expirationTimestamp"]
    assert (yes["consentType"], yes["studyId"], "reason" in yes) == (EXCHANGE, PROJECT, False)


def test_a_patient_has_a_record_with_each_organization() -> None:
    same, twice = frozenset({"1", "2"}), frozenset({"3"})
    with simulated(consenting=1.0, same_patient_ids=same, two_patients_ids=twice) as (server, client):

        def records(external_id: str) -> list[tuple[str, str]]:
            entries = json.loads(ask(client, external_id).body)
            return [(entry["healthcareOrganizationId"], entry["patientId"]) for entry in entries]

        assert len({organization for organization, _ in records("00417")}) == 2
        assert records("1") == records("2") != records("00417")
        assert len(records("3")) == 4
        server.change(organizations=1)
        assert len(records("00417")) == 1


def test_a_decision_is_shown_some_time_after_it_was_made() -> None:
    clock = Clock()
    with simulated(clock=clock) as (server, client):
        server.decide("00417", "consented")
        assert ask(client).status == 400
        clock.now += 30.0
        assert [consent["hasPatientConsented"] for consent in shown(ask(client))] == [True, True]


def test_shares_of_patients_decide_as_told_and_always_the_same() -> None:
    with simulated(consenting=0.3, declining=0.2, undecided=0.1) as (_, client):
        statuses = [ask(client, str(number), **BOTH).status for number in range(200)]
        again = [ask(client, str(number), **BOTH).status for number in range(200)]
    assert statuses == again
    assert 90 <= statuses.count(200) <= 150


@pytest.mark.parametrize(
    "changes",
    [
        {"consentTypes": None},
        {"consentTypes": []},
        {"consentTypes": ["EVERYTHING"]},
        {"externalId": None},
        {"externalId": " "},
        {"externalId": 417},
        {"studyId": "elsewhere"},
        {"hasConsented": True},
        {"hasConsented": ["yes"]},
        {"expiredConsents": "true"},
        {"patientMRN": "00417"},
        {"more": 1},
    ],
)
def test_what_is_not_documented_is_refused(changes: dict[str, Any]) -> None:
    with simulated(consenting=1.0) as (_, client):
        assert ask(client, **changes).status == 400


def test_faults_limits_and_tokens_hold_for_consents_too() -> None:
    with simulated(consenting=1.0, token_dies_after_calls=3, unnamed_share=1.0) as (server, client):
        assert ask(client).status == 200
        server.script_consents("00417", [503, ("body", 200, "application/json", "[]")])
        assert [ask(client).status for _ in range(3)] == [503, 200, 401]
        client.token = server.issue_token()
        server.change(consents_status=403)
        assert ask(client).status == 403
        assert client.ask().status == 201
        server.change(consents_status=None, token_dies_after_calls=None, rate=1.0, burst=1)
        assert [ask(client).status for _ in range(2)] == [200, 429]
        with pytest.raises(SettingsError):
            server.script_consents("00417", [("link_of", "1")])
        assert client.send("GET", "/v1/consents").status == 405


def test_a_project_is_told_of_with_nothing_or_with_what_is_documented() -> None:
    with simulated() as (server, client):
        headers = {"Authorization": f"Bearer {client.token}"}

        def study(project: str) -> Reply:
            return client.send("GET", f"/v1/studies/{project}", headers=headers)

        assert (study(PROJECT).status, study(PROJECT).body) == (200, b"")
        assert study("elsewhere").status == 404
        assert client.send("GET", f"/v1/studies/{PROJECT}").status == 401
        server.change(study="full", study_paused=True)
        told = json.loads(study(PROJECT).body)
        assert (told["status"], told["paused"], told["title"]) == ("ACTIVE", True, "Demo project")
        assert json.loads(study("inactive-project").body)["status"] == "COMPLETED"


@pytest.mark.parametrize("options", [{"organizations": 3}, {"consenting": 1.5}, {"consenting": 0.6, "declining": 0.6}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        SimulatorOptions(**options)
