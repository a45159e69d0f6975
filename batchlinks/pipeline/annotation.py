"""The annotated workbook of a run: whether the list can have one, and what stands beside its rows."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from batchlinks.config.settings import RunSettings
from batchlinks.errors import SettingsError
from batchlinks.logs import logger
from batchlinks.next_steps import Setting
from batchlinks.pipeline.delivery import Delivery
from batchlinks.pipeline.intake import Roster, Source, read_roster_password
from batchlinks.results.annotated_workbook import MAX_ROWS_ANNOTATED, AnnotatedWorkbook, RowAnnotation
from batchlinks.results.lost_parts import find_lost_parts
from batchlinks.results.sheets import OutputColumns
from batchlinks.roster.file_kind import FileKind, file_kind
from batchlinks.roster.guard import Archive
from batchlinks.roster.source import RosterFrame
from batchlinks.screening.result import Screened

_LINKED = "linked"
_HAD_ONE = "linked before"


def open_for_annotation(
    source: Source, roster: Roster, output: OutputColumns, settings: RunSettings, environment: Mapping[str, str]
) -> AnnotatedWorkbook | None:
    """The list's own workbook, ready to be annotated; None where nobody asked for it.

    Says what openpyxl cannot keep of it. Raises SettingsError for a list that is no `.xlsx` workbook or too long, RosterError
    for a workbook that cannot be opened.
    """
    if not settings.annotate:
        return None
    table = roster.table
    if isinstance(source, RosterFrame):
        raise SettingsError(
            Setting("annotate"), " needs a patient list as an Excel workbook (.xlsx). Right now it is a DataFrame."
        )
    content = source.read_bytes() if isinstance(source, Path) else source.content
    kind, content = file_kind(source.name, content, password=read_roster_password(settings, environment))
    if kind is not FileKind.XLSX or Path(source.name).suffix.lower() not in (".xlsx", "") or table.is_error_report:
        what = "an error report" if table.is_error_report else f"not an Excel workbook (.xlsx): {source.name}"
        raise SettingsError(
            Setting("annotate"), f" needs a patient list as an Excel workbook (.xlsx). Right now it is {what}."
        )
    if len(table) > MAX_ROWS_ANNOTATED:
        raise SettingsError(
            Setting("annotate"), f" takes up to {MAX_ROWS_ANNOTATED:,} rows. This list has {len(table):,}. Split it."
        )
    Archive(source.name, content)
    if lost := find_lost_parts(content):
        logger().warning(f"The annotated workbook can't keep: {'; '.join(lost)}. Your own file stays as it is.")
    book = AnnotatedWorkbook(content, table, output.link_column)
    if book.sorted_apart:
        logger().warning(
            "In the annotated workbook, other cells stand between the list and its links. Don't sort the list there: the links "
            "would stay where they are."
        )
    return book


def annotate(book: AnnotatedWorkbook, roster: Roster, screened: Screened, delivery: Delivery) -> None:
    """Write into the workbook what a run came to: the links of its links workbook, and a status for every row."""
    table = roster.table
    links = dict(zip(np.flatnonzero(delivery.rows).tolist(), delivery.links.to_pylist(), strict=True))
    annotations = []
    for position, row in enumerate(table.row_numbers.tolist()):
        code = screened.code_at(position)
        kept = int(screened.kept[position])
        note = ""
        if position in links:
            status = _LINKED
        elif code is not None:
            status, note = code.action.value, code.message(**screened.gaps.get(position, {}))
        elif kept != position:
            status = f"duplicate of row {table.row_numbers[kept]}"
        else:
            status = _HAD_ONE
        annotations.append(RowAnnotation(row, links.get(position, ""), status, note))
    book.correct(roster.corrections)
    book.annotate(annotations, roster.id_column.parts)
