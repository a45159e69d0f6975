"""What the stand-in's patients have decided, and how it shows that: in the form of the public documentation.

Nothing is kept but what a test says: what a patient has decided follows from the options and the ID, always the same.
"""

import hashlib
import itertools
import time
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from batchlinks.simulator.behavior import SimulatorOptions
from batchlinks.simulator.faults import draw

CONSENT_TYPES = ("DATA_AUTHORIZATION", "PATIENT_DIRECTED_DATA_EXCHANGE", "FUTURE_DATA_USE")
_DAY_S = 86_400.0


class Decision(StrEnum):
    """What a patient has done with a project's question."""

    CONSENTED = "consented"
    DECLINED = "declined"
    EXPIRED = "expired"
    UNDECIDED = "undecided"
    """Known to HealthEx, which shows a false that nobody has recorded."""

    UNKNOWN = "unknown"
    """HealthEx has never heard of the patient."""


@dataclass(frozen=True, slots=True)
class ConsentQuery:
    """What a call for consents asks about one patient."""

    external_id: str
    project: str
    consent_types: tuple[str, ...]
    has_consented: frozenset[bool] = frozenset({True})
    expired: bool = False
    with_reason: bool = False


class ConsentBook:
    """Decisions by project and ID. `clock` counts seconds from anywhere."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], list[tuple[float, Decision]]] = {}
        self.change(options)

    def change(self, options: SimulatorOptions) -> None:
        """What was decided on top of the options stays."""
        self._options = options
        drawn = (Decision.CONSENTED, Decision.DECLINED, Decision.EXPIRED, Decision.UNDECIDED)
        shares = (options.consenting, options.declining, options.expiring, options.undecided)
        self._bounds = tuple(itertools.accumulate(shares))
        self._drawn = (*drawn, Decision.UNKNOWN)

    def decide(self, project: str, external_id: str, decision: Decision) -> None:
        """A patient decides now; `consent_lag_s` later that is shown."""
        self._said.setdefault((project, external_id), []).append((self._clock(), decision))

    def decision(self, project: str, external_id: str) -> Decision:
        """As it is shown now."""
        shown_until = self._clock() - self._options.consent_lag_s
        said = [decision for since, decision in self._said.get((project, external_id), ()) if since <= shown_until]
        return said[-1] if said else self._by_options(external_id)

    def _by_options(self, external_id: str) -> Decision:
        options = self._options
        for decision, listed in (
            (Decision.CONSENTED, options.consented_ids),
            (Decision.DECLINED, options.declined_ids),
            (Decision.EXPIRED, options.expired_ids),
            (Decision.UNDECIDED, options.undecided_ids),
        ):
            if external_id in listed:
                return decision
        return self._drawn[bisect_right(self._bounds, draw(options.seed, f"decision {external_id}", 0)[0])]

    def answer(self, query: ConsentQuery) -> list[dict[str, object]] | None:
        """The entries that fit the question; None about a patient whom nobody knows."""
        decision = self.decision(query.project, query.external_id)
        if decision is Decision.UNKNOWN:
            return None
        consents = [self._consent(query, kind, decision) for kind in query.consent_types if self._fits(query, decision)]
        if not consents:
            return []
        return [
            {"healthcareOrganizationId": organization, "patientId": patient, "consents": consents}
            for organization, patient in self._records_of(query.external_id)
        ]

    def _fits(self, query: ConsentQuery, decision: Decision) -> bool:
        if decision is Decision.EXPIRED:
            return query.expired and True in query.has_consented
        return (decision is Decision.CONSENTED) in query.has_consented

    def _consent(self, query: ConsentQuery, kind: str, decision: Decision) -> dict[str, object]:
        recorded = decision is not Decision.UNDECIDED
        consent: dict[str, object] = {
            "consentType": kind,
            "studyId": query.project,
            "hasPatientConsented": decision in (Decision.CONSENTED, Decision.EXPIRED),
            "source": "STUDY",
            "consentRecordId": _number(f"{query.project}\n{query.external_id}\n{kind}") if recorded else None,
            "expirationTimestamp": self._expires(decision),
        }
        return consent | ({"reason": "By the patient's decision."} if query.with_reason else {})

    def _expires(self, decision: Decision) -> str | None:
        days = self._options.consent_days
        if decision is Decision.EXPIRED:
            return _iso(time.time() - _DAY_S)
        return _iso(time.time() + days * _DAY_S) if decision is Decision.CONSENTED and days else None

    def _records_of(self, external_id: str) -> list[tuple[str, str]]:
        """Organization and patient of each record: the patient's ID is another in each organization."""
        person = "one for all" if external_id in self._options.same_patient_ids else external_id
        organizations = ("platform", "organization")[: self._options.organizations]
        people = (person, f"{person} again") if external_id in self._options.two_patients_ids else (person,)
        return [
            (_reference(organization), _reference(f"{organization}\n{each}"))
            for organization in organizations
            for each in people
        ]


def read_query(properties: dict[str, object] | None, projects: Collection[str]) -> ConsentQuery | str:
    """The question in the body of a call, or what is wrong with it.

    The documentation lets any one identifier of a patient stand for the patient; this stand-in knows external IDs only.
    """
    if properties is None or not properties.keys() <= _PROPERTIES:
        return f"The body is not a JSON object with no more than {', '.join(sorted(_PROPERTIES))}."
    types, external_id, project = (properties.get(name) for name in ("consentTypes", "externalId", "studyId"))
    if not isinstance(types, list) or not types or not all(kind in CONSENT_TYPES for kind in types):
        return f"consentTypes must be a list of {', '.join(CONSENT_TYPES)}."
    if not isinstance(external_id, str) or not external_id.strip():
        return "externalId must be a text that is not empty."
    if not isinstance(project, str) or project not in projects:
        return "studyId must be a project of this organization."
    has_consented = properties.get("hasConsented", [True])
    if not isinstance(has_consented, list) or not has_consented or not all(isinstance(x, bool) for x in has_consented):
        return "hasConsented must be a list of true and false."
    flags = [properties.get(name, False) for name in ("expiredConsents", "includeReason")]
    if not all(isinstance(each, bool) for each in flags):
        return "expiredConsents and includeReason must be true or false."
    kinds = tuple(dict.fromkeys(str(kind) for kind in types))
    return ConsentQuery(external_id, project, kinds, frozenset(has_consented), bool(flags[0]), bool(flags[1]))


_PROPERTIES = frozenset({"consentTypes", "externalId", "studyId", "hasConsented", "expiredConsents", "includeReason"})


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(text: str) -> str:
    return str(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big"))


def _reference(text: str) -> str:
    """As `17d4513f-73e8`."""
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{digest[:8]}-{digest[8:]}"
