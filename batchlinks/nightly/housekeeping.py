"""What a night deletes: staging of rosters that were put away, and what is older than `keep_days`."""

import shutil
from collections.abc import Sequence
from datetime import date, timedelta

from batchlinks.nightly import receipts
from batchlinks.nightly.inbox import DONE, FAILED, Claim, clear
from batchlinks.nightly.night_outcome import Night
from batchlinks.nightly.nightly_context import NightlyContext
from batchlinks.pipeline import audit


def clear_staging(context: NightlyContext, claims: Sequence[Claim]) -> None:
    """Results of rosters that have been put away since: a crash came between."""
    kept = {claim.id for claim in claims}
    if context.staging.is_dir():
        for folder in context.staging.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def clear_old(night: Night, context: NightlyContext, history: receipts.NightlyHistory) -> None:
    """Delete what is older than `keep_days`; but not on the word of a clock that has just leapt over them."""
    today, kept = date.fromisoformat(night.day), timedelta(days=context.settings.keep_days)
    if history.last_night is not None and today - date.fromisoformat(history.last_night) >= kept:
        night.problems.append(
            f"By the clock the last night was on {history.last_night}. If that is wrong, set the clock right: what is older "
            "than keep_days is deleted next time."
        )
        return
    for place in (context.inbox.place.folder(DONE), context.inbox.place.folder(FAILED), context.outbox):
        if days := clear(place, today - kept):
            audit.note(context.data, "deleted", command="nightly", place=place.address, count=days, reason="keep_days")
