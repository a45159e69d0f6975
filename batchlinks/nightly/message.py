"""The message at the end of a night, to wherever apprise delivers: mail, Teams, Slack and many others.

It leaves this computer, so it holds run IDs, counts and names of tables: no name of a file, no header, no patient data.
The addresses hold passwords and tokens: of them no more than the beginning is ever said, `mailto://`.
"""

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from batchlinks.errors import ExitCode, SettingsError
from batchlinks.nightly.night_record import ListRecord, NightRecord, Severity
from batchlinks.plural import counted
from batchlinks.results.status_summary import days_in_words
from batchlinks.row_codes import ToDo

_PATIENCE_S = 60.0
"""For all deliveries together, which go on side by side. The night is over: nobody waits for a mail server that hangs."""


_IN_WORDS: Mapping[int, str] = {
    ExitCode.DONE: "done",
    ExitCode.DONE_WITH_ERRORS: "done, with rows to fix",
    ExitCode.UNUSABLE: "cannot be used",
    ExitCode.BROKEN: "failed on this computer, and is taken up again next time",
    ExitCode.REFUSED: "refused by HealthEx, and is taken up again next time",
    ExitCode.UNREACHABLE: "not finished, since HealthEx could not be reached; it is taken up again next time",
    ExitCode.INTERRUPTED: "interrupted, and is taken up again next time",
}


def compose(night: NightRecord) -> tuple[str, str]:
    """Title and text of the message about a night."""
    lines = [f"{each.table}: {in_words(each)}" for each in night.lists]
    lines += [f"{table}: {problem}" for table, problem in night.missing.items()]
    lines += night.problems
    told = {each.table for each in night.lists} | night.missing.keys()
    lines += [f"{table}: nothing new" for table in night.tables if table not in told]
    if night.unmatched:
        lines.append(f"{counted(len(night.unmatched), 'file')} in the inbox that no [[roster]] table is for")
    if night.ignored:
        lines.append(f"{counted(len(night.ignored), 'file')} in the inbox that we can't take as a patient list")
    if night.arriving:
        lines.append(f"{counted(len(night.arriving), 'patient list')} still arriving")
    if night.waiting:
        lines.append(f"{counted(len(night.waiting), 'patient list')} left for the next night")
    lines.append(
        f"On {night.host}, {night.ended_at}, batchlinks {night.version}. The names of files are in night.json."
    )
    attention = {0: "done, with something to look at" if night.wants_attention else "all done"}
    verdict = {**attention, 3: "done, with something to look at"}.get(night.exit_code, "needs attention")
    return f"batchlinks nightly {night.night}: {verdict} (exit code {night.exit_code})", "\n".join(lines)


def in_words(each: ListRecord) -> str:
    """What became of a list: its code, its run's ID and its counts."""
    words = f"{_IN_WORDS[each.exit_code]} (exit code {each.exit_code})"
    if each.limit is not None:
        words += f", stopped by {each.limit} of its table"
    run = f" Run {each.run_id}" if each.run_id else ""
    if each.rows is None:
        return f"{words}.{run}{'.' if run else ''}"
    said = (
        f"{words}.{run}: {each.rows:,} rows, {each.linked or 0:,} linked, {each.requested or 0:,} asked for, "
        f"{counted(each.duplicates or 0, 'duplicate')}, {ToDo.of(each.errors).in_words()}"
    )
    shown = ", ".join(f"{number:,} {response}" for response, number in each.responses.items() if number)
    if each.responses_from:
        said += f". HealthEx showed {days_in_words(each.responses_from, each.responses_until)}: {shown}"
    return f"{said}. Who has answered could not be found out for all" if each.status_problem else said


def check_urls(urls: Sequence[str]) -> None:
    """Raise SettingsError for an address that nothing can be sent to, or when the extra `notify` is not installed."""
    for number, url in enumerate(urls, 1):
        if _delivery(url) is None:
            raise SettingsError(
                f"Address {number} of notify ({_shown(url)}) is not one that a message can be sent to. They look like "
                "mailto://user:password@mail.example?to=team@clinic.example; https://appriseit.com lists all kinds."
            )


def send(
    urls: Sequence[str], title: str, body: str, *, severity: Severity = "success", patience_s: float = _PATIENCE_S
) -> list[str]:
    """Send a message to each address. Returns a sentence for each that did not take it, and raises nothing for that."""
    taken = [False] * len(urls)

    def deliver(place: int) -> None:
        try:
            delivery = _delivery(urls[place])
            taken[place] = bool(delivery.notify(body=body, title=title, body_format="text", notify_type=severity))
        except Exception:  # a delivery that breaks has not delivered; what it says may hold the address
            taken[place] = False

    threads = [threading.Thread(target=deliver, args=(place,), daemon=True) for place in range(len(urls))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [
        f"The message about the night was not taken by address {number} of notify ({_shown(url)})."
        for number, (url, done) in enumerate(zip(urls, taken, strict=True), 1)
        if not done
    ]


def _delivery(url: str) -> Any:
    """What sends to an address; None for one that apprise does not understand. Raises SettingsError without apprise."""
    try:
        import apprise  # slow to import, and needed only where there is somebody to tell
    except ImportError as error:
        raise SettingsError(
            'batchlinks[notify] is not installed, and notify needs it: pip install "batchlinks[notify]".'
        ) from error
    logging.getLogger("apprise").propagate = False  # it logs addresses and what servers answer
    delivery = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    return delivery if url.strip() and delivery.add(url.strip()) else None


def _shown(url: str) -> str:
    found = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://", url)
    return f"{found[1]}://…" if found else "no address"
