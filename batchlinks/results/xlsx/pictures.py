"""Pictures in a sheet, one in each row: the drawing that places them, and the parts that hold them."""

import base64
import re
import zipfile
from collections.abc import Iterable

from batchlinks.results.xlsx.hyperlinks import NO_RELATIONS, RELATION_TYPE
from batchlinks.results.xlsx.sheet import MAX_PICTURES, Sheet

_POINT, _PIXEL = 12_700, 9_525
"""In EMU, the unit of drawings."""

_PICTURE = 82
"""Points that a picture is wide and high: 29 mm, and still 21 mm where a page is printed at 8 points."""

PICTURE_ROW_HEIGHT = _PICTURE + 20

PICTURE_COLUMN_WIDTH = 17.0

_PICTURE_LEFT, _PICTURE_TOP = 7 * _PIXEL, 2 * _POINT

ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

# Moved and sized with their cells, so that a sorted row takes its picture along and a filtered one hides it.

_ANCHOR = (
    '<xdr:twoCellAnchor editAs="twoCell">'
    "<xdr:from><xdr:col>{column}</xdr:col><xdr:colOff>{left}</xdr:colOff>"
    "<xdr:row>{row}</xdr:row><xdr:rowOff>{top}</xdr:rowOff></xdr:from>"
    "<xdr:to><xdr:col>{column}</xdr:col><xdr:colOff>{right}</xdr:colOff>"
    "<xdr:row>{row}</xdr:row><xdr:rowOff>{bottom}</xdr:rowOff></xdr:to>"
    '<xdr:pic><xdr:nvPicPr><xdr:cNvPr id="{id}" name="QR code {number}" descr="{description}"/>'
    '<xdr:cNvPicPr><a:picLocks noChangeAspect="1"/></xdr:cNvPicPr></xdr:nvPicPr>'
    '<xdr:blipFill><a:blip xmlns:r="{relation}" r:embed="rId{number}"/><a:stretch><a:fillRect/></a:stretch>'
    '</xdr:blipFill><xdr:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="{size}" cy="{size}"/></a:xfrm>'
    '<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></xdr:spPr></xdr:pic><xdr:clientData/></xdr:twoCellAnchor>'
)


def write_pictures(workbook: zipfile.ZipFile, pattern: str, sheet: Sheet, pictures: Iterable[bytes]) -> None:
    """The drawing that holds them, around the one picture of `pattern`; each PNG as a part of its own."""
    count = 0
    for number, picture in enumerate(pictures, start=1):
        if number <= MAX_PICTURES:
            count = number
            workbook.writestr(f"xl/media/image{number}.png", picture, zipfile.ZIP_STORED)
    before, after = re.split("<xdr:twoCellAnchor.*</xdr:twoCellAnchor>", pattern)
    with workbook.open("xl/drawings/drawing1.xml", "w") as sink:
        sink.write(before.encode())
        for number in range(1, count + 1):
            sink.write(_anchor(sheet, number).encode())
        sink.write(after.encode())
    before, _, after = NO_RELATIONS.rpartition("</Relationships>")
    with workbook.open("xl/drawings/_rels/drawing1.xml.rels", "w") as sink:
        sink.write(before.encode())
        for number in range(1, count + 1):
            target = f'Type="{RELATION_TYPE}/image" Target="../media/image{number}.png"'
            sink.write(f'<Relationship Id="rId{number}" {target}/>'.encode())
        sink.write(f"</Relationships>{after}".encode())


def _anchor(sheet: Sheet, number: int) -> str:
    """Where the picture of the sheet's row `number` (1 for the first below the header) stands."""
    return _ANCHOR.format(
        column=sheet.pictures,
        row=number,
        left=_PICTURE_LEFT,
        right=_PICTURE_LEFT + _PICTURE * _POINT,
        top=_PICTURE_TOP,
        bottom=_PICTURE_TOP + _PICTURE * _POINT,
        size=_PICTURE * _POINT,
        id=number + 1,
        number=number,
        relation=RELATION_TYPE,
        description=f"QR code of the HealthEx link in row {number + 1}",
    )
