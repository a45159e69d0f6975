"""The files of one run or check, in the kind that was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from batchlinks.errors import SettingsError
from batchlinks.logs import logger
from batchlinks.results.delimited import write_csv
from batchlinks.results.release import Owner, Release
from batchlinks.results.summary import Summary
from batchlinks.results.workbook import Sheet, TooManyRows, write_workbook
from batchlinks.roster import RosterBytes

NO_FOLDER = "There is no folder to write to. Name one with --output-dir."
"""A roster that is no file of this computer has none of its own."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where the files are."""

    folder: Path
    paths: Mapping[str, Path]
    """`links`, `errors`, `duplicates` (CSV only), `summary` -> path."""

    obstacle: str | None
    """Why the files could not have the name that they were to have; None where they have it."""


class ResultFiles:
    """A context manager: the folder is known to be usable before any call is made, and nothing half-written stays.

    `owner` says whose they are; None: the roster's, by the place where it lies.
    Raises SettingsError when there is no folder, or one that cannot be written.
    """

    def __init__(
        self,
        source: Path | RosterBytes,
        *,
        owner: str | None,
        output_dir: Path | None,
        kind: Literal["xlsx", "csv"],
        project_id: str | None,
        share_with_group: bool,
        check: bool = False,
    ) -> None:
        if output_dir is None and not isinstance(source, Path):
            raise SettingsError(NO_FOLDER)
        folder = output_dir if output_dir is not None else Path(source).parent  # type: ignore[arg-type]
        name = source.name
        place = str(source.resolve()) if isinstance(source, Path) else source.address
        self._check = check
        self._kind = kind
        self._release = Release(
            folder,
            Path(name).stem,
            Owner(owner or place, project_id),
            summary_kind="check" if check else "summary",
            share_with_group=share_with_group,
        )

    def __enter__(self) -> Self:
        self._release.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.__exit__(kind, error, trace)

    def publish(self, summary: Summary, sheets: Mapping[str, Sheet]) -> Published:
        """Write all files and put them in their place; `summary.outputs` is filled in.

        `sheets`: `links` (not for a check), `errors` and `duplicates`. What is too long for a workbook goes to CSV, and the
        log says so. Raises BatchlinksError when that fails.
        """
        written = self._write("links", "links", (sheets["links"],)) if "links" in sheets else {}
        written |= self._write("errors", "check" if self._check else "errors", (sheets["errors"], sheets["duplicates"]))
        released = self._release.publish(summary.as_json())
        summary.outputs = dict(released.outputs)
        paths = {role: released.paths[suffix] for role, suffix in written.items()}
        return Published(released.summary.parent, paths | {"summary": released.summary}, released.obstacle)

    def _write(self, role: str, name: str, sheets: tuple[Sheet, ...]) -> dict[str, str]:
        """Role -> suffix of the file that was written for it."""
        if self._kind == "xlsx":
            try:
                with self._release.open(f"{name}.xlsx") as file:
                    write_workbook(file, sheets, title=f"batchlinks: {sheets[0].name}")
            except TooManyRows:
                what = "links" if role == "links" else "rows to fix"
                logger().warning(f"The {what} are more than a workbook holds, so they are written as CSV.", file=name)
            else:
                return {role: f"{name}.xlsx"}
        written = {}
        for sheet, sheet_role in zip(sheets, (role, "duplicates"), strict=False):
            suffix = f"{name}.csv" if sheet_role == role else f"{'check.' if self._check else ''}duplicates.csv"
            with self._release.open(suffix) as file:
                write_csv(file, sheet.headers, sheet.columns)
            written[sheet_role] = suffix
        return written
