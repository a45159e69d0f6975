"""What a cell is, who is the same person, and which IDs are in doubt: the rules, without files."""

import re
from collections.abc import Sequence
from datetime import date
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchlinks.columns.id_column import IdColumn
from batchlinks.config.id_pattern import IdPattern
from batchlinks.patients.identifier import clean, read_id
from batchlinks.patients.people import Difference, dates, identity_columns, person
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.footers import FOOTER_WORDS, is_footer_beside
from batchlinks.screening.result import Rules, Screened
from batchlinks.screening.screen import screen
from batchlinks.table import CellKind, Table

CODES = {code.value: code for code in ErrorCode}
MRN = IdColumn((0,), "MRN")
NO_RULES = Rules()
HEADERS = ("MRN", "First Name", "Last Name", "DOB")


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = HEADERS) -> Table:
    """A list whose first row has number 2; rows may be shorter than `headers`."""
    cells = {
        str(at): pa.array([row[at] if at < len(row) else "" for row in rows], pa.string()) for at in range(len(headers))
    }
    return Table(tuple(headers), pa.table(cells), np.arange(2, len(rows) + 2, dtype=np.int32))


def screened(rows: Sequence[Sequence[str]], rules: Rules = NO_RULES, headers: Sequence[str] = HEADERS) -> Screened:
    return screen(table(rows, headers), MRN, rules)


def verdicts(found: Screened) -> list[str]:
    """For each row its code, `duplicate`, or the ID that would be sent."""
    return [
        code.value if (code := found.code_at(at)) else "duplicate" if found.duplicates[at] else found.ids[at].as_py()
        for at in range(len(found.codes))
    ]


# --- one cell -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "00417", "123-456-0000", "12-34-56", "A.1/2:3#4*5~6_7", "TRL-001", "RUN00017", "T00045", "MRN 00417", "943 476 5919",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "1E5", "MAR00123", "DEC12345", "9", "A1B2", "1.2.840.113", "x" * 127 + "1",
        "END00012", "N12", "2024-13-45", "P1", "Total00045",
    ],
)  # fmt: skip
def test_an_id_of_any_usual_shape_is_sent_as_it_stands(text: str) -> None:
    assert verdicts(screened([[text, "Ann"]])) == [text]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "blank_id"), (" \u00a0\u200b", "blank_id"), ("'", "blank_id"),
        ("mrn", "not_a_patient"), ("M.R.N.", "not_a_patient"), ("Total", "not_a_patient"),
        ("Grand total: 45", "not_a_patient"), ("Total patients 1,045", "not_a_patient"), ("Page 1 of 3", "not_a_patient"),
        ("Run date: 11/01/2026", "not_a_patient"), ("Printed on 11/01/2026 by ADT", "not_a_patient"),
        ("TRL|000045", "not_a_patient"), ("End of report", "not_a_patient"), ("45 records", "not_a_patient"),
        ("Record count: 45", "not_a_patient"), ("*** END OF FILE ***", "not_a_patient"),
        ("#N/A", "formula_error"), ("#REF!", "formula_error"),
        ("5-Jan", "date_in_id"), ("Jan-80", "date_in_id"), ("2024-01-05", "date_in_id"), ("1/5/2024", "date_in_id"),
        ("31.12.1999", "date_in_id"), ("2024-01-05 00:00:00", "date_in_id"),
        ("TRUE", "unreadable_format"), ("false", "unreadable_format"),
        ("12345.0", "decimal_number"), ("0.5", "decimal_number"),
        ("1.23457E+11", "scientific_notation"), ("1E-5", "scientific_notation"), ("12e+3", "scientific_notation"),
        ("N/A", "placeholder_id"), ("unknown", "placeholder_id"), ("TBD", "placeholder_id"), ("-", "placeholder_id"),
        ("null", "placeholder_id"), ("0000", "placeholder_id"), ("???", "placeholder_id"), ("Not assigned", "placeholder_id"),
        ("Ann", "no_digit"), ("see chart", "no_digit"),
        ("12 345", None), ("12  345", "unexpected_character"), ("12,345", "unexpected_character"),
        ("#123", "unexpected_character"), ("123-", "unexpected_character"), ("12é4", "unexpected_character"),
        ("12\u202e34", "unexpected_character"), ("=1+2", "unexpected_character"), ("12\n34", "unexpected_character"),
        ("1" * 128, None), ("1" * 129, "too_long"),
    ],
)  # fmt: skip
def test_a_cell_that_is_no_id_gets_the_first_code_that_fits(text: str, code: str | None) -> None:
    assert verdicts(screened([[text, "Ann"]])) == [code or text]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (CellKind.DATE, "date_in_id"),
        (CellKind.BOOLEAN, "unreadable_format"),
        (CellKind.ERROR, "formula_error"),
        (CellKind.NO_CACHED_VALUE, "no_cached_value"),
        (CellKind.UNREADABLE_FORMAT, "unreadable_format"),
        (CellKind.LOST_DIGITS, "lost_digits"),
        (CellKind.FRACTION, "decimal_number"),
        (CellKind.SCIENTIFIC, "scientific_notation"),
        (CellKind.NUMBER, "12345"),
    ],
)
def test_a_cell_of_another_kind_is_refused_though_its_text_looks_like_an_id(kind: CellKind, code: str) -> None:
    assert read_id("12345", kind) == (("12345", None) if code == "12345" else ("", CODES[code]))


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("  00417 ", "00417"), ("\u00a000417\u2003", "00417"), ("\u200b00417\ufeff", "00417"), ("'00417", "00417"),
        ("０0４17", "00417"), ("ＭRN7", "MRN7"), (" ' 00417", "00417"), ("\t00417\r\n", "00417"), ("00\u00ad417", "00417"),
    ],
)  # fmt: skip
def test_what_nobody_sees_is_cleaned_away(typed: str, sent: str) -> None:
    assert verdicts(screened([[typed, "Ann"]])) == [sent]


def test_a_pattern_refuses_what_it_does_not_match_and_allows_what_has_no_digit() -> None:
    rules = Rules(pattern=IdPattern("[A-Z]{3}|[0-9]{5}"))

    assert verdicts(screened([["ABC"], ["00417"], ["418"], ["ABCD"], ["TBD"]], rules)) == [
        "ABC", "00417", "pattern_mismatch", "no_digit", "placeholder_id",
    ]  # fmt: skip


def test_lost_zeros_come_back_before_the_pattern_looks() -> None:
    rules = Rules(width=5, pattern=IdPattern("[0-9]{5}"))

    assert verdicts(screened([["417"], [" 418 "], ["000419"], ["A20"]], rules)) == [
        "00417", "00418", "pattern_mismatch", "pattern_mismatch",
    ]  # fmt: skip


_ID_LIKE = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="0123456789AEeXx-/ .:'_\u00a0\t０", max_size=10),
    st.from_regex(r"\A[0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4}\Z"),
    st.from_regex(r"\A([0-9]{1,2}[-/ ])?(jan|Feb|MAR|sept|december)[-/ ]?[0-9]{0,4}\Z"),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9])?[eE][+-]?[0-9]{1,2}\Z"),
    st.from_regex(r"\A(page|total|trl|rows|count|MRN)[ :=|]?[0-9]{0,3}\Z"),
    st.from_regex(r"\A[A-Z]{0,3}[0-9]{1,9}\Z"),
    st.sampled_from(["N/A", "MRN2", "mrn 2", "", "0", "true", "#N/A", "1" * 129]),
)


@settings(deadline=None)
@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@settings(deadline=None)
@given(_ID_LIKE)
@example("Number of rows: 3")
@example(" trlr ")
def test_a_footer_beside_the_id_always_has_a_footers_word(text: str) -> None:
    assert not is_footer_beside(text) or re.search(FOOTER_WORDS, text)


def test_a_total_beside_a_cell_that_looks_like_an_id_is_no_patient() -> None:
    patients = [[f"10{number}", "Ann", "Lee", "1980-01-05"] for number in range(5)]

    assert verdicts(screened([*patients, ["45", "Total"], ["46", "Ann"]]))[-2:] == ["not_a_patient", "46"]


def test_a_patient_with_a_footers_word_for_a_name_is_a_patient() -> None:
    patients = [[f"10{number}", "Ann", "Lee", "1980-01-05"] for number in range(5)]

    assert verdicts(screened([*patients, ["200", "Page", "Count", "1990-02-03"]]))[-1] == "200"


# --- lengths --------------------------------------------------------------------------------------------------


def numbered(full: int, short: int) -> list[list[str]]:
    return [[f"{10_000_000 + number}"] for number in range(full)] + [[f"{100 + number}"] for number in range(short)]


@pytest.mark.parametrize(
    ("full", "short", "verdict"),
    [
        pytest.param(19, 1, "lost_zeros", id="one in twenty"),
        pytest.param(95, 5, "lost_zeros", id="five in a hundred"),
        pytest.param(18, 1, "100", id="fewer than twenty in all"),
        pytest.param(94, 6, "100", id="more than five in a hundred"),
    ],
)
def test_short_ids_are_held_back_where_nearly_all_have_one_length(full: int, short: int, verdict: str) -> None:
    assert verdicts(screened(numbered(full, short)))[full] == verdict


def test_the_sentence_says_how_long_the_id_is_and_how_long_the_others_are() -> None:
    found = screened([*numbered(30, 0), ["12345"]])

    assert found.gaps[30] == {"found": 5, "expected": 8}


def test_short_ids_are_merely_named_where_fewer_have_one_length() -> None:
    found = screened(numbered(9, 1))

    assert found.warnings[WarningCode.NEAR_LENGTH] == [11]
    assert found.counts() == {}


def test_longer_ids_are_merely_named_where_they_are_a_kind_of_their_own() -> None:
    found = screened([*numbered(57, 0), ["1234567890"], ["1234567891"], ["1234567892"]])

    assert found.warnings[WarningCode.NEAR_LENGTH] == [59, 60, 61]
    assert found.counts() == {}


def test_one_longer_id_among_many_of_one_length_is_looked_at() -> None:
    assert screened([*numbered(30, 0), ["1234567890"]]).counts() == {"odd_shape": 1}


@pytest.mark.parametrize("rules", [Rules(any_length=True), Rules(width=8)], ids=["any length", "a width"])
def test_nobody_speaks_of_lengths_where_the_user_did(rules: Rules) -> None:
    found = screened(numbered(30, 1), rules)

    assert found.counts() == {}
    assert found.warnings == {}


def test_ids_with_letters_lose_no_zeros_but_a_short_one_is_looked_at() -> None:
    rows = [*([f"A{number:07}"] for number in range(30)), ["A12"]]

    assert screened(rows).counts() == {"odd_shape": 1}
    assert screened(rows, Rules(any_shape=True)).counts() == {}


# --- the same ID twice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["Ann", "Lee", "1980-01-05"], ["Ann", "Lee", "1980-01-05"]),
        (["Ann", "Lee", "1980-01-05"], ["ANN M.", "LEE", "1/5/1980"]),
        (["Ann", "Lee", "1980-01-05"], ["A.", "Lee", "05-Jan-1980"]),
        (["Ann", "Lee", "1980-01-05"], ["A", "Lee", "January 5, 1980"]),
        (["Ann", "Lee", "1980-01-05"], ["", "", ""]),
        (["", "", ""], ["Ann", "Lee", "1980-01-05"]),
        (["Ann", "Lee", "5/1/1980"], ["Ann", "Lee", "1980-05-01"]),
        (["Ann", "Lee", "1/5/80"], ["Ann", "Lee", "19800105"]),
        (["Ann", "Lee", "1980-01-05 00:00"], ["Ann", "Lee", "5.1.1980"]),
        (["José", "Lee", "1980-01-05"], ["JOSE", "Lee", "unknown"]),
        (["Mary-Ann", "Lee", ""], ["Mary", "Lee", ""]),
        (["Dr. Ann", "Lee", ""], ["Ann", "Lee", ""]),
        (["Ann", "Lee", "around 1980"], ["Ann", "Lee", "around 1980"]),
    ],
)
def test_the_same_person_twice_is_a_duplicate_of_the_first_row(one: list[str], other: list[str]) -> None:
    found = screened([["700", *one], ["701", "Bob", "Ray", "1970-01-01"], ["700", *other]])

    assert verdicts(found) == ["700", "701", "duplicate"]
    assert found.kept.tolist() == [0, 1, 0]
    assert found.warnings == {}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (["Ann", "Lee", "1980-01-05"], ["Bob", "Lee", "1980-01-05"], Difference.FIRST_NAMES),
        (["Ann", "Lee", "1980-01-05"], ["Ann", "Lee", "1980-01-06"], Difference.BIRTH_DATES),
        (["Ann", "Lee", "1/5/1980"], ["Ann", "Lee", "5/1/1980"], Difference.BIRTH_DATES),
        (["Ann", "Lee", "1/5/1980"], ["Ann", "Lee", "around 1980"], Difference.BIRTH_DATES),
        (["Ann", "Lee", ""], ["B.", "Lee", "1980-01-05"], Difference.FIRST_NAMES),
    ],
)
def test_two_people_with_one_id_are_both_held_back(one: list[str], other: list[str], difference: Difference) -> None:
    found = screened([["700", *one], ["701", "Bob", "Ray", "1970-01-01"], ["700", *other]])

    assert verdicts(found) == ["conflicting_id", "701", "conflicting_id"]
    assert found.gaps[0] == found.gaps[2] == {"rows": "2 and 4", "difference": difference}


def test_a_third_row_can_show_that_two_are_not_one_person() -> None:
    rows = [["700", "A.", "Lee"], ["700", "Ann", "Lee"], ["700", "Amy", "Lee"], ["700", "", "Lee"]]

    assert verdicts(screened(rows)) == ["conflicting_id"] * 4


def test_another_last_name_alone_is_a_duplicate_with_a_warning() -> None:
    found = screened([["700", "Ann", "Lee", ""], ["700", "Ann", "Ray", ""], ["700", "Ann", "", ""]])

    assert verdicts(found) == ["700", "duplicate", "duplicate"]
    assert found.warnings == {WarningCode.OTHER_LAST_NAME: [3]}


@pytest.mark.parametrize(
    "header",
    [
        "Guarantor First Name",
        "Provider First Name",
        "Emergency Contact DOB",
        "Mother's Birth Date",
        "Subscriber DOB",
        "Notes",
    ],
)
def test_only_the_patients_own_columns_tell_people_apart(header: str) -> None:
    found = screened([["700", "Ann"], ["700", "Bob"]], headers=["MRN", header])

    assert verdicts(found) == ["700", "duplicate"]
    assert found.warnings == {WarningCode.NO_IDENTITY_COLUMNS: [3]}


@pytest.mark.parametrize(
    ("header", "names", "same"),
    [
        ("Patient Name", ["DOE, ANN M", "Ann Doe"], True),
        ("Name", ["Doe, Ann", "Doe, Bob"], False),
        ("Patient Name (Last, First)", ["Doe, Ann", "Doe, Bob"], False),
        ("Member_Full_Name", ["Ann Doe", "ANN M DOE"], True),
        ("Patient", ["Ann Doe", "Bob Doe"], False),
        ("PatFName", ["Ann", "Bob"], False),
        ("given_name", ["Ann", "ann"], True),
        ("Date of Birth (MM/DD/YYYY)", ["01/05/1980", "1980-01-05"], True),
        ("Pt. DOB", ["01/05/1980", "01/06/1980"], False),
        ("Geburtsdatum", ["05.01.1980", "06.01.1980"], False),
    ],
)
def test_names_and_birth_dates_are_known_by_many_headers(header: str, names: list[str], same: bool) -> None:
    found = screened([["700", name] for name in names], headers=["MRN", header])

    assert verdicts(found) == (["700", "duplicate"] if same else ["conflicting_id"] * 2)
    assert WarningCode.NO_IDENTITY_COLUMNS not in found.warnings


def test_the_id_column_is_not_taken_for_a_name() -> None:
    assert not identity_columns(["Patient", "Clinic"], besides=(0,))
    assert identity_columns(["Patient", "Clinic"]).full_name == 0


@given(
    st.dates(min_value=date(1901, 1, 1), max_value=date(2099, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y", "%Y%m%d", "%B %d, %Y", "%Y/%m/%d 00:00:00"]),
)
def test_a_birth_date_is_the_same_day_however_it_is_typed(born: date, form: str) -> None:
    assert any(born in reading for reading in dates(born.strftime(form).lower()))


def test_a_day_that_is_not_in_the_calendar_is_no_date() -> None:
    assert not any(dates("2024-02-30"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["Ann", "A.", "ANN M", "Bob", "B", "", "Amy"]), min_size=2, max_size=5))
def test_whether_people_differ_does_not_depend_on_their_order(names: list[str]) -> None:
    people = [person("", name, "", "") for name in names]
    differ = any(one.differs_from(other) for one in people for other in people)

    for order in (names, names[::-1], sorted(names)):
        found = screened([["700", name] for name in order])
        assert (found.counts() == {"conflicting_id": len(names)}) == differ


# --- IDs that are nearly the same -----------------------------------------------------------------------------


def test_ids_that_differ_in_case_or_leading_zeros_are_held_back_in_all_their_rows() -> None:
    found = screened([["ab12"], ["AB12"], ["77"], ["077"], ["ab12"], ["78"]])

    assert verdicts(found) == ["ambiguous_id"] * 5 + ["78"]
    assert found.gaps[0] == {"rows": "2, 3 and 6"}


def test_a_row_refused_for_another_reason_still_casts_doubt_and_keeps_its_own_code() -> None:
    found = screened([*numbered(30, 1), ["00000100"]])

    assert verdicts(found)[-2:] == ["lost_zeros", "ambiguous_id"]


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (Rules(excluded=frozenset(["700"])), "excluded"),
        (Rules(withdrawn=frozenset(["700"])), "withdrawn"),
        (Rules(pattern=IdPattern("[0-9]{5}")), "pattern_mismatch"),
    ],
)
def test_later_rows_of_a_refused_patient_stay_duplicates(rules: Rules, code: str) -> None:
    found = screened([["700", "Ann"], ["700", "Ann"], ["00800", "Bob"], ["700", "Ann"]], rules)

    assert verdicts(found) == [code, "duplicate", "00800", "duplicate"]


@pytest.mark.parametrize("listed", ["700", "0700", "000700"])
def test_somebody_on_the_exclude_list_is_held_back_though_it_lost_zeros(listed: str) -> None:
    assert verdicts(screened([["0700"], ["0701"]], Rules(excluded=frozenset([listed])))) == ["excluded", "0701"]


def test_excluded_comes_before_withdrawn_and_both_before_doubt() -> None:
    rules = Rules(excluded=frozenset(["a1"]), withdrawn=frozenset(["a1", "b1"]))

    assert verdicts(screened([["a1"], ["A1"], ["b1", "Ann"], ["b1", "Bob"]], rules)) == [
        "excluded", "excluded", "withdrawn", "withdrawn",
    ]  # fmt: skip


# --- the list as a whole --------------------------------------------------------------------------------------


def messy_rosters() -> st.SearchStrategy[list[list[str]]]:
    ids = st.one_of(
        st.sampled_from(["700", "0700", "a7", "A7", "701", "N/A", "", "Total", "5-Jan", "7O1", "mrn"]),
        st.integers(1000, 1010).map(str),
        _ID_LIKE,
    )
    names, born = st.sampled_from(["Ann", "A.", "Bob", ""]), st.sampled_from(["1980-01-05", "1/5/1980", "5/1/1980", ""])
    return st.lists(st.tuples(ids, names, st.sampled_from(["Lee", "Ray", ""]), born).map(list), max_size=40)


@settings(max_examples=30, deadline=None)
@given(
    messy_rosters(),
    st.builds(
        Rules,
        pattern=st.sampled_from([None, IdPattern("[0-9]+")]),
        width=st.sampled_from([None, 6]),
        excluded=st.frozensets(st.sampled_from(["700", "1003"])),
    ),
)
def test_every_row_is_sent_once_or_a_duplicate_of_one_or_refused(rows: list[list[str]], rules: Rules) -> None:
    found = screened(rows, rules)

    ids = found.ids.to_pylist()
    sent = [ids[at] for at in np.flatnonzero(found.sendable)]
    assert len(sent) + int(found.duplicates.sum()) + sum(found.counts().values()) == len(rows)
    assert len({identifier.lower().lstrip("0") for identifier in sent}) == len(sent)
    for at in np.flatnonzero(found.duplicates).tolist():
        first = int(found.kept[at])
        assert first < at
        assert ids[first] == ids[at] != ""
        assert not found.duplicates[first]
    for at, code in ((at, found.code_at(at)) for at in range(len(rows))):
        assert code is None or "{" not in code.message(**found.gaps.get(at, {}))


@settings(max_examples=20, deadline=None)
@given(messy_rosters(), st.randoms(use_true_random=False))
def test_how_many_are_refused_does_not_depend_on_the_order_of_rows(rows: list[list[str]], shuffler: Random) -> None:
    shuffled = rows.copy()
    shuffler.shuffle(shuffled)

    one, other = screened(rows), screened(shuffled)

    assert one.counts() == other.counts()
    assert int(one.sendable.sum()) == int(other.sendable.sum())


@pytest.mark.timeout(20)  # comparing each ID with all others would take minutes
def test_fifty_thousand_ids_that_two_people_share_are_found_in_a_moment() -> None:
    found = screened([[f"{at % 50_000 + 1:08}", "Ann" if at < 50_000 else "Bob"] for at in range(100_000)])

    assert found.counts() == {"conflicting_id": 100_000}
    assert found.gaps[49_999]["rows"] == "50001 and 100001"
