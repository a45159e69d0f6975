"""`batchlinks status`: who has answered, whom to remind, and whom to leave alone. Against the stand-in, over a socket."""

import json
import logging
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import results
from conftest import PROJECT, Ended

import batchlinks
from batchlinks.ledger.schema import check_value
from batchlinks.pipeline.contact_guard import ContactGuard
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]

CONSENTED = frozenset(f"{number:08d}" for number in range(100, 108))
DECLINED = frozenset(f"{number:08d}" for number in range(108, 111))
EXPIRED = frozenset({"00000111"})
UNDECIDED = frozenset({"00000112", "00000113"})
IDS = tuple(f"{number:08d}" for number in range(100, 130))


def roster_of(folder: Path, ids: Iterable[str] = IDS, name: str = "patients.csv") -> Path:
    path = folder / name
    rows = "".join(f"{one},Ann{place},Lee,{'North' if place % 2 else 'South'}\n" for place, one in enumerate(ids))
    path.write_text(f"MRN,First Name,Last Name,Clinic\n{rows}", encoding="utf-8")
    return path


def shown(folder: Path) -> dict[str, dict[str, str]]:
    """The status workbook, by ID."""
    return {row["MRN"]: row for row in results.sheet(folder / "patients.status.xlsx", "Status")}


def counts(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "patients.status.json").read_text(encoding="utf-8"))
    return content


def reminded(folder: Path) -> list[dict[str, str]]:
    return results.links(folder / "patients.reminder.xlsx")


def ledger_path(folder: Path) -> Path:
    return folder / "data" / "ledger.sqlite3"


def as_if(home: Path, statement: str, *values: object) -> None:
    """Change the ledger, as time would."""
    with closing(sqlite3.connect(ledger_path(home))) as ledger, ledger:
        ledger.execute(statement, values)


def handed_out_long_ago(home: Path, day: str = "2026-01-01T00:00:00+00:00") -> None:
    as_if(home, "UPDATE link SET handed_out = ?", day)


def age_response(home: Path, external_id: str, asked_at: str) -> None:
    """As if HealthEx had been asked about this patient then."""
    with closing(sqlite3.connect(ledger_path(home))) as ledger, ledger:
        fields = ("project", "external_id", "consent_type", "response", "asked_at", "expires_at", "patients")
        query = f"SELECT {', '.join(fields)} FROM response WHERE external_id = ?"
        for row in ledger.execute(query, (external_id,)).fetchall():
            aged = [asked_at if name == "asked_at" else value for name, value in zip(fields, row, strict=True)]
            ledger.execute(
                "UPDATE response SET asked_at = ?, check_value = ? WHERE external_id = ?",
                (asked_at, check_value(*aged), external_id),
            )


@pytest.fixture
def answered(start_healthex: StartHealthEx) -> RunningSimulator:
    """A HealthEx in which some have answered, and of whose other patients nobody has heard."""
    return start_healthex(
        consented_ids=CONSENTED, declined_ids=DECLINED, expired_ids=EXPIRED, undecided_ids=UNDECIDED, consent_lag_s=0.0
    )


def test_everybody_with_a_link_is_shown_as_healthex_shows_them(
    command: Command, answered: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path)
    assert command("run", roster).code == 0
    handed_out_long_ago(private_home)

    ended = command("status", roster, "--reminder")

    assert ended.code == 0, ended.err
    found = shown(tmp_path)
    assert set(found) == set(IDS)
    assert {one for one, row in found.items() if row["response"] == "consented"} == CONSENTED
    assert {one for one, row in found.items() if row["response"] == "declined"} == DECLINED
    assert {one for one, row in found.items() if row["response"] == "expired"} == EXPIRED
    assert len([row for row in found.values() if row["response"] == "no consent found"]) == 18
    first = found["00000100"]
    assert first["First Name"] == "Ann0"
    assert (first["response_on"], first["in_a_file_since"]) == (first["link_issued_on"], "2026-01-01")
    assert first["consent_expires_on"] > first["response_on"]
    assert not any("https:" in cell for row in found.values() for cell in row.values())
    assert [answered.consent_requests_for(one) for one in IDS] == [1] * 30
    assert "8 consented, 1 expired, 3 declined, 18 no consent found" in ended.last_line
    assert f"on {first['response_on']} HealthEx showed" in ended.last_line

    links = {row["MRN"]: row["link"] for row in results.links(tmp_path / "patients.links.xlsx")}
    assert {row["MRN"]: row["link"] for row in reminded(tmp_path)} == {
        one: link for one, link in links.items() if found[one]["response"] in ("no consent found", "expired")
    }
    told = counts(tmp_path)
    assert told["responses"] == {
        "consented": 8, "expired": 1, "declined": 3, "no consent found": 18, "not known": 0,
    }  # fmt: skip
    assert (told["patients"], told["asked"], told["reminded"], told["not_reminded"]) == (30, 30, 19, {"responded": 11})


def test_three_reminders_in_a_row(command: Command, answered: RunningSimulator, tmp_path: Path) -> None:
    roster = roster_of(tmp_path, ["00000100", "00000120", "00000121"])
    command("run", roster)

    said = []
    for _ in range(3):
        ended = command("status", roster, "--reminder", "--after-days", "0")
        said.append((ended.code, counts(tmp_path)["reminded"], counts(tmp_path)["not_reminded"]))
    too_soon = command("status", roster, "--reminder", "--after-days", "1")

    assert said == [
        (0, 2, {"responded": 1}),
        (0, 2, {"responded": 1}),
        (0, 0, {"responded": 1, "reminded_twice": 2}),
    ]
    assert "Nobody is to be reminded now." in too_soon.last_line
    assert shown(tmp_path)["00000120"]["reminded_on"] == shown(tmp_path)["00000120"]["response_on"]
    assert answered.consent_calls == 3


@pytest.mark.usefixtures("answered")
def test_a_reminder_is_never_taken_away_by_what_comes_after_it(
    command: Command, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path, ["00000120", "00000121"])
    command("run", roster)
    handed_out_long_ago(private_home)
    command("status", roster, "--reminder")
    first = (tmp_path / "patients.reminder.xlsx").read_bytes()

    for options in ([], ["--reminder"]):  # without one, and with nobody to remind
        assert command("status", roster, *options).code == 0
        assert (tmp_path / "patients.reminder.xlsx").read_bytes() == first

    roster_of(tmp_path, ["00000120", "00000121", "00000122"])
    command("run", roster)
    handed_out_long_ago(private_home)
    ended = command("status", roster, "--reminder")

    assert [row["MRN"] for row in reminded(tmp_path)] == ["00000122"]
    (kept,) = tmp_path.glob("patients.reminder (before *).xlsx")
    assert kept.read_bytes() == first
    assert kept.name in ended.last_line


@pytest.mark.usefixtures("answered")
def test_letters_that_left_later_are_given_time(command: Command, tmp_path: Path, private_home: Path) -> None:
    roster = roster_of(tmp_path, IDS[:20])
    command("run", roster)
    handed_out_long_ago(private_home)
    today = date.today()

    command("status", roster, "--reminder", "--mailed-on", today - timedelta(days=13))
    assert counts(tmp_path)["not_reminded"] == {"responded": 11, "too_soon": 9}
    command("status", roster, "--reminder", "--mailed-on", today - timedelta(days=14))
    assert counts(tmp_path)["reminded"] == 9
    assert command("status", roster, "--reminder", "--mailed-on", today + timedelta(days=2)).code == 2
    assert command("status", roster, "--reminder", "--mailed-on", "11/28/2026").code == 2


# --- who is left alone ---------------------------------------------------------------------------------------------


def test_whoever_must_not_be_contacted_is_not_asked_about_and_stands_in_no_file(
    command: Command, answered: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    ids = ["00000120", "00000121", "00000122", "00000123", "00000124"]
    roster = roster_of(tmp_path, ids)
    command("run", roster)
    handed_out_long_ago(private_home)
    (private_home / "data" / "do-not-contact.csv").write_text("ID,since,by,reason\n121,2026-01-01,me,asked us not to\n")
    excluded = tmp_path / "excluded.txt"
    excluded.write_text("00000122\n", encoding="utf-8")
    with roster.open("a", encoding="utf-8") as file:
        file.write("00000123,Bob,Hill,North\n00000199,Eve,Lee,North\n00000124,Ann4,Lee,South\n")

    ended = command("status", roster, "--reminder", "--exclude", excluded)

    assert ended.code == 0
    assert set(shown(tmp_path)) == {"00000120", "00000124"}
    assert [row["MRN"] for row in reminded(tmp_path)] == ["00000120", "00000124"]
    assert [answered.consent_requests_for(one) for one in ids] == [1, 0, 0, 0, 1]
    told = counts(tmp_path)
    assert told["left_out"] == {"excluded": 1, "withdrawn": 1, "conflicting_id": 2}
    assert (told["without_link"], told["duplicates"]) == (1, 1)
    assert "1 patient has no link yet. 4 rows are left out." in ended.last_line


@pytest.mark.usefixtures("answered")
def test_whoever_says_no_while_it_is_asked_is_not_reminded(
    command: Command, tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["00000120", "00000121"]
    roster = roster_of(tmp_path, ids)
    command("run", roster)
    handed_out_long_ago(private_home)
    check = ContactGuard.check_unchanged

    def say_no_first(guard: ContactGuard) -> None:
        """As the files are about to be put in place."""
        listed = private_home / "data" / "do-not-contact.csv"
        listed.write_text("ID,since,by,reason\n00000121,2026-11-28,desk,deceased\n", encoding="utf-8")
        check(guard)

    monkeypatch.setattr(ContactGuard, "check_unchanged", say_no_first)
    assert command("status", roster, "--reminder").code == 0

    assert list(shown(tmp_path)) == ["00000120"]
    assert [row["MRN"] for row in reminded(tmp_path)] == ["00000120"]
    assert counts(tmp_path)["left_out"] == {"withdrawn": 1}


def test_without_a_ledger_or_a_link_nobody_is_asked_about(
    command: Command, answered: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path)
    assert command("status", roster).code == 2
    command("run", roster_of(tmp_path, ["1234567"], "other.csv"))
    assert command("status", roster, "--no-ledger").code == 2

    ended = command("status", roster, "--reminder")

    assert ended.code == 0
    assert counts(tmp_path)["without_link"] == 30
    assert answered.consent_calls == 0
    assert not (tmp_path / "patients.reminder.xlsx").exists()


@pytest.mark.usefixtures("answered")
def test_minors_are_reminded_only_where_somebody_says_so(command: Command, tmp_path: Path, private_home: Path) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_text(
        "MRN,First Name,Birth Date,OK to text\n00000120,Ann,1980-01-01,Y\n00000121,Ben,2020-01-01,Y\n00000122,Cy,1980-01-01,N\n"
    )
    assert command("run", roster).code == 0
    handed_out_long_ago(private_home)

    assert command("status", roster, "--reminder", "--only-where", "OK to text=Y").code == 0
    assert [row["MRN"] for row in reminded(tmp_path)] == ["00000120"]
    assert counts(tmp_path)["not_reminded"] == {"minors": 1, "not_wanted": 1}
    assert set(shown(tmp_path)) == {"00000120", "00000121", "00000122"}

    ended = command("status", roster, "--reminder", "--minors", "include")
    assert [row["MRN"] for row in reminded(tmp_path)] == ["00000121", "00000122"]
    assert "who is under 18" not in ended.err
    command("run", roster_of(tmp_path, IDS[20:22]))
    assert "who is under 18" in command("status", roster_of(tmp_path, IDS[20:22]), "--reminder").err


# --- what HealthEx may do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown_patient", ["404", "empty"])
def test_patients_whom_healthex_does_not_know_are_no_refusal(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, unknown_patient: str
) -> None:
    start_healthex(unknown_patient=unknown_patient)
    roster = roster_of(tmp_path)
    command("run", roster)

    assert command("status", roster).code == 0
    assert counts(tmp_path)["responses"]["no consent found"] == 30


def test_a_key_that_may_not_read_consents_stops_the_status_and_no_link(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(consents_status=403)
    roster = roster_of(tmp_path)
    assert command("run", roster).code == 0

    ended = command("status", roster, "--reminder", "--after-days", "0")

    assert ended.code == 4
    assert "refused to say who has consented" in ended.err
    assert 5 <= healthex.consent_calls <= 20
    assert counts(tmp_path)["responses"]["not known"] == 30
    assert "No reminder was written" in ended.last_line
    assert not (tmp_path / "patients.reminder.xlsx").exists()
    assert command("run", roster).code == 0


def test_one_patient_about_whom_it_fails_is_not_known_and_all_others_are(
    command: Command, answered: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path)
    command("run", roster)
    handed_out_long_ago(private_home)
    answered.script_consents("00000120", [500] * 20)
    answered.script_consents("00000121", [422])
    answered.script_consents("00000122", [("body", 200, "application/json", '{"error":"no"}')] * 20)

    ended = command("status", roster, "--reminder", "--max-attempts", "3")

    assert ended.code == 3
    unknown = {one for one, row in shown(tmp_path).items() if row["response"] == "not known"}
    assert unknown == {"00000120", "00000121", "00000122"}
    assert unknown.isdisjoint(row["MRN"] for row in reminded(tmp_path))
    assert [answered.consent_requests_for(one) for one in sorted(unknown)] == [3, 1, 3]
    assert "not known for 1 patient: HealthEx refused the question (answer 422)." in ended.err

    answered.script_consents("00000120", [])
    answered.script_consents("00000122", [])
    assert command("status", roster).code == 0
    assert answered.consent_calls == 30 + 4 + 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"die_after": 33, "die_by": "error"}, 5, "kept failing"),
        ({"die_after": 33, "die_by": "refuse"}, 5, "could not be reached"),
        ({"html_share": 1.0}, 5, "no consents"),
        ({"rate": 0.001, "burst": 1, "retry_after_s": 3600.0}, 5, "come back later"),
        ({"token_status": 401, "revoke_tokens_at_call": 31}, 4, "did not accept"),
    ],
    ids=["fails", "gone", "answers with web pages", "says to wait", "refuses the key"],
)
def test_a_healthex_that_cannot_be_asked_ends_it_and_what_was_answered_is_kept(
    command: Command,
    answered: RunningSimulator,
    tmp_path: Path,
    options: dict[str, Any],
    code: int,
    said: str,
) -> None:
    roster = roster_of(tmp_path)
    command("run", roster)
    answered.change(**options)

    tries = ("--patience", "1", "--concurrency", "1", *(("--max-attempts", "1") if "html_share" in options else ()))
    ended = command("status", roster, "--reminder", "--after-days", "0", *tries)

    assert ended.code == code
    assert said in ended.err
    assert not (tmp_path / "patients.reminder.xlsx").exists()
    before = answered.consent_calls
    answered.change(die_after=None, html_share=0.0, rate=None, token_status=None, revoke_tokens_at_call=None)
    known = 30 - counts(tmp_path)["responses"]["not known"]

    assert command("status", roster, "--reminder", "--after-days", "0").code == 0
    assert answered.consent_calls - before == 30 - known
    assert len(reminded(tmp_path)) == 19


def test_throttling_dead_tokens_and_faults_are_got_over(
    command: Command, answered: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path)
    command("run", roster)
    answered.change(
        revoke_tokens_at_call=45, rate=200.0, burst=5, retry_after_s=0.05,
        server_error_share=0.1, drop_share=0.1, truncate_share=0.1, repeat_share=0.3, encoded_share=0.1,
    )  # fmt: skip

    assert command("status", roster).code == 0
    assert {one for one, row in shown(tmp_path).items() if row["response"] == "consented"} == CONSENTED


def test_two_patients_of_one_organization_are_not_known_and_one_patient_under_two_ids_is_said(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    start_healthex(
        consenting=1.0,
        two_patients_ids=frozenset({"00000120"}),
        same_patient_ids=frozenset({"00000121", "00000122"}),
    )
    roster = roster_of(tmp_path, ["00000119", "00000120", "00000121", "00000122"])
    command("run", roster)

    ended = command("status", roster)

    assert ended.code == 3
    assert [row["response"] for row in shown(tmp_path).values()] == ["consented", "not known", "consented", "consented"]
    assert "2 rows have an ID that stands for the same HealthEx patient as another ID" in ended.err
    assert "row 4 and 5" in ended.err
    assert counts(tmp_path)["warnings"]["same_person"] == 2


def test_a_status_is_asked_anew_after_its_time(
    command: Command, answered: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path)
    command("run", roster)
    command("status", roster)
    assert command("status", roster).code == 0
    assert answered.consent_calls == 30

    answered.decide("00000120", "consented")
    as_if(private_home, "DELETE FROM response WHERE external_id IN ('00000120', '00000121')")
    command("status", roster)
    assert answered.consent_calls == 32
    assert shown(tmp_path)["00000120"]["response"] == "consented"
    command("status", roster, "--max-age", "0")
    assert answered.consent_calls == 62


def test_several_kinds_of_consent_have_a_column_each(
    command: Command, answered: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path, IDS[:12])
    command("run", roster)

    kinds = ("--consent-type", "FUTURE_DATA_USE", "--consent-type", "DATA_AUTHORIZATION")
    assert command("status", roster, *kinds).code == 0

    row = shown(tmp_path)["00000100"]
    assert row["response"] == row["response_future_data_use"] == row["response_data_authorization"] == "consented"
    assert counts(tmp_path)["responses_by_type"]["FUTURE_DATA_USE"]["declined"] == 3
    assert answered.consent_calls == 12
    assert command("status", roster, "--consent-type", "EVERYTHING").code == 2


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("answered")
def test_responses_are_forgotten_after_their_days_and_with_the_id(
    command: Command, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path, IDS[:4])
    command("run", roster)
    command("status", roster, "--reminder", "--after-days", "0")
    ids = tmp_path / "ids.txt"
    ids.write_text("00000100\n", encoding="utf-8")

    def kept() -> list[str]:
        with closing(sqlite3.connect(ledger_path(private_home))) as ledger:
            return sorted(one for (one,) in ledger.execute("SELECT external_id FROM response"))

    assert kept() == list(IDS[:4])
    both = tmp_path / "both.txt"
    both.write_text("00000100\n00000120\n", encoding="utf-8")
    told = command("ledger", "show", "--ids", both).out
    assert "    response    consented, on 20" in told
    assert "reminded" not in told
    assert command("ledger", "forget", "--ids", ids, "--yes").code == 0
    assert kept() == list(IDS[1:4])
    age_response(private_home, "00000101", "2026-01-01T00:00:00+00:00")
    assert command("run", roster).code == 0
    assert kept() == list(IDS[2:4])


@pytest.mark.usefixtures("answered")
def test_a_damaged_response_is_refused(command: Command, tmp_path: Path, private_home: Path) -> None:
    roster = roster_of(tmp_path, IDS[:4])
    command("run", roster)
    command("status", roster)
    as_if(private_home, "UPDATE response SET response = 'no consent found' WHERE external_id = '00000100'")

    ended = command("status", roster)

    assert ended.code == 2
    assert "damaged" in ended.err


def test_nothing_of_a_patient_stands_in_an_address_a_log_or_a_count(
    command: Command, answered: RunningSimulator, tmp_path: Path, private_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roster = roster_of(tmp_path)
    command("run", roster)
    answered.script_consents("00000120", [500] * 20)
    answered.script_consents("00000121", [("body", 200, "text/plain", "00000121")] * 20)
    caplog.set_level(logging.DEBUG)

    ended = command("status", roster, "--verbose", "--log-format", "json", "--max-attempts", "2", "--reminder")

    audit = (private_home / "data" / "audit.jsonl").read_text(encoding="utf-8")
    assert '"command":"status"' in audit.splitlines()[-1]
    told = (tmp_path / "patients.status.json").read_text(encoding="utf-8")
    addresses = "\n".join({call.path for call in answered.calls})
    for where in (ended.err, ended.out, audit, told, addresses, caplog.text):
        assert "000001" not in where
        assert "Ann" not in where


# --- links only for those who have not consented --------------------------------------------------------------------


def test_a_run_leaves_out_who_has_consented_before_the_first_link(
    command: Command, answered: RunningSimulator, tmp_path: Path
) -> None:
    earlier = roster_of(tmp_path, ["00000100", "00000120"], "earlier.csv")
    command("run", earlier)
    roster = roster_of(tmp_path)

    ended = command("run", roster, "--leave-out-consented")

    assert ended.code == 3
    codes = results.codes(tmp_path / "patients.errors.xlsx")
    assert set(codes.values()) == {"has_consented"}
    assert len(codes) == 8
    (row, *_) = results.errors(tmp_path / "patients.errors.xlsx")
    assert row["error_action"] == "nothing to do"
    assert "HealthEx showed that this patient has consented" in row["error_message"]
    assert [answered.requests_for(one) for one in sorted(CONSENTED)] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert {row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")} == set(IDS) - CONSENTED
    assert [answered.consent_requests_for(one) for one in IDS] == [1] * 30


def test_a_run_holds_back_of_whom_it_is_not_known(command: Command, answered: RunningSimulator, tmp_path: Path) -> None:
    roster = roster_of(tmp_path)
    answered.script_consents("00000120", [422])

    assert command("run", roster, "--leave-out-consented").code == 3

    assert results.codes(tmp_path / "patients.errors.xlsx")[22] == "not_attempted"
    assert answered.requests_for("00000120") == 0
    assert command("run", roster, "--leave-out-consented").code == 3
    assert answered.requests_for("00000120") == 1


@pytest.mark.parametrize(("options", "code"), [({"die_after": 0}, 5), ({"consents_status": 403}, 4)])
def test_a_run_that_cannot_ask_who_has_consented_asks_for_no_link(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, options: dict[str, Any], code: int
) -> None:
    healthex = start_healthex(**options)

    ended = command("run", roster_of(tmp_path), "--leave-out-consented", "--patience", "0.3")

    assert ended.code == code
    assert healthex.link_calls == 0
    assert not (tmp_path / "patients.links.xlsx").exists()


# --- from Python -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("answered")
def test_python_asks_too(tmp_path: Path) -> None:
    roster = roster_of(tmp_path)
    batchlinks.run(roster)

    report = batchlinks.status(roster, reminder=True, after_days=0, mailed_on=date.today(), project_id=PROJECT)

    assert report.exit_code == 0
    assert report.summary.responses["declined"] == 3
    assert list(report.frame("reminder").columns)[-1] == "link"
    assert set(report.published.paths) == {"status", "reminder", "summary"}
    with pytest.raises(batchlinks.SettingsError):
        batchlinks.status(roster, mailed_on="soon")

    frame = report.frame("status")[["MRN", "First Name"]]
    of_frame = batchlinks.status(frame, reminder=True, after_days=0)
    assert of_frame.published.folder is None
    assert of_frame.summary.responses == report.summary.responses
    assert of_frame.summary.reminded == report.summary.reminded


# --- every night -----------------------------------------------------------------------------------------------------


@pytest.fixture
def night(command: Command, tmp_path: Path, private_home: Path) -> Callable[..., Ended]:
    """A night that has one list, done by a settings file that holds this text."""
    inbox, outbox = tmp_path / "inbox", tmp_path / "outbox"
    inbox.mkdir()

    def run(text: str, ids: Iterable[str] = IDS, *more: object) -> Ended:
        path = roster_of(inbox, ids)
        os.utime(path, (0, 0))
        (private_home / "batchlinks.toml").write_text(f'id-column = "MRN"\n{text}', encoding="utf-8")
        return command("nightly", "--inbox", inbox, "--outbox", outbox, "--metrics", tmp_path / "night.prom", *more)

    return run


def night_record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "outbox" / "night.json").read_text(encoding="utf-8"))
    return content


def test_a_night_asks_who_has_answered_the_oldest_first_and_within_its_calls(
    answered: RunningSimulator, night: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = night("status = true\nstatus-calls = 20\n")

    assert ended.code == 0, ended.err
    (done,) = night_record(tmp_path)["lists"]
    assert (done["responses"]["not known"], done["status_left_for_later"], done["status_problem"]) == (10, 10, None)
    assert "patients.status.xlsx" in done["results"]
    assert answered.consent_calls == 20
    assert '{response="consented",table="all"} 8.0' in (tmp_path / "night.prom").read_text(encoding="utf-8")

    assert night("status = true\nstatus-calls = 20\n").code == 0
    assert answered.consent_calls == 30
    assert night_record(tmp_path)["lists"][0]["responses"]["not known"] == 0


@pytest.mark.parametrize("options", [{"consents_status": 403}, {"die_after": 30}])
def test_a_status_that_fails_changes_nothing_of_the_links_of_a_night(
    start_healthex: StartHealthEx, night: Callable[..., Ended], tmp_path: Path, options: dict[str, Any]
) -> None:
    healthex = start_healthex(**options)

    ended = night('patience = 0.5\n[[roster]]\nmatch = "*.csv"\nname = "clinic"\nstatus = true\n')

    assert ended.code == 3
    (done,) = night_record(tmp_path)["lists"]
    assert (done["linked"], done["exit_code"]) == (30, 3)
    assert done["status_problem"]
    assert len(healthex.links) == 30
    (folder,) = (tmp_path / "inbox" / "done").iterdir()
    assert (folder / "patients.csv").exists()
    assert 'batchlinks_nightly_status_failed{table="clinic"} 1.0' in (tmp_path / "night.prom").read_text("utf-8")
    assert night('[[roster]]\nmatch = "*.csv"\nstatus = "yes"\n').code == 2


# --- many, and killed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_1500_patients_are_all_known_after_faults_throttling_revocation_and_kills(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(consenting=0.3, declining=0.1, expiring=0.05, undecided=0.2)
    ids = [f"{number:08d}" for number in range(1, 1501)]
    roster = roster_of(tmp_path, ids)
    assert command("run", roster).code == 0
    healthex.change(
        server_error_share=0.05, drop_share=0.03, truncate_share=0.03, html_share=0.02, repeat_share=0.05, rate=500.0,
        retry_after_s=0.1, latency_ms=5.0, revoke_tokens_at_call=healthex.link_calls + 700,
    )  # fmt: skip
    chance = random.Random(7)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "batchlinks", "status", roster, "--reminder", "--after-days", "0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = healthex.consent_calls
        deadline = time.monotonic() + 60
        wanted = before + chance.randrange(50, 300)
        while healthex.consent_calls < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()

    assert command("status", roster, "--reminder", "--after-days", "0").code == 0

    book = healthex._service.book  # what only the stand-in can know
    shows = {"consented": "consented", "declined": "declined", "expired": "expired"}
    expected = {one: shows.get(book.decision(PROJECT, one), "no consent found") for one in ids}
    assert {one: row["response"] for one, row in shown(tmp_path).items()} == expected
    due = {one for one, response in expected.items() if response in ("no consent found", "expired")}
    assert {row["MRN"] for row in reminded(tmp_path)} == due
    assert healthex.consent_calls < 1500 * 1.5
    assert not any("0000" in call.path for call in healthex.calls)
