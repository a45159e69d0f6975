"""What a run is about to do, as one object that every door asks: check, the question before sending, page, night, Python."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from batchlinks.plural import counted
from batchlinks.row_codes import ToDo


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen if this list were run now, and what is known of it."""

    roster: str
    id_column: str
    project_id: str
    host: str
    rows: int
    to_send: int
    """Patients without a link: they are new, and are asked for."""

    known: int
    """Patients who have a link already."""

    to_do: ToDo
    """Of the rows without a link."""

    duplicates: int
    refresh: bool
    cluster: str | None
    """Whose workers make the calls, where that is not this computer."""

    project: str = ""
    """Its name in the settings; "" where it has none."""

    is_production: bool = True
    """Whether `host` is HealthEx itself, and no other deployment of it."""

    withdrawn: int = 0
    """Rows of patients who are not to be contacted."""

    held_back: int = 0
    """Rows that are held back since it is in doubt whose they are."""

    answered: Mapping[str, int] = field(default_factory=dict)
    """Response -> how many of the patients with a link gave it, when they were asked about last."""

    missing: int = 0
    """Patients in the latest links workbook of this list who are not in it any more."""

    done_before: datetime | None = None
    """When this very list was last done for this project; None where it never was."""

    @property
    def place(self) -> str:
        """*production*, or the other deployment's host."""
        return "production" if self.is_production else self.host

    def findings(self) -> Iterator[str]:
        """What is worth saying besides how many are sent and known, each as the part of a sentence."""
        if self.withdrawn:
            yield f"{self.withdrawn:,} withdrawn"
        if self.held_back:
            yield f"{self.held_back:,} held back"
        for response, count in self.answered.items():
            yield f"{count:,} {response}"
        if self.missing:
            yield f"{self.missing:,} of the last run of this list missing"

    @property
    def counts_in_words(self) -> str:
        """Who is new, who has a link, and what else is worth saying of the list, as a part of a sentence."""
        return ", ".join([f"{self.to_send:,} new", f"{self.known:,} with a link already", *self.findings()])

    @property
    def in_words(self) -> str:
        """For a log: one line."""
        project = self.project or self.project_id
        before = f" This very list was done on {self.done_before:%Y-%m-%d %H:%M}." if self.done_before else ""
        return f"{counted(self.rows, 'row')} for project {project} ({self.place}): {self.counts_in_words}.{before}"
