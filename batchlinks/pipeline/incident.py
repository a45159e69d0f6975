"""A link that went to somebody else: whose it is, which files held it, who else was in them, who took them away."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchlinks.healthex.whose_link import candidates, xid_of
from batchlinks.ledger import Known, PatientRow, Records
from batchlinks.pipeline.audit import NAME

_BESIDE = 1


@dataclass(frozen=True, slots=True)
class Download:
    """That somebody took a file away from the upload page."""

    time: str
    user: str
    file: str


@dataclass(frozen=True, slots=True)
class Incident:
    """What there is to know of one patient's link."""

    known: Known
    is_new: bool
    """Whether the link was not marked as exposed before."""

    rows: Sequence[PatientRow] = field(repr=False)
    """Of this patient, in every file that held them, the oldest first."""

    beside: Sequence[PatientRow] = field(repr=False)
    """Patients in the rows right above and below, in those files: a letter that slipped by one went to one of them."""

    others: Sequence[str] = field(repr=False)
    """External IDs of everybody else in those files."""

    downloads: Sequence[Download]


def links_meant(records: Records, text: str, host: str) -> list[Known]:
    """The links that are meant by a link, or by the ID of a patient in every project."""
    if "://" not in text:
        return list(records.links(None, [text]))
    if found := records.owners_of(text):
        return found
    xid = xid_of(text, host)  # an earlier one, which a newer has replaced: it names its patient as a rule
    named = [] if xid is None else list(dict.fromkeys(candidates(xid)))
    return sorted(records.links(None, named), key=lambda known: -len(known.external_id))[:1] if named else []


def report_incident(records: Records, known: Known, data_folder: Path) -> Incident:
    """Mark the link as exposed, so that it is not handed out again, and gather what is known of where it went."""
    is_new = records.expose(known)
    rows = records.rows_in_files(known.project, [known.external_id])
    files = list({row.file.number: row.file for row in rows}.values())
    everybody = records.everybody_in(files)
    wanted = {(row.file.number, row.row + step) for row in rows for step in (-_BESIDE, _BESIDE)}
    beside = [each for each in everybody if (each.file.number, each.row) in wanted]
    others = list(dict.fromkeys(each.external_id for each in everybody if each.external_id != known.external_id))
    run_ids = {file.run_id for file in files if file.run_id}
    return Incident(known, is_new, rows, beside, others, list(_downloads(data_folder, run_ids)))


def _downloads(data_folder: Path, run_ids: set[str]) -> Iterator[Download]:
    """From the audit log. A line that cannot be read is passed over."""
    try:
        lines = (data_folder / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if '"downloaded"' not in line:
            continue
        try:
            noted: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if noted.get("event") == "downloaded" and noted.get("run_id") in run_ids:
            yield Download(str(noted.get("time", "")), str(noted.get("user", "")), str(noted.get("file", "")))
