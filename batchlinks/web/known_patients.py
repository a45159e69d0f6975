"""One patient, for somebody who was asked about them: link, dates, files, response; and that they are left alone from now on.

Each look-up is a line in the audit log with who did it and keyed hashes, and no ID.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from batchlinks.config.paths import find_ledger
from batchlinks.config.settings import Config, RunSettings, deployment
from batchlinks.errors import BatchlinksError
from batchlinks.ledger import DoNotContact, Known, PatientRow, Project, Records, ResponseRecord, Withdrawal
from batchlinks.ledger.do_not_contact import OptOut, OptOutReason
from batchlinks.patients.id_spelling import likenesses
from batchlinks.patients.identifier import read_id
from batchlinks.pipeline import audit
from batchlinks.web.runs import NotThere, Unusable

HeldBack = Literal["do_not_contact", "withdrawn", "exposed"]


class NotHere(Exception):
    """403: patients cannot be looked up on this page."""


class NobodyKnown(NotThere):
    """404: nobody is known by this ID."""

    def __init__(self, alike: Sequence[str]) -> None:
        """`alike`: IDs with a link that differ from it only in capital letters or leading zeros."""
        super().__init__(
            "Nobody is known by exactly this ID, but by one that differs only in capital letters or leading zeros. "
            "Check which one is meant."
            if alike
            else "Nobody is known by this ID: no link was made for it here. Check the ID in your list."
        )
        self.alike = alike


class FileWithPatient(BaseModel):
    """A file in which the patient stands."""

    name: str
    folder: str | None = Field(description="Null for a result of this page.")
    purpose: str = Field(description="`links`, `reminder`, `letters`, `messages`, `annotated`, `status` or `frame`.")
    row: int = Field(description="Of the patient list, as a spreadsheet numbers it.")
    placed_at: str | None = Field(description="Null where a run was killed as it put the file there.")
    replaced_at: str | None = Field(description="When another took its place; null while it is the latest.")


class LinkOfPatient(BaseModel):
    """The patient's link for one project."""

    project: str = Field(description="By its name where it has one, else its ID.")
    link: str | None = Field(description="To be sent again as it is; null where it is held back.")
    held_back: HeldBack | None = Field(
        description="Why the link is not to be sent: the patient is not to be contacted or was withdrawn, or the link went "
        "to somebody else (`exposed`)."
    )
    issued_at: str
    issued_by: str | None = Field(description="ID of the run.")
    handed_out_at: str | None
    files: list[FileWithPatient] = Field(description="The oldest first.")
    response: str | None = Field(description="What HealthEx showed last; null where it was not asked.")
    response_on: str | None


class WithdrawalOfPatient(BaseModel):
    """That the patient was withdrawn."""

    project: str | None = Field(description="Null: in every project.")
    withdrawn_at: str


class LeftAlone(BaseModel):
    """Why the patient is not to be contacted, in any project."""

    since: str
    by: str
    reason: str


class PatientFindings(BaseModel):
    """What is known of one patient. Times are ISO 8601, UTC."""

    projects: list[LinkOfPatient]
    withdrawn: list[WithdrawalOfPatient]
    do_not_contact: LeftAlone | None
    alike: list[str] = Field(
        description="Other IDs with a link that differ from this one only in capital letters or leading zeros."
    )


class KnownPatients:
    """The patients whom this server's ledger knows. All of it blocks.

    Raises SettingsError or BatchlinksError where ledger, list of people not to contact, or audit log cannot be used.
    """

    def __init__(self, base: RunSettings, config: Config, data_folder: Path, environment: Mapping[str, str]) -> None:
        """`base` and `config`: what IT has set up for all runs."""
        self._ledger = find_ledger(base.ledger, environment)
        self._listed_in = base.do_not_contact
        self._names = {project_id: name for name, project_id in config.projects.items()}
        self._api = deployment(environment).api_url
        self._data_folder = data_folder
        self._environment = environment

    def look_up(self, text: str, user: str | None) -> PatientFindings:
        """Raises Unusable for what is no ID, NobodyKnown where nobody is known by it."""
        external_id = _id_in(text)
        opted_out = self._do_not_contact()
        self._note("looked_up", external_id, user)  # before anything of it is told
        listed = _entry_of(external_id, opted_out)
        if not self._ledger.exists():
            found = PatientFindings(projects=[], withdrawn=[], do_not_contact=listed, alike=[])
        else:
            with Records(self._ledger) as records:
                found = self._in_ledger(records, external_id, listed)
        if not (found.projects or found.withdrawn or found.do_not_contact):
            raise NobodyKnown(found.alike)
        return found

    def leave_alone(self, text: str, reason: OptOutReason, user: str | None) -> LeftAlone:
        """List somebody as not to be contacted, from today on, whether known so far or not. Raises Unusable for what is no ID."""
        external_id = _id_in(text)
        opted_out = self._do_not_contact()
        opted_out.add([external_id], by=user or audit.user_name(), reason=reason)
        try:
            self._note("do_not_contact", external_id, user, reason=reason.value)
        except BatchlinksError as error:
            raise BatchlinksError(f"It was done: this patient is not contacted any more. {error}") from error
        listed = _entry_of(external_id, opted_out)
        assert listed is not None  # noqa: S101 it has just been added
        return listed

    # --- the parts ---------------------------------------------------------------------------------------------

    def _do_not_contact(self) -> DoNotContact:
        return DoNotContact.open(self._listed_in, self._environment)

    def _note(self, event: str, external_id: str, user: str | None, **facts: Any) -> None:
        hashes = audit.patient_hashes([external_id], self._ledger)
        audit.note(self._data_folder, event, user=user, count=1, patient_hashes=hashes, **facts)

    def _in_ledger(self, records: Records, external_id: str, listed: LeftAlone | None) -> PatientFindings:
        withdrawn = [each for each in _withdrawals(records, external_id) if self._is_here(each.project)]
        links = [known for known in records.links(None, [external_id]) if self._is_here(known.project)]
        return PatientFindings(
            projects=[self._link(records, known, listed, withdrawn) for known in links],
            withdrawn=[
                WithdrawalOfPatient(
                    project=self._name(each.project) if each.project else None, withdrawn_at=each.withdrawn_at
                )
                for each in withdrawn
            ],
            do_not_contact=listed,
            alike=sorted(records.alike(None, [external_id])),
        )

    def _link(
        self, records: Records, known: Known, listed: LeftAlone | None, withdrawn: Collection[Withdrawal]
    ) -> LinkOfPatient:
        held_back: HeldBack | None = None
        if records.is_exposed(known):
            held_back = "exposed"
        elif listed is not None:
            held_back = "do_not_contact"
        elif any(each.project in (None, known.project) for each in withdrawn):
            held_back = "withdrawn"
        responses, _ = records.responses(known.project, known.external_id)
        return LinkOfPatient(
            project=self._name(known.project),
            link=known.link if held_back is None else None,
            held_back=held_back,
            issued_at=known.issued_at,
            issued_by=known.issued_by,
            handed_out_at=known.handed_out_at,
            files=[self._file(row) for row in records.rows_in_files(known.project, [known.external_id])],
            response=_in_words(responses),
            response_on=max((each.asked_at for each in responses), default=None),
        )

    def _file(self, row: PatientRow) -> FileWithPatient:
        uploads = (self._data_folder / "uploads").absolute()
        is_ours = Path(row.file.folder).is_relative_to(uploads)
        return FileWithPatient(
            name=row.file.name,
            folder=None if is_ours else row.file.folder or None,
            purpose=row.file.purpose.value,
            row=row.row,
            placed_at=row.file.placed_at,
            replaced_at=row.file.replaced_at,
        )

    def _is_here(self, project: Project | None) -> bool:
        """Whether it is a project of the HealthEx that this server asks: a link of a trial one is not to be sent."""
        return project is None or project.api == self._api

    def _name(self, project: Project) -> str:
        return self._names.get(project.project_id, project.project_id)


def _id_in(text: str) -> str:
    external_id, code = read_id(text)
    if code is not None:
        raise Unusable("This is no patient ID. Type one ID, as it stands in the list.")
    return external_id


def _entry_of(external_id: str, opted_out: DoNotContact) -> LeftAlone | None:
    """What holds this patient back; of several entries the one that is spelled so."""
    entries: list[OptOut] = sorted(opted_out.find(external_id), key=lambda entry: entry.external_id != external_id)
    return LeftAlone(since=entries[0].since, by=entries[0].by, reason=entries[0].reason) if entries else None


def _withdrawals(records: Records, external_id: str) -> list[Withdrawal]:
    """However the ID is spelled, as in screening."""
    wanted = likenesses(external_id)
    return [
        each
        for each in records.withdrawals(None)
        if each.external_id == external_id or not wanted.isdisjoint(likenesses(each.external_id))
    ]


def _in_words(responses: Sequence[ResponseRecord]) -> str | None:
    if len(responses) == 1:
        return responses[0].response
    return ", ".join(f"{each.response} ({each.consent_type})" for each in responses) or None
