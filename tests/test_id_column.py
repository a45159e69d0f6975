"""Which column is the external ID: never a wrong one; asked where it is not certain."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosters import csv_table

from batchlinks.columns.id_column import (
    IdColumnUndecided,
    IdColumnUnsuitable,
    choose_id_column,
    columns_for_ids,
    display_names,
    possible_id_headers,
)
from batchlinks.columns.sensitive import social_security_columns
from batchlinks.errors import SettingsError
from batchlinks.table import Table

HERE = Path(__file__).parent / "data"
Layout = dict[str, Any]


def layouts(name: str) -> list[Layout]:
    found: list[Layout] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return found


PUBLIC = layouts("layouts.json")
MORE = layouts("more_layouts.json")
EXPORTS = layouts("export_layouts.json")
"""Written down as exports of common systems have them; the rules were tuned on two thirds, tried once on the others."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> Table:
    columns = {str(at): pa.array([row[at] for row in rows], pa.string()) for at in range(len(headers))}
    return Table(
        headers=tuple(headers),
        cells=pa.table(columns),
        row_numbers=np.arange(2, 2 + len(rows), dtype=np.int32),
    )


# --- invented values ------------------------------------------------------------------------------------------

FIRST = "Ann Bob Carla Dev Emil Fatima Grace Hugo Ines Jamal Kim Lena Marco Nadia Otis Priya".split()
LAST = "Abara Boyd Costa Diaz Ekman Fox Gupta Hahn Ito Jung Klein Lopez Moreau Novak Okafor Patel".split()


def npi(draw: random.Random) -> str:
    body = "1" + digits(draw, 8)
    total = 24 + sum(sum(divmod(int(d) * (1 + (at % 2 == 0)), 10)) for at, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def cell(kind: str, draw: random.Random, row: int) -> str:
    made: dict[str, str] = {
        "id": f"{draw.choice('1234567')}{digits(draw, 6)}",
        "nhs": f"{digits(draw, 3)} {digits(draw, 3)} {digits(draw, 4)}",
        "nine": f"{100000000 + row * 7654321}",
        "ssn": f"{digits(draw, 3)}-{digits(draw, 2)}-{digits(draw, 4)}",
        "npi": npi(draw),
        "rows": f"{row + 1}",
        "household": f"{70001 + row // 3 * 17}",
        "code": f"0{row % 3 + 1}",
        "constant": "4711",
        "kind": "MR",
        "blank": "",
        "sparse": digits(draw, 7) if row % 5 == 0 else "",
        "first": draw.choice(FIRST),
        "last": draw.choice(LAST),
        "date": f"19{draw.randint(30, 99)}-0{draw.randint(1, 9)}-1{draw.randint(0, 9)}",
        "phone": f"({digits(draw, 3)}) 555-{digits(draw, 4)}",
        "email": f"{draw.choice(FIRST).lower()}{row}@example.org",
        "mbi": f"1EG{row % 10}TE{draw.randint(1, 9)}MK{draw.randint(10, 99)}",
        "id11": f"{draw.choice('1234567')}{digits(draw, 10)}",
        "id13": f"{draw.choice('1234567')}{digits(draw, 12)}",
        "jr": draw.choice(["", "", "Jr", "III"]),
        "zip": f"{digits(draw, 5)}-{digits(draw, 4)}",
        "sex": draw.choice("FM"),
        "word": draw.choice(["A", "B", "none", "yes"]),
    }
    return made[kind]


BY_WORD = (
    ("ssn", ("ssn", "social", "sécurité", "tax id", "tin")),
    ("npi", ("npi",)),
    ("email", ("mail",)),
    ("phone", ("phone", "mobile", "cell", "téléphone")),
    ("zip", ("zip", "postal", "plz")),
    ("word", ("type", "status", "system", "flag", "suffix", "authority", "concept")),
    ("date", ("birth", "date", "dob", "naissance", "geburt", "nacimiento", "né(e)")),
    ("first", ("first", "prenom", "prénom", "vorname", "nombre", "given", "fname")),
    ("last", ("name", "nom", "apellido", "last")),
    ("sex", ("sex", "gender", "geschlecht")),
    ("id", ("id", "no", "num", "núm", "#", "mrn", "mbi", "ipp", "nbr", "nº", "n°", "nr", "empi", "chart", "csn")),
)  # fmt: skip


def kind_of(header: str) -> str:
    return next((kind for kind, words in BY_WORD if any(word in header.casefold() for word in words)), "word")


def filled(headers: Sequence[str], values: dict[str, str] | None = None, rows: int = 60) -> Table:
    """A table with plausible, invented values; `values` names the kind where a header means another."""
    columns = []
    for at, header in enumerate(headers):
        kind = (values or {}).get(header) or kind_of(header)
        draw = random.Random(at)
        columns.append([cell(kind, draw, row) for row in range(rows)])
    return table(headers, list(zip(*columns, strict=True)))


def found_in(roster: Table) -> str | None:
    try:
        return choose_id_column(roster).name
    except IdColumnUndecided:
        return None


def is_right(layout: Layout, found: str | None) -> bool:
    may_ask = layout["ambiguous"] or layout["id_column"] is None
    return found == layout["id_column"] or (found is None and bool(may_ask))


def is_wrong(layout: Layout, found: str | None) -> bool:
    return found is not None and found != layout["id_column"]


# --- layouts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 3, 60], ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("layout", PUBLIC, ids=lambda layout: layout["name"])
def test_a_public_layout_is_understood_or_asked_about(layout: Layout, rows: int) -> None:
    assert is_right(layout, found_in(filled(layout["headers"], rows=rows)))


@pytest.mark.parametrize("layout", MORE, ids=lambda layout: layout["name"])
def test_another_layout_is_never_misunderstood(layout: Layout) -> None:
    assert not is_wrong(layout, found_in(filled(layout["headers"], layout.get("values"))))


@pytest.mark.parametrize("rows", [1, 12, 60], ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("layout", EXPORTS, ids=lambda layout: layout["name"])
def test_an_export_is_understood_or_asked_about(layout: Layout, rows: int) -> None:
    assert not is_wrong(layout, found_in(filled(layout["headers"], layout.get("values"), rows)))


@pytest.mark.parametrize("layouts", [MORE, EXPORTS], ids=["public", "exports"])
def test_nine_of_ten_plain_layouts_need_no_question(layouts: list[Layout]) -> None:
    plain = [layout for layout in layouts if layout["id_column"] and not layout["ambiguous"]]
    found = [layout for layout in plain if found_in(filled(layout["headers"], layout.get("values")))]
    assert len(found) >= 0.9 * len(plain)


def test_the_right_column_is_among_those_to_choose_from() -> None:
    for layout in EXPORTS:
        if layout["id_column"] is None:
            continue
        try:
            choose_id_column(filled(layout["headers"], layout.get("values")))
        except IdColumnUndecided as asked:
            national = layout["id_column"] == "RAMQ"  # nobody's own number, and not called one
            assert layout["id_column"] in asked.names or national, layout["name"]


# --- what must not matter -------------------------------------------------------------------------------------

PLAIN = [layout for layout in PUBLIC + MORE if found_in(filled(layout["headers"], layout.get("values"), 12))]
UNRELATED = ("Favourite colour", "Notes", "Ward", "Diagnosis", "County", "Visit ID", "Provider NPI", "Account Number")


@settings(max_examples=60, deadline=None)
@given(layout=st.sampled_from(PUBLIC + MORE), draw=st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(layout: Layout, draw: random.Random) -> None:
    before = filled(layout["headers"], layout.get("values"), 12)
    # what stands next to a bare "Suffix" tells whether it is a name's; everything else may move
    if any("suffix" in header.casefold() for header in layout["headers"]):
        return
    order = list(range(len(before.headers)))
    draw.shuffle(order)
    rows = list(zip(*(before.column(at).to_pylist() for at in order), strict=True))
    assert found_in(table([before.headers[at] for at in order], rows)) == found_in(before)


@settings(max_examples=100, deadline=None)
@given(
    layout=st.sampled_from(PLAIN),
    spelling=st.sampled_from(
        [str.upper, str.lower, lambda text: text.replace("_", " "), lambda text: f" {text}: ".replace(" ", "  ")]
    ),
)
def test_case_and_punctuation_of_headers_do_not_matter(layout: Layout, spelling: Callable[[str], str]) -> None:
    before = filled(layout["headers"], layout.get("values"), 12)
    respelt = filled(layout["headers"], layout.get("values"), 12)
    object.__setattr__(respelt, "headers", tuple(map(spelling, layout["headers"])))
    found = found_in(before)
    assert found is not None
    assert found_in(respelt) in (spelling(found), None if layout["ambiguous"] else spelling(found))


@settings(max_examples=100, deadline=None)
@given(layout=st.sampled_from(PLAIN), extra=st.sampled_from(UNRELATED), at=st.integers(0, 40))
def test_another_column_never_makes_a_right_choice_wrong(layout: Layout, extra: str, at: int) -> None:
    headers = list(layout["headers"])
    headers.insert(min(at, len(headers)), extra)
    assert not is_wrong(layout, found_in(filled(headers, layout.get("values"), 12)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_any_text_may_stand_in_a_header(headers: list[str]) -> None:
    possible_id_headers(headers)
    found_in(table(headers, [["7"] * len(headers)] * 3))


def test_a_cell_as_long_as_excel_allows_costs_nothing() -> None:
    assert possible_id_headers(["patientid" * 3600] * 20) == []


# --- headers one by one ---------------------------------------------------------------------------------------

SAY_SO = """
    MRN|Pt MRN|MedRecNo|Med Rec #|Medical Record Number|medical_record_number|MR#|MR No|M.R.N.|PAT_MRN_ID|Patient MRN
    patient.mrn|PatID|PATID|Patient ID|patientId|PATIENTID|Patient #|Patient No.|PatientNbr|Pt ID|Member ID|Mbr ID
    MemNo|MEMBER_NUMBER|Mem ID|Beneficiary ID|Enrollee ID|EMPI|Chart #|Chart No|UHID|Person ID|Patientennummer
    Patienten-ID|Pat.-Nr.|Versichertennummer|Mitgliedsnummer|N° patient|Numéro du patient|N° d'assuré|IPP
    Identifiant patient|ID paciente|Número de historia clínica|NHC|Número de afiliado|External ID|externalId
    NHS Number|NHSNumber|Facility MRN|Health Record Number|Current MRN|MRN (Medical Record Number)|Ｍ Ｒ Ｎ
    Unique Patient ID|ID|Unique ID|Subscriber ID|PID.3
    Medicare MBI|Participant ID|Kaiser MRN|Hospital Number|Account Number|Record ID|Employee ID|old MRN|Insurance ID
"""
SAY_NO = """
    CSN|FIN|Visit ID|Encounter ID|Appointment ID|Appt #|Order ID|Accession Number|Claim ID|Specimen ID|Provider ID|NPI
    Referring Provider ID|PCP ID|Guarantor ID|Mother's MRN|Parent MRN|Newborn MRN|MRN Type|Patient ID Type|ID Type
    Patient ID Assigning Authority|Plan ID|Group ID|Household ID|Row #|No.|#|S.No|Sequence Number|Email|Phone Number
    Device ID|Serial Number|Patient Name|DOB|Patient Status|Number of patients|# of Children|Room Number|Facility ID
    Payer ID|SSN|Social Security Number|SS#|Tax ID|Patient SSN|Person Code|ID Suffix|Dependent Number|patient_id_oid
    Type of unique patient identifier|Rx Number|error_row|error_code|link|healthex_link|kept_row|Patient Home Number
    Patient Visit ID|Patient Encounter CSN|Member Group Number|MRN00123|Smith|Numéro de Sécurité Sociale|Fallnummer
    N° de séjour|User ID|Policy Group Number|Passport Number|MRN Facility|Medicare Status|MyChart Status|Batch ID
    PID.18|PID-5|Care Team ID|paid|valid
"""


def each(text: str) -> list[str]:
    return [header for line in text.strip().splitlines() for header in line.strip().split("|")]


@pytest.mark.parametrize("header", each(SAY_SO))
def test_a_header_may_be_an_ids(header: str) -> None:
    assert possible_id_headers(["x", header]) == [1]


@pytest.mark.parametrize("header", each(SAY_NO))
def test_a_header_is_not_an_ids(header: str) -> None:
    assert possible_id_headers([header]) == []


# --- the column that the user names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "parts", "name"),
    [
        ("Member ID", (1,), "Member ID"),
        ("member_id", (1,), "Member ID"),
        ("MEMBERID ", (1,), "Member ID"),
        ("Member ID+Suffix", (1, 2), "Member ID+Suffix"),
        ("suffix + member id", (2, 1), "Suffix+Member ID"),
        ("A+B", (3,), "A+B"),
        ("ssn", (0,), "SSN"),
        ("numero", (4,), "Número"),
        ("Column F", (5,), "Column F"),
        ("f", (5,), "Column F"),
    ],
)
def test_the_user_names_a_column(wanted: str, parts: tuple[int, ...], name: str) -> None:
    roster = table(["SSN", "Member ID", "Suffix", "A+B", "Número", ""], [["123-45-6789", "1", "2", "3", "4", "5"]])
    chosen = choose_id_column(roster, wanted, any_column=True)
    assert (chosen.parts, chosen.name) == (parts, name)


def test_an_exact_header_goes_before_one_that_is_alike() -> None:
    assert choose_id_column(table(["mrn", "MRN"]), "MRN").parts == (1,)


def test_a_header_that_stands_twice_is_asked_about_and_can_be_named() -> None:
    roster = table(["MRN", "Name", "MRN"])
    with pytest.raises(IdColumnUndecided) as asked:
        choose_id_column(roster, "mrn")
    assert asked.value.candidates == (0, 2)
    assert [choose_id_column(roster, name).parts for name in asked.value.names] == [(0,), (2,)]
    assert "MRN (2)" in str(asked.value)


@pytest.mark.parametrize(("wanted", "part"), [("A", 0), ("c", 2), ("3", 2)])
def test_a_list_without_header_takes_letters_and_numbers(wanted: str, part: int) -> None:
    assert choose_id_column(table(["", "", ""]), wanted).parts == (part,)


@pytest.mark.parametrize("wanted", ["D", "0", "4", "MRN", "", "A+A"])
def test_a_list_without_header_refuses_the_rest(wanted: str) -> None:
    with pytest.raises(SettingsError):
        choose_id_column(table(["", "", ""]), wanted)


def test_a_column_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="`Member ID`"):
        choose_id_column(table(["First Name", "Member ID"]), "Membr ID")


# --- what is asked --------------------------------------------------------------------------------------------


def asked_about(roster: Table) -> IdColumnUndecided:
    with pytest.raises(IdColumnUndecided) as asked:
        choose_id_column(roster)
    return asked.value


def test_the_question_names_the_candidates_and_the_option() -> None:
    asked = asked_about(filled(["Name", "MRN", "Member ID"]))
    assert asked.candidates == (1, 2)
    assert asked.names == ("MRN", "Member ID")
    assert "`MRN` (column B) and `Member ID` (column C)" in str(asked)
    assert '--id-column "MRN"' in str(asked)


def test_without_a_candidate_a_few_headers_are_named() -> None:
    asked = asked_about(filled(["First Name", "Last Name", "Phone Number"]))
    assert asked.candidates == ()
    assert "`First Name`" in str(asked)


def test_a_patient_in_place_of_the_header_is_never_shown() -> None:
    patient = [
        "Mr Bill Ward",
        "Pat",
        "Middlesex",
        "Spouse",
        "1980-02-03",
        "MRN 0012345",
        "Smith ID",
        "12 Church Street",
        "Deceased",
    ]
    message = str(asked_about(table([*patient, "Acme Patient ID", "MRN", "Member ID"], [[*patient, "1", "2", "3"]])))
    assert not any(word in message for cell in patient for word in cell.split() if word not in ("MRN", "ID"))


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("MRN", "ssn"), ("Member ID", "ssn"), ("Patient ID", "nine"), ("External ID", "nine"), ("ID", "npi"),
        ("ID", "rows"), ("ID", "household"), ("Member ID", "household"), ("MRN", "date"), ("MRN", "first"),
        ("Patient ID", "email"), ("MRN", "sparse"), ("MRN", "constant"), ("MRN", "kind"), ("ID", "phone"),
        ("Client ID", "constant"),
    ],
)  # fmt: skip
def test_values_that_speak_against_a_header_are_a_reason_to_ask(header: str, kind: str) -> None:
    roster = filled(["First Name", "Last Name", "Date of Birth", header], {header: kind})
    has_a_form = kind in ("ssn", "date", "email", "phone")
    assert asked_about(roster).candidates == (() if has_a_form else (3,))
    assert choose_id_column(roster, header, any_column=has_a_form).parts == (3,)


# --- what the words and the values say together ---------------------------------------------------------------

BESIDE = ["First Name", "Last Name", "DOB"]


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        (["Epic ID", "NHS Number"], {"Epic ID": "id"}),
        (["HN", "Health Number"], {"HN": "id", "Health Number": "id13"}),
        (["Humana ID", "MBI"], {"Humana ID": "id", "MBI": "mbi"}),
        (["Inmate Number", "Medicaid ID"], {"Inmate Number": "id"}),
        (["Local Patient ID", "NHS Number"], {}),
        (["Student ID", "External ID"], {"Student ID": "id"}),
        (["ID", "File Number"], {"File Number": "id"}),
        (["ID", "HN"], {"HN": "id"}),
        (["Cerner ID", "Client ID"], {"Cerner ID": "id"}),
        (["UHC ID", "Enterprise ID"], {"UHC ID": "id"}),
        (["PPID", "Subject ID"], {"PPID": "id"}),
        (["Clinic ID", "IHI"], {"Clinic ID": "id", "IHI": "id13"}),
        (["", "PHN"], {"": "id", "PHN": "id11"}),
        (["Subscriber ID", "Suffix"], {"Subscriber ID": "household", "Suffix": "code"}),
        (["Medicaid ID"], {"Medicaid ID": "nine"}),
        (["ID"], {"ID": "nine"}),
    ],
    ids=lambda value: " + ".join(value) if isinstance(value, list) else "",
)
def test_a_weaker_or_a_national_number_is_never_taken_beside_another(
    headers: list[str], values: dict[str, str]
) -> None:
    assert found_in(filled([*headers, *BESIDE], values)) is None


@pytest.mark.parametrize(
    ("headers", "values"),
    [
        (["Student ID", "Student First Name", "Student Last Name", "Student DOB"], {}),
        (["Inmate Number", "Inmate Name", "DOB"], {"Inmate Number": "id"}),
        (["Camper ID", "Camper Name", "Camper Birthdate", "Guardian Name", "Guardian Phone"], {}),
        (["Child ID", "Child Name", "Child DOB", "Mother Name"], {}),
        (["MRN", "NHS Number", *BESIDE], {}),
        (["Patient ID", "Insurance", "Member ID", *BESIDE], {"Insurance": "word"}),
        (["Member ID", "Member Last Name", "Member First Name", "Member Suffix", "DOB"], {"Member Suffix": "blank"}),
        (["Member ID", "First", "Middle", "Suffix", "DOB"], {"First": "first", "Middle": "first", "Suffix": "jr"}),
        (["Patient Ref", *BESIDE], {"Patient Ref": "id"}),
        (["external_reference", *BESIDE], {"external_reference": "id"}),
        (["MRN (10 digits)", *BESIDE], {}),
        (["MRN*", *BESIDE], {}),
        (["MRN¹", *BESIDE], {}),
        (["Member ID [max. 12 chars, required]", *BESIDE], {}),
        (["MRN, 8 digits with leading zeros", *BESIDE], {}),
        (["MRN (format: 00000000)", *BESIDE], {}),
        (["MRN", "Cabin No", *BESIDE], {"Cabin No": "code"}),
    ],
    ids=lambda value: " + ".join(value) if isinstance(value, list) else "",
)
def test_the_first_column_is_the_patients(headers: list[str], values: dict[str, str]) -> None:
    assert found_in(filled(headers, values)) == headers[0]


@pytest.mark.parametrize(
    "header", ["MRN updated", "MRN check digit", "MRN type", "MRN length", "Last Visit", "Personnummer", "Coach ID"]
)
def test_a_header_that_is_about_an_id_or_somebody_else_is_not_taken(header: str) -> None:
    headers = [header, *BESIDE, "Coach First Name", "Coach Last Name"]
    assert found_in(filled(headers, {header: "id"})) is None


def test_the_question_offers_columns_by_their_headers_and_no_wrong_example() -> None:
    asked = asked_about(filled(["HN", "Health Number", *BESIDE], {"HN": "id", "Health Number": "id13"}))
    assert set(asked.names) == {"HN", "Health Number"}
    assert '--id-column "' not in str(asked)


def test_a_list_without_header_offers_the_columns_that_number_its_rows() -> None:
    rows = [[f"004{at}12", FIRST[at], f"19{50 + at}-01-02", f"(617) 555-01{at:02}", "F"] for at in range(12)]
    assert asked_about(table([""] * 5, rows)).names == ("column A",)


# --- a named column that cannot be it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value", "holds"),
    [
        ("Phone", "6175550101", "phone numbers"), ("Home Phone Number", "6175550101", "phone numbers"),
        ("Mobile", "07700900123", "phone numbers"), ("E-Mail", "ann", "e-mail addresses"),
        ("Mailing Address", "12 Elm St", "street addresses"), ("DOB", "19800102", "dates"),
        ("Date of Birth", "19800102", "dates"), ("Admit Date", "20260102", "dates"), ("Last Name", "Boyd", "names"),
        ("Patient Name", "Boyd, Ann", "names"), ("SSN", "123456789", "Social Security numbers"),
        ("Call", "(617) 555-0101", "phone numbers"), ("Call", "+1 617 555 0101", "phone numbers"),
        ("", "617-555-0101", "phone numbers"), ("Call", "ann@example.org", "e-mail addresses"),
        ("MRN", "123-45-6789", "Social Security numbers"), ("When", "1980-01-02", "dates"),
        ("When", "1/2/1980", "dates"), ("When", "02.01.1980", "dates"), ("When", "2-Jan-80", "dates"),
        ("When", "1/2/80 00:00", "dates"),
    ],
)  # fmt: skip
def test_a_named_column_that_holds_something_else_is_refused(header: str, value: str, holds: str) -> None:
    roster = table(["Patient ID", "DOB 2", header], [["1", "2", value]] * 9 + [["1", "2", "7"]])
    with pytest.raises(IdColumnUnsuitable, match=holds):
        choose_id_column(roster, "column C")
    with pytest.raises(IdColumnUnsuitable, match=holds):
        choose_id_column(roster, "Patient ID+column C")
    assert choose_id_column(roster, "column C", any_column=True).parts == (2,)
    assert header not in columns_for_ids(roster) or header == ""


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Number", "6175550101"), ("Number", "123456789"), ("Number", "19800102"), ("MRN", "12-34-56"),
        ("NHS Number", "943-476-5919"), ("NHS Number", "943 476 5919"), ("", "943 476 5919"), ("MRN", "617-555-0101"),
        ("Account Number", "123456789"), ("", "A-1980-01"), ("Case", "2019-0412"),
    ],
)  # fmt: skip
def test_a_named_column_of_bare_digits_or_grouped_numbers_is_believed(header: str, value: str) -> None:
    assert choose_id_column(table(["MRN", header], [["1", value]] * 10), "column B").parts == (1,)


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("MRN", ["123456789", "234567891", "345678912"]),
        ("MRN", ["1", "2", "3"]),
        ("External ID", ["123-456-0000", "123-456-0001", "123-456-0002"]),
        ("Member ID", ["W123456789-01", "W123456789-02", "W987654321-01"]),
        ("MRN", ["00123456", "00123456", "00123456"]),
        ("ID", ["3f2a", "77b1", "90cc"]),
    ],
)
def test_a_list_of_three_patients_is_enough(header: str, values: list[str]) -> None:
    rows = [[value, name, "1980-01-02"] for value, name in zip(values, FIRST, strict=False)]
    assert found_in(table([header, "First Name", "DOB"], rows)) == header


def test_a_few_wrong_rows_do_not_make_a_household() -> None:
    rows = [[str(10000 + at), FIRST[at % 16]] for at in range(50)] + [["10003", "Zoe"], ["10007", "Zac"]]
    assert found_in(table(["MRN", "First Name"], rows)) == "MRN"


def test_social_security_numbers_far_down_a_long_list_are_seen() -> None:
    cells = [f"{900000 + at}" for at in range(1000)] + ["123-45-6789"] * 3000
    assert asked_about(table(["MRN"], [[cell] for cell in cells])).candidates == (0,)


# --- Social Security numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    each(
        "SSN|Social Security Number|SS#|ss|Soc Sec No|social_security_number|Patient SSN|SSN (Tax Id)|Tax ID"
        "|subscriberSsn|Last 4 SSN|Assuré : numéro de Sécurité Sociale|NIR|Sozialversicherungsnummer"
        "|Número de Seguridad Social"
    ),
)
def test_a_header_says_social_security(header: str) -> None:
    assert social_security_columns(table(["MRN", header], [["1", ""]])) == (1,)
    assert social_security_columns(table(["MRN", header], [["1", ""]]), except_for=(1,)) == ()


@pytest.mark.parametrize(
    "header", each("Social History|Social Worker|Provider Tax ID|Practice TIN|Class|Session|Address")
)
def test_a_header_does_not_say_social_security(header: str) -> None:
    assert social_security_columns(table([header], [["x"]])) == ()


@pytest.mark.parametrize(
    ("header", "cells", "sensitive"),
    [
        ("Reference", ["123-45-6789", "987-65-4321", ""], True),
        ("Other", ["123 45 6789", "XXX-XX-4321"], True),
        ("Number", ["123456789", "987654321"], True),
        ("", ["123456789", "987654321"], True),
        ("HICN", ["123456789A", "987654321B1"], True),
        ("MRN", ["123456789", "987654321"], False),
        ("Member ID", ["123456789", "987654321"], False),
        ("ZIP", ["021391234", "021391235"], False),
        ("ZIP", ["02139-1234", "02139-1235"], False),
        ("Phone", ["617-555-0100", "6175550101"], False),
        ("Claim Number", ["123456789", "987654321"], False),
        ("External ID", ["123-456-0000", "123-456-0001"], False),
        ("Notes", ["none", "call 123-45-6789"], False),
    ],
)
def test_values_look_like_social_security_numbers(header: str, cells: list[str], sensitive: bool) -> None:
    assert social_security_columns(table([header], [[cell] for cell in cells])) == ((0,) if sensitive else ())


# no three digits in a row: such a header may be somebody's number
_DIFFERENT = [f"MRN {n // 100:02}-{n % 100:02}" for n in range(3_000)]


@pytest.mark.parametrize("headers", [["MRN"] * 3_000, _DIFFERENT], ids=["equal", "different"])
def test_a_question_about_thousands_of_columns_is_a_few_lines(headers: list[str]) -> None:
    cells = ",".join(str(100_001 + n) for n in range(len(headers)))

    with pytest.raises(IdColumnUndecided, match="and 2,992 more") as asked:
        choose_id_column(csv_table(f"{','.join(headers)}\n{cells}\n"))

    assert len(str(asked.value)) < 600
    assert len(asked.value.candidates) == 3_000


def test_repeated_headers_are_numbered_past_those_that_look_numbered() -> None:
    names = display_names(["A (2)", "A", "A", "", "A", "Column D", *["B"] * 20_000])

    assert names[:6] == ["A (2)", "A", "A (3)", "Column D", "A (4)", "Column D (2)"]
    assert names[-1] == "B (20000)"
    assert len(set(names)) == len(names)
