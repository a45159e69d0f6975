"""No sentence of ours is read back or rewritten, and no door shows what only another door's readers can use."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

import batchlinks
from batchlinks.config.settings import RunSettings, check_settings, validate
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.next_steps import COMMAND, WORKBOOK, Advice, Do, Door, Setting
from batchlinks.web.form_fields import SETTABLE, error_of
from batchlinks.web.wording import PAGE, asks

PACKAGE = Path(batchlinks.__file__).parent
READERS = frozenset(
    """startswith endswith removeprefix removesuffix replace find index partition rpartition split search match fullmatch
    findall finditer sub""".split()
)
"""What looks into a text, or rewrites it."""

MESSAGE_NAMES = re.compile(
    r"(?:^|_)(?:sentence|message|problem|detail|why|refused|said|error|undecided|obstacle|in_words|said_at|difference)$"
)
"""What something that is a sentence, or the error that carries one, is called in this package."""

ALLOWED = MappingProxyType(
    {
        ("config/settings.py", "_place"): "tomllib's own words, for the line and column that it has in no other form",
        ("storage/ssh.py", "_describe"): "the SSH library's own words, which has no class for this",
        ("cli/main.py", "_usage"): "click's own words, which has no class for this",
        ("cli/main.py", "_failed"): "what somebody typed",
        ("roster/transfer.py", "_read_line"): "a key of a line of JSON, which is called message there",
        (
            "roster/error_report.py",
            "_profile_of_old",
        ): "the sentence of versions 0.1 and 0.2, which wrote no numbers beside it",
    }
)
"""Module and function -> why words are read there: those of a library, never ours."""


def text_of(node: ast.AST) -> str:
    """What the last name of an expression is: `outcome.problem` -> `problem`, `str(error)` -> `error`."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("str", "repr") and node.args:
            return text_of(node.args[0])
        return text_of(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


def is_message(node: ast.AST) -> bool:
    return bool(MESSAGE_NAMES.search(text_of(node)))


def is_sentence(node: ast.AST) -> bool:
    """A literal with words in it: what no key, code or delimiter has."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(re.search(r"[a-z]{2} [a-z]{2}", node.value))
    )


def reads_a_message(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        contained = any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops)
        compared = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        words = any(map(is_sentence, operands))
        texts = any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in operands[:1])
        return (contained and (words or (texts and is_message(operands[-1])))) or (
            compared and words and any(map(is_message, operands))
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
        given = [node.func.value, *node.args]
        return any(map(is_message, given)) or (
            node.func.attr not in ("split", "sub", "replace") and any(map(is_sentence, given))
        )
    return False


def readings(source: str) -> Iterator[tuple[str, int]]:
    """The function and line of every place that reads a message."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if reads_a_message(child):
                yield function, getattr(child, "lineno", 0)
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            yield from walk(child, inside)

    yield from walk(ast.parse(source), "")


@pytest.mark.parametrize(
    "source",
    [
        're.sub(r"--([a-z][a-z-]*)", _label, error.said_at(PAGE))',
        "named = sentence if sentence.startswith(outcome.name) else outcome.name",
        '"birth dates" in difference',
        'if "has probably lost" in text: pass',
        'advice = problem.removeprefix("No project: ")',
        'str(error).replace("--id-column", "the column")',
        'told["detail"].endswith("again.")',
        'if "--limit" in message: pass',
        'difference == "first names"',
    ],
)
def test_every_place_that_once_read_our_sentences_would_be_found(source: str) -> None:
    """The first two are the old `web.form_fields.in_page_words` and `nightly.roster_run`, the third the old `that_tell`."""
    assert list(readings(source))


def test_nothing_reads_our_own_sentences_back_or_rewrites_them() -> None:
    """A sentence is told by what holds it (a name in `MESSAGE_NAMES`, `str(error)`, `said_at`) or by its words.

    Whatever looks into such a text (`in`, `==`, a regular expression, `startswith`, `replace` …) would break when somebody
    words the sentence better: what a second reader needs is a value of its own (`Advice`, an enum, a column).
    """
    found = {
        (str(path.relative_to(PACKAGE).as_posix()), function): line
        for path in PACKAGE.rglob("*.py")
        for function, line in readings(path.read_text(encoding="utf-8"))
    }
    assert {place: line for place, line in found.items() if place not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found)


def test_the_page_s_script_reads_no_sentence() -> None:
    script = (PACKAGE / "web/static/page.js").read_text(encoding="utf-8")

    assert not re.search(
        r"\.test\(|\.match\(|(?:detail|why|message)\??\.(?:includes|startsWith|endsWith|search)\(", script
    )


# --- doors ----------------------------------------------------------------------------------------------------

OPTION = re.compile(r"(?<![\w-])--[a-z]|BATCHLINKS_[A-Z]")

BAD_VALUES: list[dict[str, object]] = [
    {name: object()} for name in sorted(SETTABLE)
] + [
    {"id_width": 6, "any_length": True}, {"id_width": 0}, {"id_width": 10**9}, {"limit": -1}, {"rate": float("inf")},
    {"id_column": "x" * 10_000}, {"id_column": "\0"}, {"id_pattern": "("}, {"id_pattern": "(?=a)b"}, {"id_pattern": "a" * 501},
    {"id_pattern": "a{9999}"}, {"format": "pdf"}, {"format": "csv", "protect": True}, {"format": "csv", "clickable": True},
    {"project": "A", "project_id": "B"}, {"no_ledger": True, "only_new": True}, {"cluster": "tcp://far.example:8786"},
    {"cluster": "nowhere"}, {"output_dir": Path("x" * 5_000)}, {"ledger": Path("s3:/x")},
]  # fmt: skip


@pytest.mark.parametrize("door", [PAGE, WORKBOOK])
@pytest.mark.parametrize("values", BAD_VALUES, ids=lambda values: "+".join(values))
def test_a_bad_setting_is_named_as_its_reader_knows_it(values: dict[str, object], door: Door) -> None:
    with pytest.raises(SettingsError) as refused:
        validate(RunSettings(**values))  # type: ignore[arg-type]

    assert not OPTION.search(refused.value.said_at(door))
    assert OPTION.search(str(refused.value))


@pytest.mark.parametrize("name", sorted(SETTABLE))
def test_a_field_that_a_call_gets_wrong_is_named_as_on_the_page(name: str) -> None:
    for kind in ("int_parsing", "string_too_long", "extra_forbidden"):
        error = error_of([{"type": kind, "loc": ("body", name)}])
        assert not OPTION.search(error.said_at(PAGE))


def test_settings_without_fault_are_taken() -> None:
    check_settings(RunSettings())


def raising_literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The literal text that is given to anything raised or returned as an error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.search(
            r"(?:Error|Undecided|Refused|Unreachable|Interrupted)$", text_of(node.func)
        ):
            for argument in node.args:
                for each in ast.walk(argument):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.lineno, each.value


NO_PAGE = (
    "cli/",
    "nightly/",
    "simulator/",
    "web/serve_options.py",
    "web/application.py",
    "config/settings_file.py",
    "storage/",
)
"""What only a command meets: nobody in front of the page, nor a run that the page starts."""


def test_no_error_that_a_run_of_the_page_can_meet_names_an_option_in_its_text() -> None:
    found = [
        f"{name}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(NO_PAGE)
        for line, text in raising_literals(ast.parse(path.read_text(encoding="utf-8")))
        if OPTION.search(text) and text != "--config"
    ]

    assert found == []


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (BatchlinksError("locked. ", Advice(Do.GIVE_PASSWORD)), "password"),
        (BatchlinksError("several. ", Advice(Do.CHOOSE_SHEET)), "sheet"),
        (BatchlinksError("several. ", Advice(Do.SPLIT_TABLES, 3)), "tables"),
        (BatchlinksError("no header. ", Advice(Do.NAME_HEADER)), "column"),
        (SettingsError(Setting("header_row"), " 9: there is nothing in row 9."), "column"),
        (BatchlinksError("It is damaged."), None),
    ],
)
def test_what_the_page_asks_follows_from_the_parts_of_an_error(error: BatchlinksError, asked: str | None) -> None:
    assert asks(error) == asked
    assert not OPTION.search(error.said_at(PAGE))
    assert error.said_at(COMMAND) == str(error)
