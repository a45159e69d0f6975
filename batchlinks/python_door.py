"""The door for programs in Python: what they give becomes roster and settings, and they hear how it goes in their own thread.

The work is done by a thread of its own, since an event loop may be running in the caller's, as it is in a notebook. The
caller's thread waits, and calls what it was given to be called.
"""

import contextvars
import csv
import difflib
import io
import numbers
import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import TypeGuard, TypeVar, cast

from batchlinks import logs
from batchlinks.config.paths import data_folder, find_ledger
from batchlinks.config.run_options import RunOptions, StatusOptions
from batchlinks.config.settings import RunSettings, StatusSettings
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger import DoNotContact
from batchlinks.logs import RunWarning
from batchlinks.next_steps import PYTHON, Setting
from batchlinks.patients.identifier import read_id
from batchlinks.pipeline import audit
from batchlinks.pipeline.audit import user_name
from batchlinks.pipeline.check import check as check_roster
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.intake import Source, open_source
from batchlinks.pipeline.preview import Preview
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run import run as run_roster
from batchlinks.pipeline.status import status as ask_status
from batchlinks.pipeline.status_report import StatusReport
from batchlinks.progress import RunProgress, Told
from batchlinks.roster.data_frame import is_frame
from batchlinks.roster.source import RosterBytes, RosterFrame
from batchlinks.signals import Interruption
from batchlinks.table import CellKind

T = TypeVar("T")
R = TypeVar("R", Report, StatusReport)

_PATHS = frozenset({"exclude", "do_not_contact", "corrections", "output_dir", "ledger", "letters", "message"})
_SEVERAL_COLUMNS = frozenset({"heed", "ignore", "only_where", "consent_type"})
_LOOK_UP_S = 0.2
"""Between two looks whether somebody pressed Ctrl-C: some systems do not wake who waits for a lock."""


def run(
    roster: object,
    name: str | None,
    settings: RunSettings | None,
    options: RunOptions,
    *,
    on_progress: Callable[[RunProgress], object] | None,
    on_warning: Callable[[RunWarning], object] | None,
    confirm: Callable[[Preview], bool] | None,
) -> Report:
    """See `batchlinks.run`."""

    def work(caller: "_WaitingThread") -> Report:
        chosen = combine(settings, options)
        hooks = RunHooks(interruption=caller.interruption)
        if on_progress is not None:
            hooks = replace(hooks, progress=Told(caller.tells(on_progress)))
        if confirm is not None:
            hooks = replace(hooks, confirm=caller.asks(confirm))
        with logs.heard_by(caller.tells(on_warning), PYTHON):
            report = run_roster(_source_of(roster, name, chosen), chosen, RunContext(), hooks)
        if report.stopped_by is not None:
            report.stopped_by.in_python = True
        return report

    return _in_a_thread_of_its_own(work)


def check(
    roster: object,
    name: str | None,
    settings: RunSettings | None,
    options: RunOptions,
    *,
    on_warning: Callable[[RunWarning], object] | None,
) -> Report:
    """See `batchlinks.check`."""

    def work(caller: "_WaitingThread") -> Report:
        chosen = combine(settings, options)
        with logs.heard_by(caller.tells(on_warning), PYTHON):
            return check_roster(_source_of(roster, name, chosen), chosen, RunContext())

    return _in_a_thread_of_its_own(work)


def status(
    roster: object,
    name: str | None,
    settings: RunSettings | None,
    options: StatusOptions,
    *,
    on_progress: Callable[[RunProgress], object] | None,
    on_warning: Callable[[RunWarning], object] | None,
) -> StatusReport:
    """See `batchlinks.status`."""
    given: dict[str, object] = dict(options)
    own = {entry.name: given.pop(entry.name) for entry in fields(StatusSettings) if entry.name in given}

    def work(caller: "_WaitingThread") -> StatusReport:
        chosen = combine(settings, cast("RunOptions", given))
        plain = {key: str(value) if isinstance(value, date) else _plain(key, value) for key, value in own.items()}
        hooks = RunHooks(interruption=caller.interruption)
        if on_progress is not None:
            hooks = replace(hooks, progress=Told(caller.tells(on_progress)))
        with logs.heard_by(caller.tells(on_warning), PYTHON):
            source = _source_of(roster, name, chosen)
            report = ask_status(source, chosen, StatusSettings(**plain), RunContext(), hooks)  # type: ignore[arg-type]
        if report.stopped_by is not None:
            report.stopped_by.in_python = True
        return report

    return _in_a_thread_of_its_own(work)


def withdraw(ids: Iterable[str], reason: str, do_not_contact: str | os.PathLike[str] | None) -> int:
    """See `batchlinks.withdraw`."""
    try:
        wanted = _read_patients(ids)
        path = None if do_not_contact is None else Path(os.fsdecode(do_not_contact))
        added = DoNotContact.open(path, os.environ).add(wanted, by=user_name(), reason=reason)
        ledger = find_ledger(None, os.environ)
        audit.note(
            data_folder(os.environ),
            "withdraw",
            command="python",
            ledger=str(ledger),
            scope="every project",
            count=added,
            reason=reason,
            patient_hashes=audit.patient_hashes(wanted, ledger),
        )
    except BatchlinksError as error:
        error.in_python = True
        raise
    return added


def _read_patients(ids: Iterable[str]) -> list[str]:
    """The IDs, cleaned as in screening. Raises SettingsError where one of them can be none."""
    given = [] if isinstance(ids, str | bytes) else list(ids)
    if not given or not all(isinstance(each, str) for each in given):
        raise SettingsError(Setting("ids"), " takes patient IDs, each as text. Nobody was withdrawn.")
    found = []
    for number, text in enumerate(given, 1):
        external_id, _ = read_id(text, CellKind.TEXT)
        if not external_id:
            raise SettingsError(Setting("ids"), f": number {number} cannot be a patient ID. Nobody was withdrawn.")
        found.append(external_id)
    return found


# --- what is given --------------------------------------------------------------------------------------------


def _source_of(roster: object, name: str | None, settings: RunSettings) -> Source:
    """Raises SettingsError for what can be no roster."""
    if name is not None and (not isinstance(name, str) or Path(name).name != name):
        raise SettingsError(Setting("name"), " takes a file's name without a folder, such as patients.csv.")
    if is_frame(roster):
        return RosterFrame(roster) if name is None else RosterFrame(roster, name)
    if isinstance(roster, bytes | bytearray | memoryview):
        if name is None:
            raise SettingsError(
                Setting("name"), " is missing: give the name of the file whose content this is, such as patients.csv."
            )
        return RosterBytes(name, bytes(roster))
    if name is not None:
        raise SettingsError(Setting("name"), " goes with bytes or a DataFrame. Leave it out.")
    if isinstance(roster, RosterBytes):
        return roster
    if isinstance(roster, str | os.PathLike):
        path = os.fspath(roster)
        if isinstance(path, str):
            return open_source(path if isinstance(roster, str) else Path(path), settings)
    raise SettingsError(
        Setting("roster"), f" takes a path, bytes or a DataFrame, and this is of the type {type(roster).__name__}."
    )


def combine(settings: RunSettings | None, options: RunOptions) -> RunSettings:
    """The settings, and on top of them what was given by keyword. Raises SettingsError for one that there is not."""
    if settings is not None and not isinstance(settings, RunSettings):
        raise SettingsError(Setting("settings"), " takes batchlinks.RunSettings.")
    given: dict[str, object] = dict(options)
    known = RunOptions.__annotations__.keys()
    if unknown := given.keys() - known:
        wrong = min(unknown)
        near = difflib.get_close_matches(wrong, known, n=1)
        raise SettingsError(f"There is no argument {wrong}.{f' Did you mean {near[0]}?' if near else ''}")
    plain = {name: _plain(name, value) for name, value in given.items()}
    return replace(settings or RunSettings(), **plain)  # type: ignore[arg-type]  # checked by `settings.validate`


def _plain(name: str, value: object) -> object:
    """As `RunSettings` has it: numbers of numpy, paths as text and columns in a list are fine too."""
    if name in _PATHS and isinstance(value, str | os.PathLike):
        return Path(os.fsdecode(value))
    if name in _SEVERAL_COLUMNS or name == "columns":
        if value is None or isinstance(value, str):
            return value if name == "columns" or value is None else (value,)
        if not _is_texts(value):
            raise SettingsError(Setting(name), " takes the names of columns.")
        return _as_one_text(list(value)) if name == "columns" else tuple(value)
    if isinstance(value, bool | int | float):
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def _is_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, Sequence) and all(isinstance(each, str) for each in value)


def _as_one_text(columns: list[str]) -> str:
    """As the command has them: with commas between, in quotes where a name has one."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(columns)
    return text.getvalue()


# --- whose thread ---------------------------------------------------------------------------------------------


class _WaitingThread:
    """The thread that waits, as the one that works sees it."""

    def __init__(self) -> None:
        self.interruption = Interruption()
        self.calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def tells(self, hook: Callable[[T], object] | None) -> Callable[[T], object]:
        """`hook`, called over there; nobody waits for it."""
        if hook is None:
            return lambda _: None
        return lambda told: self.calls.put(lambda: hook(told))

    def asks(self, hook: Callable[[T], bool]) -> Callable[[T], bool]:
        """`hook`, called over there. Returns what it says, or raises what it raises."""

        def ask(about: T) -> bool:
            answer: Future[bool] = Future()

            def call() -> None:
                try:
                    answer.set_result(bool(hook(about)))
                except BaseException as error:
                    answer.set_exception(error)

            self.calls.put(call)
            return answer.result()

        return ask


def _in_a_thread_of_its_own(work: Callable[[_WaitingThread], R]) -> R:
    """What `work` returns or raises, a BatchlinksError in words for callers in Python.

    Ctrl-C while it waits ends the calls in good order, and what a hook raises does too, before it is raised here.
    """
    caller = _WaitingThread()
    ended: Future[R] = Future()
    context = contextvars.copy_context()

    def begin() -> None:
        try:
            ended.set_result(context.run(work, caller))
        except BaseException as error:
            ended.set_exception(error)
        finally:
            caller.calls.put(None)

    threading.Thread(target=begin, name="batchlinks", daemon=True).start()
    raised = _serve(caller)
    try:
        report = ended.result()
    except BatchlinksError as error:
        error.in_python = True
        raise
    if raised is not None and not (isinstance(raised, KeyboardInterrupt) and not report.summary.check):
        raise raised
    return report


def _serve(caller: _WaitingThread) -> BaseException | None:
    """Call what is to be called, until the work has ended. Returns what was raised first on the way."""
    raised: BaseException | None = None
    while True:
        try:
            call = caller.calls.get(timeout=_LOOK_UP_S)
            if call is None:
                return raised
            if raised is None or isinstance(raised, KeyboardInterrupt):
                call()
        except queue.Empty:
            continue
        except BaseException as error:
            raised = raised or error
            caller.interruption.request()
