"""What a night tells Prometheus: a text file for the textfile collector of its node exporter.

All values are those of the last night, so they are gauges. Labels are names of `[[roster]]` tables and codes, never
names of files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from batchlinks.nightly.night_record import ListRecord, NightRecord
from batchlinks.storage.opening import open_folder

_PREFIX = "batchlinks_nightly_"
_SUCCESS = "last_success_timestamp_seconds"
_ROSTER_SUCCESS = "roster_last_success_timestamp_seconds"
_KNOWN_SINCE = "roster_known_since_timestamp_seconds"

_COUNTS = {
    "rows": "Rows of the patient lists.",
    "rows_linked": "Rows that have a link.",
    "rows_duplicate": "Rows that repeat another.",
    "rows_to_fix": "Rows that somebody has to fix or to ask IT about.",
    "links_requested": "Links that were asked for.",
    "links_reused": "Links that were known already.",
    "calls": "Link calls, repeated ones among them.",
    "retries": "Link calls that repeated another.",
}

Former = Mapping[tuple[str, str], float]
"""(metric, table) -> what the night before wrote; the table is "" for a metric without one."""


def write(path: Path, night: NightRecord) -> None:
    """Replace the file as a whole, readable by everyone, as the node exporter has to read it.

    When each table last succeeded is kept from the file that was there. Raises FolderError when the file cannot be written.
    """
    text = generate_latest(_registry(night, _read(path)))
    open_folder(str(path.parent)).write(path.name, text, mode=0o644)


def _registry(night: NightRecord, former: Former) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", help_, labels, registry=registry)

    gauge("version_info", "Version of batchlinks that the last night ran with.", "version").labels(night.version).set(1)
    gauge("last_run_timestamp_seconds", "When the last night ended.").set(night.ended_timestamp)
    last_success = gauge(_SUCCESS, "When a night last ended with exit code 0 or 3; 0: never yet.")
    last_success.set(night.ended_timestamp if night.is_good else former.get((_SUCCESS, ""), 0))
    gauge("exit_code", "Exit code of the last night.").set(night.exit_code)
    gauge("duration_seconds", "How long the last night took.").set(night.seconds)
    gauge("rosters_waiting", "Patient lists that were left for the next night.").set(len(night.waiting))
    gauge("rosters_arriving", "Patient lists that were still arriving.").set(len(night.arriving))
    gauge("rosters_unmatched", "Patient lists in the inbox that no table is for.").set(len(night.unmatched))
    gauge("files_ignored", "Files in the inbox that are no patient lists.").set(len(night.ignored))
    _add_tables(gauge, night, former)
    return registry


def _add_tables(gauge: Callable[..., Gauge], night: NightRecord, former: Former) -> None:
    rosters = gauge("rosters", "Patient lists of the last night, by how they ended.", "table", "exit_code")
    missing = gauge("roster_missing", "1: the patient list that the table expects has not come.", "table")
    roster_success = gauge(
        _ROSTER_SUCCESS, "When a patient list of the table last ended with exit code 0 or 3; 0: never yet.", "table"
    )
    known_since = gauge(_KNOWN_SINCE, "When a night first knew the table.", "table")
    counts = {name: gauge(name, help_, "table") for name, help_ in _COUNTS.items()}
    responses = gauge("responses", "Patients by what HealthEx shows, where it was asked.", "table", "response")
    status_failed = gauge("status_failed", "1: who has answered could not be found out for all.", "table")
    refused = gauge("rows_refused", "Rows in the error reports, by error code.", "table", "code")
    # A night that could not read its tables still tells of those of the night before.
    tables = night.tables or sorted({table for name, table in former if name == _ROSTER_SUCCESS})
    for table in tables:
        success = max(former.get((_ROSTER_SUCCESS, table), 0), night.last_success.get(table, 0))
        roster_success.labels(table).set(success)
        since = former.get((_KNOWN_SINCE, table), night.ended_timestamp)
        known_since.labels(table).set(night.known_since.get(table, since))
        missing.labels(table).set(int(table in night.missing))
        status_failed.labels(table).set(int(any(each.status_problem for each in night.lists if each.table == table)))
        for name in counts:
            counts[name].labels(table).set(0)
        for each in night.lists:
            if each.table == table:
                rosters.labels(table, each.exit_code).inc()
                for name, count in _counted(each).items():
                    counts[name].labels(table).inc(count)
                for response, count in each.responses.items():
                    responses.labels(table, response).inc(count)
                for code, count in each.errors.items():
                    refused.labels(table, code).inc(count)


def _counted(each: ListRecord) -> Mapping[str, int]:
    """By the names of `_COUNTS`."""
    return {
        "rows": each.rows or 0,
        "rows_linked": each.linked or 0,
        "rows_duplicate": each.duplicates or 0,
        "rows_to_fix": each.to_fix or 0,
        "links_requested": each.requested or 0,
        "links_reused": each.reused or 0,
        "calls": each.calls,
        "retries": each.retries,
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
        if sample.name.removeprefix(_PREFIX) in (_SUCCESS, _ROSTER_SUCCESS, _KNOWN_SINCE)
    }
