"""Holds a workbook against the rules of its format (ECMA-376): what breaks one, Excel repairs or refuses to open."""

import io
import posixpath
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATIONS = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_TYPES = "{http://schemas.openxmlformats.org/package/2006/content-types}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"

# CT_Worksheet, ECMA-376 part 1, section A.2
_ORDER = """
    sheetPr dimension sheetViews sheetFormatPr cols sheetData sheetCalcPr sheetProtection protectedRanges scenarios
    autoFilter sortState dataConsolidate customSheetViews mergeCells phoneticPr conditionalFormatting dataValidations
    hyperlinks printOptions pageMargins pageSetup headerFooter rowBreaks colBreaks customProperties cellWatches ignoredErrors
    smartTags drawing legacyDrawing legacyDrawingHF picture oleObjects controls webPublishItems tableParts extLst
""".split()


def assert_sound(workbook: Path | io.BytesIO) -> None:
    """Fails where a part is missing, undeclared or unreachable, or a limit of Excel's is passed."""
    parts = assert_parts_fit(workbook)
    for name, root in parts.items():
        if name.startswith("xl/worksheets/sheet"):
            _assert_sheet(root, _ids(parts, name))
        elif name.startswith("xl/drawings/drawing"):
            embedded = [blip.attrib[f"{_R}embed"] for blip in root.iter() if blip.tag.endswith("}blip")]
            assert sorted(embedded) == sorted(_ids(parts, name))


def assert_parts_fit(document: Path | io.BytesIO) -> dict[str, ET.Element]:
    """The parts of any Office document that are XML, by name. Fails where one is missing, undeclared or unreachable."""
    with zipfile.ZipFile(document) as package:
        assert package.testzip() is None
        names = package.namelist()
        assert len(names) == len(set(names))
        parts = {name: ET.fromstring(package.read(name)) for name in names if name.endswith((".xml", ".rels"))}
    _assert_types(parts["[Content_Types].xml"], names)
    reached = {"[Content_Types].xml"}
    for name in names:
        if name.endswith(".rels"):
            reached |= {name, *_assert_relations(parts[name], name, names)}
    assert reached == set(names)
    return parts


def _assert_types(types: ET.Element, names: list[str]) -> None:
    defaults = {entry.attrib["Extension"] for entry in types.iter(f"{_TYPES}Default")}
    declared = {entry.attrib["PartName"].removeprefix("/") for entry in types.iter(f"{_TYPES}Override")}
    assert declared <= set(names)
    for name in names:
        assert name in declared or name.rpartition(".")[2] in defaults or name == "[Content_Types].xml", name


def _assert_relations(relations: ET.Element, name: str, names: list[str]) -> set[str]:
    """What they lead to."""
    folder = posixpath.dirname(posixpath.dirname(name))
    entries = list(relations.iter(f"{_RELATIONS}Relationship"))
    ids = [entry.attrib["Id"] for entry in entries]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", identity) for identity in ids)
    inside = [entry.attrib["Target"] for entry in entries if entry.attrib.get("TargetMode") != "External"]
    targets = {posixpath.normpath(posixpath.join(folder, target)).removeprefix("/") for target in inside}
    assert targets <= set(names)
    return targets


def _ids(parts: dict[str, ET.Element], name: str) -> set[str]:
    folder, base = posixpath.split(name)
    relations = parts.get(f"{folder}/_rels/{base}.rels")
    return set() if relations is None else {entry.attrib["Id"] for entry in relations}


def _assert_sheet(sheet: ET.Element, relations: set[str]) -> None:
    places = [_ORDER.index(child.tag.removeprefix(MAIN)) for child in sheet]
    assert places == sorted(set(places))
    rows = [int(row.attrib["r"]) for row in sheet.iter(f"{MAIN}row")]
    assert rows == sorted(set(rows))
    assert rows[-1] <= 1_048_576
    assert all(0 < float(row.attrib.get("ht", 15)) <= 409 for row in sheet.iter(f"{MAIN}row"))
    assert all(0 < float(column.attrib["width"]) <= 255 for column in sheet.iter(f"{MAIN}col"))
    assert all(len((text.text or "").encode("utf-16-le")) <= 2 * 32_767 for text in sheet.iter(f"{MAIN}t"))
    links = list(sheet.iter(f"{MAIN}hyperlink"))
    assert len(links) <= 65_530
    assert all(len(link.attrib.get("location", "")) <= 2_079 for link in links)
    used = {element.attrib[f"{_R}id"] for element in sheet.iter() if f"{_R}id" in element.attrib}
    assert used == relations


def hyperlinks(workbook: Path | io.BytesIO, sheet: str = "xl/worksheets/sheet1.xml") -> dict[str, str]:
    """Cell -> the address that a click opens: target, `#`, location."""
    folder, base = posixpath.split(sheet)
    with zipfile.ZipFile(workbook) as package:
        links = ET.fromstring(package.read(sheet)).iter(f"{MAIN}hyperlink")
        relations = ET.fromstring(package.read(f"{folder}/_rels/{base}.rels"))
    targets = {relation.attrib["Id"]: relation.attrib["Target"] for relation in relations}
    found = {}
    for link in links:
        location = link.attrib.get("location")
        found[link.attrib["ref"]] = targets[link.attrib[f"{_R}id"]] + ("" if location is None else f"#{location}")
    return found
