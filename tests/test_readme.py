"""The README cannot lie: what it says of options, codes, files and output is held against the program."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest
import results
from conftest import PROJECT, Ended

from batchlinks import BatchlinksError, __version__
from batchlinks.cli.main import batchlinks
from batchlinks.config.settings import NightlySettings, ServeSettings, StatusSettings, read_config
from batchlinks.errors import ExitCode
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.simulator import RunningSimulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
UPLOAD_PAGE = (ROOT / "docs" / "upload-page.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LEDGER = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
SPEECH_OPTIONS = {"--config", "--log-format", "--quiet", "--verbose"}
STATUS = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")
NIGHTLY = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "docs/cluster.md",
    "docs/handing-over.md",
    "docs/healthex.md",
    "docs/ledger.md",
    "docs/mail-merge.md",
    "docs/nightly.md",
    "docs/privacy.md",
    "docs/operations.md",
    "docs/remote.md",
    "docs/simulator.md",
    "docs/status.md",
    "docs/upload-page.md",
    "sample_data/README.md",
)


def section(heading: str) -> str:
    """The README's text below a heading, up to the next of any level."""
    _, _, rest = README.partition(f"# {heading}\n")
    assert rest, f"the README has no heading {heading}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str, first_header: str) -> list[list[str]]:
    """Cells of the rows of the table whose first header this is, without the marks of code."""
    _, _, rest = text.partition(f"| {first_header} |")
    assert rest, f"there is no table that begins with {first_header}"
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


def code_blocks(text: str = README) -> Iterator[str]:
    return (match[1] for match in re.finditer(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


# --- options ----------------------------------------------------------------------------------------------------


def options_of(command: str) -> dict[str, click.Option]:
    """Options by name, as its help shows them; without --help."""
    parameters = batchlinks.commands[command].params
    options = (parameter for parameter in parameters if isinstance(parameter, click.Option))
    return {option.opts[0]: option for option in options if "--help" not in option.opts and not option.hidden}


def options_of_ledger() -> dict[str, click.Option]:
    """Of all that `batchlinks ledger` does."""
    group = batchlinks.commands["ledger"]
    assert isinstance(group, click.Group)
    options = (each for command in group.commands.values() for each in command.params if isinstance(each, click.Option))
    return {option.opts[0]: option for option in options if "--help" not in option.opts}


def rows_of_ledger_options() -> Iterator[str]:
    return (option_row(name, option) for name, option in options_of_ledger().items() if name not in SPEECH_OPTIONS)


def rows_of_history_options() -> Iterator[str]:
    return (option_row(name, option) for name, option in options_of("history").items() if name not in SPEECH_OPTIONS)


def shown_default(option: click.Option) -> str:
    value = option.default  # where there is none, newer versions of click have a sentinel of their own
    if option.is_flag or value is None or value in ("", ()) or "Sentinel" in type(value).__name__:
        return ""
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)


def option_row(name: str, option: click.Option, *last: str) -> str:
    """As it stands in the documents."""
    taken = ""
    if not option.is_flag:
        choices = option.type.choices if isinstance(option.type, click.Choice) else None
        taken = " " + ("\\|".join(choices) if choices else option.metavar or option.type.name.split()[0].upper())
    cells = (f"`{name}{taken}`", str(option.help), shown_default(option), *last)
    return re.sub(r" +", " ", f"| {' | '.join(cells)} |")


def rows_of_options() -> Iterator[str]:
    run, check = options_of("run"), options_of("check")
    for name, option in (run | check).items():
        yield option_row(name, option, "" if name in run and name in check else "run" if name in run else "check")


def rows_of_simulator_options() -> Iterator[str]:
    return (option_row(name, option) for name, option in options_of("simulate").items())


def rows_of_nightly_options() -> Iterator[str]:
    """Its own; those of its runs are documented with `run`."""
    own = {f"--{entry.name.replace('_', '-')}" for entry in fields(NightlySettings)}
    return (option_row(name, option) for name, option in options_of("nightly").items() if name in own)


def rows_of_status_options() -> Iterator[str]:
    """Its own; those of its runs are documented with `run`."""
    own = {f"--{entry.name.replace('_', '-')}" for entry in fields(StatusSettings)}
    return (option_row(name, option) for name, option in options_of("status").items() if name in own)


def rows_of_serve_options() -> Iterator[str]:
    own = {f"--{entry.name.replace('_', '-')}" for entry in fields(ServeSettings)}
    return (option_row(name, option) for name, option in options_of("serve").items() if name in own)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (section("Options of run and check"), rows_of_options()),
        (STATUS, rows_of_status_options()),
        (NIGHTLY, rows_of_nightly_options()),
        (UPLOAD_PAGE, rows_of_serve_options()),
        (SIMULATOR, rows_of_simulator_options()),
        (LEDGER, rows_of_ledger_options()),
        (OPERATIONS, rows_of_history_options()),
    ],
    ids=["run and check", "status", "nightly", "serve", "simulate", "ledger", "history"],
)
def test_every_option_is_documented_with_the_words_of_its_help_and_no_other(text: str, rows: Iterable[str]) -> None:
    documented = {line for line in text.splitlines() if line.startswith("| `--")}

    assert documented == set(rows)


def test_every_option_that_any_text_names_exists() -> None:
    known = {name for command in batchlinks.commands for name in options_of(command)} | {"--help", "--version"}
    known |= set(options_of_ledger())
    known |= {
        name for each in ("simulate", "run") for option in options_of(each).values() for name in option.secondary_opts
    }
    of_others = {"--require-hashes", "--no-build-isolation", "--no-deps"}  # pip's
    of_others |= {"--system", "--shell", "--home-dir", "--now"}  # those of useradd and systemctl
    of_others |= {"--scheduler", "--nthreads", "--nworkers", "--remote-python", "--no-dashboard", "--name"}  # Dask's
    of_others |= {"--from-file"}  # kubectl's

    named = {name for path in DOCUMENTS for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*\b", read(path))}

    assert named - known - of_others == set()


def test_every_command_is_documented_and_no_other_is_named() -> None:
    documented = {row[0].split()[1] for row in table(section("Commands"), "command")}
    typed = {
        match[1]
        for path in DOCUMENTS
        for match in re.finditer(r"^(?:\$ )?\S*batchlinks ([a-z]\w*)", "\n".join(code_blocks(read(path))), re.MULTILINE)
    }

    assert documented == set(batchlinks.commands)
    assert typed <= documented


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in code_blocks()
        for line in block.splitlines()
        if "batchlinks run" in line or "batchlinks check" in line
    ],
)
def test_every_command_that_is_shown_is_understood(line: str) -> None:
    words = shlex.split(line.split("batchlinks ", 1)[1], comments=True)

    batchlinks.commands[words[0]].make_context(words[0], words[1:])


# --- codes ------------------------------------------------------------------------------------------------------


def test_every_error_code_stands_in_the_table_in_its_order_and_with_its_action() -> None:
    rows = table(section("What happens to each row"), "code")

    assert [(row[0], row[-1]) for row in rows] == [(code.value, code.action.value) for code in ErrorCode]


def test_every_warning_stands_in_the_table() -> None:
    assert [row[0] for row in table(section("What happens to each row"), "warning")] == [
        code.value for code in WarningCode
    ]


def test_every_exit_code_stands_in_the_table_and_in_the_help(command: Callable[..., Ended]) -> None:
    documented = [int(row[0]) for row in table(section("Exit codes"), "code")]

    helped = " ".join(command("run", "--help").out.partition("Exit codes:")[2].split())
    assert documented == [int(code) for code in ExitCode]
    assert [int(code) for code in re.findall(r"(?:^|; )(\d+) ", helped)] == documented


def test_the_changelog_counts_the_codes_and_knows_the_version() -> None:
    changes = read("CHANGELOG.md")

    assert f"one of {len(ErrorCode)} codes" in changes
    assert f"\n## {__version__}\n" in changes


# --- settings ---------------------------------------------------------------------------------------------------


def test_the_sample_settings_file_is_one(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "batchlinks.toml"
    path.write_text(sample, encoding="utf-8")

    names = {option.name for option in options_of("run").values() if option.name}
    config = read_config(path, names)

    said = {name: str(value) for name, value in config.options.items()}
    assert said == {"id_column": "MRN", "id_width": "8", "output_dir": "results"}
    assert config.projects == {"spring": "YOUR-PROJECT-ID"}


def test_every_variable_that_the_program_reads_is_documented_and_no_other() -> None:
    pattern = r"\b(?:HEALTHEX|BATCHLINKS)_[A-Z_]+[A-Z]\b"
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "batchlinks").rglob("*.py"))
    of_options = {f"BATCHLINKS_{option.name}".upper() for option in options_of("run").values()}

    documented = {name.removesuffix("_FILE") for name in re.findall(pattern, README)}

    assert {name.removesuffix("_FILE") for name in re.findall(pattern, code)} <= documented
    assert documented <= set(re.findall(pattern, code)) | of_options


# --- what it shows ----------------------------------------------------------------------------------------------


def test_the_transcript_is_what_a_demo_prints(command: Callable[..., Ended], private_home: Path) -> None:
    transcript = README.partition("<!-- transcript -->\n```\n")[2].partition("```")[0].splitlines()

    ended = command(*shlex.split(transcript[0].removeprefix("$ batchlinks ")))

    said = [*ended.err.splitlines(), *ended.out.splitlines()]
    assert [line.replace(f"{private_home.resolve()}/", "") for line in said] == transcript[1:]
    assert ended.code == ExitCode.DONE_WITH_ERRORS
    assert {path.name for path in (private_home / "demo_output").iterdir()} >= {
        "clinic_roster.links.xlsx", "clinic_roster.errors.xlsx", "clinic_roster.summary.json",
    }  # fmt: skip


def test_the_python_example_runs_and_says_nothing_of_its_own(healthex: RunningSimulator, private_home: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copy(ROOT / "sample_data" / "clinic_roster.xlsx", private_home / "patients.xlsx")

    ended = subprocess.run(
        [sys.executable, "-c", example.replace("YOUR-PROJECT-ID", PROJECT)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert (ended.stdout, ended.stderr) == ("3 38 patients.links.xlsx\n", "")
    assert len(results.links(private_home / "patients.links.xlsx")) == len(healthex.links) == 38


def test_a_caller_in_python_is_told_what_cannot_be_used(private_home: Path) -> None:
    import batchlinks as package

    with pytest.raises(BatchlinksError, match="No project") as raised:
        package.run(private_home / "patients.xlsx")

    assert raised.value.exit_code == ExitCode.UNUSABLE


@pytest.mark.usefixtures("healthex")
def test_the_files_of_a_run_and_a_check_have_the_names_that_are_documented(
    command: Callable[..., Ended], private_home: Path
) -> None:
    roster = private_home / "patients.csv"
    roster.write_text("MRN,Name\n00417,Ann Lee\n00417,Ann Lee\n", encoding="utf-8")
    status = ["status", "--reminder", "--after-days", "0"]
    for options in (["run"], ["check"], status, ["run", "--format", "csv", "--output-dir", "text"]):
        assert command(*options, roster).code == 0

    written = {path.name for path in private_home.rglob("patients.*")} - {"patients.csv"}

    assert written == set(re.findall(r"`(patients\.\w+\.\w+)`", section("Files")))
    counts = json.loads((private_home / "patients.summary.json").read_text(encoding="utf-8"))
    assert counts["rows"] == counts["linked"] + counts["duplicates"] + sum(counts["errors"].values())


# --- links and pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_picture_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(document)):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        found = (ROOT / document).parent / path if path else ROOT / document
        assert found.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_the_service_of_the_upload_page_is_the_one_that_its_page_shows() -> None:
    (shown,) = re.findall(r"```ini\n(.*?)```", UPLOAD_PAGE, re.DOTALL)

    assert shown == read("docs/operations/batchlinks-serve.service")


def test_pictures_are_small_and_all_of_them_are_shown() -> None:
    pictures = list((ROOT / "docs" / "pictures").iterdir())

    assert all(path.stat().st_size < 200_000 for path in pictures)
    shown = (found for path in DOCUMENTS for found in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", read(path)))
    assert {path.name for path in pictures} == {Path(path).name for path in shown}


def test_every_module_that_the_readme_names_is_there_and_none_is_left_out() -> None:
    named = {
        name for row in table(section("For developers"), "where") for name in re.findall(r"[\w/]+(?:\.py|/)", row[0])
    }
    folders = {
        f"batchlinks/{path.name}/" for path in (ROOT / "batchlinks").iterdir() if (path / "__init__.py").exists()
    }

    assert folders <= named
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "batchlinks" / name).exists(), name


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")
