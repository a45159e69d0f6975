"""The options of a run as keyword arguments: what a type checker and an editor know of `batchlinks.run`."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, TypedDict


class RunOptions(TypedDict, total=False):
    """Options of `batchlinks.run` and `batchlinks.check`: the command's, with underscores. See `RunSettings`."""

    project_id: str | None
    project: str | None
    id_column: str | None
    id_join: str
    any_column: bool
    sheet: str | None
    header_row: int | None
    encoding: str | None
    id_pattern: str | None
    id_width: int | None
    any_length: bool
    any_shape: bool
    exact_ids: bool
    exclude: str | Path | None
    corrections: str | Path | None
    do_not_contact: str | Path | None
    heed: Sequence[str]
    ignore: Sequence[str]
    leave_out_consented: bool
    output_dir: str | Path | None
    format: Literal["xlsx", "csv"]
    columns: str | Sequence[str] | None
    annotate: bool
    link_column: str
    iso_dates: bool
    link_dates: bool
    split_by: str | None
    protect: bool
    qr: bool
    clickable: bool
    letters: str | Path | None
    message: str | Path | None
    phone_column: str | None
    phone_region: str
    share_phones: bool
    minors: str | None
    language_column: str | None
    only_where: Sequence[str]
    csv_bom: bool
    keep_duplicates: bool
    only_new: bool
    limit: int | None
    concurrency: int
    rate: float | None
    max_attempts: int
    timeout: float
    patience: float
    workers: int | None
    cluster: str | None
    consent_type: Sequence[str]
    strict_links: bool
    ledger: str | Path | None
    no_ledger: bool
    ledger_keep_days: int | None
    new_ledger: bool
    response_keep_days: int
    refresh: bool
    share_with_group: bool


class StatusOptions(RunOptions, total=False):
    """Options of `batchlinks.status`: those of a run that fit, and its own. See `StatusSettings`."""

    reminder: bool
    after_days: int
    mailed_on: str | date | None
    max_age: float
