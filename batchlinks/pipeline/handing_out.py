"""Who counts as handed out: whose workbook gives way to this run's, who would be in none, and what the ledger notes.

A patient counts once a links workbook that holds them is in its place, until batchlinks itself replaces it by one without
them. What a run for the first few wrote counts for nobody: it was to try it out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.ledger import FilePurpose, Ledger, PatientFile, Placement
from batchlinks.pipeline.delivery import Delivery
from batchlinks.results.publish.frames_only import FramesOnly
from batchlinks.results.publish.publisher import LostPatients, UnfinishedSet
from batchlinks.results.publish.result_files import LinksFile, PublishedFiles, ResultFiles
from batchlinks.screening.result import Screened


def sets_that_give_way(
    files: ResultFiles | FramesOnly, ledger: Ledger, screened: Screened, folder: str, *, only_new: bool
) -> list[UnfinishedSet]:
    """Those of runs that did not finish whose patients are handed out by this run, as if those had never been.

    One that somebody took away has handed out what it held. Under `only_new`, neither does one give way in which somebody
    else stands who was handed out before: it has to stay anyhow.
    """
    chosen = []
    for each in files.unfinished_sets():
        if not each.links and not each.killed:
            continue
        if only_new and each.links:
            held = ledger.patients_standing_in(files.owner, folder, each.links)
            if held is not None:
                listed = held.filter(pc.is_in(held, value_set=screened.ids.filter(pa.array(screened.sendable))))
                if ledger.handed_out_by_others(listed, each.run_ids):
                    continue
        chosen.append(each)
    return chosen


def lost_patients(delivery: Delivery, ledger: Ledger, owner: str, folder: str) -> LostPatients:
    """Tells of a links workbook that is to be replaced in how many patients it holds who count and are not in the new one."""

    def count(former: Mapping[str, str]) -> int:
        missing = delivery.missing
        if not len(missing):
            return 0
        held = ledger.patients_standing_in(owner, folder, former)
        if held is None:  # of an older version, or without the ledger: whom it may hold
            held = ledger.handed_out_to_owner()
        return len(missing) if held is None else int(pc.sum(pc.is_in(missing, value_set=held)).as_py() or 0)

    return count


def patient_files(
    files: Sequence[LinksFile], delivery: Delivery, purpose: FilePurpose = FilePurpose.LINKS
) -> list[PatientFile]:
    """The files with links, and who is in them."""
    noted = []
    for file in files:
        ids, rows = delivery.external_ids, delivery.row_numbers
        if file.positions is not None:
            ids, rows = ids.take(pa.array(file.positions)), rows[file.positions]
        noted.append(
            PatientFile(
                _purpose_of(file, purpose),
                file.name,
                file.sha256,
                ids,
                rows,
                split_by=delivery.split_by,
                value=file.value,
                hands_out=not (delivery.is_limited or file.is_letters or file.is_annotated),
            )
        )
    return noted


def _purpose_of(file: LinksFile, otherwise: FilePurpose) -> FilePurpose:
    if file.is_letters:
        return FilePurpose.LETTERS
    return FilePurpose.ANNOTATED if file.is_annotated else otherwise


def announce(delivery: Delivery, ledger: Ledger, folder: str, files: Sequence[LinksFile]) -> None:
    """Let the ledger know of files that are about to be placed."""
    ledger.announce_files(folder, patient_files(files, delivery))


def placement_of(published: PublishedFiles, delivery: Delivery, folder: str) -> Placement:
    """What the ledger notes of the files that are in their place."""
    outgoing = published.outgoing
    purpose = FilePurpose.FRAME if published.folder is None else FilePurpose.LINKS
    files = patient_files(published.with_links, delivery, purpose)
    return Placement(folder, files, outgoing.replaced, outgoing.renamed, delivery.moved)


def place_of(folder: Path | None, elsewhere: str | None) -> str:
    """The folder of the results as the ledger has it.

    Where they are taken to, if that is not where they are written; "" for frames, which are in none.
    """
    return elsewhere or ("" if folder is None else str(folder.resolve()))
