"""`batchlinks history`: what was done so far, newest first."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from batchlinks.cli.options import SPEECH, AnyPath, config_of, variable
from batchlinks.cli.terminal import print_output, read_standard_input, speak
from batchlinks.errors import ExitCode, SettingsError
from batchlinks.plural import counted
from batchlinks.row_codes import ToDo
from batchlinks.streams import is_terminal

if TYPE_CHECKING:
    from batchlinks.pipeline.history import HistoryEntry

_EXIT_CODES = "Exit codes: 0 done; 1 batchlinks or this computer failed; 2 the command or the audit log cannot be used."


def _speech(function: Any) -> Any:
    for option in reversed(SPEECH):
        function = option(function)
    return function


@cloup.command(epilog=_EXIT_CODES)
@cloup.option(
    "--days", type=click.IntRange(0, 36_500), metavar="N", help="Only what began today or in the N days before."
)
@cloup.option(
    "--files", is_flag=True, help="Also which files with patients were written, and whether they are still there."
)
@cloup.option(
    "--patient",
    is_flag=True,
    help="Only what was done about one patient, whose ID is asked for or read from standard input.",
)
@cloup.option(
    "--format",
    "shape",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="For people, or as a JSON list.",
)
@cloup.option(
    "--ledger",
    type=AnyPath(path_type=Path),
    envvar=variable("ledger"),
    metavar="PATH",
    help="Ledger that knows the patient.",
)
@_speech
@cloup.pass_context
def history(
    context: click.Context,
    /,
    days: int | None,
    files: bool,
    patient: bool,
    shape: str,
    ledger: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show every run, check and night so far, newest first.

    When, who, which list, which project, counts, exit code, and why a list was refused; also what was deleted, and what was
    done with `batchlinks ledger` and on the upload page.
    """
    speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.config.paths import data_folder, find_ledger
    from batchlinks.pipeline.history import of_patient, read_history

    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    entries = read_history(data_folder(os.environ), since=None if days is None else midnight - timedelta(days=days))
    if patient:
        entries = of_patient(entries, _read_patient(), find_ledger(ledger, os.environ))
    if shape == "json":
        print_output(json.dumps([entry.as_json(with_files=files) for entry in entries], ensure_ascii=False, indent=1))
        return ExitCode.DONE
    names = {project_id: name for name, project_id in config_of(context).projects.items()}
    for entry in entries:
        for line in _shown(entry, names, with_files=files):
            print_output(line)
    if not entries:
        print_output("Nothing was done so far." if days is None and not patient else "Nothing of this kind was done.")
    return ExitCode.DONE


def _read_patient() -> str:
    """The one ID that is meant. Raises SettingsError."""
    from batchlinks.patients.identifier import read_id

    if is_terminal(sys.stdin):
        typed = click.prompt("Patient ID", err=True, type=str)
    else:
        typed = read_standard_input(1_000).decode("utf-8", "replace")
    external_id, code = read_id(typed)
    if code is not None:
        raise SettingsError(
            "What was given is no patient ID, or more than one. Give one ID, on standard input or when asked."
        )
    return external_id


def _shown(entry: "HistoryEntry", names: Mapping[str, str], *, with_files: bool) -> Iterator[str]:
    facts = entry.facts
    project = facts.get("project_id")
    parts = [
        f"{entry.at:%Y-%m-%d %H:%M}  {entry.what}",
        f"by {entry.user} on {entry.host}",
        facts.get("roster") or facts.get("upload"),
        f"table {facts['table']}" if facts.get("table") else None,
        f"project {names.get(project, project)}" if project else facts.get("scope"),
        _counts(entry),
        None if entry.exit_code is None else f"exit code {entry.exit_code}",
        f"run {entry.run_id}" if entry.run_id else None,
    ]
    yield "  ".join(str(part) for part in parts if part)
    if entry.reason:
        yield f"    {entry.reason}"
    for table, problem in (facts.get("missing") or {}).items():
        yield f"    Missing: {table} ({problem})"
    if with_files:
        for file in entry.files():
            yield f"    {file.path}: {file.state}"


def _counts(entry: "HistoryEntry") -> str | None:
    """What it came to, in words."""
    facts = entry.facts
    if entry.event == "begun" and "to_send" in facts:
        return f"{counted(facts['rows_read'], 'row')} read, {facts['to_send']:,} to be asked for"
    if "lists" in facts:
        return counted(len(facts["lists"]), "patient list")
    if "count" in facts:
        return f"{facts['count']:,} of them"
    if "patients" in facts and entry.what == "status":
        return f"{counted(facts['patients'], 'patient')} with a link, {facts.get('asked', 0):,} asked about"
    if "errors" not in facts:
        return None
    if not facts.get("rows"):
        return f"{counted(facts['rows_read'], 'row')} read" if facts.get("rows_read") else None
    done = f"{facts['linked']:,} linked" if "linked" in facts else f"{facts.get('sendable', 0):,} can be sent"
    duplicates = counted(facts.get("duplicates", 0), "duplicate")
    return f"{counted(facts['rows'], 'row')}: {done}, {duplicates}, {ToDo.of(facts['errors']).in_words()}"
