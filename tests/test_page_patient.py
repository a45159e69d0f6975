"""Looking up one patient on the upload page: what is told, to whom, what is noted, and that no ID is where it must not be."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PROJECT, Ended
from page import Page, environment, served

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

USERS = ("--behind-proxy", "--user-header", "X-Remote-User", "--trusted-proxy", "127.0.0.1")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts this on standard input."""

    def type_in(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    return type_in


def look_up(client: httpx.Client, external_id: str, **headers: str) -> httpx.Response:
    return client.post("/api/patients/lookup", json={"id": external_id}, headers=headers)


def leave_alone(client: httpx.Client, external_id: str, reason: str = "asked us not to") -> httpx.Response:
    return client.post("/api/patients/do-not-contact", json={"id": external_id, "reason": reason})


def only_link(client: httpx.Client, external_id: str) -> dict[str, Any]:
    answer = look_up(client, external_id)
    assert answer.status_code == 200, answer.text
    (project,) = answer.json()["projects"]
    return dict(project)


def audited(data: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (data / "audit.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line.get("event") in ("looked_up", "do_not_contact")]


def test_one_patient_is_told_from_link_to_response_and_left_alone_when_asked_for(
    start_healthex: Callable[..., RunningSimulator],
    command: Command,
    typed: Callable[[str], None],
    tmp_path: Path,
    private_home: Path,
) -> None:
    healthex = start_healthex(consented_ids=frozenset({"0418ZQX"}), consent_lag_s=0.0)
    roster, data = tmp_path / "patients.csv", private_home / "data"
    roster.write_text("MRN\n0417ZQX\n0418ZQX\n0419ZQX\n0420ZQX\n", encoding="utf-8")
    assert command("run", roster).code == 0
    assert command("status", roster).code == 0
    typed("0419ZQX")
    assert command("ledger", "withdraw", "--project-id", PROJECT).code == 0
    typed("0420ZQX")
    assert command("ledger", "incident").code == 0

    with served(data, "--verbose", "--log-format", "json", env=environment(data, healthex)) as page:
        assert_told(page, healthex.links, tmp_path)
        assert_left_alone_from_now_on(page, healthex.links, roster)
        assert look_up(page.client, "0417ZQX", **{"X-Forwarded-For": "192.0.2.7"}).status_code == 403
        code, out, err = page.end()

    assert code == 0
    assert "ZQX" not in out + err
    lines = audited(data)
    assert len(lines) == 9
    assert all(line["patient_hashes"] and line["user"] and line["command"] == "serve" for line in lines)
    assert "ZQX" not in (data / "audit.jsonl").read_text(encoding="utf-8")
    typed("0418ZQX")
    history = json.loads(command("history", "--patient", "--format", "json").out)
    assert [entry["what"] for entry in history].count("serve looked_up") == 1


def assert_told(page: Page, links: dict[str, str], folder: Path) -> None:
    known = only_link(page.client, "0418ZQX")
    assert (known["project"], known["link"], known["held_back"]) == (PROJECT, links["0418ZQX"], None)
    assert known["issued_at"] <= known["handed_out_at"] <= known["response_on"]
    assert known["response"] == "consented"
    first = known["files"][0]
    assert (first["name"], first["folder"], first["row"]) == ("patients.links.xlsx", str(folder), 3)
    assert first["placed_at"]
    for external_id, why in (("0419ZQX", "withdrawn"), ("0420ZQX", "exposed")):
        held = only_link(page.client, external_id)
        assert (held["link"], held["held_back"]) == (None, why)

    nobody = look_up(page.client, "0499ZQX")
    assert (nobody.status_code, nobody.json()["alike"]) == (404, [])
    without_zero = look_up(page.client, "417zqx")
    assert (without_zero.status_code, without_zero.json()["alike"]) == (404, ["0417ZQX"])
    assert "leading zeros" in without_zero.json()["detail"]
    assert look_up(page.client, "n/a").status_code == 422
    assert leave_alone(page.client, "0417ZQX", "no such reason").status_code == 422
    assert page.client.get("/api/patients/lookup").status_code == 405


def assert_left_alone_from_now_on(page: Page, links: dict[str, str], roster: Path) -> None:
    assert only_link(page.client, "0417ZQX")["link"] == links["0417ZQX"]
    answer = leave_alone(page.client, "0417ZQX")
    assert (answer.status_code, answer.json()["reason"]) == (200, "asked us not to")

    found = look_up(page.client, "0417ZQX").json()
    assert (found["projects"][0]["link"], found["projects"][0]["held_back"]) == (None, "do_not_contact")
    assert found["do_not_contact"] == answer.json()
    otherwise_spelled = look_up(page.client, "417zqx").json()
    assert (otherwise_spelled["projects"], otherwise_spelled["do_not_contact"]) == ([], answer.json())
    assert page.upload(roster).json()["errors"] == {"withdrawn": 3}


def test_where_people_sign_in_each_is_named_in_the_log_and_knows_who_listed_somebody(tmp_path: Path) -> None:
    with (
        served(tmp_path, *USERS, env=environment(tmp_path)) as page,
        httpx.Client(base_url=page.url, headers={"X-Remote-User": "ann"}) as ann,
        httpx.Client(base_url=page.url, headers={"X-Remote-User": "bob"}) as bob,
        httpx.Client(base_url=page.url) as nobody,
    ):
        assert leave_alone(ann, "0500ZQX", "deceased").status_code == 200
        answer = look_up(bob, "0500ZQX")
        assert (answer.status_code, answer.json()["projects"]) == (200, [])
        assert (answer.json()["do_not_contact"]["by"], answer.json()["do_not_contact"]["reason"]) == ("ann", "deceased")
        assert look_up(nobody, "0500ZQX").status_code == 401
        assert "Look up one patient" in bob.get("/").text

    told = [(line["event"], line["user"]) for line in audited(tmp_path)]
    assert told == [("do_not_contact", "ann"), ("looked_up", "bob")]
    assert "ZQX" not in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


def test_behind_a_proxy_that_names_nobody_there_is_no_looking_up(tmp_path: Path) -> None:
    with served(tmp_path, "--behind-proxy", env=environment(tmp_path)) as page:
        for answer in (look_up(page.client, "0417ZQX"), leave_alone(page.client, "0417ZQX")):
            assert (answer.status_code, list(answer.json())) == (403, ["detail"])
            assert "sign in" in answer.json()["detail"]
        assert "Look up one patient" not in page.client.get("/").text

    assert not (tmp_path / "do-not-contact.csv").exists()
    assert not (tmp_path / "audit.jsonl").exists()
