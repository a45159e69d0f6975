"""The pages that a person sees: made on the server, kept up to date by a small script that uses the same API as anybody."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from batchlinks.errors import ExitCode
from batchlinks.ledger.do_not_contact import OptOutReason
from batchlinks.responses import judgment
from batchlinks.results.status_summary import days_in_words
from batchlinks.row_codes import Action, ErrorCode, ToDo, action_of
from batchlinks.version import __version__
from batchlinks.web.access import NOTICE_STYLE
from batchlinks.web.check_result import CheckResult
from batchlinks.web.endpoints import TheRuns, TheUpload, TheUser
from batchlinks.web.form_fields import SETTABLE
from batchlinks.web.patient_calls import find_patients
from batchlinks.web.runs import Run, Runs, check_of
from batchlinks.web.to_do import task_of
from batchlinks.web.uploads import Upload
from batchlinks.web.wording import LABELS

_OVERRIDES = ("any_column", "id_width", "any_length", "any_shape", "exact_ids")
"""Settings by which somebody said that a doubt is none: shown while they hold."""

_ENCODINGS = {
    "utf-8": "UTF-8",
    "cp1252": "Windows-1252 (Western European)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "iso8859-15": "ISO 8859-15",
    "mac_roman": "Mac Roman",
    "cp437": "DOS 437",
    "cp850": "DOS 850",
    "utf-16": "UTF-16",
}
"""Of a CSV: as Python names them, and as people do."""

_KINDS_OF_RESPONSES = {
    judgment.Response.CONSENTED.value: "linked",
    judgment.Response.EXPIRED.value: "again",
    judgment.Response.DECLINED.value: "fix",
    judgment.Response.NONE.value: "duplicate",
    judgment.Response.UNKNOWN.value: "it",
}
"""How each part of the bar is drawn."""

_HERE = Path(__file__).parent
_SAMPLES = 3

router = APIRouter(default_response_class=HTMLResponse)
static = StaticFiles(directory=_HERE / "static")

_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

WHAT_TO_DO: Mapping[int, str] = {
    ExitCode.BROKEN: "Contact IT. Once it's fixed, click “Continue”; no link is requested twice.",
    ExitCode.UNUSABLE: "Nothing was sent to HealthEx. Change the setting above, or contact IT.",
    ExitCode.REFUSED: (
        "Check the project ID. If it's right, ask IT to check the API key and secret, then click “Continue”."
    ),
    ExitCode.UNREACHABLE: "Continue later. Existing links won't be requested again.",
    ExitCode.INTERRUPTED: "Continue whenever you like. Existing links won't be requested again.",
}
"""For a run that stopped, by its exit code."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the picture of an outcome."""

    kind: str
    label: str
    count: int
    start: float
    """Where it begins, in percent."""

    width: float


@router.get("/")
def home(request: Request, runs: TheRuns, user: TheUser) -> Response:
    """Where a list is dropped, and the runs so far."""
    known = [runs.known(upload) for upload in runs.all_of(user)]
    return _page(
        "home.html",
        user=user,
        runs=known,
        keep_days=runs.rules.keep_days,
        project=_project_set_up(runs),
        reasons=list(OptOutReason) if find_patients(request) else None,
    )


@router.get("/runs/{run_id}")
def run(upload: TheUpload, runs: TheRuns, user: TheUser) -> Response:
    """One run, in whatever state it is."""
    known = runs.known(upload)
    checked = check_of(upload)
    outcome = runs.uploads.outcome(upload)
    problems = outcome["problems"] if outcome and outcome["problems"] else list(map(asdict, checked.problems))
    if outcome and outcome["summary"] and not outcome["problems"]:
        problems = _from_counts(known.errors)
    return _page(
        "run.html",
        user=user,
        run=known,
        problems=problems,
        preview=checked.preview,
        id_columns=checked.at,
        doubt=checked.doubt,
        is_report=bool(checked.report_of) and upload.started_at is None,
        list_name=runs.find(known.belongs_to, user).name if known.belongs_to else "",
        longest=max((digits for digits, _ in checked.lengths), default=0),
        overrides=[name for name in _OVERRIDES if known.settings.get(name)],
        former_files=[name for name in known.files if name != "check"] if known.state == "checked" else [],
        encodings=_ENCODINGS,
        asks_password=bool(outcome and outcome.get("asks") == "password"),
        for_staff=checked.for_staff,
        candidates=_candidates(checked),
        can_hold_ids=checked.choosable,
        shares=shares_of(known),
        answers=answers_of(known),
        to_do=ToDo.of(known.errors),
        without_a_link=sum(known.errors.values()),
        what_to_do=WHAT_TO_DO.get(known.exit_code or 0),
        project_names=list(runs.rules.config.projects),
        can_set=SETTABLE,
        is_limited=bool(known.settings.get("limit")),
        again=_to_run_again(known),
        at_once=runs.rules.at_once,
    )


@router.get("/docs")
def docs(request: Request, user: TheUser) -> Response:
    """The API for people who write programs."""
    return _page("docs.html", user=user, document=request.app.openapi())


def notice(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says why there is no other."""
    title = {401: "Please sign in", 404: "Page not found"}.get(status, "We can't do that")
    return HTMLResponse(
        _templates.get_template("notice.html").render(
            title=title, sentence=sentence, status=status, style=NOTICE_STYLE
        ),
        status,
        headers,
    )


def _page(name: str, **context: Any) -> Response:
    return HTMLResponse(_templates.get_template(name).render(version=__version__, labels=LABELS, **context))


def _project_set_up(runs: Runs) -> str | None:
    nobodys = Upload(id="", name="", owner=None, size=0, uploaded_at="")
    return runs.project_of(nobodys)


def _from_counts(errors: Mapping[str, int]) -> list[dict[str, Any]]:
    """Where a run's rows are in its files only."""
    return [
        {"code": code, "action": action_of(code).value, "count": count, "sentences": [], "in_rows": "", "rows": []}
        for code, count in errors.items()
    ]


def _candidates(checked: CheckResult) -> list[dict[str, Any]]:
    """Each with what stands in it, so that the right one is recognised."""
    columns, preview = checked.columns, checked.preview
    found = []
    for name in checked.candidates or (checked.choosable if checked.id_column is None else ()):
        parts = [_position_of(part, columns) for part in ([name] if name in columns else name.split("+"))]
        shown = [preview.columns.index(part) for part in parts if part in preview.columns]
        cells = ["".join(row[at] or "" for at in shown) for row in preview.rows if shown]
        header = " + ".join(columns[at] for at in parts if at is not None and at < len(columns)) or name
        found.append({"name": name, "header": header, "samples": [cell for cell in cells if cell][:_SAMPLES]})
    return found


def _position_of(name: str, columns: Sequence[str]) -> int | None:
    return columns.index(name) if name in columns else _lettered(name)


def _lettered(name: str) -> int | None:
    """Position of `column C`."""
    letters = name.rpartition(" ")[2]
    at = 0
    for letter in letters.upper():
        at = at * 26 + ord(letter) - ord("A") + 1
    return at - 1 if letters.isascii() and letters.isalpha() else None


def _to_run_again(known: Run) -> int:
    """Rows of a run that is done for which another try may do."""
    if known.state != "done":
        return 0
    return sum(count for code, count in known.errors.items() if action_of(code) is Action.AGAIN)


def shares_of(known: Run) -> list[Share]:
    """What became of the rows, as parts of a bar, in the order in which they are read."""
    by_action = dict.fromkeys(Action, 0)
    for code, count in known.errors.items():
        by_action[action_of(code)] += count
    linked = known.linked if known.state in ("done", "stopped") else known.sendable or 0
    parts = [
        ("linked", "have a link" if known.state in ("done", "stopped") else "can get a link", linked),
        ("duplicate", "duplicate" if known.duplicates == 1 else "duplicates", known.duplicates or 0),
        ("fix", "to fix", by_action[Action.FIX]),
        ("again", "not requested yet, or failed", by_action[Action.AGAIN]),
        ("it", "to ask IT about", by_action[Action.ASK_IT]),
        ("aside", "left out on purpose", by_action[Action.NOTHING]),
    ]
    return _bar(parts)


def answers_of(known: Run) -> list[Share]:
    """What HealthEx shows of the patients with a link, as parts of a bar."""
    responses = known.status.responses if known.status else {}
    return _bar([(_KINDS_OF_RESPONSES.get(each, "aside"), each, count) for each, count in responses.items()])


def _bar(parts: Sequence[tuple[str, str, int]]) -> list[Share]:
    """From kind, label and count of each part."""
    total = sum(count for _, _, count in parts) or 1
    shares, start = [], 0.0
    for kind, label, count in parts:
        width = 100 * count / total
        if count:
            shares.append(Share(kind, label, count, round(start, 3), round(width, 3)))
        start += width
    return shares


def _when(text: str) -> str:
    """A time as it stands until the script puts it into the reader's own."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%d %b %Y, %H:%M UTC")


def _count(number: int | float) -> str:
    return f"{number:,.0f}"


def _some(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _task(problem: Mapping[str, Any]) -> str:
    """Of a problem, also one that version 0.2.0 noted."""
    told: str = problem.get("task") or ""
    return told or task_of(ErrorCode(problem["code"]), problem["count"])  # type: ignore[call-arg]


def _ordinal(number: int) -> str:
    return {1: "Next", 2: "Second", 3: "Third"}.get(number, f"{number}th")


_templates.filters.update(
    to_do=lambda errors: ToDo.of(errors).in_words(),
    when=_when,
    count=_count,
    some=_some,
    ordinal=_ordinal,
    task=_task,
    on_days=lambda status: days_in_words(status.asked_from, status.asked_until),
)
