"""The command as people and scripts meet it: help, mistakes, the question, the last line, progress, signals."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import results
from conftest import PROJECT, Ended

import batchlinks
from batchlinks import RosterBytes
from batchlinks.config.settings import Group, RunSettings, flag, option_of
from batchlinks.errors import BatchlinksError, ExitCode, RosterError, SettingsError
from batchlinks.progress import Lines
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
PROGRAM = [sys.executable, "-m", "batchlinks"]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,Name\n00417,Ann\n00418,Bob\n", encoding="utf-8")
    return path


# --- help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "check"])
def test_help_shows_every_option_in_two_groups(command: Command, name: str) -> None:
    ended = command(name, "--help")

    everyday, _, for_it = ended.out.partition(Group.IT.value)
    assert ended.code == 0
    assert Group.EVERYDAY.value in everyday
    for entry in fields(RunSettings):
        option = option_of(entry.name)
        if name == "run" or not option.only_run:
            group = for_it if option.group is Group.IT else everyday.partition(Group.EVERYDAY.value)[2]
            assert re.search(rf"^  {flag(entry.name)} ", group, re.MULTILINE), entry.name
    assert "Exit codes: 0 every patient has a link;" in ended.out


def test_help_lists_the_commands_each_with_a_whole_sentence(command: Command) -> None:
    ended = command("--help")

    listed = ended.out.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in listed] == [
        "check",
        "demo",
        "history",
        "ledger",
        "nightly",
        "run",
        "serve",
        "simulate",
        "status",
        "templates",
    ]
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_the_version_is_told(command: Command) -> None:
    assert batchlinks.__version__ in command("--version").out


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "What is to be done?"),
        (["patients-00417.xlsx"], "There is no such command"),
        (["run"], "The patient list is missing, as in `batchlinks run patients.xlsx`."),
        (["check"], "The patient list is missing"),
        (["run", "a.csv", "00417"], "There is one argument too many."),
        (["run", "a.csv", "--concurency", "3"], "There is no such option. Did you mean --concurrency"),
        (["run", "a.csv", "-00417"], "There is no such option."),
        (["run", "a.csv", "--00417"], "There is no such option."),
        (["run", "a.csv", "--id-column"], "--id-column' requires an argument"),
        (["run", "a.csv", "--quiet=00417"], "--quiet' does not take a value"),
        (["run", "a.csv", "--format", "00417"], "--format takes one of xlsx, csv."),
        (["run", "a.csv", "--rate", "x00417"], "--rate takes a number above 0."),
        (["run", "a.csv", "--log-format", "00417"], "--log-format takes one of text, json."),
        (["simulate", "--port", "99417000"], "--port takes a whole number from 0 to 65535."),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence_that_repeats_nothing(
    command: Command, arguments: list[str], said: str
) -> None:
    ended = command(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "417" not in ended.err


def test_a_roster_that_is_not_there_is_one_sentence(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ended = command("run", tmp_path / "gone.csv")

    assert (ended.code, ended.out, healthex.token_calls) == (2, "", 0)
    assert ended.err == "Error: There is no file gone.csv there. Check the name and the folder.\n"


# --- what is said ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_the_last_line_says_what_happened_and_where_the_files_are(command: Command, roster: Path) -> None:
    ended = command("run", roster)

    assert ended.out == (
        "Done: 2 of 2 patients have a link (0 duplicates, 0 to fix). "
        f"Files in {roster.parent.resolve()}: patients.links.xlsx, patients.errors.xlsx, patients.summary.json\n"
    )


@pytest.mark.usefixtures("healthex")
def test_quiet_leaves_nothing_but_errors(command: Command, tmp_path: Path) -> None:
    doubled = tmp_path / "doubled.csv"
    doubled.write_text("MRN,Clinic\n00417,N\n00417,S\n00418,N\n", encoding="utf-8")

    assert "Warning: " in command("run", doubled).err
    assert command("run", doubled, "--quiet") == Ended(0, "", "")
    assert command("run", tmp_path / "gone.csv", "--quiet").err.startswith("Error: ")


@pytest.mark.usefixtures("healthex")
def test_machines_get_a_json_object_a_line(command: Command, tmp_path: Path) -> None:
    doubled = tmp_path / "doubled.csv"
    doubled.write_text("MRN,Clinic\n00417,N\n00417,S\n00418,N\n", encoding="utf-8")

    lines = [json.loads(line) for line in command("run", doubled, "--log-format", "json", "--verbose").err.splitlines()]

    assert all({"message", "level", "time"} <= line.keys() for line in lines)
    (warning,) = [line for line in lines if line["level"] == "warning"]
    assert (warning["code"], warning["rows"]) == ("no_identity_columns", [3])


@pytest.mark.parametrize(
    "arguments", [["run", "--log-format=json"], ["check", "x.csv", "--log-format", "json", "--nope"]]
)
def test_machines_get_json_for_a_mistake_in_the_command_too(command: Command, arguments: list[str]) -> None:
    said = json.loads(command(*arguments).err)

    assert (said["level"], said["exit_code"]) == ("error", 2)


# --- the question before sending, and progress ----------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
class TestOnATerminal:
    def on_terminal(self, roster: Path, *options: str, answer: str | signal.Signals = "") -> Ended:
        """The command with a person at the keyboard, who types `answer` when asked, or interrupts."""
        import pty
        import termios

        person, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (30, 120))
        process = subprocess.Popen(
            [*PROGRAM, "run", str(roster), *options], stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, text=True
        )
        os.close(terminal)
        try:
            seen = ""
            while (arrived := self.shown_on(person)) != "":
                seen += arrived or ""
                # Said again after a second of silence: nobody can tell from outside when the question is listening.
                if "Send? [" in seen and answer:
                    if isinstance(answer, signal.Signals):
                        process.send_signal(answer)
                    else:
                        os.write(person, answer.encode())
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
            os.close(person)
        return Ended(process.returncode, out, seen)

    @staticmethod
    def shown_on(person: int) -> str | None:
        """What is shown next; None where nothing is for a second, "" once the terminal is closed."""
        if not select.select([person], [], [], 1.0)[0]:
            return None
        try:
            return os.read(person, 4096).decode(errors="replace")
        except OSError:  # how Linux says so
            return ""

    def test_a_person_is_told_what_will_be_sent_where_and_can_say_no(
        self, healthex: RunningSimulator, roster: Path
    ) -> None:
        ended = self.on_terminal(roster, answer="n\n")

        assert (ended.code, healthex.link_calls) == (2, 0)
        assert f"2 patient IDs, and nothing else, to {healthex.url}" in ended.err
        assert PROJECT in ended.err
        assert "Nothing was sent" in ended.err

    def test_a_person_who_agrees_sees_a_bar(self, healthex: RunningSimulator, roster: Path) -> None:
        ended = self.on_terminal(roster, answer="y\n")

        assert (ended.code, healthex.link_calls) == (0, 2)
        assert "100%" in ended.err
        assert "linked 2, refused 0" in ended.err
        assert "00417" not in ended.err
        assert ended.last_line.startswith("Done: 2 of 2")

    @pytest.mark.parametrize("answer", ["\x04", signal.SIGINT, signal.SIGTERM], ids=["Ctrl-D", "Ctrl-C", "SIGTERM"])
    def test_whoever_leaves_at_the_question_has_sent_nothing(
        self, healthex: RunningSimulator, roster: Path, answer: str | signal.Signals
    ) -> None:
        ended = self.on_terminal(roster, answer=answer)

        assert (ended.code, healthex.link_calls) == (130, 0)
        assert "Interrupted. No link was asked for." in ended.err

    def test_yes_asks_nothing(self, healthex: RunningSimulator, roster: Path) -> None:
        ended = self.on_terminal(roster, "--yes")

        assert (ended.code, healthex.link_calls) == (0, 2)
        assert "Send?" not in ended.err


def test_without_a_terminal_progress_is_a_line_a_minute() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(lambda sentence, **_: said.append(sentence), clock=lambda: now)

    lines.start(1_000)
    for settled in range(300):
        now += 0.5
        lines.advance(linked=settled % 10 != 0)
    lines.finish()

    assert said == [
        "120 of 1,000 patients settled, 2 a second, about 7 min left; linked 108, refused 12",
        "240 of 1,000 patients settled, 2 a second, about 6 min left; linked 216, refused 24",
    ]


# --- demo and stand-in ----------------------------------------------------------------------------------------


def test_the_demo_goes_from_the_sample_roster_to_its_files_without_an_account(
    command: Command, tmp_path: Path, private_home: Path
) -> None:
    ended = command("demo", "--output-dir", tmp_path / "seen")

    assert ended.code == 3
    assert {"clinic_roster.links.xlsx", "clinic_roster.errors.xlsx", "clinic_roster.summary.json"} <= {
        path.name for path in (tmp_path / "seen").iterdir()
    }
    assert results.links(tmp_path / "seen" / "clinic_roster.links.xlsx")
    assert not (private_home / "data").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_the_stand_in_serves_until_it_is_told_to_stop(
    command: Command, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([*PROGRAM, "simulate", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(4))
        for name, value in re.findall(r"(HEALTHEX_\w+)=(\S+)", said):
            monkeypatch.setenv(name, value)
        ended = command("run", roster, "--project-id", said.split()[-1])
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)

    assert (ended.code, code) == (0, 0)


# --- callers in Python ----------------------------------------------------------------------------------------


def test_a_program_gets_what_the_command_gets(
    healthex: RunningSimulator, roster: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = batchlinks.run(str(roster), id_column="MRN", output_dir=str(tmp_path / "out"))

    assert (report.exit_code, report.summary.linked, report.stopped_by) == (ExitCode.DONE, 2, None)
    links = results.links(report.published.paths["links"])
    assert [row["link"] for row in links] == [healthex.links["00417"], healthex.links["00418"]]
    assert report.frame("links").to_dict("records") == links
    assert report.frame("errors").empty
    assert capfd.readouterr() == ("", "")


def test_a_program_can_check_bytes_without_an_account(tmp_path: Path) -> None:
    report = batchlinks.check(
        RosterBytes("upload.csv", b"MRN,Name\n00417,Ann\n00418,Bob\nN/A,Cy\n"), output_dir=tmp_path
    )

    assert (report.exit_code, report.summary.linked) == (ExitCode.DONE_WITH_ERRORS, 2)
    assert report.published.paths["errors"] == tmp_path / "upload.check.xlsx"


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"id_colum": "MRN"}, SettingsError, "Did you mean id_column?"),
        ({"format": "pdf"}, SettingsError, "format takes one of xlsx, csv"),
        ({"sheet": "Two", "id_column": "Nothing"}, SettingsError, "no column is called what id_column says"),
    ],
)
def test_a_program_gets_an_exception_with_the_sentence_and_the_exit_code(
    roster: Path, options: dict[str, object], kind: type[BatchlinksError], said: str
) -> None:
    with pytest.raises(kind, match=re.escape(said)) as raised:
        batchlinks.check(roster, **options)  # type: ignore[arg-type]
    assert raised.value.exit_code == ExitCode.UNUSABLE


def test_a_roster_that_cannot_be_used_is_an_exception_too(tmp_path: Path) -> None:
    with pytest.raises(RosterError, match=r"gone\.csv"):
        batchlinks.check(tmp_path / "gone.csv")
