"""Where a setting comes from, which one wins, and what is refused before anything is sent."""

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from conftest import PROJECT, Ended

from batchlinks.config.settings import Config, RunSettings, choose_project, deployment, validate
from batchlinks.errors import SettingsError
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    folder = tmp_path / "clinic"
    folder.mkdir()
    path = folder / "patients.csv"
    path.write_text("MRN,Name\n00417,Ann\n00418,Bob\n", encoding="utf-8")
    return path


@pytest.fixture
def config(private_home: Path) -> Callable[[str], Path]:
    """Writes `batchlinks.toml` in the current folder."""

    def write(content: str) -> Path:
        path = private_home / "batchlinks.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def link_column(roster: Path) -> object:
    return openpyxl.load_workbook(roster.with_name("patients.links.xlsx"))["Links"]["C1"].value


# --- which one wins -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
@pytest.mark.parametrize(
    ("sources", "wins"),
    [
        (["flag", "environment", "file"], "from the flag"),
        (["environment", "file"], "from the environment"),
        (["file"], "from the file"),
        ([], "link"),
    ],
)
def test_a_flag_beats_the_environment_which_beats_the_file(
    command: Command,
    config: Callable[[str], Path],
    roster: Path,
    monkeypatch: pytest.MonkeyPatch,
    sources: list[str],
    wins: str,
) -> None:
    if "file" in sources:
        config('link-column = "from the file"\n')
    if "environment" in sources:
        monkeypatch.setenv("BATCHLINKS_LINK_COLUMN", "from the environment")
    flags = ["--link-column", "from the flag"] if "flag" in sources else []

    command("run", roster, *flags)

    assert link_column(roster) == wins


@pytest.mark.usefixtures("healthex")
def test_a_settings_file_can_be_named(command: Command, roster: Path, tmp_path: Path) -> None:
    settings = tmp_path / "nightly.toml"
    settings.write_text('link_column = "named"\nquiet = true\nyes = true\nconcurrency = 2\n', encoding="utf-8")

    ended = command("run", roster, "--config", settings)

    assert link_column(roster) == "named"
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.usefixtures("healthex")
def test_a_settings_file_beside_the_roster_is_never_read(command: Command, roster: Path) -> None:
    roster.with_name("batchlinks.toml").write_text('api-secret = "x"\nlink-column = "theirs"\n', encoding="utf-8")

    ended = command("run", roster)

    assert (ended.code, link_column(roster)) == (0, "link")


@pytest.mark.usefixtures("healthex")
def test_a_flag_in_the_environment_or_the_file_can_be_on_or_off(
    command: Command, config: Callable[[str], Path], roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config("quiet = true\n")
    quiet = command("run", roster)
    monkeypatch.setenv("BATCHLINKS_QUIET", "0")
    said = command("run", roster)

    assert (quiet.out, said.last_line[:5]) == ("", "Done:")


# --- the project ----------------------------------------------------------------------------------------------

PROJECTS = (
    '[[project]]\nname = "north"\nproject-id = "north-id"\n[[project]]\nname = "south"\nproject-id = "south-id"\n'
)


def test_a_project_can_be_called_by_its_name_whatever_the_environment_says(
    command: Command,
    config: Callable[[str], Path],
    start_healthex: Callable[..., RunningSimulator],
    roster: Path,
) -> None:
    healthex = start_healthex(projects=("north-id", "south-id"))  # and HEALTHEX_PROJECT_ID names a third
    config(PROJECTS)

    ended = command("run", roster, "--project", "south")

    assert ended.code == 0
    assert all("/south-id/" in link for link in healthex.links.values())


def test_a_project_of_another_name_is_refused_with_the_names_there_are(
    command: Command, config: Callable[[str], Path], healthex: RunningSimulator, roster: Path
) -> None:
    config(PROJECTS)

    ended = command("run", roster, "--project", "west")

    assert (ended.code, healthex.link_calls) == (2, 0)
    assert "north, south" in ended.err
    assert "west" not in ended.err


def test_two_projects_in_one_command_are_refused(
    command: Command, config: Callable[[str], Path], healthex: RunningSimulator, roster: Path
) -> None:
    config(PROJECTS)

    ended = command("run", roster, "--project", "north", "--project-id", PROJECT)

    assert (ended.code, healthex.link_calls) == (2, 0)
    assert "--project and --project-id" in ended.err


def test_a_run_without_a_project_says_how_to_name_one(
    command: Command, healthex: RunningSimulator, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEALTHEX_PROJECT_ID")

    ended = command("run", roster)

    assert (ended.code, healthex.link_calls) == (2, 0)
    assert "--project-id" in ended.err
    assert "HEALTHEX_PROJECT_ID" in ended.err


@pytest.mark.parametrize(
    "table",
    [
        '[project]\nname = "n"\n',
        '[[project]]\nname = "n"\n',
        '[[project]]\nname = 1\nproject-id = "x"\n',
        "project = 3\n",
    ],
)
def test_a_project_table_that_is_not_one_is_refused(
    command: Command, config: Callable[[str], Path], roster: Path, table: str
) -> None:
    config(table)

    ended = command("check", roster)

    assert ended.code == 2
    assert "[[project]]" in ended.err


def test_the_project_of_a_caller_in_python_comes_from_the_environment_too() -> None:
    assert choose_project(RunSettings(), Config(), {"HEALTHEX_PROJECT_ID": " p1 "}) == "p1"
    assert choose_project(RunSettings(project_id="p2"), Config(), {"HEALTHEX_PROJECT_ID": "p1"}) == "p2"
    assert choose_project(RunSettings(), Config(), {}) is None


# --- what a settings file cannot say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('link-colum = "x"', "no option: link-colum. Did you mean link-column?"),
        ("zzz = 1", "no option: zzz."),
        ('roster = "x"', "[[roster]]"),
        ('columns = ["MRN", "Name"]', "columns is one text, one number, or true or false"),
        ('concurrency = "many"', "--concurrency (here from the settings file) takes a whole number, at least 1"),
        ("concurrency = 2.5", "takes a whole number, at least 1"),
        ("concurrency = 0", "takes a whole number, at least 1"),
        ("quiet = 7", "--quiet (here from the settings file) takes true or false"),
        ("link-column = \n", "batchlinks.toml is not valid TOML: line 1"),
        ("\x00", "batchlinks.toml is not valid TOML"),
    ],
)
def test_a_settings_file_that_makes_no_sense_is_refused_with_a_hint(
    command: Command, config: Callable[[str], Path], roster: Path, content: str, said: str
) -> None:
    config(content)

    ended = command("check", roster)

    assert ended.code == 2
    assert said in ended.err
    assert not roster.with_name("patients.check.json").exists()


@pytest.mark.parametrize(
    "key", ["api-key", "api_secret", "HEALTHEX_API_SECRET", "token", "healthex-token", "roster-password"]
)
def test_a_secret_in_a_settings_file_is_refused_and_not_repeated(
    command: Command, config: Callable[[str], Path], roster: Path, key: str
) -> None:
    config(f'{key} = "s3cr3t-value"\n')

    ended = command("check", roster)

    assert ended.code == 2
    assert f"holds a secret ({key})" in ended.err
    assert "s3cr3t" not in ended.err


@pytest.mark.parametrize(
    "option", ["--api-key", "--api-secret", "--token", "--healthex-token", "--password", "--secret"]
)
@pytest.mark.parametrize("form", ["{}=s3cr3t-value", "{} s3cr3t-value"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    command: Command, roster: Path, option: str, form: str
) -> None:
    ended = command("run", roster, *form.format(option).split())

    assert ended.code == 2
    assert "A secret cannot be an option" in ended.err
    assert "s3cr3t" not in ended.err


def test_a_settings_file_that_is_not_there_is_refused(command: Command, roster: Path, tmp_path: Path) -> None:
    ended = command("check", roster, "--config", tmp_path / "gone.toml")

    assert (ended.code, "gone.toml cannot be read" in ended.err) == (2, True)


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--limit", "0"], "--limit takes a whole number, at least 1"),
        (["--rate", "0"], "--rate takes a number above 0"),
        (["--rate", "nan"], "--rate takes a number above 0"),
        (["--timeout", "-1"], "--timeout takes a number above 0"),
        (["--patience", "inf"], "--patience takes a number above 0"),
        (["--id-width", "500"], "--id-width takes a whole number from 1 to 128"),
        (["--header-row", "-1"], "--header-row takes a whole number, at least 0"),
        (["--id-pattern", "[0-9"], "--id-pattern is not a regular expression"),
        (["--id-width", "8", "--any-length"], "--id-width and --any-length contradict each other"),
        (["--no-ledger", "--only-new"], "--only-new needs the ledger"),
        (["--no-ledger", "--ledger", "x"], "--ledger and --no-ledger contradict each other"),
    ],
)
def test_options_without_sense_are_refused_before_any_call(
    command: Command, healthex: RunningSimulator, roster: Path, flags: list[str], said: str
) -> None:
    ended = command("run", roster, *flags)

    assert (ended.code, healthex.link_calls) == (2, 0)
    assert said in ended.err


def test_a_flag_beats_the_opposite_in_the_settings_file(
    command: Command, config: Callable[[str], Path], healthex: RunningSimulator, roster: Path
) -> None:
    config("any-length = true\n")

    ended = command("run", roster, "--id-width", 8)

    assert ended.code == 0
    assert set(healthex.links) == {"00000417", "00000418"}


def test_a_wrong_value_in_the_environment_is_named_with_its_variable(
    command: Command, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_RATE", "quick")

    ended = command("check", roster)

    assert ended.code == 2
    assert "--rate (here from the environment, BATCHLINKS_RATE) takes a number above 0" in ended.err
    assert "quick" not in ended.err


@pytest.mark.parametrize("wrong", [{"format": "pdf"}, {"concurrency": 0}, {"timeout": float("nan")}, {"limit": True}])
def test_callers_in_python_get_the_same_answers(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="takes"):
        validate(RunSettings(**wrong))  # type: ignore[arg-type]


# --- which deployment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.healthex.example", "in clear"),
        ("ftp://api.healthex.example", "not an address"),
        ("api.healthex.example", "not an address"),
        ("https://", "not an address"),
        ("https://user:s3cr3t@api.healthex.example", "user name or password"),
        ("https://api.healthex.example:port", "not an address"),
        ("https://api.healthex.example/?x=1", "not an address"),
    ],
)
def test_an_address_that_is_none_or_not_safe_is_refused(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        deployment({"HEALTHEX_API_URL": url})
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("", "https://api.healthex.io"),
        ("https://eu.healthex.example/api/ ", "https://eu.healthex.example/api"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_another_deployment_can_be_used(url: str, used: str) -> None:
    assert deployment({"HEALTHEX_API_URL": url}).api_url == used


@pytest.mark.parametrize("host", ["https://app.healthex.io", "app.healthex.io/x", "app healthex"])
def test_a_link_host_is_a_host_and_nothing_else(host: str) -> None:
    with pytest.raises(SettingsError, match="HEALTHEX_LINK_HOST"):
        deployment({"HEALTHEX_LINK_HOST": host})
