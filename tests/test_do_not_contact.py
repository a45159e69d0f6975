"""`do-not-contact.csv`: whoever stands on it is neither asked for nor handed out, however people treat the file."""

import csv
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger import DoNotContact
from batchlinks.pipeline.contact_guard import ContactGuard
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
HEADER = "ID,since,by,reason"
IDS = ("0041701", "0041702", "AB-0017", "0041704")


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"{one},Pat {one[-1]}\n" for one in IDS), encoding="utf-8")
    return path


@pytest.fixture
def listed(private_home: Path) -> Path:
    """Where the list is unless told otherwise."""
    return private_home / "data" / "do-not-contact.csv"


@pytest.fixture
def ledger(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `batchlinks ledger` with these arguments, and `typed` on standard input."""

    def run(*arguments: object, typed: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        return command("ledger", *arguments)

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# --- withdrawing and restoring ----------------------------------------------------------------------------------


def test_withdraw_writes_there_and_restore_takes_away_from_there_whatever_ledger_there_is(
    healthex: RunningSimulator, command: Command, ledger: Command, roster: Path, listed: Path, tmp_path: Path
) -> None:
    assert ledger("withdraw", "--reason", "deceased", typed="41701\nab 17\n").out.startswith(
        "Withdrawn in every project: 2"
    )
    (first, second) = rows_of(listed)
    assert (first["ID"], second["ID"], first["reason"], list(first)) == (
        "41701",
        "ab 17",
        "deceased",
        HEADER.split(","),
    )
    assert first["since"][:2] == "20"
    assert first["by"]
    assert sys.platform == "win32" or listed.stat().st_mode & 0o777 == 0o600

    for word in (["check"], ["run"], ["run", "--ledger", tmp_path / "another"], ["run", "--no-ledger"]):
        assert command(*word, roster).code == 3
        name = "patients.check.xlsx" if word == ["check"] else "patients.errors.xlsx"
        assert results.codes(tmp_path / name) == {2: "withdrawn", 4: "withdrawn"}
    assert healthex.requests_for("0041701") == healthex.requests_for("AB-0017") == 0
    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["0041702", "0041704"]
    said = ledger("show", typed="0041701\n").out
    assert "in every project, as 41701: deceased, by " in said
    assert "00417" not in (listed.parent / "audit.jsonl").read_text()

    ended = ledger("restore", typed="0041701\nAB-0017\n")
    assert (ended.code, ended.out) == (3, "Restored in every project: 1 patient.\n")  # the other is written otherwise
    assert "Still held back: 1 withdrawal" in ended.err
    assert [row["ID"] for row in rows_of(listed)] == ["ab 17"]
    assert command("run", roster).code == 3
    assert healthex.requests_for("0041701") == 1


def test_a_withdrawal_of_a_ledger_of_0_2_is_honored_and_stands_on_the_list_from_then_on(
    healthex: RunningSimulator, command: Command, roster: Path, listed: Path
) -> None:
    from batchlinks.ledger import Records

    path = listed.with_name("ledger.sqlite3")
    with Records(path, make=True) as records:
        records.withdraw(None, ["41704"])
        records.withdraw(records.new_project(healthex.url, PROJECT), ["41702"])

    assert command("run", roster).code == 3
    assert results.codes(roster.with_name("patients.errors.xlsx")) == {3: "withdrawn", 5: "withdrawn"}
    assert [row["ID"] for row in rows_of(listed)] == ["41704"]
    assert command("run", roster, "--ledger", path.with_name("new")).code == 3
    assert results.codes(roster.with_name("patients.errors.xlsx")) == {5: "withdrawn"}


# --- however people treat the file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfID;since;by;reason\r\n41701;28.11.2026;ann;deceased\r\n;;;\r\nAB-17;;;\r\n\r\n",
        "ID\tsince\tby\treason\r\n0041701\t\tJos\u00e9\t\r\nab17\t\t\t\r\n".encode("utf-16"),
        "sep=;\nID;Reason;Note\n41701;Jos\xe9 said so;x\nab_0017;;\n".encode("cp1252"),
        b'reason,by,"ID"\n"a ""no"",\nby phone",ann,"=""0041701"""\n,,\'AB-0017',
        b"\n0041701,2026-11-28,ann,asked us not to\n\nAB 17\n",
        b"ID\n41701\nAB-0017",
    ],
    ids=["excel-german", "unicode-text", "sep-and-cp1252", "quoted-moved-columns", "no-header", "only-ids"],
)
def test_it_is_read_as_excel_may_leave_it_and_written_on_in_the_same_way(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shared.csv"
    path.write_bytes(content)

    def held() -> list[str]:
        return [one for one in IDS if DoNotContact.open(path, {}).holds(one)]

    assert held() == ["0041701", "AB-0017"]
    assert DoNotContact.open(path, {}).add(["0041702", "0041704"], by="José", reason="deceased") == 2
    assert held() == list(IDS)
    assert DoNotContact.open(path, {}).remove(["0041704", "0041701", "77"]) == {"0041704", "0041701"}
    assert held() == ["0041702", "AB-0017"]
    assert DoNotContact.open(path, {}).remove(["0041702"]) == {"0041702"}
    assert b"41702" not in path.read_bytes().replace(b"\0", b"")
    assert held() == ["AB-0017"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is not there"),
        (b"", "is empty"),
        (b"\r\n \r\n", "is empty"),
        (b"ID\n" + bytes(64), "no text"),
        (b'ID,since\n"41701,x\n41702,\n', "row 2 cannot be read"),
        (b"Name,Phone\nAnn,617\n", "no column ID"),
        (b"ID,since\n41702,\n4.17E+11,\n", "row 3 has an ID that cannot be read"),
        (b"ID,since\n41702,\n\n,2026-11-28\n", "row 4 has no ID"),
        (b"ID\nN/A\n", "row 2 has an ID"),
    ],
    ids=["missing", "empty", "blank", "zeros", "open-quote", "other-table", "lost-digits", "no-id", "placeholder"],
)
def test_one_that_cannot_be_used_lets_nobody_through_and_changes_nothing(
    healthex: RunningSimulator,
    command: Command,
    ledger: Command,
    roster: Path,
    tmp_path: Path,
    content: bytes | None,
    words: str,
) -> None:
    shared = tmp_path / "share" / "do-not-contact.csv"
    shared.parent.mkdir()
    if content is not None:
        shared.write_bytes(content)

    for ended in (
        command("run", roster, "--do-not-contact", shared),
        command("check", roster, "--do-not-contact", shared),
        ledger("withdraw", "--do-not-contact", shared, typed="0041702\n"),
    ):
        assert ended.code == 2
        assert words in ended.err
        assert "4170" not in ended.err
        assert "4.17" not in ended.err
    assert healthex.calls == []
    assert (shared.read_bytes() if shared.exists() else None) == content


def test_a_night_whose_list_is_lost_takes_nothing_and_blames_no_patient_list(
    healthex: RunningSimulator, command: Command, roster: Path, tmp_path: Path
) -> None:
    inbox, settings = tmp_path / "in", tmp_path / "night.toml"
    inbox.mkdir()
    roster.rename(inbox / "patients.csv")
    settings.write_text(
        f'do-not-contact = "{tmp_path / "gone.csv"}"\nid-column = "MRN"\nsettle = 0\n', encoding="utf-8"
    )
    night = ("nightly", "--config", settings, "--inbox", inbox, "--outbox", tmp_path / "out")

    ended = command(*night)
    assert (ended.code, (inbox / "patients.csv").exists(), healthex.calls) == (2, True, [])
    assert "not there" in ended.err

    (tmp_path / "gone.csv").write_text(f"{HEADER}\n41701,,,\n", encoding="utf-8")
    assert command(*night).code == 3
    assert healthex.requests_for("0041701") == 0
    assert healthex.link_calls == 3


# --- in the middle of a run --------------------------------------------------------------------------------------


def test_who_says_no_in_mid_run_is_neither_called_nor_written(
    start_healthex: Callable[..., RunningSimulator],
    command: Command,
    roster: Path,
    listed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three times: before the second call, before the files are made, and as they are about to be put in place."""
    healthex = start_healthex()
    roster.write_text("MRN\n" + "".join(f"{number}\n" for number in range(2001, 2007)), encoding="utf-8")
    no = DoNotContact(listed, must_exist=False)
    leave_out, check = ContactGuard.leave_out, ContactGuard.check_unchanged
    withholds = ContactGuard.withholds
    late = iter(["2003", "2004"])

    def first_call(guard: object, external_id: str) -> bool:
        if healthex.link_calls == 1:
            no.add(["2006"], by="ann")
        return withholds(guard, external_id)  # type: ignore[arg-type]

    def before_the_files(guard: object, links: object) -> object:
        no.add(["2002"], by="ann")
        return leave_out(guard, links)  # type: ignore[arg-type]

    def as_they_are_put_in_place(guard: object) -> None:
        no.add([one for one in [next(late, "")] if one], by="ann")
        check(guard)  # type: ignore[arg-type]

    monkeypatch.setattr(ContactGuard, "withholds", first_call)
    monkeypatch.setattr(ContactGuard, "leave_out", before_the_files)
    monkeypatch.setattr(ContactGuard, "check_unchanged", as_they_are_put_in_place)

    ended = command("run", roster, "--concurrency", "1")

    assert ended.code == 3, ended.err
    assert [row["MRN"] for row in results.links(roster.with_name("patients.links.xlsx"))] == ["2001", "2005"]
    assert results.codes(roster.with_name("patients.errors.xlsx")) == dict.fromkeys((3, 4, 5, 7), "withdrawn")
    assert healthex.requests_for("2006") == 0
    assert "withdrawn while this run was at work" in ended.err
    counts = results.summary(roster.with_name("patients.summary.json"))
    assert (counts["linked"], counts["errors"]) == (2, {"withdrawn": 4})


def test_a_list_that_is_lost_in_mid_run_stops_it_before_any_file(
    healthex: RunningSimulator, command: Command, roster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared.csv"
    shared.write_text(f"{HEADER}\n", encoding="utf-8")
    check = ContactGuard.check_unchanged

    def lost(guard: object) -> None:
        shared.unlink()
        check(guard)  # type: ignore[arg-type]

    monkeypatch.setattr(ContactGuard, "check_unchanged", lost)

    ended = command("run", roster, "--do-not-contact", shared)

    assert (ended.code, healthex.link_calls) == (1, 4)
    assert "No file was written. Links already received are saved." in ended.err
    assert not list(tmp_path.glob("patients.links*"))


# --- shared ------------------------------------------------------------------------------------------------------


def test_many_who_write_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "do-not-contact.csv"
    program = (
        "import sys; from pathlib import Path; from batchlinks.ledger import DoNotContact\n"
        "for number in range(15):\n"
        "    listed = DoNotContact(Path(sys.argv[1]), must_exist=False)\n"
        "    listed.add([f'{sys.argv[2]}{number:03}'], by='x')\n"
        "    if number % 3 == 0: listed.remove([f'{sys.argv[2]}{number:03}'])\n"
    )
    desks = [subprocess.Popen([sys.executable, "-c", program, str(path), str(desk)]) for desk in (1, 2, 3)]

    assert [desk.wait(timeout=60) for desk in desks] == [0, 0, 0]
    expected = [f"{desk}{number:03}" for desk in (1, 2, 3) for number in range(15) if number % 3]
    assert sorted(row["ID"] for row in rows_of(path)) == expected


def test_where_the_file_system_has_no_locks_a_mark_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchlinks.ledger import do_not_contact

    monkeypatch.setattr(do_not_contact, "acquire", lambda *_, **__: None)
    path = tmp_path / "do-not-contact.csv"

    def add(first: int) -> None:
        for number in range(first, first + 10):
            DoNotContact(path, must_exist=False).add([str(number)], by="x")

    desks = [threading.Thread(target=add, args=(first,)) for first in (100, 200)]
    for desk in desks:
        desk.start()
    for desk in desks:
        desk.join()
    assert len(rows_of(path)) == 20

    monkeypatch.setattr(do_not_contact, "_LOCK_PATIENCE_S", 0.0)
    mark = path.with_name(".do-not-contact.csv.busy")
    mark.touch()
    with pytest.raises(BatchlinksError, match="delete"):
        DoNotContact(path, must_exist=False).add(["1"], by="x")
    assert len(rows_of(path)) == 20


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_list_that_may_not_be_written_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "do-not-contact.csv"
    path.write_text(f"{HEADER}\n417,,,\n", encoding="utf-8")
    path.chmod(0o400)
    tmp_path.chmod(0o500)

    with pytest.raises(BatchlinksError, match="cannot be changed"):
        DoNotContact(path, must_exist=True).add(["418"], by="x")
    assert DoNotContact(path, must_exist=True).holds("00417")


def test_exact_ids_holds_back_the_very_one_where_both_stand_in_the_list(
    healthex: RunningSimulator, command: Command, tmp_path: Path
) -> None:
    roster, shared = tmp_path / "patients.csv", tmp_path / "shared.csv"
    roster.write_text("MRN\nA-17\nA17\nB-18\n", encoding="utf-8")
    shared.write_text(f"{HEADER}\nA17,,,\nb018,,,\n", encoding="utf-8")

    assert command("run", roster, "--do-not-contact", shared, "--exact-ids").code == 3
    assert results.codes(tmp_path / "patients.errors.xlsx") == {3: "withdrawn", 4: "withdrawn"}
    assert healthex.link_calls == 1


def test_it_can_be_asked_about_one_and_about_many(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "do-not-contact.csv"
    listed = DoNotContact(path, must_exist=False)
    assert (listed.holds("1"), listed.mask(pa.array(["1", ""])).to_pylist()) == (False, [False, False])

    DoNotContact(path, must_exist=False).add(
        ["AB-0017"], by="=cmd", reason="mail returned", since={"AB-0017": "2026-01-02"}
    )

    assert listed.holds("ab17")
    assert not listed.holds("ab18")
    assert listed.mask(pa.array(["AB 017", "", "17"])).to_pylist() == [True, False, False]
    (entry,) = listed.find("ab-17")
    assert (entry.since, entry.reason, entry.row) == ("2026-01-02", "mail returned", 2)
    assert ",'=cmd," in path.read_text(encoding="utf-8-sig")
    path.unlink()
    with pytest.raises(SettingsError, match="not there"):
        DoNotContact.open(path, {})
