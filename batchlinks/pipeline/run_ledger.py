"""The ledger of a run: opened, unless it is new where there was one, or missing, which is noticed and said.

Links that a lost ledger held would be asked for again, and may stop working for those who were sent them; nor would anybody
know whom it had withdrawn. What was there the data folder remembers (`config.installation`), and results that were written
before name their ledger.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from batchlinks.config.installation import Installation
from batchlinks.config.paths import find_ledger
from batchlinks.config.settings import RunSettings
from batchlinks.errors import FolderError, SettingsError
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.next_steps import Advice, Do
from batchlinks.pipeline.context import RunContext
from batchlinks.storage.folder import Folder
from batchlinks.storage.local import LocalFolder

_SUMMARY = ".summary.json"
_LOOKED_AT = 100
"""Summaries, the newest of a folder, that are searched for the ledgers that they name."""

_DAYS_LOOKED_AT = 7
_LARGEST_SUMMARY = 1_000_000


def open_run_ledger(
    settings: RunSettings, context: RunContext, *, api: str, project_id: str, for_check: bool = False
) -> Ledger:
    """The ledger that the settings name, or one in memory. Makes it where there was none. `for_check` notes nothing.

    Raises SettingsError where it cannot be used; and, unless the settings say that it is meant to be new, where it is another
    than the one in which this project's links were recorded, or is gone.
    """
    if settings.no_ledger:
        return Ledger(None, api=api, project_id=project_id)
    path = find_ledger(settings.ledger, context.environment)
    installation = Installation.of(context.environment)
    if not settings.new_ledger:
        refuse_lost_ledger(path, installation, api)
    ledger = Ledger(
        path,
        api=api,
        project_id=project_id,
        on_first_answer=lambda opened: _remember(installation, path, opened, context),
    )
    try:
        expected = installation.expected_ledger(path, api, project_id)
        if expected not in (None, ledger.ledger_id) and not settings.new_ledger:
            raise SettingsError(
                f"The ledger {path} is not the one in which this project's links were recorded so far. ",
                Advice(Do.RESTORE_LEDGER),
            )
        if not for_check and (expected is not None or ledger.has_links()):
            _remember(installation, path, ledger, context)
    except BaseException:
        ledger.close()
        raise
    return ledger


def refuse_lost_ledger(path: Path, installation: Installation, api: str | None = None) -> None:
    """Raise SettingsError where links were recorded at this path, and there is no ledger any more."""
    if installation.had_ledger(path, api) and not path.exists():
        raise SettingsError(
            f"The ledger {path} is gone: links were recorded in it. ",
            Advice(Do.RESTORE_LEDGER),
        )


def warn_of_other_ledgers(folder: Path | None, ledger: Ledger, settings: RunSettings, context: RunContext) -> None:
    """Say that results beside the roster were made with a ledger that was never here. With `new_ledger`, that is fine."""
    if folder is None or not (named := _unknown_ledgers([LocalFolder(folder)], ledger, context)):
        return
    if settings.new_ledger:
        _accept(named, context)
        return
    logger().warning(
        f"Results of this project in {folder} were made with another ledger, which was never on this computer. Patients who "
        "have a link in that one are asked for again, and links sent before may stop working.",
        ledgers=len(named),
    )


def refuse_other_ledgers(outbox: Folder, ledger: Ledger, settings: RunSettings, context: RunContext) -> None:
    """The same for a night, where nobody is there to be told. Raises SettingsError."""
    days = (outbox.folder(day) for day in sorted(outbox.folders(), reverse=True)[:_DAYS_LOOKED_AT])
    named = _unknown_ledgers([*days, outbox], ledger, context)
    if not named:
        return
    if settings.new_ledger:
        _accept(named, context)
        return
    raise SettingsError(
        f"Results of this project in {outbox.address} were made with another ledger, which was never on this computer: it is "
        "lost, or elsewhere. ",
        Advice(Do.RESTORE_LEDGER),
    )


def _unknown_ledgers(folders: Iterable[Folder], ledger: Ledger, context: RunContext) -> set[str]:
    """IDs of ledgers that results of the same API and project name, and that this installation does not know."""
    if ledger.ledger_id is None or context.is_trial:
        return set()
    known = Installation.of(context.environment).ledger_ids() | {ledger.ledger_id}
    found = {
        summary["ledger_id"]
        for summary in _summaries(folders)
        if (summary.get("api"), summary.get("project_id")) == (ledger.api, ledger.project_id)
        and isinstance(summary.get("ledger_id"), str)
    }
    return {str(each) for each in found} - known


def _summaries(folders: Iterable[Folder]) -> Iterator[Mapping[str, object]]:
    left = _LOOKED_AT
    for folder in folders:
        with suppress(FolderError):  # what cannot be read tells nothing
            names = [(each.modified, each.name) for each in folder.entries() if each.name.endswith(_SUMMARY)]
            for _, name in sorted(names, reverse=True)[:left]:
                left -= 1
                with suppress(ValueError, RecursionError, FolderError):
                    content = json.loads(folder.read(name, at_most=_LARGEST_SUMMARY))
                    if isinstance(content, dict):
                        yield content


def _accept(ledger_ids: Iterable[str], context: RunContext) -> None:
    with suppress(OSError):
        Installation.of(context.environment).accept_ledgers(list(ledger_ids))


def _remember(installation: Installation, path: Path, ledger: Ledger, context: RunContext) -> None:
    if context.is_trial or ledger.ledger_id is None:
        return
    try:
        installation.remember_ledger(path, ledger.api, ledger.project_id, ledger.ledger_id)
    except OSError as error:  # the run goes on: what it cannot note is missed only once the ledger is lost
        logger().warning(
            f"It could not be noted in the data folder that links are in the ledger {path} ({error.strerror})."
        )
