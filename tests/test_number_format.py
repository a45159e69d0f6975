"""What number cells show, against what Excel shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlinks.roster.number_format import format_general, parse_format
from batchlinks.table import CellKind

WHOLE = st.integers(0, 999_999_999_999_999)


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        ("00000000", 123456, "00123456"),
        ("General", 123456, "123456"),
        ("0", 123456.0, "123456"),
        ("@", 42, "42"),
        ("000-00-0000", 12345, "000-01-2345"),
        ("000-00-0000", 1234567890, "1234-56-7890"),
        ('"A"0000', 5, "A0005"),
        ('"MD"000000', 5, "MD000005"),
        ('"yds"000', 5, "yds005"),
        ("\\D00000", 5, "D00005"),
        ("00000\\-0000", 21234567, "02123-4567"),
        ("00000-0000", 21234567, "02123-4567"),
        ("(###) ###-####", 6175550100, "(617) 555-0100"),
        ("[<=9999999]###\\-####;\\(###\\)\\ ###\\-####", 5550100, "555-0100"),
        ("[<=9999999]###\\-####;\\(###\\)\\ ###\\-####", 6175550100, "(617) 555-0100"),
        ("000 000 0000", 4012345678, "401 234 5678"),
        ("0_);(0)", 77, "77"),
        ("0_ ;[Red]\\-0\\ ", 77, "77"),
        ("[Red]0000", 7, "0007"),
        ("[$-409]00000;@", 501, "00501"),
        ("00000;-00000;0", 0, "0"),
        ("00000", -5, "-00005"),
        ('0000 "(old)"', 7, "0007 (old)"),
    ],
)
def test_a_format_of_zeros_and_literals_is_rendered_as_a_person_sees_it(code: str, value: float, text: str) -> None:
    assert parse_format(code).show(value) == (text, CellKind.NUMBER)


@pytest.mark.parametrize(
    ("code", "value", "kind"),
    [
        ("#,##0", 5, CellKind.UNREADABLE_FORMAT),
        ("0%", 5, CellKind.UNREADABLE_FORMAT),
        ("0,", 5000, CellKind.UNREADABLE_FORMAT),
        ("# ?/?", 5, CellKind.UNREADABLE_FORMAT),
        ("00/00", 5, CellKind.UNREADABLE_FORMAT),
        ("###-##-####", 5, CellKind.UNREADABLE_FORMAT),
        ("#", 0, CellKind.UNREADABLE_FORMAT),
        (";;;", 5, CellKind.UNREADABLE_FORMAT),
        ('"hidden"', 5, CellKind.UNREADABLE_FORMAT),
        ("[>5]000;[<3]00;0", 5, CellKind.UNREADABLE_FORMAT),
        ("[$€-407]0000", 5, CellKind.UNREADABLE_FORMAT),
        ("A0000", 5, CellKind.UNREADABLE_FORMAT),
        ("* 0000", 5, CellKind.UNREADABLE_FORMAT),
        ("0.00", 5, CellKind.FRACTION),
        ("00000", 5.5, CellKind.FRACTION),
        ("0.00E+00", 5, CellKind.SCIENTIFIC),
        ("yyyy-mm-dd", 5, CellKind.DATE),
        ("[h]:mm", 5, CellKind.DATE),
        ("00000", 1e15, CellKind.LOST_DIGITS),
    ],
)
def test_any_other_format_is_named_for_what_it_is(code: str, value: float, kind: CellKind) -> None:
    assert parse_format(code).show(value) == (format_general(value)[0], kind)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (123456789012345, "123456789012345"),
        (1234567890123456, "1.23457E+15"),
        (-3, "-3"),
        (12.5, "12.5"),
        (1 / 3, "0.333333333"),
        (0.1 + 0.2, "0.3"),
        (1234.56789012, "1234.56789"),
        (123456789.123, "123456789.1"),
        (12345678901.5, "12345678902"),
        (123456789012.5, "1.23457E+11"),
        (0.00012345678, "0.000123457"),
        (0.000012345678, "1.23457E-05"),
        (0.00001, "0.00001"),
    ],
)
def test_general_shows_eleven_characters_but_whole_numbers_in_full(value: float, text: str) -> None:
    assert format_general(value)[0] == text


@given(WHOLE, st.integers(1, 20))
def test_zeros_are_filled_up_and_no_digit_is_ever_lost(value: int, places: int) -> None:
    text, kind = parse_format("0" * places).show(value)

    assert kind is CellKind.NUMBER
    assert int(text) == value
    assert len(text) == max(places, len(str(value)))


@given(WHOLE, st.lists(st.integers(1, 5), min_size=1, max_size=5), st.sampled_from(["-", " ", '"x"', "\\.", "("]))
def test_literals_between_zeros_never_change_the_digits(value: int, runs: list[int], literal: str) -> None:
    text, kind = parse_format(literal.join("0" * run for run in runs)).show(value)

    assert kind is CellKind.NUMBER
    assert "".join(filter(str.isdigit, text)) == str(value).rjust(sum(runs), "0")


@given(st.text(alphabet='0#?.,;[]"\\_*@EGeneral+-/ ()dmyhs%$<=>9', max_size=20), st.floats(allow_nan=False))
def test_no_format_and_no_number_is_too_strange(code: str, value: float) -> None:
    text, kind = parse_format(code).show(value)

    assert isinstance(text, str)
    assert kind is not CellKind.TEXT


@given(st.text(alphabet='0#?.,;[]"\\_*@E+-/ ()%', max_size=12), WHOLE)
def test_what_counts_as_a_number_shows_its_own_digits(code: str, value: int) -> None:
    text, kind = parse_format(code).show(value)

    if kind is CellKind.NUMBER and '"' not in code and "\\" not in code:
        assert int("".join(filter(str.isdigit, text))) == value
