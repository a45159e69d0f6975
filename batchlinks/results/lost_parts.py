"""What a workbook holds that does not survive being opened and saved by openpyxl: found by its parts, before it is."""

import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO

_KEPT = re.compile(
    r"\[content_types\]\.xml|_rels/.*|docprops/.*|.*/_rels/.*|xl/(?:workbook|styles|sharedstrings|calcchain)\.xml|xl/theme/.*"
    r"|xl/(?:work|chart)sheets/[^/]*|xl/tables/[^/]*|xl/comments[^/]*|xl/comments/.*|xl/drawings/[^/]*|xl/media/.*"
    r"|xl/charts/[^/]*|xl/externallinks/.*|xl/pivot(?:tables|cache)/.*|xl/printersettings/.*|xl/persons/.*|docmetadata/.*"
)
_LOST_PARTS = (
    (r"_xmlsignatures/.*", "the digital signature"),
    (r"xl/ctrlprops/.*|xl/activex/.*", "form controls (buttons, check boxes)"),
    (r"xl/embeddings/.*", "embedded objects"),
    (r"xl/threadedcomments/.*", "replies to comments (they become notes)"),
    (r"xl/slicer(?:s|caches)/.*", "slicers"),
    (r"xl/timeline(?:s|caches)/.*", "timelines"),
    (r"xl/connections\.xml|xl/querytables/.*|xl/model/.*", "data connections"),
    (r"xl/metadata\.xml|xl/richdata/.*", "dynamic arrays and linked data types"),
    (r"customxml/.*", "custom XML data"),
    (r"xl/charts/(?:style|colors)\d*\.xml", "some of the charts' formatting"),
    (r"xl/diagrams/.*", "SmartArt"),
    (r"xl/ink/.*", "ink"),
)
_LOST_IN_SHEETS = (
    (rb"<x14:sparklineGroup[ >]", "sparklines"),
    (rb"<x14:conditionalFormatting[ >]", "conditional formats of Excel 2010 and later (data bars, icon sets)"),
    (rb"<x14:dataValidation[ >]", "validation lists that refer to other sheets"),
    (rb"<(?:\w+:)?protectedRange[ >]", "ranges that only some people may change"),
    (rb"<(?:\w+:)?legacyDrawingHF[ >]", "pictures in headers and footers"),
    (rb"<(?:\w+:)?picture[ >]", "background pictures"),
    (rb"<(?:\w+:)?f[ />]", "results of formulas, until Excel calculates them when it opens the file"),
)
_LOST_IN_DRAWINGS = (
    (rb"<xdr:sp[ >]|<xdr:cxnSp[ >]|<xdr:grpSp[ >]", "text boxes and shapes"),
    (rb"<xdr:pic[ >]", "pictures"),
)
_CHUNK = 1 << 20
_OVERLAP = 64


def find_lost_parts(content: bytes) -> list[str]:
    """What of the workbook `content` openpyxl cannot keep, in words that follow "can't keep"; each once."""
    found: dict[str, None] = {}
    with zipfile.ZipFile(BytesIO(content)) as package:
        for entry in package.namelist():
            name = entry.replace("\\", "/").lstrip("/").lower()
            lost = next((what for part, what in _LOST_PARTS if re.fullmatch(part, name)), None)
            if lost is not None:
                found[lost] = None
            elif not _KEPT.fullmatch(name) and not name.endswith("/"):
                found[f"a part that only its own program knows ({entry})"] = None
            if re.fullmatch(r"xl/worksheets/[^/]*\.xml", name):
                found |= dict.fromkeys(_found_in(package, entry, _LOST_IN_SHEETS))
            elif re.fullmatch(r"xl/drawings/[^/]*\.xml", name):
                found |= dict.fromkeys(_found_in(package, entry, _LOST_IN_DRAWINGS))
    if find_spec("PIL") is not None:  # with it, openpyxl keeps them
        found.pop("pictures", None)
    return list(found)


def _found_in(package: zipfile.ZipFile, entry: str, sought: tuple[tuple[bytes, str], ...]) -> Iterator[str]:
    open_still = list(sought)
    before = b""
    with package.open(entry) as part:
        while open_still and (chunk := part.read(_CHUNK)):
            window = before + chunk
            for each in tuple(open_still):
                if re.search(each[0], window):
                    open_still.remove(each)
                    yield each[1]
            before = window[-_OVERLAP:]
