"""What kind of file a roster is: by its content, since names lie."""

import io
import re
import zipfile
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from batchlinks.errors import RosterError
from batchlinks.next_steps import Advice, Do
from batchlinks.zip_failures import ZIP_FAILURES


class FileKind(Enum):
    """The kinds that can be read."""

    TEXT = "text"
    XLSX = "an Excel workbook"
    XLSB = "a binary Excel workbook"
    XLS = "an Excel 97 workbook"
    ODS = "an OpenDocument spreadsheet"


_TEXT_ENDINGS = (".csv", ".tsv", ".txt")
_ZIP = b"PK\x03\x04"
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_EXPORT_AGAIN = "Ask whoever made it, or the program it comes from, for the list itself as .xlsx or .csv."
_SAVE_AS_XLSX = "Open it in Excel and save it as .xlsx."
_UNPACK = "Unpack it, and use the patient list that is in it."
_COPY_THE_TABLE = (
    "If the patients are in a table in it, copy the table into a new Excel workbook, save that as .xlsx, and use it."
)
_OTHER_KINDS = (
    (b"%PDF", "a PDF document", _EXPORT_AGAIN),
    (b"{\\rtf", "a text document (RTF)", _COPY_THE_TABLE),
    (b"\x1f\x8b", "a compressed file (gzip)", _UNPACK),
    (b"7z\xbc\xaf", "a compressed file (7-Zip)", _UNPACK),
    (b"Rar!", "a compressed file (RAR)", _UNPACK),
    (b"BZh", "a compressed file (bzip2)", _UNPACK),
    (b"\xfd7zXZ", "a compressed file (xz)", _UNPACK),
    (b"PAR1", "a Parquet file", _EXPORT_AGAIN),
    (b"SQLite format 3", "a database", _EXPORT_AGAIN),
    (b"\x00\x01\x00\x00Standard", "an Access database", "Export the table from Access as an Excel workbook (.xlsx)."),
    (b"\x89PNG", "a picture", _EXPORT_AGAIN),
    (b"\xff\xd8\xff", "a picture", _EXPORT_AGAIN),
    (b"GIF8", "a picture", _EXPORT_AGAIN),
    (b"II*\0", "a picture", _EXPORT_AGAIN),
    (b"MM\0*", "a picture", _EXPORT_AGAIN),
    (b"-----BEGIN PGP", "an encrypted file (PGP)", "Decrypt it first."),
    (b"ID;P", "a SYLK file", _SAVE_AS_XLSX),
    (b"\x09\x00\x04\x00", "a worksheet of Excel 2", _SAVE_AS_XLSX),
    (b"\x09\x02\x06\x00", "a worksheet of Excel 3", _SAVE_AS_XLSX),
    (b"\x09\x04\x06\x00", "a worksheet of Excel 4", _SAVE_AS_XLSX),
)
_WEB_PAGE = (b"<!doctype html", b"<html", b"<table", b"<head", b"<meta", b"<style")
_XML = (b"<?xml", b"<workbook", b"<!doctype")
_APPLE = re.compile(r"(?:^|/)index(?:/.*\.iwa|\.zip|\.xml|\.apxl)$|\.iwa$", re.IGNORECASE)
_PACKAGE = "EncryptedPackage"
_MAX_TYPES = 1_000_000  # bytes of a list of content types that are looked at
_NO_PASSWORD_NEEDED = "VelvetSweatshop"  # noqa: S105 - Excel's own, which it tries before it asks anybody ([MS-OFFCRYPTO] 2.3.7.7)


def file_kind(name: str, content: bytes, *, password: str | None) -> tuple[FileKind, bytes]:
    """The kind of `content`, and the bytes to read: `content` itself, or what is in it under a password.

    Among the kinds of workbook the content decides; a workbook that is named as text, or text that is named as a
    workbook, is refused, as is everything else. Raises `RosterError`.
    """
    found = _recognise(name, content, password)
    ending = Path(name).suffix.lower()
    if ending and (found[0] is FileKind.TEXT) != (ending in _TEXT_ENDINGS):
        really = "plain text, probably a CSV" if found[0] is FileKind.TEXT else found[0].value
        rename = ".csv" if found[0] is FileKind.TEXT else ".xlsx"
        raise RosterError(
            f"{name} is named {ending}, but it is {really}. If it is the patient list, give it a name that ends in "
            f"{rename}, or open it in Excel and save it as .xlsx."
        )
    return found


def _recognise(name: str, content: bytes, password: str | None) -> tuple[FileKind, bytes]:
    if content.startswith(_ZIP):
        return _kind_of_archive(name, content), content
    if content.startswith(_COMPOUND_FILE):
        return _open_compound_file(name, content, password)
    other = next(((words, advice) for start, words, advice in _OTHER_KINDS if content.startswith(start)), None)
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_WEB_PAGE):
        other = "a web page (HTML), as some systems export it", _SAVE_AS_XLSX
    elif start.startswith(_XML):
        other = "an XML file", _SAVE_AS_XLSX
    elif content[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        other = "a picture", _EXPORT_AGAIN
    if other:
        raise _not_a_list(name, *other)
    if b"\0" in content[:4096] and Path(name).suffix.lower() not in ("", *_TEXT_ENDINGS):
        raise RosterError(
            f"{name} is no workbook, and nothing else that can be read. Export the patient list again as .xlsx or .csv."
        )
    return FileKind.TEXT, content


def _kind_of_archive(name: str, content: bytes) -> FileKind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {entry.replace("\\", "/").lower().lstrip("/"): entry for entry in archive.namelist()}
            types = _start_of(archive, entries.get("[content_types].xml")).lower()
            mimetype = _start_of(archive, entries.get("mimetype")).lower()
    except ZIP_FAILURES:
        raise damaged(name) from None
    if b"sheet.binary" in types or "xl/workbook.bin" in entries:
        return FileKind.XLSB
    if b"spreadsheetml" in types or any(entry.startswith("xl/") or entry == "workbook.xml" for entry in entries):
        return FileKind.XLSX
    if b"spreadsheet" in mimetype or (not mimetype and "content.xml" in entries) or "encrypted-package" in entries:
        return FileKind.ODS
    raise _not_a_list(name, *_other_archive(name, entries, types, mimetype))


def _start_of(archive: zipfile.ZipFile, entry: str | None) -> bytes:
    if entry is None:
        return b""
    with archive.open(entry) as part:
        return part.read(_MAX_TYPES)


def _other_archive(name: str, entries: Iterable[str], types: bytes, mimetype: bytes) -> tuple[str, str]:
    """What a zip archive is that is no workbook, and what to do."""
    if b"wordprocessingml" in types or b"opendocument.text" in mimetype:
        return "a text document (Word)", _COPY_THE_TABLE
    if b"presentationml" in types or b"opendocument.presentation" in mimetype:
        return "a presentation (PowerPoint)", _EXPORT_AGAIN
    if any(map(_APPLE.search, entries)):
        if Path(name).suffix.lower() == ".pages":
            return "a document of Apple Pages", _COPY_THE_TABLE
        return "a document of Apple Numbers, Pages or Keynote", (
            "Open it in Numbers, choose File > Export To > Excel, and use that file."
        )
    if any(
        Path(entry).suffix in (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".xlsb", ".ods") for entry in entries
    ):
        return "a zip archive with a list in it", _UNPACK
    return "a zip archive or another document, not a workbook", "Save the patient list as .xlsx."


def _not_a_list(name: str, what: str, advice: str) -> RosterError:
    return RosterError(f"{name} is {what}{'' if ', not ' in what else ', not a patient list'}. {advice}")


_OTHER_STREAMS = (
    ("WordDocument", "a Word document", _COPY_THE_TABLE),
    ("PowerPoint Document", "a PowerPoint presentation", _EXPORT_AGAIN),
    ("__properties_version1.0", "an e-mail of Outlook", "Save the attachment that is the patient list, and use that."),
    ("VisioDocument", "a Visio drawing", _EXPORT_AGAIN),
)


def _open_compound_file(name: str, content: bytes, password: str | None) -> tuple[FileKind, bytes]:
    streams = _streams(name, content)
    if _is_labeled(streams):
        raise RosterError(
            f"{name} is encrypted by a sensitivity label (or another rights management), which only Excel can open. Open it "
            "in Excel, change the label to one without encryption (or ask IT), and save it; or copy the list into a new "
            "workbook."
        )
    for stream, what, advice in _OTHER_STREAMS:
        if stream in streams:
            raise _not_a_list(name, what, advice)
    decrypted = _decrypted(name, content, password) if _may_be_encrypted(streams) else None
    if decrypted is None:
        return FileKind.XLS, content
    if decrypted.startswith(_ZIP):
        return _kind_of_archive(name, decrypted), decrypted
    if decrypted.startswith(_COMPOUND_FILE):
        return FileKind.XLS, decrypted
    raise _wrong_password(name)


def _streams(name: str, content: bytes) -> set[str]:
    """Names of all storages and streams of a compound file."""
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(content)) as document:
            return {step for path in document.listdir() for step in path}
    except Exception:  # the library raises whatever its parsers raise
        raise damaged(name) from None


def _is_labeled(streams: set[str]) -> bool:
    """A document under rights management says so in its data space, or has no key that a password would open."""
    if any("DRM" in stream for stream in streams):
        return True
    return _PACKAGE in streams and "EncryptionInfo" not in streams


def _may_be_encrypted(streams: set[str]) -> bool:
    """Excel 5 and 95 wrote `Book`, which the library for passwords does not know."""
    return _PACKAGE in streams or "Workbook" in streams


def _decrypted(name: str, content: bytes, password: str | None) -> bytes | None:
    """What is in it under the password that is no secret, or else under `password`; None where it is not encrypted."""
    import msoffcrypto
    from msoffcrypto.exceptions import InvalidKeyError
    from msoffcrypto.format.ooxml import OOXMLFile

    try:
        encrypted = msoffcrypto.OfficeFile(io.BytesIO(content))
        if not encrypted.is_encrypted():
            return None
    except Exception:  # as above
        raise damaged(name) from None
    is_package = isinstance(encrypted, OOXMLFile)
    for attempt in (_NO_PASSWORD_NEEDED, password):
        if not attempt:
            raise RosterError(f"{name} is protected with a password. ", Advice(Do.GIVE_PASSWORD))
        document = msoffcrypto.OfficeFile(io.BytesIO(content))
        opened = io.BytesIO()
        try:
            document.load_key(**{"password": attempt} | ({"verify_password": True} if is_package else {}))
            document.decrypt(opened)
        except InvalidKeyError:
            continue
        except Exception:  # as above
            raise damaged(name) from None
        if opened.getvalue().startswith((_ZIP, _COMPOUND_FILE)):
            return opened.getvalue()
    raise _wrong_password(name)


def _wrong_password(name: str) -> RosterError:
    return RosterError(f"{name} does not open with the password that was set. ", Advice(Do.CHECK_PASSWORD))


def damaged(name: str) -> RosterError:
    """For a file that is cut short or broken."""
    return RosterError(
        f"{name} cannot be opened: it is damaged or cut short. Export or copy the patient list again; if Excel opens "
        "the file, save it there as a new workbook."
    )
