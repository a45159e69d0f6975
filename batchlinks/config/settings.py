"""Every option of a run, once: its name, default, help and kind; and where its value comes from.

The command line, the environment, `batchlinks.toml` and Python callers all read this table. The order is: flag,
environment (`BATCHLINKS_` and the option's name), `batchlinks.toml`, default.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import Enum
from functools import cache
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from batchlinks.config.settings_file import read_settings_file
from batchlinks.errors import SettingsError
from batchlinks.next_steps import Part, Setting

DEFAULT_API_URL = "https://api.healthex.io"
DEFAULT_LINK_HOST = "app.healthex.io"
CONFIG_NAME = "batchlinks.toml"

CONSENT_TYPES = ("DATA_AUTHORIZATION", "PATIENT_DIRECTED_DATA_EXCHANGE", "FUTURE_DATA_USE")
"""The kinds of consent that HealthEx documents."""

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_SECRETS = re.compile(r"(?:^|[-_])(?:api[-_]?key|api[-_]?secret|secret|token|password|passwd)(?:$|[-_])", re.IGNORECASE)


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""As `s3://bucket` looks when it was taken for a path."""


class Group(Enum):
    """The parts of a command's help."""

    NIGHT = "Options of the night"
    EVERYDAY = "Everyday options"
    IT = "Options for IT"


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line and the documentation need to know of one setting."""

    help: str
    group: Group
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    above: float | None = None
    lowest: float | None = None
    highest: float | None = None
    """Beyond these a number is a slip, or meant to break something. Nobody needs to be told before."""

    longest: int = 1_000
    """Characters of a text."""

    variables: tuple[str, ...] = ()
    """Environment variables that it is read from besides `BATCHLINKS_` and its name."""

    names_columns: bool = False
    """Whether it takes several columns, whose names may hold spaces and commas."""

    one_run: bool = False
    """Whether it is said with the command only, each time: in no settings file and in no variable."""

    only_run: bool = False
    """Whether `check` does without it."""

    @property
    def takes(self) -> str:
        """What can be its value, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.above is not None:
            return f"a number above {self.above:g}"
        if self.maximum is not None:
            return f"a whole number from {self.minimum} to {self.maximum}"
        return "text" if self.minimum is None else f"a whole number, at least {self.minimum}"


def _option(default: Any, help: str, group: Group = Group.EVERYDAY, **more: Any) -> Any:  # noqa: A002 the word that fits
    """A field that knows its option. Returns Any, as `dataclasses.field` does: the annotation beside it says the type."""
    return field(default=default, metadata=MappingProxyType({"option": Option(help, group, **more)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What `run` and `check` can be told. Names are those of the options, with underscores."""

    project_id: str | None = _option(
        None, "HealthEx project that the links are for.", metavar="ID", variables=("HEALTHEX_PROJECT_ID",), longest=200
    )
    project: str | None = _option(
        None, "The same by a name from a [[project]] table in batchlinks.toml.", metavar="NAME"
    )
    id_column: str | None = _option(
        None, "Header of the column with the patient ID; A+B joins two columns.", metavar="NAME"
    )
    id_join: str = _option("", "Text between the parts of a joined ID.", Group.IT, metavar="TEXT", longest=20)
    any_column: bool = _option(
        False, "The column named with --id-column is right although it holds dates, names, phone numbers or the like."
    )
    sheet: str | None = _option(None, "Sheet that holds the patient list.", metavar="NAME")
    header_row: int | None = _option(
        None,
        "Row with the column headers; 0: there is none, and --id-column is a letter or number.",
        metavar="N",
        minimum=0,
        highest=10_000_000,
    )
    encoding: str | None = _option(None, "Encoding of a CSV file.", Group.IT, metavar="NAME", longest=40)
    id_pattern: str | None = _option(None, "Regular expression for a whole ID.", Group.IT, metavar="REGEX", longest=500)
    id_width: int | None = _option(
        None, "Digits of an all-digit ID; gives lost zeros back.", metavar="N", minimum=1, maximum=128
    )
    any_length: bool = _option(False, "Short all-digit IDs are right as they are.")
    any_shape: bool = _option(False, "IDs that look unlike the others are right as they are.")
    exact_ids: bool = _option(
        False, "IDs that differ only in upper and lower case, zeros, or separators are different people's."
    )
    exclude: Path | None = _option(None, "List of IDs never to be sent (opted out, deceased).", metavar="FILE")
    corrections: Path | None = _option(
        None,
        "The error report of this list with its cells fixed: the whole list, corrected, gets its links.",
        metavar="FILE",
    )
    do_not_contact: Path | None = _option(
        None,
        "List of people who are never asked for and never handed out; may be shared. Else the one in the data folder.",
        Group.IT,
        metavar="PATH",
    )
    heed: tuple[str, ...] = _option(
        (),
        "Leave out the patients marked in this column, such as Deceased or Do Not Contact. Repeatable.",
        metavar="COLUMN",
        names_columns=True,
    )
    ignore: tuple[str, ...] = _option(
        (),
        "Send patients whatever this column says, such as an Opt Out that means something else. Repeatable.",
        metavar="COLUMN",
        names_columns=True,
    )
    leave_out_consented: bool = _option(
        False, "Ask HealthEx who has consented, and leave these patients out.", only_run=True
    )
    output_dir: Path | None = _option(None, "Folder for the results; else the patient list's own.", metavar="DIR")
    format: Literal["xlsx", "csv"] = _option("xlsx", "Kind of the result files.", choices=("xlsx", "csv"))
    columns: str | None = _option(
        None,
        "Columns that staff get, in this order, with commas between; else all but Social Security numbers.",
        metavar="A,B,…",
        longest=10_000,
    )
    annotate: bool = _option(
        False, "Also write your own workbook (.xlsx) with link, link_status and notes in it.", only_run=True
    )
    link_column: str = _option("link", "Name of the new column.", metavar="NAME", only_run=True)
    iso_dates: bool = _option(
        False, "Write dates as YYYY-MM-DD, for programs, instead of as the list shows them.", only_run=True
    )
    link_dates: bool = _option(False, "Add the columns link_issued_on and link_is_new.", only_run=True)
    split_by: str | None = _option(
        None, "Write a links workbook for each value of this column, such as a clinic.", metavar="COLUMN"
    )
    protect: bool = _option(
        False, "Encrypt the workbooks with the password in BATCHLINKS_RESULT_PASSWORD; Excel asks for it."
    )
    qr: bool = _option(False, "Add a QR code of each link, in the workbook and as a picture of its own.", only_run=True)
    clickable: bool = _option(False, "Make the links hyperlinks.", only_run=True)
    letters: Path | None = _option(
        None, "Write a letter for each patient from this Word template (.docx).", metavar="FILE"
    )
    message: Path | None = _option(
        None, "Add the column message: this text, filled in for each patient.", metavar="FILE"
    )
    phone_column: str | None = _option(
        None, "Add the column phone_e164 with the telephone numbers of this column.", metavar="NAME"
    )
    phone_region: str = _option("US", "Country of numbers without a country code.", metavar="CC", longest=2)
    share_phones: bool = _option(False, "Send messages also to numbers that several patients share.")
    minors: str | None = _option(
        None,
        'What stands before the name of a patient under 18, such as "To the parent or guardian of", or include; '
        "else minors get no letter or message.",
        metavar="TEXT",
        longest=200,
    )
    language_column: str | None = _option(
        None,
        "Column with the patient's language: Spanish where it says so, from TEMPLATE.es.docx.",
        metavar="NAME",
    )
    only_where: tuple[str, ...] = _option(
        (),
        "Hand out only rows where this column has this value, such as OK to text=Y. Repeatable.",
        metavar="COLUMN=VALUE",
        names_columns=True,
        only_run=True,
    )
    csv_bom: bool = _option(
        True,
        "Begin CSV files with a byte-order mark, as Excel needs; --no-csv-bom for programs that trip over it.",
        Group.IT,
    )
    keep_duplicates: bool = _option(False, "Give every row of a duplicate the link.")
    only_new: bool = _option(
        False, "Leave out patients who stood in an earlier links workbook of this project.", only_run=True
    )
    limit: int | None = _option(
        None,
        "Send only the first N patients that can be sent.",
        metavar="N",
        minimum=1,
        highest=1_000_000_000,
        only_run=True,
    )
    concurrency: int = _option(
        64, "Calls in flight at most.", Group.IT, metavar="N", minimum=1, highest=10_000, only_run=True
    )
    rate: float | None = _option(
        None,
        "Calls a second at most.",
        Group.IT,
        metavar="N",
        above=0,
        lowest=0.001,
        highest=1_000_000,
        only_run=True,
    )
    max_attempts: int = _option(
        8, "Calls for one ID at most.", Group.IT, metavar="N", minimum=1, highest=1_000, only_run=True
    )
    timeout: float = _option(30.0, "Seconds for one call.", Group.IT, metavar="S", above=0, highest=86_400)
    patience: float = _option(
        120.0,
        "Seconds to go on while nothing gets through.",
        Group.IT,
        metavar="S",
        above=0,
        highest=31_536_000,
        only_run=True,
    )
    workers: int | None = _option(
        None,
        "Make the calls from N processes on this computer.",
        Group.IT,
        metavar="N",
        minimum=1,
        highest=1_000,
        only_run=True,
    )
    cluster: str | None = _option(
        None, "Make the calls from the workers of this Dask cluster.", Group.IT, metavar="ADDRESS", only_run=True
    )
    consent_type: tuple[str, ...] = _option(
        ("PATIENT_DIRECTED_DATA_EXCHANGE",),
        "Kind of consent that HealthEx is asked about. Repeatable.",
        Group.IT,
        metavar="TYPE",
        longest=100,
        only_run=True,
    )
    strict_links: bool = _option(False, "Refuse every link that does not name its own ID.", Group.IT, only_run=True)
    ledger: Path | None = _option(None, "Where the links already made are recorded.", Group.IT, metavar="PATH")
    no_ledger: bool = _option(False, "Run without that record.", Group.IT)
    ledger_keep_days: int | None = _option(
        None,
        "Days after which a link is forgotten, at the end of a run.",
        Group.IT,
        metavar="N",
        minimum=1,
        maximum=36_500,
        only_run=True,
    )
    new_ledger: bool = _option(
        False,
        "The ledger is meant to be new, although links were recorded before. For this run only.",
        Group.IT,
        one_run=True,
    )
    response_keep_days: int = _option(
        180,
        "Days after which is forgotten what HealthEx showed of a patient's consents.",
        Group.IT,
        metavar="N",
        minimum=1,
        maximum=36_500,
        only_run=True,
    )
    refresh: bool = _option(False, "Ask again for all; links sent before may stop working.", Group.IT, only_run=True)
    share_with_group: bool = _option(False, "Let the group read the results.", Group.IT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """What `status` can be told besides the options of a run. Names are those of the options, with underscores."""

    reminder: bool = _option(False, "Also write a workbook of the patients to remind, with the same links.")
    after_days: int = _option(
        14, "Remind who was handed out, or reminded, so many days ago or more.", metavar="N", minimum=0, maximum=3_650
    )
    mailed_on: str | None = _option(
        None, "When the letters left, where that was later: such as 2026-11-28.", metavar="DATE", longest=10
    )
    max_age: float = _option(
        12.0,
        "Hours for which an answer is good enough; 0 asks for all again, also for who has consented.",
        metavar="H",
        lowest=0,
        highest=87_600,
    )

    @property
    def mailed(self) -> date | None:
        """`mailed_on` as a date. Raises SettingsError for one that is none, or that is still to come."""
        if self.mailed_on is None:
            return None
        try:
            day = date.fromisoformat(self.mailed_on)
        except ValueError as error:
            raise SettingsError(Setting("mailed_on"), " takes a date such as 2026-11-28.") from error
        if day > date.today():
            raise SettingsError(Setting("mailed_on"), " is a day that is still to come.")
        return day


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlySettings:
    """What `nightly` can be told besides the options of its runs. Names are those of the options, with underscores."""

    inbox: str | None = _option(None, "Folder that new patient lists are put into.", Group.NIGHT, metavar="DIR")
    outbox: str | None = _option(
        None, "Folder for the results, which get a folder of their own for each day.", Group.NIGHT, metavar="DIR"
    )
    settle: float = _option(
        60.0,
        "Seconds for which a list must not have changed; until then it is still arriving.",
        Group.NIGHT,
        metavar="S",
        minimum=0,
        highest=604_800,
    )
    ready: str | None = _option(
        None,
        "Take a list only once a file of this name lies beside it, such as {name}.done.",
        Group.NIGHT,
        metavar="TEXT",
    )
    keep_days: int = _option(
        30, "Days after which lists and results are deleted.", Group.NIGHT, metavar="N", minimum=1, highest=36_500
    )
    max_hours: float = _option(
        12.0,
        "Hours after which a nightly still at work is an alarm.",
        Group.NIGHT,
        metavar="H",
        above=0,
        highest=87_600,
    )
    status: bool = _option(False, "Also ask HealthEx who has answered, for each list that was done.", Group.NIGHT)
    status_calls: int = _option(
        10_000,
        "How many patients HealthEx is asked about in a night at most, those whose answer is the oldest.",
        Group.NIGHT,
        metavar="N",
        minimum=0,
        highest=1_000_000_000,
    )
    metrics: Path | None = _option(
        None, "File to write metrics to, for Prometheus' node exporter.", Group.NIGHT, metavar="FILE"
    )
    accept: str | None = _option(
        None,
        "Let this list through once, whatever the limits of its table; one in failed is taken up again.",
        Group.NIGHT,
        metavar="NAME",
        longest=255,
        one_run=True,
    )
    dry_run: bool = _option(
        False,
        "Try everything that a night needs and say what it would do. Takes no list, makes no link call.",
        Group.NIGHT,
        one_run=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `serve` can be told. Names are those of the options, with underscores."""

    host: str = _option("127.0.0.1", "Address to listen on.", metavar="HOST")
    port: int = _option(8000, "Port; 0 for any free one.", metavar="N", minimum=0, maximum=65_535)
    max_upload: int = _option(
        100, "Largest patient list that is taken, in megabytes.", metavar="MB", minimum=1, maximum=1_000
    )
    keep_days: float = _option(
        7.0, "Days after which lists and results are deleted.", metavar="N", above=0, highest=36_500
    )
    runs_at_once: int = _option(
        2, "Runs at the same time at most; others wait in line.", metavar="N", minimum=1, maximum=100
    )
    allow_new_ledger: bool = _option(
        False, "Let people on the page say that the ledger is meant to be new where one is gone.", Group.IT
    )
    certfile: Path | None = _option(None, "TLS certificate with its chain, as PEM.", Group.IT, metavar="FILE")
    keyfile: Path | None = _option(None, "Key of the certificate, as PEM.", Group.IT, metavar="FILE")
    behind_proxy: bool = _option(False, "A proxy in front of it speaks TLS.", Group.IT)
    user_header: str | None = _option(
        None, "Header in which that proxy names the user whom it has signed in.", Group.IT, metavar="NAME"
    )
    trusted_proxy: tuple[str, ...] = _option(
        (), "Addresses or networks of proxies whose --user-header is believed.", Group.IT, metavar="A,B,…"
    )
    public_url: str | None = _option(
        None, "Address by which people reach it through the proxy.", Group.IT, metavar="URL"
    )


def option_of(name: str) -> Option:
    """What is known of the option of this name (with underscores)."""
    for entry in (
        *fields(RunSettings),
        *fields(StatusSettings),
        *fields(NightlySettings),
        *fields(ServeSettings),
    ):
        if entry.name == name:
            option: Option = entry.metadata["option"]
            return option
    raise KeyError(name)


def flag(name: str) -> str:
    """An option's name as the command line has it."""
    return f"--{name.replace('_', '-')}"


CONTRADICTIONS = (
    ("project", "project_id"), ("id_width", "any_length"), ("ledger", "no_ledger"), ("cluster", "workers"),
)  # fmt: skip
"""Options of which a run can obey only one."""


def validate(settings: RunSettings) -> RunSettings:
    """The settings, if each makes sense, and all of them together. Raises SettingsError."""
    single: dict[str, Any] = {
        name: (text,) for name in _NAMES_COLUMNS if isinstance(text := getattr(settings, name), str)
    }
    settings = replace(settings, **single) if single else settings
    check_settings(settings)
    if settings.id_pattern is not None:
        from batchlinks.config.id_pattern import IdPattern  # Arrow takes its time, and help has no use for it

        IdPattern(settings.id_pattern)
    return settings


def check_settings(settings: RunSettings) -> None:
    """As `validate`, but for the regular expression, which takes some milliseconds: an event loop must not wait for it."""
    check_values(settings)
    for one, other in CONTRADICTIONS:
        if getattr(settings, one) and getattr(settings, other):
            raise SettingsError(Setting(one), " and ", Setting(other), " contradict each other. Give one of them.")
    for name in ("output_dir", "exclude", "do_not_contact", "corrections", "ledger", "letters", "message"):
        if _ADDRESS.match(str(getattr(settings, name))):
            raise SettingsError(Setting(name), " takes a path of this computer. Only ROSTER may be an address.")
    if not settings.consent_type or not set(settings.consent_type) <= set(CONSENT_TYPES):
        raise SettingsError(Setting("consent_type"), f" takes one or more of {', '.join(CONSENT_TYPES)}.")
    if settings.no_ledger and settings.only_new:
        raise SettingsError(
            Setting("only_new"), " needs the ledger, and ", Setting("no_ledger"), " runs without it. Give one of them."
        )
    for name in ("columns", "split_by"):
        if settings.annotate and getattr(settings, name):
            raise SettingsError(
                Setting("annotate"),
                " keeps the whole of your workbook, so it doesn't go with ",
                Setting(name),
                ". Leave out one.",
            )
    for name in ("protect", "clickable"):
        if getattr(settings, name) and settings.format == "csv":
            raise SettingsError(
                Setting(name), " is for workbooks, and ", Setting("format"), " csv writes none. Leave out one of them."
            )
    if settings.cluster is not None:
        _check_cluster(settings.cluster)


def check_values(settings: RunSettings | StatusSettings | NightlySettings | ServeSettings) -> None:
    """Raises SettingsError for a value of another kind than its option's, or out of its bounds."""
    kind: Any = type(settings)
    kinds = _kinds(kind)
    for entry in fields(settings):
        _check_value(entry.name, entry.metadata["option"], kinds[entry.name], getattr(settings, entry.name))


@cache
def _kinds(settings: type) -> Mapping[str, type]:
    """Name -> what a value is, where there is one: text for an option with choices too."""
    found = {}
    for name, annotation in get_type_hints(settings).items():
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        kind = tuple if get_origin(annotation) is tuple else kinds[0] if kinds else annotation
        found[name] = kind if isinstance(kind, type) else str
    return found


def _check_value(name: str, option: Option, kind: type, value: Any) -> None:
    if value is None:
        return
    if kind is float and isinstance(value, int):
        kind = int
    if kind is tuple and isinstance(value, list):  # as it comes from JSON
        value = tuple(value)
    right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    right = right and (kind is not tuple or all(isinstance(each, str) for each in value))
    if not right or (option.choices and value not in option.choices):
        raise SettingsError(Setting(name), f" takes {'true or false' if kind is bool else option.takes}.")
    if kind in (int, float):
        _check_number(name, option, value)
    elif kind is Path:
        check_path(Setting(name), value)
    elif kind in (str, tuple):
        for text in (value,) if kind is str else value:
            check_text(Setting(name), text, option.longest)


def _check_number(name: str, option: Option, number: float) -> None:
    inside = isinstance(number, int) or isfinite(number)  # a whole number may be too large even to ask
    inside = inside and (option.minimum is None or number >= option.minimum)
    inside = inside and (option.maximum is None or number <= option.maximum)
    if not (inside and (option.above is None or number > option.above)):
        raise SettingsError(Setting(name), f" takes {option.takes}.")
    if option.highest is not None and number > option.highest:
        raise SettingsError(Setting(name), f" takes at most {option.highest:,}.")
    if option.lowest is not None and number < option.lowest:
        raise SettingsError(Setting(name), f" takes at least {option.lowest:g}.")


def check_text(what: Part, text: str, longest: int) -> None:
    """Raise SettingsError for a text that no name, header or address can be; `what` says whose it is."""
    if len(text) > longest:
        raise SettingsError(what, f" is too long: it has {len(text):,} characters, and {longest:,} is the most.")
    if _NO_TEXT.search(text):
        raise SettingsError(what, " has a character in it that no text has, such as a NUL or half of an emoji.")


_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_LONGEST_PATH = 4_000
_LONGEST_NAME = 255


def check_path(what: Part, path: Path) -> None:
    """Raise SettingsError for a path that no file can have; `what` says whose it is. One that is no UTF-8 is right."""
    try:
        names = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError:
        names = [b"\0"]
    if any(b"\0" in name for name in names):
        raise SettingsError(what, " has a character in it that no path has, such as a NUL.")
    if len(str(path)) > _LONGEST_PATH or any(len(name) > _LONGEST_NAME for name in names):
        raise SettingsError(what, " is too long for the path of a file.")


# --- batchlinks.toml ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Config:
    """What `batchlinks.toml` says. Names of options have underscores."""

    options: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Values as text; of an option that names columns, all of them."""

    projects: Mapping[str, str] = field(default_factory=dict)
    """Project IDs by name."""

    rosters: tuple[Mapping[str, Any], ...] = ()
    """The `[[roster]]` tables of the nightly job, in their order, as they stand; `nightly.tables` reads them."""

    notify: tuple[str, ...] = field(default=(), repr=False)
    """Where the nightly job sends its message. Such an address may hold a secret."""

    name: str = CONFIG_NAME
    """How the file is called in messages."""


def read_config(path: Path | None, known: Collection[str]) -> Config:
    """The file named by --config, or `batchlinks.toml` in the current folder, or nothing.

    `known` are the names of all options. Raises SettingsError for a file that cannot be read, a key that is no
    option, or a secret.
    """
    if path is None:
        path, named = Path(CONFIG_NAME), False
        if not os.path.lexists(path):
            return Config()
    else:
        check_path("--config", path)
        named = True
    try:
        text = read_settings_file(path, named=named).decode()
        content = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from error
    except RecursionError as error:
        raise SettingsError(f"{path} has tables or lists too deep within each other.") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {_place(error)}.") from error
    projects = _projects(content.pop("project", []), path)
    rosters = tuple(
        {_option_name(key, {*known, *ROSTER_KEYS} - NOT_IN_TABLES, path): value for key, value in table.items()}
        for table in _tables(content.pop("roster", []), "roster", path)
    )
    notify = content.pop("notify", [])
    if not isinstance(notify, list) or not all(isinstance(address, str) for address in notify):
        raise SettingsError(f'{path}: notify is a list of addresses: notify = ["mailto://…"].')
    check_addresses(notify, f"{path}: notify")
    options = {_option_name(key, known, path): as_given(value, key, path.name) for key, value in content.items()}
    return Config(options, projects, rosters, tuple(notify), path.name)


_LARGEST_NUMBER = 10**18
_MOST_ADDRESSES = 50
_LONGEST_ADDRESS = 2_000

ROSTER_KEYS = frozenset(
    {
        "name",
        "match",
        "ready",
        "status",
        "max_error_share",
        "max_new",
        "min_rows",
        "max_drop",
        "trailer",
        "expect_by",
        "same_list",
    }
)
"""Of a `[[roster]]` table, besides the options of a run."""

NOT_IN_TABLES = frozenset(
    {
        "output_dir",
        "corrections",
        "yes",
        "inbox",
        "outbox",
        "settle",
        "keep_days",
        "max_hours",
        "metrics",
        "status_calls",
    }
    | {entry.name for entry in fields(StatusSettings)}
)
"""Options that hold for the whole night, or not at night."""


def check_addresses(addresses: Sequence[str], where: str) -> None:
    """Raise SettingsError for more addresses of a message, or longer ones, than anybody has. None of them is said."""
    if len(addresses) > _MOST_ADDRESSES:
        raise SettingsError(f"{where} takes at most {_MOST_ADDRESSES} addresses. Right now it has {len(addresses):,}.")
    for number, address in enumerate(addresses, 1):
        check_text(f"{where}: address {number}", address, _LONGEST_ADDRESS)


def _option_name(key: str, known: Collection[str], path: Path) -> str:
    name = key.replace("-", "_")
    if name in _ONE_RUN:
        raise SettingsError(
            f"{path} holds {key}, which is for one run: say --{name.replace('_', '-')} with the command, once."
        )
    if _SECRETS.search(key):
        raise SettingsError(f"{path} holds a secret ({key}). Secrets come from HEALTHEX_API_KEY and its like only.")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0].replace('_', '-')}?" if near else ""
        raise SettingsError(f"{path} has a key that is no option: {key}.{hint}")
    return name


def as_given(value: object, key: str, where: str) -> str | tuple[str, ...]:
    """A value of the settings file as the command line would have it, where an option may be given several times.

    Raises SettingsError for what no option takes.
    """
    if key.replace("-", "_") not in _NAMES_COLUMNS:
        return as_text(value, key, where)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise SettingsError(f'{where}: {key} is a list of columns: {key} = ["Deceased"].')


_ONE_RUN = frozenset(
    entry.name for kind in (RunSettings, NightlySettings) for entry in fields(kind) if entry.metadata["option"].one_run
)
_NAMES_COLUMNS = frozenset(entry.name for entry in fields(RunSettings) if entry.metadata["option"].names_columns)


def as_text(value: object, key: str, where: str) -> str:
    """A value of the settings file as the command line would have it. Raises SettingsError for a list or table."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise SettingsError(f"{where}: {key} is a number beyond all bounds.")
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingsError(f"{where}: {key} is one text, one number, or true or false.")


def is_secret_option(name: str) -> bool:
    """Whether somebody tries to give a secret as an option."""
    return _SECRETS.search(name.lstrip("-")) is not None


def _place(error: Exception) -> str:
    """Where TOML stopped making sense; never what stands there."""
    found = re.search(r"at line (\d+), column (\d+)", str(error))
    return (
        f"line {found[1]}, column {found[2]}"
        if found
        else "it is no UTF-8 text, ends too soon, or has a number without end"
    )


def _tables(tables: Any, kind: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f'{path}: "{kind}" is a table with two brackets: [[{kind}]].')
    return tables


def _projects(tables: Any, path: Path) -> dict[str, str]:
    projects = {}
    for table in _tables(tables, "project", path):
        entry = {key.replace("-", "_"): value for key, value in table.items()}
        if set(entry) != {"name", "project_id"} or not all(isinstance(value, str) for value in entry.values()):
            raise SettingsError(f"{path}: each [[project]] has two texts, name and project-id, and nothing else.")
        for key in ("name", "project_id"):
            check_text(
                f"{path}: the {key.replace('_', '-')} of a [[project]]", entry[key], option_of("project_id").longest
            )
        projects[entry["name"]] = entry["project_id"]
    return projects


def choose_project(settings: RunSettings, config: Config, environment: Mapping[str, str] = os.environ) -> str | None:
    """The project ID: by its name, by itself, or from HEALTHEX_PROJECT_ID. Raises SettingsError for an unknown name."""
    if settings.project is None:
        project_id = settings.project_id or environment.get("HEALTHEX_PROJECT_ID", "").strip() or None
        check_text("The project ID", project_id or "", option_of("project_id").longest)
        return project_id
    if settings.project not in config.projects:
        names = ", ".join(sorted(config.projects)) or "none"
        raise SettingsError(
            f"No [[project]] in {CONFIG_NAME} has the name that ", Setting("project"), f" gives. There is: {names}."
        )
    return config.projects[settings.project]


# --- what may be read on the way ------------------------------------------------------------------------------


def stays_private(address: str) -> bool:
    """Whether nobody on the network can read what is sent to a Dask address: it is encrypted, or stays on this computer."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "tls" or (parts.scheme == "tcp" and parts.hostname in THIS_MACHINE)


def _check_cluster(address: str) -> None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("tls", "tcp") and bool(parts.hostname and parts.port) and not parts.path
        usable = usable and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(Setting("cluster"), " takes the address of a Dask scheduler, such as tls://scheduler:8786.")
    if not stays_private(address):
        raise SettingsError(
            Setting("cluster"),
            " begins with tcp://, so patient IDs and the token would travel in clear. Use tls:// (tcp:// is for a scheduler on "
            "this computer only).",
        )


# --- which deployment -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where HealthEx is: its own address, or another deployment of it."""

    api_url: str = DEFAULT_API_URL
    link_host: str = DEFAULT_LINK_HOST


def deployment(environment: Mapping[str, str] = os.environ) -> Deployment:
    """From HEALTHEX_API_URL and HEALTHEX_LINK_HOST. Raises SettingsError for one that cannot be used."""
    url = (environment.get("HEALTHEX_API_URL") or DEFAULT_API_URL).strip().rstrip("/")
    host = (environment.get("HEALTHEX_LINK_HOST") or DEFAULT_LINK_HOST).strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("HEALTHEX_API_URL is not an address such as https://api.healthex.io.")
    if parts.username or parts.password:
        raise SettingsError("HEALTHEX_API_URL holds a user name or password. Leave them out.")
    if parts.scheme == "http" and parts.hostname not in THIS_MACHINE:
        raise SettingsError(
            "HEALTHEX_API_URL begins with http://, so patient IDs would travel in clear. Use https:// "
            "(http:// is for this computer only)."
        )
    if not re.fullmatch(r"[A-Za-z0-9.-]+(?::\d+)?", host):
        raise SettingsError("HEALTHEX_LINK_HOST is not the name of a host such as app.healthex.io.")
    return Deployment(url, host)
