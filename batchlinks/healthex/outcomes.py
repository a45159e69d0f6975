"""What asking HealthEx takes and brings, as plain values: how hard to try, what became of each ID, what it came to."""

from dataclasses import dataclass, field

from batchlinks.healthex.consents import PatientConsents
from batchlinks.row_codes import ErrorCode


@dataclass(frozen=True, slots=True)
class Linked:
    """HealthEx issued this link for this ID."""

    external_id: str = field(repr=False)
    link: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotLinked:
    """This ID gets no link in this run. `gaps` fill the sentence of `code`."""

    external_id: str = field(repr=False)
    code: ErrorCode
    gaps: dict[str, object]


Outcome = Linked | NotLinked


@dataclass(frozen=True, slots=True)
class Answered:
    """HealthEx shows these consents for this ID: none where it knows nothing of the patient."""

    external_id: str = field(repr=False)
    patients: tuple[PatientConsents, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It is not known what HealthEx shows for this ID."""

    external_id: str = field(repr=False)
    reason: str
    withheld: bool = False
    """Whether no call was made any more, since this patient is not to be contacted."""


ConsentOutcome = Answered | Unanswered


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """How hard to try."""

    concurrency: int = 64
    """Calls in flight at most."""

    rate: float | None = None
    """Calls a second at most."""

    max_attempts: int = 8
    """Calls for one ID, while others get through."""

    timeout_s: float = 30.0
    """For one call as a whole."""

    patience_s: float = 120.0
    """How long to go on while nothing gets through."""

    project_verified: bool = False
    """Whether HealthEx issued links for this project before: what it refuses then is more likely the ID than the project."""


@dataclass(slots=True)
class RequestCounts:
    """What a run's calls came to; read by the progress bar while they go on."""

    requested: int = 0
    """IDs sent at least once."""

    calls: int = 0
    """Calls about IDs, retries included."""

    retries: int = 0
