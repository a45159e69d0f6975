"""What `batchlinks ledger incident` says: where a link went, and what to do in which order."""

from collections.abc import Iterator
from pathlib import Path

from batchlinks.ledger import NotedFile
from batchlinks.pipeline.incident import Incident
from batchlinks.plural import counted

STILL_WORKS = "This link still works. Only HealthEx may be able to turn it off."


def lines_of(incident: Incident, project: str, others: Path | None) -> Iterator[str]:
    """For a person. `others`: the file with the IDs of everybody else, where one was asked for."""
    known = incident.known
    yield known.external_id
    yield f"  {project}"
    yield f"  link       {known.link}"
    yield f"  issued     {_minute(known.issued_at)}{f', run {known.issued_by}' if known.issued_by else ''}"
    yield f"  {STILL_WORKS}"
    marked = "It is marked as exposed" if incident.is_new else "It was marked as exposed before"
    yield f"  {marked}: batchlinks never hands it out again, and what HealthEx says of this patient's answer is not reliable."
    yield ""
    if not incident.rows:
        yield "  The ledger knows no file that held it. Files of batchlinks 0.2 and before were not noted."
    else:
        yield "  It stood in these files:"
    for row in incident.rows:
        yield f"    {row.file.folder}/{row.file.name}, row {row.row} of the list ({row.file.purpose}; {_when(row.file)})"
    for row in incident.beside:
        yield f"    in the row beside it, {row.row}: {row.external_id} ({row.file.name})"
    for download in incident.downloads:
        yield f"    downloaded by {download.user}, {_minute(download.time)}: {download.file}"
    if incident.rows:
        yield f"  {counted(len(incident.others), 'other patient is', 'other patients are')} in these files."
        if others is not None:
            yield f"  Their IDs are in {others}."
    yield ""
    yield "  What to do, in this order:"
    for number, step in enumerate(_steps(incident), start=1):
        yield f"    {number}. {step}"


def _steps(incident: Incident) -> Iterator[str]:
    yield "Stop what is not sent yet: letters, texts and e-mails made from these files."
    yield (
        "Ask HealthEx to turn the link off, and whether somebody used it. Give them the project, the time and the patient ID on "
        "the phone or in their portal, never the link in an e-mail."
    )
    yield "Tell your privacy officer now: the deadlines for telling the patient run from today."
    yield "Get the letter or file back from whoever has it, and ask them not to open the link."
    yield (
        "Find out how it happened, and whether one row slipped for everybody: compare some of the letters with the files. If so, "
        f"withdraw them all: {_withdrawal(incident)}"
    )
    yield (
        "When HealthEx has turned it off: delete it here (batchlinks ledger forget --ids FILE), and run the list again. The "
        "patient gets a new link, unless HealthEx gives the same one again, which is not handed out."
    )


def _withdrawal(incident: Incident) -> str:
    runs = list(dict.fromkeys(row.file.run_id for row in incident.rows if row.file.run_id))
    return "; ".join(f"batchlinks ledger withdraw --run {run_id}" for run_id in runs) or "batchlinks ledger withdraw"


def _when(file: NotedFile) -> str:
    run = f", run {file.run_id}" if file.run_id else ""
    if file.placed_at is None:
        return f"perhaps: the run was stopped as it put it there{run}"
    replaced = f", replaced {_minute(file.replaced_at)}" if file.replaced_at else ""
    return f"{_minute(file.placed_at)}{run}{replaced}"


def _minute(moment: str) -> str:
    return f"{moment[:10]} {moment[11:16]} UTC"
