"""The samples of the operations page, tried as they stand, and what the page says of metrics, codes and log fields."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from conftest import Ended
from test_readme import ROOT, table

from batchlinks.errors import ExitCode
from batchlinks.simulator import RunningSimulator

SAMPLES = ROOT / "docs" / "operations"
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_services_and_the_timer() -> None:
    units = sorted(SAMPLES.glob("*.service")) + sorted(SAMPLES.glob("*.timer"))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )

    assert (found.returncode, found.stderr, found.stdout) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_systemd_understands_when_the_timer_goes_off() -> None:
    when = re.findall(r"^OnCalendar=(.+)$", (SAMPLES / "batchlinks-nightly.timer").read_text(), re.MULTILINE)
    found = subprocess.run(["systemd-analyze", "calendar", *when], capture_output=True, text=True, check=True)

    assert "Next elapse" in found.stdout


def test_the_crontab_line_has_five_times_and_a_command_that_a_shell_understands() -> None:
    (line,) = [line for line in (SAMPLES / "crontab").read_text().splitlines() if not line.startswith("#")]
    *times, command = line.split(maxsplit=5)

    assert all(re.fullmatch(r"\*|\d+", time) for time in times)
    assert "%" not in command, "cron ends the line there"
    subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_settings_file_runs_lists_by_its_tables(
    command: Callable[..., Ended], start_healthex: Callable[..., RunningSimulator], tmp_path: Path
) -> None:
    start_healthex(projects=("YOUR-PROJECT-ID", "YOUR-OTHER-PROJECT-ID"))
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    for name, header in (("clinic_1.csv", "MRN"), ("plan_b.csv", "Member ID"), ("PLAN.xlsx.csv", "Member ID")):
        (inbox / name).write_text(f"{header}\n1001\n", encoding="utf-8")
        os.utime(inbox / name, (1, 1))

    ended = command(
        "nightly", "--config", SAMPLES / "batchlinks.toml", "--inbox", inbox, "--outbox", outbox,
        "--metrics", tmp_path / "batchlinks.prom",
    )  # fmt: skip

    assert "PLAN.xlsx.csv, plan_b.csv" in ended.last_line, ended.err
    assert ended.code in (0, 3)  # by the time of day, the list of the plan may be overdue
    summary = json.loads((outbox / date.today().isoformat() / "clinic_1.summary.json").read_text())
    assert (summary["project_id"], summary["linked"]) == ("YOUR-PROJECT-ID", 1)
    metrics = (tmp_path / "batchlinks.prom").read_text()
    written = {name.removeprefix("batchlinks_nightly_") for name in re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE)}
    documented = {
        name.partition("{")[0]
        for row in table(PAGE, "metric (`batchlinks_nightly_` …)")
        for name in re.findall(r"[a-z_]+(?:\{[a-z_,]+\})?", row[0])
    }
    assert documented == written


def test_every_exit_code_is_there_with_what_to_do() -> None:
    assert {int(row[0]) for row in table(PAGE, "code")} == set(ExitCode)


def test_every_log_field_is_documented(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "a.csv").write_text("MRN\n1001\n1001\nN/A\n", encoding="utf-8")
    os.utime(inbox / "a.csv", (1, 1))

    ended = command(
        "nightly", "--inbox", inbox, "--outbox", tmp_path / "out", "--id-column", "MRN", "--log-format", "json"
    )

    used = {field for line in ended.err.splitlines() for field in json.loads(line)}
    documented = {field for row in table(PAGE, "field") for field in re.findall(r"[a-z_0-9]+", row[0])}
    of_the_summary = {
        "version",
        "project_id",
        "id_column",
        "started_at",
        "finished_at",
        "written",
        "outputs",
        "api",
        "ledger_id",
    }
    assert healthex.link_calls == 1
    assert used - of_the_summary <= documented
    assert documented <= used | {"code"} | of_the_summary
