"""The calls under /api/patients: about one patient, whose ID is sent in the body and is in no address."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from batchlinks.ledger.do_not_contact import OptOutReason
from batchlinks.web.endpoints import ErrorBody, TheUser
from batchlinks.web.known_patients import KnownPatients, LeftAlone, NotHere, PatientFindings

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers that tell of a proxy, also where nobody has said that there is one."""

router = APIRouter(prefix="/api/patients", tags=["patients"])


class OnePatient(BaseModel):
    """Who is meant."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=1_000, description="As it stands in the patient list.")


class OnePatientToLeaveAlone(OnePatient):
    """Who is not to be contacted, and why."""

    reason: OptOutReason


class NobodyKnownBody(ErrorBody):
    """Nobody is known by this ID."""

    alike: list[str] = Field(description="IDs with a link that differ only in capital letters or leading zeros.")


def find_patients(request: Request) -> KnownPatients | None:
    """None where nobody may look up patients: people are not told apart, and may sit at other computers."""
    patients: KnownPatients | None = request.app.state.patients
    if request.state.user is None and any(name in request.headers for name in _FORWARDED):
        return None
    return patients


def patients_of(request: Request) -> KnownPatients:
    """Raises NotHere."""
    patients = find_patients(request)
    if patients is None:
        raise NotHere(
            "Patients can be looked up only where people sign in, or on this computer's own page. Ask IT to set up sign-in."
        )
    return patients


ThePatients = Annotated[KnownPatients, Depends(patients_of)]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request is broken, or was sent to another host."},
    401: {"model": ErrorBody, "description": "The access token is missing or wrong."},
    403: {
        "model": ErrorBody,
        "description": "Another website asked for this, or people are not told apart here and may sit at other computers.",
    },
    413: {"model": ErrorBody, "description": "The request is too large."},
    422: {"model": ErrorBody, "description": "This is no patient ID, or the server's own files cannot be used."},
}


@router.post(
    "/lookup",
    responses={**_REFUSALS, 404: {"model": NobodyKnownBody, "description": "Nobody is known by this ID."}},
    summary="Look up one patient",
)
def look_up(patient: OnePatient, patients: ThePatients, user: TheUser) -> PatientFindings:
    """Link, dates, files and response, of each project. Who looked is noted in the audit log, with no ID.

    Only where people sign in (`--user-header`), or on this computer's own page.
    """
    return patients.look_up(patient.id, user)


@router.post("/do-not-contact", responses=_REFUSALS, summary="Don't contact one patient any more")
def leave_alone(patient: OnePatientToLeaveAlone, patients: ThePatients, user: TheUser) -> LeftAlone:
    """In no project, from today on, however the ID is spelled. A link that was sent already still works."""
    return patients.leave_alone(patient.id, patient.reason, user)
