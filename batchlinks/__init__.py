"""HealthEx patient links for a whole roster.

import batchlinks

report = batchlinks.run("patients.xlsx", project_id="…", id_column="MRN")
print(report.exit_code, report.summary.linked, report.published.paths["links"])
"""

import difflib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.roster.source import RosterBytes
from batchlinks.version import __version__

if TYPE_CHECKING:
    from batchlinks.pipeline.run import Report

__all__ = ["BatchlinksError", "ExitCode", "RosterBytes", "__version__", "check", "run"]


def run(roster: str | Path | RosterBytes, **options: Any) -> "Report":
    """Do what `batchlinks run` does, for callers in Python.

    `options` are the command's, with underscores (`id_column`, `output_dir`, `only_new`, …); secrets, HealthEx's address
    and the proxy, and the project unless it is given, come from the environment as they do for the command. Returns how
    the run ended: `exit_code`, `summary` with all counts, `published.paths` with the files, `stopped_by` where HealthEx
    or a signal ended it early.

    Raises BatchlinksError (with its `exit_code`) for a roster, option or secret that cannot be used, and when results or
    ledger cannot be written. Nothing is asked and nothing shown; warnings are counted in the summary.
    """
    from batchlinks.pipeline import run as batch

    settings = _settings(options)
    return batch.run(_source(roster, settings), settings, batch.Surroundings())


def check(roster: str | Path | RosterBytes, **options: Any) -> "Report":
    """Do what `batchlinks check` does: the same as `run` without one call. Needs no credentials and no project."""
    from batchlinks.pipeline import run as batch

    settings = _settings(options)
    return batch.check(_source(roster, settings), settings, batch.Surroundings())


def _source(roster: str | Path | RosterBytes, settings: Any) -> Path | RosterBytes:
    from batchlinks.pipeline.intake import source_named

    return source_named(roster, settings) if isinstance(roster, str) else roster


def _settings(options: dict[str, Any]) -> Any:
    from batchlinks.config.settings import RunSettings
    from batchlinks.errors import SettingsError

    known = {entry.name for entry in fields(RunSettings)}
    if unknown := options.keys() - known:
        near = difflib.get_close_matches(min(unknown), known, n=1)
        raise SettingsError(f"There is no such option.{f' Did you mean {near[0]}?' if near else ''}")
    paths = {name: Path(options[name]) for name in ("exclude", "output_dir", "ledger") if options.get(name) is not None}
    return RunSettings(**(options | paths))
