"""Makes the sample patient lists that lie beside this file. Everybody in them is invented.

    python sample_data/make_samples.py            # writes them here
    python sample_data/make_samples.py FOLDER     # writes them elsewhere

The same rows each time, and with the same libraries the same bytes. `README.md` says what becomes of each row.
Telephone numbers end in 555-01xx, Social Security numbers begin with 000 and ZIP codes with 003: nobody has such.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import xlsxwriter


def main(arguments: Sequence[str]) -> None:
    """Write every sample into the folder that is named, or beside this file."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    write_clinic_roster(folder / "clinic_roster.xlsx")
    # newline="": the line ends stand in the text, since exports have those of Windows.
    (folder / "members_export.csv").write_text(MEMBERS_EXPORT, encoding="cp1252", newline="")
    (folder / "family.csv").write_text(FAMILY, encoding="utf-8-sig", newline="")
    (folder / "walk_in_list.txt").write_text(WALK_IN_LIST, encoding="utf-8", newline="")
    (folder / "do_not_contact.txt").write_text(DO_NOT_CONTACT, encoding="utf-8", newline="")


# --- clinic_roster.xlsx: a workbook as a clinic sends it --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Formatted:
    """A number, and the format that decides what a person sees of it."""

    value: float
    number_format: str


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula, and the result that Excel had last shown for it."""

    text: str
    result: str


Cell = int | str | date | Formatted | Formula | None

NO_FORMAT = Formatted(417640, "General")
JANUARY_5 = Formatted(46392, "d-mmm")
NINETEEN_DIGITS = Formatted(9876543210987654321, "0")
FAILED_LOOKUP = Formula('=VLOOKUP("Vetchling",Q:R,2,FALSE)', "#N/A")
ID_BY_FORMULA = Formula('=TEXT(418100,"00000000")', "00418100")

# An ID that is an int below stands in the sheet as a number formatted 00000000, as most of them do.
MRN, ZIP, PHONE, DAY = "00000000", "00000", "000-000-0000", "m/d/yyyy"

CLINIC_TITLE = {
    1: "Riverbend Sample Clinic",
    2: "Patients due for a visit",
    3: "Printed 11/20/2026 at the front desk",
}
CLINIC_HEADER_ROW = 5
CLINIC_HEADERS = ("MRN", "Last Name", "First Name", "Date of Birth", "SSN", "ZIP", "Phone", "Clinic")
CLINIC_ROWS: Sequence[Sequence[Cell]] = (
    (412870, "Fernwood", "Ada", date(1951, 3, 14), "000-12-0006", 301, 6175550101, "North"),
    (413551, "Quillsby", "Bram", date(1968, 11, 2), "000-12-0007", 301, 6175550102, "North"),
    ("00413902", "Hazelgrove", "Cora", date(1975, 7, 30), "000-12-0008", 302, "(617) 555-0103", "South"),
    (414018, "Null", "Dennis", date(1949, 1, 9), "000-12-0009", 302, 6175550104, "North"),
    (414377, "Marlowick", "Edda", date(1983, 5, 21), "000-12-0010", 303, "+1 617 555 0105", "Harbor"),
    ("414402", "Thistledown", "Finn", date(1990, 12, 12), "000-12-0011", 301, 6175550106, "South"),
    (414690, "Applegarth", "Gwen", "08/17/1962", "000-12-0012", 304, 6175550107, "North"),
    (None, "Brackenridge", "Hugo", date(1957, 2, 3), "000-12-0013", 302, 6175550108, "Harbor"),
    (415233, "Oatley", "Iris", date(1971, 9, 9), "000-12-0014", 303, 6175550109, "South"),
    (415310, "Pennywhistle", "Jonas", date(1988, 4, 26), "000-12-0015", 301, 6175550110, "North"),
    (" 00415477 ", "Larkspur", "Kit", date(1994, 6, 1), "000-12-0016", 302, 6175550111, "North"),
    ("N/A", "Mossgrove", "Lena", date(1966, 10, 18), "000-12-0017", 305, 6175550112, "Harbor"),
    (415820, "Nettlefold", "Milo", date(1979, 3, 3), "000-12-0018", 304, 6175550113, "South"),
    (416004, "Orchardson", "Nell", date(1953, 8, 25), "000-12-0019", 303, 6175550114, "North"),
    (413551, "Quillsby", "Bram", "11/02/1968", "000-12-0007", 301, 6175550102, "South"),
    (416120, "Pebbleworth", "Otis", date(1945, 12, 31), "000-12-0021", 302, None, "Harbor"),
    (416288, "Summerfield", "Rosa", date(1985, 2, 14), "000-12-0022", 301, 6175550116, "North"),
    (416288, "Summerfield", "Toby", date(2012, 6, 8), "000-12-0023", 301, 6175550116, "North"),
    (416288, "Summerfield", "Una", date(2015, 9, 19), "000-12-0024", 301, 6175550116, "North"),
    (416533, "Rushbrook", "Pia", date(1960, 7, 7), "000-12-0025", 305, 6175550117, "South"),
    (JANUARY_5, "Saltmarsh", "Quentin", date(1974, 1, 28), "000-12-0026", 302, 6175550118, "North"),
    (416790, "Tamarind", "Ruth", date(1992, 11, 11), "000-12-0027", 303, 6175550119, "Harbor"),
    (417045, "Underhill", "Silas", date(1958, 5, 5), "000-12-0028", 304, 6175550120, "North"),
    (FAILED_LOOKUP, "Vetchling", "Thea", date(1981, 10, 4), "000-12-0029", 301, 6175550121, "South"),
    (417228, "Willowby", "Ulric", date(1969, 4, 15), "000-12-0030", 302, 6175550122, "North"),
    CLINIC_HEADERS,
    (417391, "Yarrowman", "Vera", date(1977, 8, 8), "000-12-0032", 305, 6175550123, "Harbor"),
    (417502, "Zephyrine", "Wim", date(1986, 3, 27), "000-12-0033", 303, 6175550124, "South"),
    (NO_FORMAT, "Alderbeck", "Xenia", date(1950, 9, 13), "000-12-0034", 301, 6175550125, "North"),
    (417811, "Bellweather", "Yusuf", date(1963, 12, 6), "000-12-0035", 302, 6175550126, "Harbor"),
    (417968, "Cloverly", "Zora", date(1998, 1, 17), "000-12-0036", 304, 6175550127, "North"),
    (ID_BY_FORMULA, "Dewhurst", "Abel", date(1972, 6, 22), "000-12-0037", 303, 6175550128, "South"),
    (418255, "Elderkin", "Bess", date(1955, 2, 28), "000-12-0038", 301, 6175550129, "North"),
    ("00418311?", "Foxglove", "Carl", date(1989, 7, 4), "000-12-0039", 302, 6175550130, "Harbor"),
    (418476, "Gorsewell", "Dora", date(1967, 10, 10), "000-12-0040", 305, 6175550131, "South"),
    (412870, "Fernwood-Gale", "Ada", date(1951, 3, 14), "000-12-0006", 301, 6175550101, "North"),
    (418693, "Heatherstone", "Emil", date(1978, 5, 16), "000-12-0042", 303, 6175550133, "North"),
    (418750, "Ivyleaf", "Fay", date(1993, 9, 1), "000-12-0043", 304, 6175550134, "Harbor"),
    ("see chart", "Junipero", "Gus", date(1948, 11, 23), "000-12-0044", 302, 6175550135, "South"),
    (419001, "Kelpwater", "Hana", date(1984, 4, 9), "000-12-0045", 301, 6175550136, "North"),
    (419137, "Linden", "Ivo", date(1961, 1, 30), "000-12-0046", 305, 6175550137, "South"),
    (NINETEEN_DIGITS, "Meadowsweet", "Joy", date(1976, 8, 12), "000-12-0047", 303, 6175550138, "Harbor"),
    (419420, "Nightingale-Sample", "Kurt", date(1959, 3, 8), "000-12-0048", 302, 6175550139, "North"),
    (419588, "Osierton", "Lola", date(1987, 12, 20), "000-12-0049", 304, 6175550140, "North"),
    ("1.04E+07", "Primrosen", "Max", date(1970, 6, 15), "000-12-0050", 301, 6175550141, "South"),
    (419733, "Quincewood", "Nora", date(1996, 2, 11), "000-12-0051", 303, 6175550142, "Harbor"),
    (419806, "Rowanby", "Oskar", date(1954, 7, 19), "000-12-0052", 302, 6175550143, "North"),
    (419990, "Sorrelson", "Petra", date(1982, 10, 2), "000-12-0053", 301, 6175550144, "South"),
    (420115, "Tansyworth", "Quill", date(1952, 1, 3), "000-12-0054", 301, 6175550145, "North"),
    (420288, "Umberley", "Reva", date(1959, 3, 7), "000-12-0055", 302, 6175550146, "Harbor"),
    (420461, "Violetta", "Sven", date(1966, 5, 11), "000-12-0056", 303, 6175550147, "South"),
    (420634, "Wisteria", "Tilda", date(1973, 7, 15), "000-12-0057", 304, 6175550148, "North"),
    (420807, "Yewdale", "Ursa", date(1980, 9, 19), "000-12-0058", 305, 6175550149, "Harbor"),
    (420980, "Zinniaman", "Viggo", date(1987, 11, 23), "000-12-0059", 301, 6175550150, "South"),
    (),
    ("Total patients: 53",),
    ("Page 1 of 1",),
)  # fmt: skip
CLINIC_HIDDEN_ROW = 43
NOTES = (
    "Notes for the front desk",
    "Call before noon where possible.",
    "Harbor is closed on the day after Thanksgiving.",
)


def write_clinic_roster(path: Path) -> None:
    """Title rows, then the table from column B on, then a footer; and a second sheet that is no list."""
    with xlsxwriter.Workbook(path) as workbook:
        workbook.set_properties({"title": "Invented patients", "created": datetime(2026, 11, 20)})
        bold = workbook.add_format({"bold": True})
        sheet = workbook.add_worksheet("Visits")
        for number, text in CLINIC_TITLE.items():
            sheet.write_string(number - 1, 1, text, bold if number == 1 else None)
        for column, header in enumerate(CLINIC_HEADERS, start=1):
            sheet.write_string(CLINIC_HEADER_ROW - 1, column, header, bold)
        for row, cells in enumerate(CLINIC_ROWS, start=CLINIC_HEADER_ROW):
            for column, cell in enumerate(cells, start=1):
                _write(workbook, sheet, row, column, cell)
        sheet.set_row(CLINIC_HIDDEN_ROW - 1, None, None, {"hidden": True})
        sheet.set_column("A:A", 2)
        sheet.set_column("B:I", 16)
        notes = workbook.add_worksheet("Notes")
        for row, text in enumerate(NOTES):
            notes.write_string(row, 0, text)


def _write(
    workbook: xlsxwriter.Workbook, sheet: xlsxwriter.worksheet.Worksheet, row: int, column: int, cell: Cell
) -> None:
    match cell:
        case None:
            pass
        case str():
            sheet.write_string(row, column, cell)
        case Formula(text, result):
            sheet.write_formula(row, column, text, None, result)
        case Formatted(value, number_format):
            sheet.write_number(row, column, value, workbook.add_format({"num_format": number_format}))
        case date():
            sheet.write_datetime(row, column, cell, workbook.add_format({"num_format": DAY}))
        case int():
            usual = {"MRN": MRN, "ZIP": ZIP, "Phone": PHONE}[CLINIC_HEADERS[column - 1]]
            sheet.write_number(row, column, cell, workbook.add_format({"num_format": usual}))


# --- the others are text ----------------------------------------------------------------------------------------


def _windows_lines(text: str) -> str:
    return text.replace("\n", "\r\n")


MEMBERS_EXPORT = _windows_lines("""\
sep=;
Member ID;Last Name;First Name;DOB;Address;Phone
="00812001";Peña;Alma;03/09/1964;"12 Sample Street
Apartment 3";+1 617 555 0151
="00812002";Müllerova;Bela;11/30/1971;4 Invented Way;+1 617 555 0152
="00812003";Grüngras;Caspar;07/07/1980;9 Example Lane; Unit 2;+1 617 555 0153
="00812004";O’Sample;Dara;01/22/1958;"30 Made-Up Road; Rear";+1 617 555 0154
HX5512a;Fjordén;Elin;05/16/1990;7 Fiction Court;+1 617 555 0155
HX5512A;Garçonne;Fleur;09/01/1987;8 Fiction Court;+1 617 555 0156
="00812004";O’Sample;D.;22-Jan-1958;30 Made-Up Road;+1 617 555 0154
pending;Hôtelier;Gil;12/12/1969;2 Nowhere Square;+1 617 555 0157
="00812009";Ibáñez;Hugo;06/25/1993;15 Pretend Drive;=HYPERLINK("x")
TRL;000009
""")

FAMILY = _windows_lines("""\
Subscriber ID,Person,Last Name,First Name,Birth Date
W90441102,01,Sampleton,Ines,1979-04-02
W90441102,02,Sampleton,Jorge,1977-12-19
W90441102,03,Sampleton,Luz,2009-08-30
W90441250,01,Exempel,Mats,1985-02-11
W90441377,01,Invento,Nina,1991-10-05
W90441377,02,Invento,Otto,2018-03-21
""")

WALK_IN_LIST = """\
A-20117
A-20118
a-20119

 A-20120
A-20118
A-20121
Ａ-20122
"""

DO_NOT_CONTACT = """\
A-20119
"""


if __name__ == "__main__":
    main(sys.argv[1:])
