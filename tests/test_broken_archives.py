"""ZIP files that are broken inside: a list, a template or an archive of the night is a sentence, never a defect."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

Break = Callable[[bytearray, zipfile.ZipInfo], None]


def in_its_bytes(content: bytearray, entry: zipfile.ZipInfo) -> None:
    start = entry.header_offset + 30 + len(entry.filename)
    content[start : start + 12] = b"\xff" * 12


def of_an_unknown_method(content: bytearray, entry: zipfile.ZipInfo) -> None:
    _set_in_both_places(content, entry, offset=8, value=97)


def encrypted(content: bytearray, entry: zipfile.ZipInfo) -> None:
    _set_in_both_places(content, entry, offset=6, value=1)


def with_another_checksum(content: bytearray, entry: zipfile.ZipInfo) -> None:
    _set_in_both_places(content, entry, offset=14, value=7)


def _set_in_both_places(content: bytearray, entry: zipfile.ZipInfo, *, offset: int, value: int) -> None:
    """In the entry's own header, and in the directory at the end, where it stands two bytes further on."""
    content[entry.header_offset + offset] = value
    in_directory = content.rfind(b"PK\x01\x02", 0, content.rfind(entry.filename.encode()))
    content[in_directory + offset + 2] = value


BROKEN: list[Break] = [in_its_bytes, of_an_unknown_method, encrypted, with_another_checksum]


def archive_of(name: str, how: Break) -> bytes:
    """An archive with one entry of this name, broken."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "<Types>" + "abc def " * 300 + "</Types>")
    content = bytearray(made.getvalue())
    how(content, zipfile.ZipFile(io.BytesIO(bytes(content))).getinfo(name))
    return bytes(content)


@pytest.mark.parametrize("how", BROKEN, ids=lambda how: how.__name__)
def test_a_broken_workbook_is_a_sentence(command: Callable[..., Ended], tmp_path: Path, how: Break) -> None:
    (tmp_path / "patients.xlsx").write_bytes(archive_of("[Content_Types].xml", how))

    ended = command("check", tmp_path / "patients.xlsx")

    assert ended.code == 2
    assert "damaged or cut short" in ended.err
    assert "defect" not in ended.err


@pytest.mark.usefixtures("healthex")
@pytest.mark.parametrize("how", BROKEN, ids=lambda how: how.__name__)
def test_a_broken_template_is_a_sentence(command: Callable[..., Ended], tmp_path: Path, how: Break) -> None:
    (tmp_path / "letter.docx").write_bytes(archive_of("word/document.xml", how))
    (tmp_path / "patients.csv").write_text("MRN,First Name,Last Name\n1001,Ann,Lee\n")

    ended = command("run", tmp_path / "patients.csv", "--letters", tmp_path / "letter.docx")

    assert ended.code == 2
    assert "is not a Word document (.docx), or is damaged" in ended.err
    assert "defect" not in ended.err
