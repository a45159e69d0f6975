"""Messages and telephone numbers as a texting service takes them, and who gets none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended
from hypothesis import given
from hypothesis import strategies as st
from test_results import csv_roster

from batchlinks.outreach.languages import Language, language_of
from batchlinks.outreach.phone_numbers import one_in_e164
from batchlinks.outreach.text_message import message_text, segments
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

LIST = """MRN,First Name,Last Name,DOB,Mobile,OK to text,Language
00417,Ann,Lee,1/5/1980,(617) 253-1000, y ,English
00418,«link»,Ray,1/5/1980,617-253-1001,Y,spa
00419,Cy,Orr,1/5/1980,617.253.1002 x12,Y,
00420,Di,Poe,1/5/1980,6172531003,N,
00421,Ed,Roe,1/5/1980,+1 617 253 1004,Y,
00422,Fay,Roe,1/5/1982,617-253-1004,Y,
00423,Kid,Roe,1/5/2020,617-253-1005,Y,
00424,Gus,Tew,1/5/1980,,,
"""


def test_messages_numbers_and_who_gets_none(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, LIST)
    (tmp_path / "text.txt").write_text("Hi «First Name», <<link>>", encoding="utf-8-sig")
    (tmp_path / "text.es.txt").write_text("Hola « first_name »: «link»", encoding="utf-8")
    options = [
        "--message", tmp_path / "text.txt", "--language-column", "language", "--phone-column", "mobile",
        "--only-where", "OK to text = Y", "--format", "csv", "--no-csv-bom",
    ]  # fmt: skip

    ended = command("run", roster, *options)

    assert ended.code == 0, ended.err
    assert (tmp_path / "patients.links.csv").read_bytes().startswith(b"MRN,")
    rows = {row["MRN"]: row for row in results.csv_rows(tmp_path / "patients.links.csv")}
    assert list(rows) == ["00417", "00418", "00419", "00421", "00422", "00423"]
    assert rows["00417"]["message"] == f"Hi Ann, {healthex.links['00417']}"
    assert rows["00418"]["message"] == f"Hola «link»: {healthex.links['00418']}"  # a value is not looked at again
    assert {mrn: row["phone_e164"] for mrn, row in rows.items()} == {
        "00417": "+16172531000", "00418": "+16172531001", "00419": "", "00421": "", "00422": "", "00423": "",
    }  # fmt: skip
    assert [mrn for mrn, row in rows.items() if not row["message"]] == ["00421", "00422", "00423"]
    assert "1 telephone number isn't valid, so nothing can be sent to it: row 4" in ended.err
    assert "2 patients share a telephone number with another patient and get no message: row 6 and 7" in ended.err
    assert "1 patient is under 18 and gets no letter or message: row 8" in ended.err
    summary = results.summary(tmp_path / "patients.summary.json")
    assert {code: summary["warnings"][code] for code in ("bad_phone", "same_phone", "minors")} == {
        "bad_phone": 1, "same_phone": 2, "minors": 1,
    }  # fmt: skip
    assert (summary["linked"], summary["written"]) == (8, 6)

    shared = command("run", roster, *options, "--share-phones", "--minors", "To the parent of")
    rows = {row["MRN"]: row for row in results.csv_rows(tmp_path / "patients.links.csv")}
    assert "share a telephone number" not in shared.err
    assert rows["00421"]["phone_e164"] == rows["00422"]["phone_e164"] == "+16172531004"
    assert rows["00423"]["message"] == f"To the parent of Kid Roe: Hi Kid, {healthex.links['00423']}"


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        (["--message", "m.txt"], "Hello", "Write «link» where it goes"),
        (["--message", "m.txt"], "Hello «link» «Shoe Size»", "«Shoe Size»"),
        (["--message", "m.txt"], "Hello «link» «qr_code»", "a QR code, which no message can hold"),
        (["--message", "none.txt"], "", "none.txt is not there"),
        (["--message", "m.txt", "--language-column", "Language"], "«link»", "m.es.txt is not there"),
        (["--phone-column", "Fax"], "", "names no column of the list"),
        (["--phone-column", "Mobile", "--phone-region", "XX"], "", "takes a country by its two letters"),
        (["--only-where", "OK to text"], "", "takes a column and a value"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(
    command: Command, healthex: RunningSimulator, private_home: Path, options: list[str], text: str, said: str
) -> None:
    (private_home / "m.txt").write_text(text, encoding="utf-8")

    ended = command("run", csv_roster(private_home, LIST), *options)

    assert ended.code == 2
    assert said in ended.err
    assert healthex.links == {}


def test_a_list_without_birth_dates_cannot_be_checked_and_that_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("«link»", encoding="utf-8")

    ended = command("check", csv_roster(tmp_path, "MRN,Name\n101,Ann\n102,Bob\n"), "--message", tmp_path / "text.txt")

    assert "The list has no birth dates, so we can't tell who is under 18." in ended.err


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("617-253-1000", "+16172531000"), ("(617) 253-1000", "+16172531000"), ("1 617 253 1000", "+16172531000"),
        ("+44 20 7946 0958", "+442079460958"), ("253-1000", ""), ("617-253-1000 ext. 4", ""), ("none", ""), ("", ""),
        ("617-253-1000; 617-253-1001", ""),
    ],
)  # fmt: skip
def test_numbers_in_e164(text: str, number: str) -> None:
    assert one_in_e164(text, "US") == number


@pytest.mark.parametrize(
    ("cell", "language"),
    [
        ("es", "es"), ("ES-mx", "es"), ("spa", "es"), ("Spanish", "es"), ("Español", "es"), ("Spanish; Castilian", "es"),
        ("English", "en"), ("Estonian", "en"), ("", "en"), ("not Spanish", "en"),
    ],
)  # fmt: skip
def test_languages(cell: str, language: str) -> None:
    assert language_of(cell) is Language(language)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a" * 160, 1), ("a" * 161, 2), ("á" * 70, 1), ("á" * 71, 2), ("€" * 80, 1), ("€" * 81, 2), ("ñé" * 80, 1)],
)
def test_parts_of_a_text_message(text: str, parts: int) -> None:
    assert segments(text) == parts


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_a_value_is_it_stands_in_the_message_as_it_is(value: str) -> None:
    message = message_text("m.txt", "To «Name»: «link».".encode())

    assert message.filled({"Name": value, "link": "L"}) == f"To {value}: L."


def test_the_drafts_of_texts_name_nobody_and_keep_to_the_alphabet_of_texts(command: Command, tmp_path: Path) -> None:
    command("templates", tmp_path / "drafts")

    for name in ("text.txt", "text.es.txt"):
        draft = message_text(name, (tmp_path / "drafts" / name).read_bytes())
        assert draft.fields == ("link",)
        assert segments(draft.filled({"link": "x" * 151})) <= 3
        assert "STOP" in draft.text


def test_who_said_stop_is_withdrawn_by_number(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, LIST)
    command("run", roster)
    stop = 'Sent from,Replied,Text\n+16172530000,+16172531000,STOP\n+16172530000,(617) 253 1004,"Stop, please"\n'
    (tmp_path / "stop.csv").write_text(stop, encoding="utf-8")

    ended = command("ledger", "withdraw", "--phones", tmp_path / "stop.csv", "--list", roster)

    assert ended.code == 0, ended.err
    assert ended.out == (
        "Withdrawn in every project: 3 patients. 1 of 3 numbers in the file belong to nobody on the list. A link that was sent "
        f"still works: only HealthEx may be able to turn it off. Files that still hold these patients: "
        f"{tmp_path / 'patients.links.xlsx'}. Run their lists again, or delete them.\n"
    )
    before = len(healthex.links)
    again = command("run", roster)
    assert again.code == 3
    assert set(results.codes(tmp_path / "patients.errors.xlsx").values()) == {"withdrawn"}
    assert sorted(results.codes(tmp_path / "patients.errors.xlsx")) == [2, 6, 7]
    assert len(healthex.links) == before


@pytest.mark.parametrize(
    ("stop", "roster", "said"),
    [
        ("Number\n12\n", LIST, "has no valid telephone number"),
        ("Number\n617-253-9999\n", LIST, "None of these telephone numbers is on the list"),
        (
            "Number\n617-253-1000\n",
            LIST.replace("00417", "N/A"),
            "row 2: a patient with one of these numbers has no ID",
        ),
    ],
)
def test_a_stop_list_that_cannot_be_obeyed_withdraws_nobody(
    command: Command, tmp_path: Path, private_home: Path, stop: str, roster: str, said: str
) -> None:
    (tmp_path / "stop.csv").write_text(stop, encoding="utf-8")

    ended = command("ledger", "withdraw", "--phones", tmp_path / "stop.csv", "--list", csv_roster(tmp_path, roster))

    assert ended.code == 2
    assert said in ended.err
    assert not list(private_home.rglob("do-not-contact.csv"))
