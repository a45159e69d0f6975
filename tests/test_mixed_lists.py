"""A row is a patient because it is like the others: what reports put between patients is not sent, and no patient is lost."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from mixed_lists import FIRST, KINDS, LAST, MIXES, MixedList, of_patients, with_strays
from test_screening import MRN, numbered, screened, table, verdicts

from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.result import Rules, Screened
from batchlinks.screening.screen import screen

_MAY_BE_ASKED = {
    ("an emptier hospital", ErrorCode.ODD_SHAPE),  # fewer than a quarter, and nearly empty rows
    ("names like a total's", ErrorCode.ODD_SHAPE),  # nothing but an ID and the surname Total
}


def sent(found: Screened) -> set[int]:
    """Positions of the rows that get a link, their duplicates among them."""
    return set(np.flatnonzero(found.sendable | found.duplicates).tolist())


def check_strays(made: MixedList) -> None:
    found = screen(made.table, made.column, Rules())

    patients = set(range(len(made.rows))) - made.strays
    assert sent(found) == patients
    for position in made.strays:
        assert found.code_at(position) in (ErrorCode.NOT_A_PATIENT, ErrorCode.ODD_SHAPE)


def check_patients(mix: str, seed: int) -> None:
    made = of_patients(mix, seed)
    found = screen(made.table, made.column, Rules())

    held_back = {(mix, found.code_at(position)) for position in set(range(len(made.rows))) - sent(found)}
    assert held_back <= _MAY_BE_ASKED


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_what_reports_put_between_patients_gets_no_link_and_each_patient_does(kind: str, seed: int) -> None:
    check_strays(with_strays(kind, seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mix", MIXES)
def test_patients_who_are_unlike_the_others_get_their_links(mix: str, seed: int) -> None:
    check_patients(mix, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_reports_put_between_patients_gets_no_link_in_hundreds_of_lists(kind: str) -> None:
    for seed in range(1_000, 1_060):
        check_strays(with_strays(kind, seed))


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_patients_who_are_unlike_the_others_get_their_links_in_hundreds_of_lists(mix: str) -> None:
    for seed in range(1_000, 1_040):
        check_patients(mix, seed)


# --- who is never put aside as nobody ------------------------------------------------------------------------


def people(count: int, identifier: Callable[[int], str] = lambda at: f"{10_234 + 7 * at:08}") -> list[list[str]]:
    return [
        [identifier(at), FIRST[at % 16], LAST[at % 13], f"19{50 + at % 40}-0{1 + at % 9}-11"] for at in range(count)
    ]


def test_one_id_typed_by_hand_among_five_is_used_and_said() -> None:
    found = screened([*people(4), ["N-17", "Ann", "Lee", "1980-01-05"]])

    assert found.counts() == {}
    assert found.warnings == {WarningCode.MIXED_SHAPES: [6]}


def test_three_ids_of_one_shape_are_a_kind_and_two_among_fifty_are_asked_about() -> None:
    others = [[f"E{1_234_567 + at}", "Ann", "Lee", f"1980-01-{10 + at}"] for at in range(3)]

    assert screened([*people(57), *others]).warnings == {WarningCode.MIXED_SHAPES: [59, 60, 61]}
    assert screened([*people(57), *others[:2]]).counts() == {"odd_shape": 2}
    assert screened([*people(57), *others[:2]], Rules(any_shape=True)).counts() == {}


def test_a_count_is_proof_only_where_it_equals_the_rows_above_and_nobody_is_named() -> None:
    assert verdicts(screened([*people(8), ["8"]]))[-1] == "not_a_patient"
    assert verdicts(screened([*people(8), ["7"]]))[-1] == "odd_shape"
    assert verdicts(screened([*people(8), ["8", "Ann", "", "1980-01-05"]]))[-1] == "8"


@pytest.mark.parametrize("name", ["Count", "Sum", "Page", "Somme", "Total"])
def test_a_lone_surname_is_never_proof_that_there_is_no_patient(name: str) -> None:
    rows = [[row[0], "", row[2]] for row in people(8)]

    assert screened([*rows, ["00020000", "", name]]).counts() == {}
    assert "not_a_patient" not in screened([*people(8), ["00020000", "", name]]).counts()


def test_a_row_that_names_a_person_is_a_patient_whatever_stands_in_its_id() -> None:
    rows = [*people(8), ["Total", "Ann", "Lee", "1980-01-05"], ["Page 2", "Bo", "Kim", "1981-01-05"]]

    assert verdicts(screened(rows))[-2:] == ["no_digit", "odd_shape"]


def test_a_patient_whose_id_stands_elsewhere_is_known_though_the_row_is_nearly_empty() -> None:
    rows = [*people(8), ["N-17", "Ann", "Lee", "1980-01-05"], ["N-17"]]

    assert verdicts(screened(rows))[-2:] == ["N-17", "duplicate"]


# --- more than the ID in its cell --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "00088888 - Smith John", "00088889 Smith", "00088890/00088891", "00088892 00088893", "00088894 and 00088895",
        "00088896 old", "MRN: 00088897", "MRN00088898", "mrn 123", "ID 00088899", "00088900 2",
    ],
)  # fmt: skip
def test_more_than_an_id_in_the_cell_is_asked_about(cell: str) -> None:
    assert verdicts(screened([*people(8), [cell, "Ann", "Lee", "1980-01-05"]]))[-1] == "odd_shape"


@pytest.mark.parametrize(
    "identifier",
    [
        lambda at: f"MGH:{12_345 + at:07}", lambda at: f"MRN {417 + at}", lambda at: f"123 456 {7890 + at}",
        lambda at: f"12-34-{10 + at}", lambda at: f"{'MGH' if at % 2 else 'BWH'}:{12_345 + at:07}",
        lambda at: f"{10_000_000 + at}-01" if at % 3 == 0 else f"{10_000_000 + at}",
        lambda at: f"MGH:{12_345_678 + at}" if at % 5 == 0 else f"{20_345_678 + at}",
    ],
)  # fmt: skip
def test_a_form_that_several_ids_have_stays(identifier: Callable[[int], str]) -> None:
    assert screened(people(30, identifier)).counts() == {}


# --- one person, several spellings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "held_back"),
    [
        (["12-34-56-78", "12345678", "1234 5678"], 3),
        (["12-34-56", "12.34.56"], 2),
        (["AB 123", "ab-123", "AB123"], 3),
        (["0012-34", "12-34"], 2),
        (["1-23", "12-3"], 0),
        (["1-23", "12-3", "123"], 3),
    ],
)
def test_ids_that_differ_only_in_separators_are_held_back(ids: Sequence[str], held_back: int) -> None:
    rows = [[identifier, name, "Lee", ""] for identifier, name in zip(ids, FIRST, strict=False)]

    assert screened(rows).counts().get("ambiguous_id", 0) == held_back
    assert screened(rows, Rules(exact_ids=True)).counts() == {}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["Ann", "Lee", "1980-01-05"], ["ANN M.", "LEE", "1/5/1980"], True),
        (["Ann", "Lee", "1980-01-05"], ["Ann", "Lee", "1980-01-06"], False),
        (["Ann", "Lee", "1980-01-05"], ["Bob", "Lee", "1980-01-05"], False),
        (["Ann", "Lee", ""], ["Ann", "Lee", ""], False),
    ],
)
def test_one_name_and_birth_date_under_two_ids_is_said(one: list[str], other: list[str], same: bool) -> None:
    found = screened([["4711", *one], ["4812", *other], ["4913", "Kai", "Ray", "1970-02-02"]])

    assert found.counts() == {}
    assert found.warnings == ({WarningCode.SAME_PERSON: [2, 3]} if same else {})


def test_a_listed_id_holds_its_patient_back_however_it_is_spelled() -> None:
    rows, listed = [["12-34-56", "Ann"], ["654321", "Bo"]], frozenset(["123456"])

    assert verdicts(screened(rows, Rules(excluded=listed))) == ["excluded", "654321"]
    assert verdicts(screened([*rows, ["123456", "Cy"]], Rules(excluded=listed, exact_ids=True))) == [
        "12-34-56", "654321", "excluded",
    ]  # fmt: skip


# --- lengths -------------------------------------------------------------------------------------------------


def test_how_many_ids_have_how_many_digits_is_told() -> None:
    found = screened([*numbered(32, 0), *([f"{733_256 + at}"] for at in range(8))])

    assert found.lengths.rows == {8: 32, 6: 8}
    assert found.lengths.in_words() == "8 digits: 32 rows, 6 digits: 8 rows"
    assert found.warnings[WarningCode.MIXED_LENGTHS] == list(range(34, 42))


def test_a_list_of_all_lengths_is_said() -> None:
    found = screened([[f"{10**digits + at}"] for digits in (3, 4, 5, 6) for at in range(5)])

    assert found.counts() == {}
    assert found.lengths.rows == {4: 5, 5: 5, 6: 5, 7: 5}
    assert len(found.warnings[WarningCode.MIXED_LENGTHS]) == 15


def test_an_id_longer_than_all_are_said_to_be_is_refused() -> None:
    found = screened([["417"], ["123456"], ["1234567"], ["A1234567"]], Rules(width=6))

    assert verdicts(found) == ["000417", "123456", "pattern_mismatch", "A1234567"]


def test_the_command_says_lengths_and_that_zeros_were_lost(command: Callable[..., object], tmp_path: Path) -> None:
    from rosters import workbook

    rows: list[list[object]] = [[f"0{1_045_210 + at}", "Ann"] for at in range(32)]
    rows += [[733_256 + at, "Bo"] for at in range(8)]
    roster = workbook(tmp_path / "patients.xlsx", {"P": [["MRN", "First Name"], *rows]})

    ended = command("check", roster)

    assert re.search(r"8 digits: 32 rows, 6 digits: 8 rows; leading zeros were lost", ended.err)  # type: ignore[attr-defined]


def test_a_total_row_that_a_table_declares_is_no_patient() -> None:
    from dataclasses import replace

    made = table([*people(8), ["99"]])

    assert verdicts(screen(replace(made, total_rows=(8,)), MRN, Rules()))[-1] == "not_a_patient"
