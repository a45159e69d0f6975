"""The parts of an `.xlsx` package and how they hang together, whatever they are called.

Parts are found as the format says (ECMA-376, part 2): by the types of the relationships that lead to them, by names that
compare without case and percent-encoding. The fast reader goes by the names that Excel uses, so a package with other
names is put together anew for it (`in_usual_form`): what it reads and what we survey is then the same by construction.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote
from xml.sax.saxutils import quoteattr

from batchlinks.errors import RosterError
from batchlinks.roster.guard import Archive, xml_parser

_WORKBOOK, _STYLES, _STRINGS = "xl/workbook.xml", "xl/styles.xml", "xl/sharedStrings.xml"
_WORKBOOK_TYPE = re.compile(r"(?:sheet|template|addin)\.(?:macroEnabled\.)?main\+xml$", re.IGNORECASE)
_TRANSITIONAL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml"
 ContentType="application/xml"/></Types>"""

Elements = list[tuple[str, dict[str, str]]]
"""Local name and attributes of all elements of a small part, in the order of their beginnings."""


@dataclass(frozen=True, slots=True)
class SheetPart:
    """One worksheet of a workbook."""

    name: str
    part: str
    """The entry of the archive that holds it."""

    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Package:
    """The parts of a workbook, each under the name of its entry in the archive."""

    sheets: Mapping[str, SheetPart]
    """By name, in the workbook's order."""

    styles: str | None
    strings: str | None
    styles_known: bool
    """False where there are styles that cannot be tied to the cells: nobody knows how a number is shown."""

    calculated_on_opening: bool
    """The program that wrote it left all formulas to be calculated."""

    from_1904: bool
    """Days are counted from 1904."""

    is_usual: bool
    """The fast reader finds its parts by itself."""

    tables: Mapping[str, tuple[str, ...]]
    """Name of a sheet -> the parts of the Excel tables on it."""


@dataclass(frozen=True, slots=True)
class _Relationship:
    kind: str
    """The last word of its type: `worksheet`, `styles`."""

    target: str
    """As it is written."""

    part: str | None
    """The entry that it leads to; None where there is none."""


class _Parts:
    """The entries of an archive under names that can be compared."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._entries: dict[str, str] = {}
        for entry in archive.parts():
            name = _comparable(entry)
            if not name or name.endswith("/"):
                continue
            if name in self._entries:
                raise _unclear(archive.name)  # which of the two a program reads is its own choice
            self._entries[name] = entry

    def find(self, name: str) -> str | None:
        """The entry called `name`, as names of parts compare."""
        return self._entries.get(_comparable(name))

    def named_like(self, word: str) -> bool:
        """Whether the last part of an entry's name begins with `word`."""
        return any(name.rpartition("/")[2].startswith(word) for name in self._entries)

    def relationships(self, part: str) -> dict[str, _Relationship]:
        """Those that start at the entry `part` ("" is the package), by their ID."""
        folder, _, base = _comparable(part).rpartition("/")
        entry = self.find(f"{folder}/_rels/{base}.rels")
        found: dict[str, _Relationship] = {}
        for element, attributes in read_elements(self.archive, entry) if entry else []:
            if element == "Relationship" and attributes.get("TargetMode", "").lower() != "external":
                target = attributes.get("Target", "")
                kind = attributes.get("Type", "").rstrip("/").rpartition("/")[2].casefold()
                found[attributes.get("Id", "")] = _Relationship(kind, target, self.find(_resolve(folder, target)))
        return found


def _comparable(name: str) -> str:
    """`name` without what makes no difference between names of parts."""
    steps: list[str] = []
    for step in unquote(name.replace("\\", "/")).split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step not in ("", "."):
            steps.append(step)
    ending = "/" if name.endswith(("/", "\\")) else ""
    return "/".join(steps).lower() + ending


def _resolve(folder: str, target: str) -> str:
    target = unquote(target.replace("\\", "/")).partition("#")[0]
    return target if target.startswith("/") else f"{folder}/{target}"


def read_elements(archive: Archive, entry: str) -> Elements:
    """Raises `RosterError` for a part that is broken."""
    found: Elements = []
    parser = xml_parser(archive.name)
    parser.StartElementHandler = lambda name, attributes: found.append((name.rpartition(":")[2], attributes))
    for chunk in archive.chunks(entry):
        parser.Parse(chunk, False)
    parser.Parse(b"", True)
    return found


def read_package(archive: Archive) -> Package:
    """Raises `RosterError` where the parts do not hang together, so that nobody could tell what is read."""
    parts = _Parts(archive)
    workbook = _workbook_part(parts)
    related = parts.relationships(workbook)
    styles, styles_known = _one_of_kind(parts, related, "styles", "styles")
    strings, strings_known = _one_of_kind(parts, related, "sharedstrings", "sharedstrings")
    if not strings_known:
        raise _unclear(archive.name)
    sheets: dict[str, SheetPart] = {}
    on_opening = from_1904 = False
    is_usual = workbook == _WORKBOOK and styles in (None, _STYLES) and strings in (None, _STRINGS)
    # What no relationship leads to is not part of the workbook, and yet the fast reader would use it.
    is_usual &= (styles is not None or not parts.find(_STYLES)) and (strings is not None or not parts.find(_STRINGS))
    is_usual &= f"xl/_rels/{workbook.rpartition('/')[2]}.rels" in archive.parts()
    for element, attributes in read_elements(archive, workbook):
        if element == "sheet":
            key = next((key for key in attributes if key.rpartition(":")[2] == "id" and ":" in key), "")
            relationship = related.get(attributes.get(key, ""))
            if relationship is None:
                raise _unclear(archive.name)
            if relationship.kind != "worksheet":
                continue  # a chart, a macro sheet
            if relationship.part is None:
                raise _unclear(archive.name)
            name = attributes.get("name", "")
            hidden = attributes.get("state", "visible") != "visible"
            sheets[name] = SheetPart(name, relationship.part, hidden)
            path = relationship.target.removeprefix("/xl/")
            is_usual &= key == "r:id" and path.startswith("worksheets/") and f"xl/{path}" == relationship.part
        elif element == "calcPr":
            on_opening = attributes.get("fullCalcOnLoad") in ("1", "true")
        elif element == "workbookPr":
            from_1904 = attributes.get("date1904") in ("1", "true")
        elif element == "workbook":
            is_usual &= attributes.get("xmlns:r") in (None, _TRANSITIONAL)
    if len({sheet.part for sheet in sheets.values()}) < len(sheets):
        raise _unclear(archive.name)
    tables = {name: _tables(parts, sheet) for name, sheet in sheets.items()}
    return Package(sheets, styles, strings, styles_known, on_opening, from_1904, bool(is_usual), tables)


def _tables(parts: _Parts, sheet: SheetPart) -> tuple[str, ...]:
    related = parts.relationships(sheet.part).values()
    return tuple(relation.part for relation in related if relation.kind == "table" and relation.part)


def _workbook_part(parts: _Parts) -> str:
    """By the package's relationships, or else by its content types, or else by the usual name."""
    for relationship in parts.relationships("").values():
        if relationship.kind == "officedocument" and relationship.part:
            return relationship.part
    types = parts.find("[Content_Types].xml")
    for element, attributes in read_elements(parts.archive, types) if types else []:
        if element == "Override" and _WORKBOOK_TYPE.search(attributes.get("ContentType", "")):
            declared = parts.find(attributes.get("PartName", ""))
            if declared:
                return declared
    found = parts.find(_WORKBOOK) or parts.find("workbook.xml")
    if not found:
        raise _unclear(parts.archive.name)
    return found


def _one_of_kind(
    parts: _Parts, related: Mapping[str, _Relationship], kind: str, usual_name: str
) -> tuple[str | None, bool]:
    """The part that the workbook names for this kind, and whether that is certain; no part is certain where none is about."""
    named = {relation.part for relation in related.values() if relation.kind == kind}
    if len(named) == 1:
        part = named.pop()
        return part, part is not None
    return None, not named and not parts.named_like(usual_name)


def in_usual_form(archive: Archive, package: Package) -> bytes:
    """The workbook put together anew under the names that the fast reader goes by, its worksheets as they are."""
    sheets = list(enumerate(package.sheets.values(), 1))
    names = {sheet.part: f"worksheets/sheet{number}.xml" for number, sheet in sheets}
    relations = [(f"s{number}", "worksheet", names[sheet.part]) for number, sheet in sheets]
    relations += [("f", "styles", "styles.xml")] if package.styles else []
    relations += [("t", "sharedStrings", "sharedStrings.xml")] if package.strings else []
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        new.writestr("[Content_Types].xml", _TYPES)
        new.writestr("_rels/.rels", _relationships([("w", "officeDocument", _WORKBOOK)]))
        new.writestr("xl/_rels/workbook.xml.rels", _relationships(relations))
        new.writestr(_WORKBOOK, _workbook_xml(package))
        copied = {sheet.part: f"xl/{names[sheet.part]}" for _, sheet in sheets}
        copied |= {package.styles: _STYLES} if package.styles else {}
        copied |= {package.strings: _STRINGS} if package.strings else {}
        for old, name in copied.items():
            with new.open(name, "w", force_zip64=True) as target:
                for chunk in archive.chunks(old):
                    target.write(chunk)
    return content.getvalue()


def _relationships(relations: list[tuple[str, str, str]]) -> str:
    entries = "".join(
        f'<Relationship Id="{identity}" Type="{_TRANSITIONAL}/{kind}" Target="{target}"/>'
        for identity, kind, target in relations
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{entries}</Relationships>'


def _workbook_xml(package: Package) -> str:
    sheets = "".join(
        f'<sheet name={quoteattr(sheet.name)} sheetId="{number}" state="{"hidden" if sheet.is_hidden else "visible"}" '
        f'r:id="s{number}"/>'
        for number, sheet in enumerate(package.sheets.values(), 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return (
        f'<workbook xmlns="{main}" xmlns:r="{_TRANSITIONAL}"><workbookPr date1904="{int(package.from_1904)}"/>'
        f"<sheets>{sheets}</sheets></workbook>"
    )


def _unclear(name: str) -> RosterError:
    return RosterError(
        f"{name}: we can't tell for certain which of the file's parts belong together. Open it in Excel, save it as a new "
        "workbook (.xlsx), and use that."
    )
