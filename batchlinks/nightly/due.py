"""When a table's list is due: a time of day, on some days of the week."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from batchlinks.errors import SettingsError

_EVERY_DAY = frozenset(range(7))
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class DueTime:
    """By when a list must have come: a time on the wall clock, on these days of the week (0 is Monday)."""

    at: time
    days: frozenset[int] = _EVERY_DAY

    def latest(self, now: datetime) -> date:
        """The latest day, today or earlier, whose list must have come by now.

        Only what the wall clock shows is compared, so that an hour skipped or repeated (daylight saving) makes no list
        due twice, and none due early.
        """
        day = now.date() if now.time() >= self.at else now.date() - timedelta(days=1)
        while day.weekday() not in self.days:
            day -= timedelta(days=1)
        return day


def read_due_time(value: object, where: str) -> DueTime | None:
    """From `"05:00"`, `"05:00 Mon-Fri"` or `"05:00 Mon, Wed, Fri"`. Raises SettingsError for anything else."""
    if value is None:
        return None
    if isinstance(value, time):
        return DueTime(value)
    found = re.fullmatch(r"\s*(\d{1,2}:\d{2})(?:\s+([A-Za-z ,-]+))?", value) if isinstance(value, str) else None
    try:
        if found is not None:
            days = _EVERY_DAY if found[2] is None else _read_days(found[2])
            return DueTime(time.fromisoformat(found[1].zfill(5)), days)
    except ValueError:
        pass
    raise SettingsError(
        f'{where}: expect_by is a time of day, with days of the week if need be, such as "05:00" or "05:00 Mon-Fri".'
    )


def _read_days(text: str) -> frozenset[int]:
    """From `Mon-Fri`, `Sat,Sun` or `Fri-Mon`. Raises ValueError."""
    days: set[int] = set()
    for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip())):
        first, dash, last = part.partition("-")
        begin = _read_day(first)
        end = _read_day(last) if dash else begin
        days.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(days)


def _read_day(text: str) -> int:
    """`Mon`, `monday` → 0. Raises ValueError."""
    found = [number for number, name in enumerate(_DAY_NAMES) if name.startswith(text.lower())]
    if len(text) < 3 or not found:
        raise ValueError(text)
    return found[0]
