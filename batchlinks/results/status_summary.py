"""What asking who has answered came to, in counts: `NAME.status.json`, and the line in the audit log. No external ID in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batchlinks.errors import BatchlinksError
from batchlinks.results.summary import Summary


@dataclass(slots=True)
class StatusSummary(Summary):
    """Counts of one status. `linked` counts the patients in the status workbook, `errors` the rows that were left out."""

    responses: Mapping[str, int] = field(default_factory=dict)
    """A count for each response."""

    responses_from: str = ""
    """The first of the days on which HealthEx showed them (ISO 8601); "" where nobody was ever asked about."""

    responses_until: str = ""
    """The last of these days."""

    by_type: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The same for each kind of consent, where there are several."""

    without_link: int = 0
    """Patients who could be sent and have no link: they were not asked about."""

    left_for_later: int = 0
    """Patients whom nobody asked about this time, since so many calls were allowed and no more."""

    reminded: int = 0
    """Patients in the reminder."""

    not_reminded: Mapping[str, int] = field(default_factory=dict)
    """Why the others are not in it: a count for each reason."""

    @property
    def command(self) -> str:
        """As the audit log calls it."""
        return "status"

    def reconcile(self) -> None:
        """Every row and every response is accounted for once, or no file is released. Raises BatchlinksError."""
        shown = sum(self.responses.values())
        if self.rows != self.linked + self.duplicates + self.without_link + sum(self.errors.values()) or (
            shown != self.linked
        ):
            raise BatchlinksError(
                f"The counts do not add up ({self.rows} rows; {self.linked} with a link, {shown} responses, "
                f"{self.duplicates} duplicates, {self.without_link} without a link, {sum(self.errors.values())} left out), so "
                "no file was written. This is a defect in batchlinks; answers are kept in the ledger."
            )

    def as_json(self) -> dict[str, object]:
        """As `NAME.status.json` holds it, without `outputs`, which the release adds."""
        told = Summary.as_json(self)
        for name in ("linked", "written", "requested", "reused", "errors"):
            del told[name]
        return {
            **told,
            "patients": self.linked,
            "responses": dict(self.responses),
            "responses_from": self.responses_from or None,
            "responses_until": self.responses_until or None,
            "responses_by_type": {kind: dict(counts) for kind, counts in self.by_type.items()},
            "asked": self.requested,
            "left_for_later": self.left_for_later,
            "without_link": self.without_link,
            "left_out": dict(self.errors),
            "reminded": self.reminded,
            "not_reminded": dict(self.not_reminded),
        }


def days_in_words(first: str, last: str) -> str:
    """`on 2026-11-28`, or between which days."""
    return f"on {last}" if first == last else f"between {first} and {last}"
