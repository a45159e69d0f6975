"""Each door has words of its own for a next step, and no sentence for a coordinator names an option."""

import json
import re

import pytest

from batchlinks.errors import RosterError
from batchlinks.next_steps import COMMAND, PYTHON, WORKBOOK, Advice, Do, Door, Part, Setting, part_as_json, part_of_json
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.web.wording import PAGE

OPTION = re.compile(r"(?<![\w-])--[a-z]|BATCHLINKS_|HEALTHEX_|`")
GAPS = {
    "found": 6, "expected": 8, "rows": "2 and 3", "difference": "first names", "before": "row 7", "status": 404,
    "reason": "it timed out", "attempts": 8, "list": "march.csv", "row": 7, "day": "2026-11-28", "date": "2026-11-28",
}  # fmt: skip


@pytest.mark.parametrize("door", [COMMAND, PYTHON, WORKBOOK, PAGE])
def test_every_door_has_words_for_every_step(door: Door) -> None:
    assert set(door.advice) == set(Do)


@pytest.mark.parametrize("door", [WORKBOOK, PAGE])
@pytest.mark.parametrize("step", Do)
def test_whoever_has_no_command_line_is_told_of_no_option(door: Door, step: Do) -> None:
    assert not OPTION.search(door.advise(Advice(step, 8, "MRN")))


@pytest.mark.parametrize("step", Do)
def test_whoever_calls_from_python_is_told_of_no_option_either(step: Do) -> None:
    for example in ("", "MRN"):
        assert "--" not in PYTHON.advise(Advice(step, 8, example))


def test_a_setting_is_given_a_value_in_the_words_of_each_door() -> None:
    lengths, column = Advice(Do.ALLOW_LENGTHS, 8), Advice(Do.CHOOSE_ID_COLUMN, example="Chart No")

    assert COMMAND.advise(lengths) == "Use --id-width 8 to add leading zeros, or --any-length if short IDs are right."
    assert PYTHON.advise(lengths) == "Use id_width=8 to add leading zeros, or any_length=True if short IDs are right."
    assert COMMAND.advise(column) == 'Name it with --id-column, for example --id-column "Chart No".'
    assert PYTHON.advise(column) == 'Name it with id_column, for example id_column="Chart No".'


@pytest.mark.parametrize("code", ErrorCode)
def test_no_row_code_names_an_option(code: ErrorCode) -> None:
    for door in (WORKBOOK, PAGE):
        for gaps in (GAPS, GAPS | {"advice": Do.GO_ON}, GAPS | {"advice": Do.LIFT_LIMIT}):
            assert not OPTION.search(code.said_at(door, gaps))


@pytest.mark.parametrize("code", WarningCode)
def test_no_warning_names_an_option_in_its_sentence(code: WarningCode) -> None:
    assert not any(OPTION.search(code.sentence(count)) for count in (0, 1, 2))


def test_an_error_says_the_same_at_every_door_and_what_to_do_in_words_of_each() -> None:
    error = RosterError("list.xlsx is protected with a password. ", Advice(Do.GIVE_PASSWORD))

    assert str(error) == (
        "list.xlsx is protected with a password. Set BATCHLINKS_ROSTER_PASSWORD to it, or save the file without one."
    )
    assert error.said_at(PAGE) == "list.xlsx is protected with a password. Type its password."


@pytest.mark.parametrize("part", ["text", Setting("id_width"), Advice(Do.ALLOW_LENGTHS, 8, "MRN"), Advice(Do.GO_ON)])
def test_a_part_of_a_sentence_survives_the_way_from_the_reading_process(part: Part) -> None:
    assert part_of_json(json.loads(json.dumps(part_as_json(part)))) == part
