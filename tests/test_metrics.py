"""What Prometheus reads of a night: by its own tools, where they are at hand."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from batchlinks.errors import ExitCode, FolderError
from batchlinks.nightly import metrics
from batchlinks.nightly.night_outcome import Night, RosterOutcome
from batchlinks.results.summary import Summary

RULES = Path(__file__).parent.parent / "docs" / "operations" / "alerts.yml"
TABLES = ("clinic", "plan")
TUESDAY = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
MONDAY = TUESDAY - timedelta(days=1)


def outcome(table: str, code: ExitCode, **counts: object) -> RosterOutcome:
    summary = Summary("0123456789ab", "0.2.0", TUESDAY, check=False, **counts) if counts else None  # type: ignore[arg-type]
    return RosterOutcome("Ann Wolpertinger.csv", table, code, summary)


def good_night() -> Night:
    first = {"rows": 10, "linked": 7, "duplicates": 1, "errors": {"blank_id": 2}, "requested": 3, "reused": 4}
    second = {"rows": 5, "linked": 5, "requested": 5, "calls": 8, "retries": 3}
    return Night(
        "2026-11-24",
        [
            outcome("clinic", ExitCode.DONE_WITH_ERRORS, **first),
            outcome("clinic", ExitCode.DONE, **second),
            outcome("clinic", ExitCode.UNUSABLE),
        ],
        missing={"plan": "none has come"},
        unmatched=["Ann Wolpertinger (2).csv"],
        ignored=["Ann Wolpertinger.pgp"],
        arriving=["Ann Wolpertinger (3).csv"],
        waiting=["Ann Wolpertinger (4).csv", "Ann Wolpertinger (5).csv"],
        tables=TABLES,
        known_since=dict.fromkeys(TABLES, MONDAY.timestamp()),
    )


def values(path: Path) -> dict[str, float]:
    """As Prometheus writes them: `name{label="value"}` -> value, without the common prefix."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("batchlinks_nightly_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def written(path: Path, night: Night, when: datetime = TUESDAY) -> dict[str, float]:
    night.tables = TABLES
    metrics.write(path, night.record(when, 12.5))
    return values(path)


def test_a_night_is_told_in_numbers(tmp_path: Path) -> None:
    found = written(tmp_path / "batchlinks.prom", good_night())

    expected = {
        "last_run_timestamp_seconds": TUESDAY.timestamp(),
        "exit_code": 2,
        "duration_seconds": 12.5,
        "rosters_waiting": 2,
        "rosters_arriving": 1,
        "rosters_unmatched": 1,
        "files_ignored": 1,
        'rosters{exit_code="0",table="clinic"}': 1,
        'rosters{exit_code="2",table="clinic"}': 1,
        'rosters{exit_code="3",table="clinic"}': 1,
        'roster_missing{table="clinic"}': 0,
        'roster_missing{table="plan"}': 1,
        'roster_last_success_timestamp_seconds{table="clinic"}': TUESDAY.timestamp(),
        'roster_last_success_timestamp_seconds{table="plan"}': 0,
        'roster_known_since_timestamp_seconds{table="plan"}': MONDAY.timestamp(),
        'rows_to_fix{table="clinic"}': 2,
        'rows{table="clinic"}': 15,
        'rows{table="plan"}': 0,
        'rows_linked{table="clinic"}': 12,
        'rows_duplicate{table="clinic"}': 1,
        'rows_refused{code="blank_id",table="clinic"}': 2,
        'links_requested{table="clinic"}': 8,
        'links_reused{table="clinic"}': 4,
        'calls{table="clinic"}': 8,
        'retries{table="clinic"}': 3,
    }
    assert {name: found[name] for name in expected} == expected


def test_a_failed_night_keeps_when_one_last_succeeded(tmp_path: Path) -> None:
    path = tmp_path / "batchlinks.prom"
    written(path, Night("2026-11-24", [outcome("clinic", ExitCode.DONE, rows=1, linked=1)]))

    failed = Night("2026-11-25", [outcome("clinic", ExitCode.UNREACHABLE)], stopped_by=ExitCode.REFUSED)
    for days in (1, 2):
        found = written(path, failed, TUESDAY + timedelta(days=days))

    assert found["last_success_timestamp_seconds"] == TUESDAY.timestamp()
    assert found['roster_last_success_timestamp_seconds{table="clinic"}'] == TUESDAY.timestamp()
    assert found["last_run_timestamp_seconds"] == (TUESDAY + timedelta(days=2)).timestamp()
    assert found["exit_code"] == 4


@pytest.mark.parametrize("former", [b"\xff\xfe", b"no metrics {", b""])
def test_a_damaged_file_is_replaced(tmp_path: Path, former: bytes) -> None:
    path = tmp_path / "batchlinks.prom"
    path.write_bytes(former)

    assert written(path, Night("2026-11-25"))["last_success_timestamp_seconds"] == TUESDAY.timestamp()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_the_node_exporter_can_read_the_file_and_finds_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "textfile" / "batchlinks.prom"
    written(path, good_night())

    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert [each.name for each in path.parent.iterdir()] == ["batchlinks.prom"]


def test_no_name_of_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "batchlinks.prom"
    written(path, good_night())

    assert "Wolpertinger" not in path.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FolderError):
        metrics.write(tmp_path / "file" / "batchlinks.prom", good_night().record(TUESDAY, 1))


# --- by Prometheus' own tools -----------------------------------------------------------------------------------


@pytest.mark.needs("promtool")
def test_prometheus_finds_nothing_to_mend_in_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "batchlinks.prom"
    written(path, good_night())

    checked = subprocess.run(["promtool", "check", "metrics"], input=path.read_bytes(), capture_output=True)

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


@pytest.mark.needs("promtool")
def test_prometheus_understands_the_alert_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, encoding="utf-8")

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alert_rules_speak_of_metrics_that_there_are(tmp_path: Path) -> None:
    import re

    path = tmp_path / "batchlinks.prom"
    written(path, good_night())

    named = set(re.findall(r"\bbatchlinks_nightly_\w+", RULES.read_text(encoding="utf-8")))

    assert named
    assert named <= {
        name.partition("{")[0] for name in path.read_text(encoding="utf-8").split() if "batchlinks" in name
    }


ALERTS = """
rule_files: ["{rules}"]
evaluation_interval: 1h
tests:
  - interval: 1h
    input_series:
{series}
    alert_rule_test:
{alerts}
"""


def alerts_after(tmp_path: Path, night: Night | None, hours: int) -> set[str]:
    """The alerts that fire when Prometheus has seen the metrics of this night for so many hours since its end."""
    series = ""
    if night is not None:
        # Prometheus' tests begin at the epoch, and the night before ended then.
        path = tmp_path / "batchlinks.prom"
        for name, value in written(path, night, datetime.fromtimestamp(0, UTC)).items():
            series += f"      - series: 'batchlinks_nightly_{name}'\n        values: '{value:g}+0x{hours}'\n"
    firing = set()
    for alert in (line.split()[-1] for line in RULES.read_text().splitlines() if "alert:" in line):
        test = f"      - {{eval_time: {hours}h, alertname: {alert}, exp_alerts: []}}"
        file = tmp_path / "test.yml"
        file.write_text(ALERTS.format(rules=RULES, series=series or "      []", alerts=test))
        ran = subprocess.run(["promtool", "test", "rules", file], capture_output=True, encoding="utf-8")
        if ran.returncode:
            assert "exp:[]" in ran.stdout + ran.stderr.replace(" ", ""), ran.stdout + ran.stderr
            firing.add(alert.removeprefix("Batchlinks"))
    return firing


WELL = Night("2026-11-24", [outcome(table, ExitCode.DONE, rows=9, linked=9) for table in TABLES])


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("night", "hours", "alerts"),
    [
        (WELL, 25, set()),
        (WELL, 60, {"NightlyNotRun"}),
        (good_night(), 25, {"NightlyFailed", "RosterMissing", "ManyRowsRefused", "FilesUnmatched"}),
        (None, 25, {"NightlyNotSeen"}),
        (Night("2026-11-24", WELL.outcomes[:1], known_since={"plan": 0}, succeeded={"clinic": 0}), 25, set()),
    ],
    ids=["all well", "nothing ran", "a bad night", "no metrics", "a new table"],
)
def test_alerts_fire_when_they_should(tmp_path: Path, night: Night | None, hours: int, alerts: set[str]) -> None:
    assert alerts_after(tmp_path, night, hours) == alerts


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("missing", "alerts"),
    [({}, {"RosterNothingCame"}), ({"plan": "no patient list came"}, {"RosterMissing"})],
    ids=["nobody expected it", "missing"],
)
def test_a_table_of_which_nothing_comes_is_one_alert(tmp_path: Path, missing: dict[str, str], alerts: set[str]) -> None:
    """Nights go on, and of one table nothing has ever come since it was set up two days before."""
    night = Night("2026-11-24", WELL.outcomes[:1], missing=missing, known_since={"plan": -60 * 3600})

    assert alerts_after(tmp_path, night, 1) == alerts
