"""An annotated workbook that is handed in again: it is the list from which it was made, with corrections in it.

It says so by custom properties of the file. Its columns `link` and `link_status` are ours, and none of the list's.
"""

from dataclasses import replace
from xml.parsers import expat

import pyarrow as pa

from batchlinks.columns.header_words import key
from batchlinks.roster.guard import Archive, xml_parser
from batchlinks.table import AnnotatedFrom, Table

STATUS_COLUMN = "link_status"

LIST_PROPERTY = "batchlinks list"
SHA256_PROPERTY = "batchlinks list sha256"
SHEET_PROPERTY = "batchlinks sheet"
COLUMNS_PROPERTY = "batchlinks columns"

_PART = "docprops/custom.xml"
_LARGEST_PART = 1_000_000


def read_properties(archive: Archive) -> dict[str, str]:
    """The custom properties of a workbook that are ours; empty where it is none of ours, or the part is damaged."""
    part = next((name for name in archive.parts() if name.lstrip("/").lower() == _PART), None)
    if part is None or archive.size(part) > _LARGEST_PART:
        return {}
    found: dict[str, str] = {}
    inside: list[str] = []

    def start(element: str, attributes: dict[str, str]) -> None:
        if element.rpartition(":")[2] == "property":
            inside[:] = [attributes.get("name", "")]

    def text(data: str) -> None:
        if inside and inside[0].startswith("batchlinks "):
            found[inside[0]] = found.get(inside[0], "") + data

    parser = xml_parser(archive.name)
    parser.StartElementHandler = start
    parser.CharacterDataHandler = text
    try:
        parser.Parse(b"".join(archive.chunks(part)), True)
    except expat.ExpatError:
        return {}
    return {name: value.strip("\n\r ") for name, value in found.items()}


def without_annotations(table: Table, properties: dict[str, str]) -> Table:
    """The list in an annotated workbook: our two columns are blank, and `Table.annotated` knows what they held."""
    wanted = [key(name) for name in properties.get(COLUMNS_PROPERTY, "").split("\t")]
    if len(wanted) != 2 or properties.get(SHEET_PROPERTY, "") != (table.sheet or ""):
        return table
    keys = [key(header) for header in table.headers]
    places = [max((at for at, name in enumerate(keys) if name == each), default=None) for each in wanted]
    link, status = places
    if link is None or status is None:
        return table
    headers, cells, kinds = list(table.headers), table.cells, dict(table.kinds)
    links = table.column(link)
    for at in (link, status):
        headers[at] = ""
        cells = cells.set_column(at, str(at), pa.array([""] * len(table), pa.string()))
        kinds.pop(at, None)
    annotated = AnnotatedFrom(properties.get(LIST_PROPERTY, ""), properties.get(SHA256_PROPERTY, ""), link, links)
    return replace(table, headers=tuple(headers), cells=cells, kinds=kinds, annotated=annotated)
