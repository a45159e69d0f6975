"""What a spreadsheet, a script and batchlinks itself find in a CSV file that batchlinks wrote."""

import csv
import io
import re
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlinks.results.csv_writer import write_csv

LINK = "https://app.healthex.invalid/#/patient-consent/p1/enrollment/link?xid=00417.c2ln;a=1,2&b=%22"

# What may begin with a sign and yet stays: told apart here by counting digits, not by the writer's own pattern.
PLAIN_NUMBER = re.compile(r"[+-][0-9]+([.,][0-9]+)*%?")


def written(rows: Sequence[Sequence[str]], headers: Sequence[str] | None = None) -> bytes:
    width = len(rows[0]) if rows else len(headers or ["MRN"])
    columns = [pa.array([row[position] for row in rows], pa.string()) for position in range(width)]
    target = io.BytesIO()
    write_csv(target, headers or [f"h{position}" for position in range(width)], columns)
    return target.getvalue()


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def cell(text: str) -> str:
    """`text` as it comes back from a row of three."""
    [row] = read(written([["00417", text, "end"]]))[1:]
    assert (row[0], row[2]) == ("00417", "end")
    return row[1]


def is_phone_number(text: str) -> bool:
    digits = sum(character.isdigit() for character in text)
    return text.startswith("+") and 7 <= digits <= 22 and not re.search(r"[^0-9 \xa0().\-/+xXeEtT#]", text)


def begins_a_formula(text: str) -> bool:
    if text[:1] in ("\t", "\r", "\n"):
        return True
    bare = text.strip(" ")
    if bare == "-" or PLAIN_NUMBER.fullmatch(bare) or is_phone_number(bare):
        return False
    return text.strip().startswith(tuple("=+-@＝＋－＠"))


def test_the_file_is_utf_8_with_a_mark_commas_and_windows_line_ends() -> None:
    assert written([["00417", "José"], ["00418", ""]], ["MRN", "Name"]) == (
        b"\xef\xbb\xbfMRN,Name\r\n00417,Jos\xc3\xa9\r\n00418,\r\n"
    )


def test_only_cells_that_need_quotes_have_them() -> None:
    content = written([["a b", "a,b", 'say "hi"', "two\nlines", "a;=1+1"]])

    assert content.splitlines(keepends=True)[1:] == [b'a b,"a,b","say ""hi""","two\n', b'lines","a;=1+1"\r\n']


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "=HYPERLINK(1)",
        "+1+1",
        "+cmd|' /C calc'!A0",
        "-1+1",
        "-cmd",
        "--",
        "+",
        "@SUM(A1)",
        "\t=1",
        "\ttext",
        "\rtext",
        "\n=1",
        "  =1+1",
        "\xa0=1+1",
        "\u200b=1+1",
        "\u3000@x",
        "\ufeff=1",
        "\x00=1",
        "＝1+1",
        "＋1+cmd",
        "－1x",
        "＠SUM(1)",
        "-12.5e",
        "+1 617 555 0100=cmd",
        "+1 617 555 0100\n=cmd",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert cell(text) == "'" + text


@pytest.mark.parametrize(
    "text",
    [
        "+1 617 555 0100",
        "+1-617-555-0100",
        "+1 (617) 555-0100",
        "+16175550100",
        "+49 30/1234567",
        "+44 20 7946 0958 ext. 12",
        "+1.617.555.0100 x7",
        "(617) 555-0100",
        "-12.5",
        "-5",
        "-1,234.50",
        "+123",
        "-",
        " - ",
        "",
        "'=1+1",
        "a=b",
        "5-Jan",
        "a@b.example",
        '"=1+1"',
        LINK,
    ],
)
def test_phone_numbers_numbers_dashes_and_links_stay_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_a_header_is_made_harmless_too() -> None:
    assert read(written([["1", "2"]], ["=1+1", "na\ud83dme"]))[0] == ["'=1+1", "na\ufffdme"]


def test_a_row_with_one_blank_cell_is_still_a_row() -> None:
    assert read(written([["1"], [""], ["3"]], ["MRN"])) == [["MRN"], ["1"], [""], ["3"]]


def test_a_file_without_rows_has_its_header() -> None:
    assert written([], ["MRN", "link"]) == b"\xef\xbb\xbfMRN,link\r\n"


def test_rows_stay_whole_across_batches_chunks_and_nulls() -> None:
    numbers = [str(number) for number in range(40_000)]
    quoted = pa.chunked_array([[f"{number},5" for number in range(35_000)], [None] * 5_000], pa.string())
    target = io.BytesIO()

    write_csv(target, ["n", "q"], [pa.array(["x", *numbers]).slice(1), quoted])

    expected = [[number, f"{number},5" if int(number) < 35_000 else ""] for number in numbers]
    assert read(target.getvalue())[1:] == expected


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.text(
    st.sampled_from("=+-@＝－ \t\r\n\"',;0123456789().x/"), max_size=14
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
def test_any_text_comes_back_and_none_begins_a_formula(rows: list[tuple[str, str]]) -> None:
    back = read(written(rows))[1:]

    assert len(back) == len(rows)
    for row, row_back in zip(rows, back, strict=True):
        for text, text_back in zip(row, row_back, strict=True):
            assert not begins_a_formula(text_back)
            assert text_back == ("'" + text if begins_a_formula(text) else text) or text_back == "'" + text
