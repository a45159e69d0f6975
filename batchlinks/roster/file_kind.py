"""What kind of file a roster is: by its content, since names lie."""

import io
import zipfile
from enum import Enum
from pathlib import Path

from batchlinks.advice import Advice, Do
from batchlinks.errors import RosterError


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
_OTHER_KINDS = (
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"7z\xbc\xaf", "a compressed file (7-Zip)"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "a database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"-----BEGIN PGP", "an encrypted file"),
)
_WEB_PAGE = (b"<!doctype html", b"<html", b"<table", b"<head", b"<meta", b"<style")
_XML = (b"<?xml", b"<workbook", b"<!doctype")


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
    other = next((words for start, words in _OTHER_KINDS if content.startswith(start)), None)
    start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_WEB_PAGE):
        other = "a web page (HTML), as some systems export it"
    elif start.startswith(_XML):
        other = "an XML file"
    if other == "a picture":
        raise RosterError(f"{name} is a picture, not a patient list. Export the list itself as .xlsx or .csv.")
    if other:
        raise RosterError(f"{name} is {other}, not a patient list. Open it in Excel and save it as .xlsx.")
    if b"\0" in content[:4096] and Path(name).suffix.lower() not in ("", *_TEXT_ENDINGS):
        raise RosterError(
            f"{name} is no workbook, and nothing else that can be read. Export the patient list again as .xlsx or .csv."
        )
    return FileKind.TEXT, content


def _kind_of_archive(name: str, content: bytes) -> FileKind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        raise damaged(name) from None
    if "xl/workbook.bin" in entries:
        return FileKind.XLSB
    if any(entry.startswith("xl/") for entry in entries):
        return FileKind.XLSX
    if "content.xml" in entries or "encrypted-package" in entries:
        return FileKind.ODS
    raise RosterError(f"{name} is a zip archive or another document, not a workbook. Save the patient list as .xlsx.")


def _open_compound_file(name: str, content: bytes, password: str | None) -> tuple[FileKind, bytes]:
    import msoffcrypto
    from msoffcrypto.exceptions import InvalidKeyError

    try:
        document = msoffcrypto.OfficeFile(io.BytesIO(content))
        if not document.is_encrypted():
            return FileKind.XLS, content
    except Exception:  # the library raises whatever its parsers raise
        raise damaged(name) from None
    if not password:
        raise RosterError(f"{name} is protected with a password. ", Advice(Do.GIVE_PASSWORD))
    opened = io.BytesIO()
    try:
        document.load_key(password=password)
        document.decrypt(opened)
    except InvalidKeyError:
        raise _wrong_password(name) from None
    except Exception:  # as above
        raise damaged(name) from None
    decrypted = opened.getvalue()
    if decrypted.startswith(_ZIP):
        return _kind_of_archive(name, decrypted), decrypted
    if decrypted.startswith(_COMPOUND_FILE):
        return FileKind.XLS, decrypted
    raise _wrong_password(name)


def _wrong_password(name: str) -> RosterError:
    return RosterError(f"{name} does not open with the password that was set. ", Advice(Do.CHECK_PASSWORD))


def damaged(name: str) -> RosterError:
    """For a file that is cut short or broken."""
    return RosterError(
        f"{name} cannot be opened: it is damaged or cut short. Export or copy the patient list again; if Excel opens "
        "the file, save it there as a new workbook."
    )
