"""Who is sent the second letter, and who must not be."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from batchlinks.responses.judgment import Response

MOST_REMINDERS = 2
"""For anybody, ever."""

MAY_BE_REMINDED = frozenset({Response.NONE, Response.EXPIRED})


class NotReminded(StrEnum):
    """Why a patient is not in the reminder. The value is its key in `NAME.status.json`."""

    RESPONDED = "responded"
    """Consented, declined, or not known."""

    NEVER_MAILED = "never_mailed"
    """In no links workbook so far: there is nothing to remind of."""

    TOO_SOON = "too_soon"
    """Handed out or reminded less than so many days ago."""

    TWICE = "reminded_twice"
    MINOR = "minors"
    NOT_WANTED = "not_wanted"
    """The list was handed out only in part, and this patient is not of it."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """What a patient was sent so far."""

    handed_out_on: date | None
    """When the links workbook with the patient was written; None where there is none."""

    reminded_on: date | None = None
    reminders: int = 0


@dataclass(frozen=True, slots=True)
class ReminderRule:
    """From when on a patient is reminded."""

    today: date
    after_days: int
    mailed_on: date | None = None
    """When the letters left, where that was later than the workbook was written."""

    include_minors: bool = False

    def refusal(self, response: Response, mailing: Mailing, *, is_minor: bool) -> NotReminded | None:
        """Why this patient is not reminded; None where the patient is."""
        if response not in MAY_BE_REMINDED:
            return NotReminded.RESPONDED
        if is_minor and not self.include_minors:
            return NotReminded.MINOR
        if mailing.handed_out_on is None:
            return NotReminded.NEVER_MAILED
        if mailing.reminders >= MOST_REMINDERS:
            return NotReminded.TWICE
        sent = (mailing.handed_out_on, mailing.reminded_on, self.mailed_on)
        latest = max(day for day in sent if day is not None)
        return NotReminded.TOO_SOON if self.today - latest < timedelta(days=self.after_days) else None
