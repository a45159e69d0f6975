"""HealthEx patient links for a whole roster.

import batchlinks

report = batchlinks.run("patients.xlsx", project_id="…", id_column="MRN")
print(report.exit_code, report.summary.linked, report.published.paths["links"])
"""

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from batchlinks.config.run_options import RunOptions
from batchlinks.config.settings import RunSettings
from batchlinks.errors import (
    BatchlinksError,
    ExitCode,
    FolderError,
    Interrupted,
    Refused,
    RosterError,
    SettingsError,
    Unreachable,
)
from batchlinks.roster.source import RosterBytes
from batchlinks.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchlinks.pipeline.report import Report

__all__ = [
    "BatchlinksError",
    "ExitCode",
    "FolderError",
    "Interrupted",
    "Refused",
    "Report",
    "RosterBytes",
    "RosterError",
    "RunOptions",
    "RunSettings",
    "SettingsError",
    "Unreachable",
    "__version__",
    "check",
    "run",
]


def run(
    roster: str | Path | RosterBytes, *, settings: RunSettings | None = None, **options: Unpack[RunOptions]
) -> "Report":
    """Do what `batchlinks run` does, for callers in Python.

    `roster` is a path, an address (`s3://…`, `sftp://…`), or bytes with a name. `options` are the command's, with
    underscores (`id_column`, `output_dir`, `only_new`, …), on top of `settings` where these are given. Secrets, HealthEx's
    address and the proxy, and the project unless it is given, come from the environment as they do for the command. Returns how
    the run ended: `exit_code`, `summary` with all counts, `published.paths` with the files, `stopped_by` where HealthEx
    or a signal ended it early.

    Raises BatchlinksError (with its `exit_code`) for a roster, option or secret that cannot be used, and when results or
    ledger cannot be written. Nothing is asked and nothing shown; warnings are counted in the summary.
    """
    from batchlinks.pipeline.context import RunContext
    from batchlinks.pipeline.intake import open_source
    from batchlinks.pipeline.run import run as run_roster

    chosen = _combine(settings, options)
    return run_roster(open_source(roster, chosen), chosen, RunContext())


def check(
    roster: str | Path | RosterBytes, *, settings: RunSettings | None = None, **options: Unpack[RunOptions]
) -> "Report":
    """Do what `batchlinks check` does: the same as `run` without one call. Needs no credentials and no project."""
    from batchlinks.pipeline.check import check as check_roster
    from batchlinks.pipeline.context import RunContext
    from batchlinks.pipeline.intake import open_source

    chosen = _combine(settings, options)
    return check_roster(open_source(roster, chosen), chosen, RunContext())


_PATHS = frozenset({"exclude", "do_not_contact", "corrections", "output_dir", "ledger", "letters", "message"})
_SEVERAL_COLUMNS = frozenset({"heed", "ignore", "only_where"})


def _combine(settings: RunSettings | None, options: RunOptions) -> RunSettings:
    given: dict[str, object] = dict(options)
    known = RunOptions.__annotations__.keys()
    if unknown := given.keys() - known:
        near = difflib.get_close_matches(min(unknown), known, n=1)
        raise SettingsError(f"There is no such option.{f' Did you mean {near[0]}?' if near else ''}")
    for name, value in given.items():
        if name in _PATHS and isinstance(value, str):
            given[name] = Path(value)
        elif name in _SEVERAL_COLUMNS:
            given[name] = (value,) if isinstance(value, str) else tuple(cast("Sequence[str]", value))
    return replace(settings or RunSettings(), **given)  # type: ignore[arg-type]  # checked by `settings.validate`


def __getattr__(name: str) -> object:
    """`Report`, which brings Arrow along, is imported when somebody asks for it."""
    if name != "Report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchlinks.pipeline.report import Report

    return Report
