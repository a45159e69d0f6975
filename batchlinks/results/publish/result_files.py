"""The files of one run or check, in the kind that was asked for."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.logs import logger
from batchlinks.next_steps import Part, Setting
from batchlinks.results.annotated_workbook import AnnotatedWorkbook
from batchlinks.results.csv_writer import write_csv
from batchlinks.results.protect import write_protected
from batchlinks.results.publish.existing_set import Owner, name_in_set
from batchlinks.results.publish.publisher import LostPatients, OutgoingLinks, Publisher, UnfinishedSet
from batchlinks.results.qr import qr_code
from batchlinks.results.sheets import pictured
from batchlinks.results.split import split
from batchlinks.results.status_summary import StatusSummary
from batchlinks.results.summary import Summary
from batchlinks.results.xlsx.package import write_workbook
from batchlinks.results.xlsx.sheet import MAX_HYPERLINKS, MAX_PICTURES, Sheet, TooManyRows
from batchlinks.roster.source import RosterBytes, RosterFrame

NO_FOLDER: tuple[Part, ...] = ("There is no folder to write to. Name one with ", Setting("output_dir"), ".")
"""What is said where a roster that is no file of this computer, and so has no folder of its own."""

_PARTS_FOLDER, _QR_FOLDER, _LETTERS_FOLDER = "links", "qr", "letters"
_MANY_PICTURES = 1_000
"""From here on it takes so long that a person would wonder."""

_REPORT_ROLES = ("errors", "duplicates", "corrections")
"""The sheets of the error report, in their order."""

_ANNOTATED = "annotated.xlsx"


@dataclass(frozen=True, slots=True)
class LettersFile:
    """A document with letters, and which rows of the links sheet have one in it."""

    write: Callable[[BinaryIO], object]
    """Writes it into a file."""

    positions: npt.NDArray[np.int64] = field(repr=False)


_LIST = "files.csv"
_LIST_HEADERS = ("file", "value", "rows")
_NO_PARTS = [pa.array([], pa.string())] * len(_LIST_HEADERS)


@dataclass(frozen=True, slots=True)
class LinksFile:
    """A file with links that is in its place, and which rows of the links sheet stand in it."""

    name: str
    """In the folder, such as `patients.links/North.xlsx`."""

    sha256: str
    positions: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    """None where all rows do."""

    value: str = ""
    """Of the column that the list was split by."""

    is_letters: bool = False
    """Whether it is a document with letters, and no workbook."""

    is_annotated: bool = False
    """Whether it is the list's own workbook with links in it."""


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """Where the files are."""

    folder: Path | None
    """None where nothing was written, since the results went back to a program in Python."""

    paths: Mapping[str, Path]
    """`links`, `errors`, `duplicates` and `corrections` (CSV only), `summary` -> path; `links` is a folder where the list was
    split, and `files` the list of what is in it; `qr` is the folder of pictures; `letters` is a document or a folder of them.
    There is no `links` where nobody is new."""

    obstacle: str | None
    """Why the files could not have the name that they were to have; None where they have it."""

    with_links: Sequence[LinksFile] = ()
    """The files with links."""

    outgoing: OutgoingLinks = field(default_factory=OutgoingLinks)
    """What became of those that were there before."""

    @property
    def kept_as(self) -> list[str]:
        """What links workbooks of before are called now that stay beside the new one, or the folders of such."""
        return sorted({PurePosixPath(name).parts[0] for name in self.outgoing.renamed.values()})


class ResultFiles:
    """A context manager: the folder is known to be usable before any call is made, and nothing half-written stays.

    `owner` says whose they are; None: the roster's, by the place where it lies. `password`: encrypts the workbooks, so
    that nothing of them is in clear on disk.
    Raises SettingsError when there is no folder, or one that cannot be written.
    """

    def __init__(
        self,
        source: Path | RosterBytes | RosterFrame,
        *,
        owner: str | None,
        output_dir: Path | None,
        kind: Literal["xlsx", "csv"],
        project_id: str | None,
        share_with_group: bool,
        password: str | None = None,
        csv_bom: bool = True,
        check: bool = False,
        status: bool = False,
    ) -> None:
        if output_dir is None and not isinstance(source, Path):
            raise SettingsError(*NO_FOLDER)
        folder = output_dir if output_dir is not None else Path(source).parent  # type: ignore[arg-type]
        self.folder = folder
        """Where the files go."""

        name = _name_of_list(source.name)
        place = str(source.resolve().with_name(name)) if isinstance(source, Path) else source.address
        self._check = check
        self._kind = kind
        self._password = password
        self._csv_bom = csv_bom
        self._with_links: list[LinksFile] = []
        self._release = Publisher(
            folder,
            Path(name).stem,
            Owner(owner or place, project_id),
            summary_kind="check" if check else "status" if status else "summary",
            share_with_group=share_with_group,
        )

    def __enter__(self) -> Self:
        self._release.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.__exit__(kind, error, trace)

    @property
    def owner(self) -> str:
        """Stands for roster and project, and tells nothing of either."""
        return self._release.owner

    def unfinished_sets(self) -> Sequence[UnfinishedSet]:
        """Files of earlier runs for the same owner that did not finish."""
        return self._release.unfinished_sets()

    def supersede(self, sets: Collection[UnfinishedSet]) -> frozenset[str]:
        """These files will replace those. Returns the IDs of the runs that wrote them."""
        return self._release.supersede(sets)

    def finish(self) -> None:
        """Everything is noted that has to be: the very last thing of a run."""
        self._release.finish()

    def discard(self) -> None:
        """Forget what was written so far, where `last_look` stopped it: `publish` begins anew."""
        self._release.discard()

    def publish(
        self,
        summary: Summary,
        sheets: Mapping[str, Sheet],
        split_values: pa.Array | None = None,
        letters: Mapping[str, LettersFile] = MappingProxyType({}),
        *,
        annotated: AnnotatedWorkbook | None = None,
        last_look: Callable[[], object] = lambda: None,
        lost: LostPatients = lambda _: 0,
        on_placing: Callable[[Sequence[LinksFile]], object] = lambda _: None,
    ) -> PublishedFiles:
        """Write all files and put them in their place; `summary.outputs` is filled in.

        `sheets`: `links` (not for a check, nor where nobody is new), `errors`, `duplicates`, and `corrections` where there
        are any. `split_values`: one for each row of `links`, where each value is to have a workbook of its own. `letters`: by the
        end of its name, such as `letters.docx` or `letters/North.docx`, each document. What is too long for a
        workbook goes to CSV, and the log says so.
        `last_look` is called when all is written and nothing is in its place yet, and may raise; `lost`, `on_placing`: see
        `Publisher.publish`.
        Raises BatchlinksError when that fails.
        """
        written = {}
        self._with_links = []
        if "links" in sheets:
            links = sheets["links"]
            if links.pictures is not None and len(links) >= _MANY_PICTURES:
                logger().info(f"Drawing {len(links):,} QR codes, which takes a while.")
            written = self._write_links(links) if split_values is None else self._write_parts(links, split_values)
        if annotated is not None:
            self._write_annotated(annotated)
            written["annotated"] = _ANNOTATED
            self._with_links.append(LinksFile(_ANNOTATED, "", is_annotated=True))
        written |= self._write_errors([sheets[role] for role in _REPORT_ROLES if role in sheets])
        written |= self._write_letters(letters)
        leave_links = not self._check and "links" not in sheets
        return self._release_set(summary, written, leave_links, lost, last_look, on_placing)

    def _named(self, outputs: Mapping[str, str], stem: str) -> list[LinksFile]:
        """The files with links, by the names that they get."""
        names = [name_in_set(stem, file.name) for file in self._with_links]
        return [
            replace(file, name=name, sha256=outputs[name]) for file, name in zip(self._with_links, names, strict=True)
        ]

    def publish_status(
        self,
        summary: StatusSummary,
        sheets: Mapping[str, Sheet],
        split_values: pa.Array | None = None,
        letters: Mapping[str, LettersFile] = MappingProxyType({}),
        *,
        last_look: Callable[[], object] = lambda: None,
        lost: LostPatients = lambda _: 0,
        on_placing: Callable[[Sequence[LinksFile]], object] = lambda _: None,
    ) -> PublishedFiles:
        """As `publish`, for the sheets `status` and, where there is one, `reminder`, to whose rows `split_values` belong.

        Without a reminder, one that is there stays.
        """
        written = {"status": self._write_sheets("status", (sheets["status"],), ("status",))[0]}
        self._with_links = []
        if "reminder" in sheets:
            written |= self._write_reminder(sheets["reminder"], split_values)
        if letters:
            named = {f"reminder.{suffix}": write for suffix, write in letters.items()}
            written |= self._write_letters(named, "reminder.")
        return self._release_set(summary, written, "reminder" not in sheets, lost, last_look, on_placing)

    def _release_set(
        self,
        summary: Summary,
        written: Mapping[str, str],
        leave_links: bool,
        lost: LostPatients,
        last_look: Callable[[], object],
        on_placing: Callable[[Sequence[LinksFile]], object],
    ) -> PublishedFiles:
        released = self._release.publish(
            summary.as_json(),
            lost=lost,
            leave_links=leave_links,
            last_look=last_look,
            on_placing=lambda outputs, stem: on_placing(self._named(outputs, stem)),
        )
        summary.outputs, summary.folder = dict(released.outputs), str(released.summary.parent.resolve())
        paths = {role: released.paths[suffix] for role, suffix in written.items()}
        return PublishedFiles(
            released.summary.parent,
            paths | {"summary": released.summary},
            released.obstacle,
            self._named(released.outputs, released.stem_used),
            released.outgoing,
        )

    def _write_reminder(self, sheet: Sheet, values: pa.Array | None) -> dict[str, str]:
        folder, qr = "reminder", "reminder.qr"
        if values is None:
            written = {"reminder": self._write_sheets(folder, (sheet,), (folder,), pictures=qr)[0]}
            self._with_links = [LinksFile(written["reminder"], "")]
        else:
            written = {"reminder": folder, "reminder_files": f"{folder}.{_LIST}"}
            self._write_folder_of_parts(sheet, values, folder, written["reminder_files"], qr)
        return written | ({"reminder_qr": qr} if self._qr_folder(sheet, qr) else {})

    def _write_links(self, sheet: Sheet) -> dict[str, str]:
        """Role -> suffix of the file, or of the folder, that was written for it."""
        suffix = self._write_sheets("links", (sheet,), ("links",), pictures=_QR_FOLDER)[0]
        self._with_links = [LinksFile(suffix, "")]
        return {"links": suffix} | self._qr_folder(sheet)

    def _write_parts(self, sheet: Sheet, values: pa.Array) -> dict[str, str]:
        self._write_folder_of_parts(sheet, values, _PARTS_FOLDER, _LIST, _QR_FOLDER)
        return {"links": _PARTS_FOLDER, "files": _LIST} | self._qr_folder(sheet)

    def _write_folder_of_parts(self, sheet: Sheet, values: pa.Array, folder: str, list_of_files: str, qr: str) -> None:
        self._release.folder(folder)
        counted = []
        self._with_links = []
        for part in split(sheet, values):
            name = f"{folder}/{part.name}"
            (suffix,) = self._write_sheets(name, (part.sheet,), (name,), pictures=f"{qr}/{part.name}")
            counted.append((PurePosixPath(suffix).name, part.value, str(len(part.sheet))))
            self._with_links.append(LinksFile(suffix, "", part.positions, part.value))
        with self._release.open(list_of_files) as file:
            write_csv(
                file,
                _LIST_HEADERS,
                [pa.array(column, pa.string()) for column in zip(*counted, strict=True)] or _NO_PARTS,
            )

    def _qr_folder(self, sheet: Sheet, folder: str = _QR_FOLDER) -> dict[str, str]:
        if sheet.pictures is None:
            return {}
        if self._password is not None:
            logger().info("The QR codes are in the workbook only: pictures of their own would show the links in clear.")
            return {}
        self._release.folder(folder)
        return {"qr": folder}

    def _write_annotated(self, annotated: AnnotatedWorkbook) -> None:
        with self._release.open(_ANNOTATED) as file:
            if self._password is None:
                annotated.save(file)
            else:
                write_protected(file, annotated.save, self._password)

    def _write_letters(self, letters: Mapping[str, LettersFile], before: str = "") -> dict[str, str]:
        """Encrypted as the workbooks are, where these are. `before`: what their names begin with."""
        if any(suffix.startswith(f"{before}{_LETTERS_FOLDER}/") for suffix in letters):
            self._release.folder(f"{before}{_LETTERS_FOLDER}")
        for suffix, letters_file in letters.items():
            with self._release.open(suffix) as file:
                if self._password is None:
                    letters_file.write(file)
                else:
                    write_protected(file, letters_file.write, self._password)
            self._with_links.append(LinksFile(suffix, "", letters_file.positions, is_letters=True))
        return {"letters": PurePosixPath(next(iter(letters))).parts[0]} if letters else {}

    def _write_errors(self, sheets: Sequence[Sheet]) -> dict[str, str]:
        name, before = ("check", "check.") if self._check else ("errors", "")
        csv_names = [name, *(f"{before}{role}" for role in _REPORT_ROLES[1:])]
        suffixes = self._write_sheets(name, sheets, csv_names[: len(sheets)])
        return dict(zip(_REPORT_ROLES, suffixes, strict=False))

    def _write_sheets(
        self, name: str, sheets: Sequence[Sheet], csv_names: Sequence[str], *, pictures: str = ""
    ) -> list[str]:
        """The suffixes of the one workbook, or else of the CSV files, that hold these sheets.

        `pictures`: the folder for those of a links sheet.
        """
        if self._kind == "xlsx":
            try:
                self._write_workbook(f"{name}.xlsx", sheets, pictures)
            except TooManyRows as error:
                if self._password is not None:
                    raise BatchlinksError(*error.args, " CSV cannot be protected, so no file was written.") from error
                what = "rows to fix" if name in ("errors", "check") else "links"
                logger().warning(f"The {what} are more than a workbook holds, so they are written as CSV.")
            else:
                return [f"{name}.xlsx"]
        for sheet, csv_name in zip(sheets, csv_names, strict=True):
            with self._release.open(f"{csv_name}.csv") as file:
                write_csv(file, sheet.headers, sheet.columns, bom=self._csv_bom)
            for _ in self._draw(sheet, pictures):
                pass
        return [f"{csv_name}.csv" for csv_name in csv_names]

    def _write_workbook(self, suffix: str, sheets: Sequence[Sheet], pictures: str) -> None:
        drawn = (picture for sheet in sheets for picture in self._draw(sheet, pictures))

        def write(file: BinaryIO) -> None:
            write_workbook(file, sheets, title=f"batchlinks: {sheets[0].name}", pictures=drawn)

        with self._release.open(suffix) as file:
            if self._password is None:
                write(file)
            else:
                write_protected(file, write, self._password)
        _tell_what_is_left_out(sheets[0])

    def _draw(self, sheet: Sheet, folder: str) -> Iterator[bytes]:
        """The QR code of each link, one by one; written to `folder` too, where it has a name there."""
        for link, name in pictured(sheet):
            picture = qr_code(link)
            if name:
                with self._release.open(f"{folder}/{name}") as file:
                    file.write(picture)
            yield picture


def _name_of_list(name: str) -> str:
    """Of an annotated workbook, the name of the list from which it was made."""
    stem, ending = Path(name).stem, Path(name).suffix
    return f"{stem.removesuffix('.annotated') or stem}{ending}"


def _tell_what_is_left_out(links: Sheet) -> None:
    """What a workbook cannot hold of its last rows."""
    if links.hyperlinks is not None and len(links) > MAX_HYPERLINKS:
        logger().warning(
            f"Excel takes {MAX_HYPERLINKS:,} hyperlinks a sheet, so the links of the rows behind are text."
        )
    if links.pictures is not None and len(links) > MAX_PICTURES:
        logger().warning(f"A workbook holds {MAX_PICTURES:,} pictures, so the rows behind have none in it.")
