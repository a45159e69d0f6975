"""Who is asked about again, and who was asked about lately enough. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchlinks.responses.judgment import Response

_CONSENT_HOLDS = timedelta(days=30)
"""For so long nobody who has consented is asked about again."""


@dataclass(frozen=True, slots=True)
class KnownResponse:
    """What HealthEx showed of one kind of consent, when it was asked last."""

    response: Response
    asked_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AskingRule:
    """For how long an answer is good enough."""

    now: datetime
    max_age: timedelta

    def needs(self, known: Mapping[str, KnownResponse], consent_types: Iterable[str]) -> bool:
        """Whether a patient of whom this is known is asked about (again), by any of these kinds."""
        return not all(kind in known and self._is_fresh(known[kind]) for kind in consent_types)

    def _is_fresh(self, known: KnownResponse) -> bool:
        age = self.now - known.asked_at
        if not self.max_age or age < timedelta(0):  # the clock was wrong then, or is now
            return False
        match known.response:
            case Response.CONSENTED if known.expires_at is None or known.expires_at > self.now:
                return age < max(self.max_age, _CONSENT_HOLDS)
            case Response.CONSENTED | Response.UNKNOWN:
                return False
            case _:
                return age < self.max_age


def oldest_first(known: Mapping[str, Mapping[str, KnownResponse]], external_ids: Iterable[str]) -> list[str]:
    """The IDs nobody was asked about first, then those whose answer is the oldest; else in their order."""

    def last_asked(external_id: str) -> float:
        return min((each.asked_at.timestamp() for each in known.get(external_id, {}).values()), default=float("-inf"))

    return sorted(external_ids, key=last_asked)
