"""HealthEx patient links for a whole roster.

import batchlinks

report = batchlinks.run("patients.xlsx", project_id="…", id_column="MRN")
print(report.exit_code, report.summary.linked, report.published.paths["links"])

frames = batchlinks.run(data_frame, project_id="…", id_column="MRN")  # no files
links = frames.frame("links")
"""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Union, Unpack

from batchlinks.config.run_options import RunOptions, StatusOptions
from batchlinks.config.settings import RunSettings, StatusSettings
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
    import pandas

    from batchlinks.logs import RunWarning
    from batchlinks.pipeline.preview import Preview
    from batchlinks.pipeline.report import Report
    from batchlinks.pipeline.status_report import StatusReport
    from batchlinks.progress import RunProgress
    from batchlinks.roster.data_frame import ArrowStream, InterchangeFrame

    RosterLike = Union[  # noqa: UP007
        str, os.PathLike[str], bytes, RosterBytes, pandas.DataFrame, ArrowStream, InterchangeFrame
    ]

__all__ = [
    "BatchlinksError",
    "ExitCode",
    "FolderError",
    "Interrupted",
    "Preview",
    "Refused",
    "Report",
    "RosterBytes",
    "RosterError",
    "RunOptions",
    "RunProgress",
    "RunSettings",
    "RunWarning",
    "SettingsError",
    "StatusOptions",
    "StatusReport",
    "StatusSettings",
    "Unreachable",
    "__version__",
    "check",
    "run",
    "status",
    "withdraw",
]


def run(
    roster: "RosterLike",
    *,
    name: str | None = None,
    settings: RunSettings | None = None,
    on_progress: "Callable[[RunProgress], object] | None" = None,
    on_warning: "Callable[[RunWarning], object] | None" = None,
    confirm: "Callable[[Preview], bool] | None" = None,
    **options: Unpack[RunOptions],
) -> "Report":
    """Do what `batchlinks run` does, for callers in Python.

    `roster` is a path, an address (`s3://…`, `sftp://…`), bytes (whose file is called `name`), or a DataFrame of pandas,
    Polars or Arrow. `options` are the command's, with underscores (`id_column`, `output_dir`, `only_new`, …), on top of
    `settings` where these are given. Secrets, HealthEx's address and the proxy, and the project unless it is given, come
    from the environment as they do for the command.

    Of a DataFrame without `output_dir` no result file is written: `report.frame("links")` and its like are the results, and
    their patients count as handed out. `name` is then what ledger and audit log call it; frames of one name and project
    are one list.

    `on_progress` hears how far it is, up to ten times a second, `on_warning` every warning; `confirm` is asked before the
    first call, and False ends the run. They are called in the thread that called this, which may have an event loop
    running, as a notebook has. What one of them raises ends the calls in good order, and is raised then.

    Returns how the run ended: `exit_code`, `summary` with all counts, `published.paths` with the files, `stopped_by` where
    HealthEx or Ctrl-C ended it early. Raises BatchlinksError (with its `exit_code`) for a roster, argument or secret that
    cannot be used, and when results or ledger cannot be written. Nothing is shown.
    """
    from batchlinks import python_door

    return python_door.run(
        roster, name, settings, options, on_progress=on_progress, on_warning=on_warning, confirm=confirm
    )


def check(
    roster: "RosterLike",
    *,
    name: str | None = None,
    settings: RunSettings | None = None,
    on_warning: "Callable[[RunWarning], object] | None" = None,
    **options: Unpack[RunOptions],
) -> "Report":
    """Do what `batchlinks check` does: the same as `run` without one call. Needs no credentials and no project."""
    from batchlinks import python_door

    return python_door.check(roster, name, settings, options, on_warning=on_warning)


def status(
    roster: "RosterLike",
    *,
    name: str | None = None,
    settings: RunSettings | None = None,
    on_progress: "Callable[[RunProgress], object] | None" = None,
    on_warning: "Callable[[RunWarning], object] | None" = None,
    **options: Unpack[StatusOptions],
) -> "StatusReport":
    """Do what `batchlinks status` does: ask HealthEx about every patient of a roster who has a link.

    `options` are those of `run` that fit, and `reminder`, `after_days`, `mailed_on` (a date, or text such as 2026-11-28) and
    `max_age`. All else is as for `run`. Returns how it ended: `summary.responses` with a count for each response,
    `frame("status")` and `frame("reminder")` with what stands in the files, `stopped_by` where HealthEx or Ctrl-C ended it
    early. Raises BatchlinksError as `run` does.
    """
    from batchlinks import python_door

    return python_door.status(roster, name, settings, options, on_progress=on_progress, on_warning=on_warning)


def withdraw(
    ids: Iterable[str], *, reason: str = "asked us not to", do_not_contact: str | os.PathLike[str] | None = None
) -> int:
    """Put patients onto the list of people not to contact, as `batchlinks ledger withdraw` does.

    They are never asked for or handed out again, in any project; a link that was already sent goes on working. `ids` are
    patient IDs as text, `do_not_contact` the list's file where it is not the one in the data folder. Returns how many were
    not on it before. Raises BatchlinksError where an ID cannot be one, so that nobody is added, or the file cannot be used.
    """
    from batchlinks import python_door

    return python_door.withdraw(ids, reason, do_not_contact)


_LATER = {
    "Preview": "batchlinks.pipeline.context",
    "Report": "batchlinks.pipeline.report",
    "RunProgress": "batchlinks.progress",
    "RunWarning": "batchlinks.logs",
    "StatusReport": "batchlinks.pipeline.status_report",
}
"""What is imported when somebody asks for it, since it takes its time. Name -> module."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
