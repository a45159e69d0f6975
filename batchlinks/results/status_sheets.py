"""What stands in the status workbook: a row for each patient who was asked about, without the link. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from batchlinks.arrow import combine_chunks, filter_rows
from batchlinks.columns.id_column import IdColumn, display_names
from batchlinks.patients.people import identity_columns
from batchlinks.responses.judgment import Response
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.screening.result import Mask, Screened
from batchlinks.table import Table

STATUS_SHEET = "Status"
STATUS_COLUMNS = (
    "response", "response_on", "consent_expires_on", "link_issued_on", "in_a_file_since", "reminded_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PatientStatus:
    """What is known of one patient. Days are ISO 8601, "" where there is none."""

    response: Response
    by_type: Mapping[str, Response]
    response_on: str = ""
    """The day on which HealthEx showed it, or could not be asked."""

    consent_expires_on: str = ""
    link_issued_on: str = ""
    in_a_file_since: str = ""
    reminded_on: str = ""


def status_sheet(
    table: Table,
    column: IdColumn,
    screened: Screened,
    *,
    rows: Mask,
    statuses: Sequence[PatientStatus],
    consent_types: Sequence[str],
) -> Sheet:
    """The sheet `Status`: the ID, names, and what is known of each of these `rows`, to which `statuses` belong in order."""
    names = display_names(table.headers)
    identity = identity_columns(table.headers, column.parts)
    people = [place for place in (identity.first_name, identity.last_name, identity.full_name) if place is not None]
    headers = [column.name, *(names[place] for place in people)]
    values = [
        filter_rows(rows, screened.ids),
        *(combine_chunks(filter_rows(rows, table.cells.column(place))) for place in people),
    ]
    first, *others = STATUS_COLUMNS
    told = {first: [status.response.value for status in statuses]}
    if len(consent_types) > 1:
        told |= {
            f"{first}_{kind.lower()}": [status.by_type[kind].value for status in statuses] for kind in consent_types
        }
    told |= {name: [getattr(status, name) for status in statuses] for name in others}
    return Sheet(
        STATUS_SHEET,
        display_names([*headers, *told]),
        [*values, *(pa.array(texts, pa.string()) for texts in told.values())],
        identity=range(len(headers)),
        essential=range(len(headers), len(headers) + len(told)),
    )
