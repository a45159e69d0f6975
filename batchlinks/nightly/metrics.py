"""What a night tells Prometheus: a text file for the textfile collector of its node exporter.

All values are those of the last night, so they are gauges. Labels are names of `[[roster]]` tables and codes, never
names of files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from batchlinks.errors import ExitCode
from batchlinks.nightly.night_outcome import Night
from batchlinks.results.summary import Summary
from batchlinks.storage.opening import open_folder
from batchlinks.version import __version__

_PREFIX = "batchlinks_nightly_"
_SUCCESS = "last_success_timestamp_seconds"
_ROSTER_SUCCESS = "roster_last_success_timestamp_seconds"
_GOOD = (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS)

_COUNTS = {
    "rows": "Rows of the patient lists.",
    "rows_linked": "Rows that have a link.",
    "rows_duplicate": "Rows that repeat another.",
    "links_requested": "Links that were asked for.",
    "links_reused": "Links that were known already.",
    "calls": "Link calls, repeated ones among them.",
    "retries": "Link calls that repeated another.",
}

Former = Mapping[tuple[str, str], float]
"""(metric, table) -> what the night before wrote; the table is "" for a metric without one."""


def write(path: Path, night: Night, tables: Sequence[str], *, ended_at: datetime, seconds: float) -> None:
    """Replace the file as a whole, readable by everyone, as the node exporter has to read it.

    `tables` are the names of all there are, so that one to which nothing came shows as well. When each last succeeded is
    kept from the file that was there. Raises FolderError when the file cannot be written.
    """
    text = generate_latest(_registry(night, tables, _read(path), ended_at.timestamp(), seconds))
    open_folder(str(path.parent)).write(path.name, text, mode=0o644)


def _registry(
    night: Night, tables: Sequence[str], former: Former, ended_at: float, seconds: float
) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", help_, labels, registry=registry)

    gauge("version_info", "Version of batchlinks that the last night ran with.", "version").labels(__version__).set(1)
    gauge("last_run_timestamp_seconds", "When the last night ended.").set(ended_at)
    last_success = gauge(_SUCCESS, "When a night last ended with exit code 0 or 3; 0: never yet.")
    last_success.set(ended_at if night.exit_code in _GOOD else former.get((_SUCCESS, ""), 0))
    gauge("exit_code", "Exit code of the last night.").set(int(night.exit_code))
    gauge("duration_seconds", "How long the last night took.").set(seconds)
    gauge("rosters_waiting", "Patient lists that were left for the next night.").set(night.waiting)
    gauge("rosters_arriving", "Patient lists that were still arriving.").set(night.arriving)
    gauge("rosters_unmatched", "Files in the inbox that no table is for.").set(len(night.unmatched))

    rosters = gauge("rosters", "Patient lists of the last night, by how they ended.", "table", "exit_code")
    missing = gauge("roster_missing", "1: the patient list that the table expects has not come.", "table")
    roster_success = gauge(
        _ROSTER_SUCCESS, "When a patient list of the table last ended with exit code 0 or 3; 0: never yet.", "table"
    )
    counts = {name: gauge(name, help_, "table") for name, help_ in _COUNTS.items()}
    refused = gauge("rows_refused", "Rows in the error reports, by error code.", "table", "code")
    for table in tables:
        outcomes = [outcome for outcome in night.outcomes if outcome.table == table]
        good = any(outcome.exit_code in _GOOD for outcome in outcomes)
        earlier = max(former.get((_ROSTER_SUCCESS, table), 0), night.succeeded.get(table, 0))
        roster_success.labels(table).set(ended_at if good else earlier)
        missing.labels(table).set(int(table in night.missing))
        for name in counts:
            counts[name].labels(table).set(0)
        for outcome in outcomes:
            rosters.labels(table, int(outcome.exit_code)).inc()
            if outcome.summary is not None:
                for name, count in _counted(outcome.summary).items():
                    counts[name].labels(table).inc(count)
                for code, count in outcome.summary.errors.items():
                    refused.labels(table, code).inc(count)
    return registry


def _counted(summary: Summary) -> Mapping[str, int]:
    """By the names of `_COUNTS`."""
    return {
        "rows": summary.rows,
        "rows_linked": summary.linked,
        "rows_duplicate": summary.duplicates,
        "links_requested": summary.requested,
        "links_reused": summary.reused,
        "calls": summary.calls,
        "retries": summary.retries,
    }


def _read(path: Path) -> Former:
    """What can be read of the file of the night before; nothing where there is none, or something else."""
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    return {
        (sample.name.removeprefix(_PREFIX), sample.labels.get("table", "")): sample.value
        for family in families
        for sample in family.samples
        if sample.name.removeprefix(_PREFIX) in (_SUCCESS, _ROSTER_SUCCESS)
    }
