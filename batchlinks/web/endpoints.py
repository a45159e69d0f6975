"""The calls under /api, for the page and for programs. Their words are the command's; the contract stands in OpenAPI."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.outreach.languages import Language
from batchlinks.outreach.outreach_plan import require_extra
from batchlinks.pipeline.audit import user_name
from batchlinks.web.form_fields import RunFields, from_form, given
from batchlinks.web.runs import File, NotThere, Run, Runs, TooLarge, Unusable
from batchlinks.web.uploads import Upload
from batchlinks.web.wording import Asks

_LOOK_EVERY_S = 0.4
_BREATHE_EVERY_S = 15.0
_MOST_FIELDS = 100
_LARGEST_TEMPLATE = 20_000_000


class ErrorBody(BaseModel):
    """Why something was not done."""

    detail: str = Field(description="One sentence for a person.")


class UnusableBody(ErrorBody):
    """Why a list or a setting cannot be used."""

    asks: Asks | None = Field(
        None,
        description="What would help: which `sheet`, which table (`header_row`), which column (`id_column` or `header_row`), "
        "or a password; null where it has to be mended elsewhere.",
    )
    sheets: list[str] | None = Field(None, description="Where several sheets could be the list: name one as `sheet`.")
    header_rows: list[int] | None = Field(
        None, description="Where a sheet has several tables: name the row of the right headers as `header_row`."
    )


class TypedCell(BaseModel):
    """A cell of the list as somebody typed it."""

    model_config = ConfigDict(extra="forbid", str_max_length=10_000)

    row: int = Field(ge=1, le=10_000_000, description="As a spreadsheet numbers it.")
    column: str = Field(description="By its name in `columns`.")
    text: str = Field(alias="is", description="What the cell is to hold.")


class TypedCells(BaseModel):
    """Corrections of a list."""

    model_config = ConfigDict(extra="forbid")

    cells: list[TypedCell] = Field(min_length=1, max_length=10_000)


class SamePeople(BaseModel):
    """Rows whose patients are the same as in an earlier list."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Annotated[int, Field(ge=1, le=10_000_000)]] = Field(
        min_length=1, max_length=10_000, description="As a spreadsheet numbers them."
    )


class StatusFields(BaseModel):
    """What is wanted besides who has answered."""

    model_config = ConfigDict(extra="forbid")

    reminder: bool = Field(
        default=False, description="Also write a workbook of the patients to remind, with the same links."
    )
    after_days: int = Field(
        default=14, ge=0, le=3_650, description="Remind who was handed out, or reminded, so many days ago or more."
    )


class Password(BaseModel):
    """What opens a protected list."""

    model_config = ConfigDict(extra="forbid")

    password: str = Field(min_length=1, max_length=255)


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    meanings = {
        400: "The request is broken, or was sent to another host.",
        401: "The access token is missing or wrong.",
        403: "Another website asked for this.",
        404: "There is no such run or file.",
        409: "Not in the state that the run is in.",
        413: "The upload is too large.",
        422: "The list or a setting cannot be used.",
    }
    return {
        code: {"model": UnusableBody if code == 422 else ErrorBody, "description": meanings[code]}
        for code in (400, 401, 403, *codes)
    }


router = APIRouter(prefix="/api/runs", tags=["runs"])


def runs_of(request: Request) -> Runs:
    """The lists and runs of this server."""
    runs: Runs = request.app.state.runs
    return runs


def user_of(request: Request) -> str | None:
    """Who is signed in; None where users are not told apart."""
    user: str | None = request.state.user
    return user


def upload_of(run_id: str, request: Request) -> Upload:
    """Raises NotThere."""
    return runs_of(request).find(run_id, user_of(request))


TheRuns = Annotated[Runs, Depends(runs_of)]
TheUser = Annotated[str | None, Depends(user_of)]
TheUpload = Annotated[Upload, Depends(upload_of)]

_DOCUMENT = {"type": "string", "format": "binary"}
_TEMPLATES = {
    "letters": {**_DOCUMENT, "description": "A Word template: a letter for each patient is written from it."},
    "letters_es": {**_DOCUMENT, "description": "The same in Spanish, for those whose `language_column` says so."},
}
_LETTERS_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["letters"],
                    "properties": _TEMPLATES,
                    "additionalProperties": False,
                }
            }
        },
    }
}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["roster"],
                    "properties": {
                        "roster": {"type": "string", "format": "binary", "description": "The patient list."},
                        "password": {
                            "type": "string",
                            "maxLength": 255,
                            "description": "Of a protected list. It is kept nowhere.",
                        },
                        **_TEMPLATES,
                        **RunFields.model_json_schema()["properties"],
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}


@router.post("", status_code=201, responses=_answers(413, 422), openapi_extra=_FORM, summary="Upload a patient list")
async def upload(request: Request, runs: TheRuns, user: TheUser) -> Run:
    """The list is read and checked at once; nothing is sent to HealthEx.

    Optional fields are named like the options of `batchlinks run`. A list that cannot be read is not kept.
    """
    form = await _form_in(request, "The patient list comes as multipart/form-data, in a field named roster.")
    try:
        roster = form.get("roster")
        if not isinstance(roster, UploadFile):
            raise Unusable("There is no file in a field named roster.")
        if (roster.size or 0) > runs.rules.max_bytes:
            raise TooLarge
        given_names = [name for name, _ in form.multi_items()]
        if len(set(given_names)) != len(given_names):
            raise Unusable("A field is given twice.")
        names = [name for name, value in form.multi_items() if isinstance(value, str)]
        if set(given_names) - {*names, "roster", *_TEMPLATES}:
            raise Unusable("There is a file in a field of another name than roster, letters or letters_es.")
        texts = {name: str(form[name]) for name in names}
        password = texts.pop("password", None)
        settings = from_form(texts)
        taken_in = await runs.upload(
            roster.filename or "", roster.file, settings, user, password=password, templates=await _templates_in(form)
        )
    finally:
        await form.close()
    return runs.known(taken_in)


async def _form_in(request: Request, otherwise: str) -> FormData:
    """The form that was sent. Raises Unusable, saying `otherwise` where it is none."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Unusable(otherwise)
    try:
        parser = MultiPartParser(
            request.headers, request.stream(), max_files=3, max_fields=_MOST_FIELDS, max_part_size=10_000
        )
        return await parser.parse()
    except (MultiPartException, LookupError, ValueError):
        raise Unusable(
            "The form cannot be understood: one file in a field named roster, and short text fields."
        ) from None


async def _templates_in(form: FormData) -> dict[Language, bytes]:
    """The templates of letters in a form. Raises Unusable for what is no file, or too large."""
    found = {}
    for language, name in ((Language.ENGLISH, "letters"), (Language.SPANISH, "letters_es")):
        file = form.get(name)
        if file is None:
            continue
        if not isinstance(file, UploadFile) or (file.size or 0) > _LARGEST_TEMPLATE:
            raise Unusable("A template for letters is a Word document (.docx) of at most 20 MB.")
        found[language] = await file.read()
    return found


@router.get("", responses=_answers(), summary="All runs, the latest first")
def all_runs(runs: TheRuns, user: TheUser) -> list[Run]:
    """Of the one who asks, where people sign in."""
    return [runs.known(upload) for upload in runs.all_of(user)]


@router.get("/{run_id}", responses=_answers(404), summary="One run")
def one_run(upload: TheUpload, runs: TheRuns) -> Run:
    """How far it is, or how it ended."""
    return runs.known(upload)


@router.patch("/{run_id}", responses=_answers(404, 409, 413, 422), summary="Change settings")
async def change(upload: TheUpload, changes: RunFields, runs: TheRuns, user: TheUser) -> Run:  # type: ignore[valid-type]
    """The list is checked again. What is not given stays as it is."""
    return runs.known(await runs.change(upload, given(changes), user))


@router.post("/{run_id}/password", responses=_answers(404, 409, 413, 422), summary="Open a protected list")
async def open_list(upload: TheUpload, given_password: Password, runs: TheRuns, user: TheUser) -> Run:
    """The list is checked again with this password, which is kept nowhere: after a restart of the server it is asked again."""
    return runs.known(await runs.change(upload, {}, user, password=given_password.password))


@router.post(
    "/{run_id}/again",
    status_code=201,
    responses=_answers(404, 413, 422),
    summary="Check the list once more, beside this run",
)
async def again(upload: TheUpload, changes: RunFields, runs: TheRuns, user: TheUser) -> Run:  # type: ignore[valid-type]
    """A new run of the same list with its settings, corrections and these changes. This run and its results stay."""
    return runs.known(await runs.again(upload, given(changes), user))


@router.post("/{run_id}/corrections", responses=_answers(404, 409, 413, 422), summary="Correct cells of the list")
async def correct(upload: TheUpload, typed: TypedCells, runs: TheRuns, user: TheUser) -> Run:
    """The whole list is checked again with these cells. A cell may be corrected again, or back to what it was."""
    unknown = {cell.column for cell in typed.cells} - set(runs.known(upload).columns)
    if unknown:
        raise Unusable("A correction names a column that the list doesn't have.")
    by = user or user_name()
    cells = [CellCorrection(cell.row, cell.column, "", cell.text, by) for cell in typed.cells]
    return runs.known(await runs.correct(upload, cells, user))


@router.post(
    "/{run_id}/people", responses=_answers(404, 409, 413, 422), summary="Say that patients are the same as before"
)
async def confirm_people(upload: TheUpload, answer: SamePeople, runs: TheRuns, user: TheUser) -> Run:
    """Rows that are held back as `known_as_other` are of those whose IDs they have. The list is checked again.

    The ledger remembers it once links are asked for.
    """
    return runs.known(await runs.confirm_people(upload, answer.rows, user))


@router.delete("/{run_id}/corrections", responses=_answers(404, 409, 422), summary="Take all corrections back")
async def take_back(upload: TheUpload, runs: TheRuns, user: TheUser) -> Run:
    """The list is checked again as it was uploaded."""
    return runs.known(await runs.take_back_corrections(upload, user))


@router.post(
    "/{run_id}/corrections/from/{report_id}",
    responses=_answers(404, 409, 422),
    summary="Take over the corrections in another upload",
)
async def correct_from(upload: TheUpload, report_id: str, runs: TheRuns, user: TheUser) -> Run:
    """The other upload is this list's error report with cells fixed, or its annotated workbook; it is deleted then."""
    return runs.known(await runs.correct_from_upload(upload, runs.find(report_id, user), user))


@router.post(
    "/{run_id}/letters",
    responses=_answers(404, 409, 413, 422),
    openapi_extra=_LETTERS_FORM,
    summary="Write letters, too",
)
async def write_letters(request: Request, upload: TheUpload, runs: TheRuns, user: TheUser) -> Run:
    """The list is checked again with this Word template; the letters come with the results of the next start."""
    form = await _form_in(request, "The template comes as multipart/form-data, in a field named letters.")
    try:
        templates = await _templates_in(form)
        if Language.ENGLISH not in templates or form.keys() - _TEMPLATES.keys():
            raise Unusable("There is no file in a field named letters, or there is another field.")
        return runs.known(await runs.write_to(upload, templates, user))
    finally:
        await form.close()


@router.post("/{run_id}/start", status_code=202, responses=_answers(404, 409), summary="Start it, or go on with it")
async def start(upload: TheUpload, runs: TheRuns, user: TheUser) -> Run:
    """Links are asked for. One that waits, runs or is done already stays as it is; one that stopped goes on."""
    return runs.known(await runs.start(upload, user))


@router.post("/{run_id}/stop", status_code=202, responses=_answers(404, 409), summary="Stop it")
async def stop(upload: TheUpload, runs: TheRuns, user: TheUser) -> Run:
    """It ends in good order, and can be started again to go on. What was answered is kept."""
    await runs.stop(upload, user)
    return runs.known(runs.find(upload.id, user))


@router.post(
    "/{run_id}/status", status_code=202, responses=_answers(404, 409, 422), summary="Ask HealthEx who has answered"
)
async def ask(upload: TheUpload, runs: TheRuns, user: TheUser, wanted: StatusFields | None = None) -> Run:
    """Of a run that is done: HealthEx is asked about every patient who has a link, and for no link. One at a time for a run."""
    chosen = wanted or StatusFields()
    return runs.known(await runs.ask(upload, user, reminder=chosen.reminder, after_days=chosen.after_days))


@router.delete("/{run_id}", status_code=204, responses=_answers(404), summary="Delete upload and results")
async def delete(upload: TheUpload, runs: TheRuns, user: TheUser) -> Response:
    """Links already made stay in the ledger of the server."""
    await runs.delete(upload, user)
    return Response(status_code=204)


_MEDIA = {
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".zip": "application/zip",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".txt": "text/plain",
    ".json": "application/json",
}


def _download(kind: File, summary: str, *endings: str) -> None:
    binary = {"schema": {"type": "string", "format": "binary"}}
    found = {"description": "The file.", "content": {_MEDIA[ending]: binary for ending in endings}}
    if endings == (".json",):
        found["content"] = {_MEDIA[".json"]: {"schema": {"type": "object"}}}

    def download(upload: TheUpload, runs: TheRuns, user: TheUser) -> FileResponse:
        path = runs.file(upload, kind)
        runs.downloaded(upload, kind, user)
        return FileResponse(path, filename=path.name, media_type=_MEDIA[path.suffix])

    router.add_api_route(
        f"/{{run_id}}/{kind}",
        download,
        methods=["GET"],
        response_class=FileResponse,
        responses={200: found, **_answers(404, 409)},
        summary=summary,
        operation_id=f"{kind}_file",
    )


_download("links", "The links workbook; a zip archive where there are several files", ".xlsx", ".csv", ".zip")
_download("errors", "The error report: the rows to fix", ".xlsx", ".csv")
_download("duplicates", "The duplicates, where the format is CSV", ".csv")
_download("corrections", "The corrected cells, where the format is CSV", ".csv")
_download("annotated", "The list's own workbook with links in it, where it was asked for", ".xlsx")
_download(
    "letters", "The letters, where a template was given; a zip archive where there are several files", ".docx", ".zip"
)
_download("summary", "The counts as JSON", ".json")
_download("status", "Who has answered, once HealthEx was asked", ".xlsx", ".csv")
_download("reminder", "The patients to remind, with the same links", ".xlsx", ".csv", ".zip")
_download("check", "The rows to fix as the check found them, before any start", ".xlsx", ".csv")


templates_router = APIRouter(prefix="/api/templates", tags=["templates"])


@templates_router.get(
    "/{name}",
    response_class=Response,
    responses={
        200: {
            "description": "The file.",
            "content": {_MEDIA[ending]: {"schema": _DOCUMENT} for ending in (".docx", ".txt")},
        },
        **_answers(404),
    },
    summary="A draft of a letter, text or e-mail: letter.docx, letter.es.docx, reminder.docx, text.txt, email.txt",
)
def template(name: str) -> Response:
    """To fill in and have approved, as `batchlinks templates` writes it."""
    from batchlinks.outreach.drafts import TEMPLATES

    if name not in TEMPLATES:
        raise NotThere("There is no such template.")
    require_extra()
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(TEMPLATES[name](), media_type=_MEDIA[PurePosixPath(name).suffix], headers=headers)


@router.get(
    "/{run_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **_answers(404)},
    summary="Progress, as server-sent events",
)
async def events(upload: TheUpload, request: Request, runs: TheRuns) -> StreamingResponse:
    """Each event holds the run as JSON, whenever something has changed; the last one is that of its end."""
    return StreamingResponse(_news_of(upload, runs, request.app.state.closing), media_type="text/event-stream")


async def _news_of(upload: Upload, runs: Runs, closing: Callable[[], bool]) -> AsyncIterator[str]:
    said, quiet_s = "", 0.0
    while not closing():
        found = runs.uploads.find(upload.id)
        if found is None:
            yield "event: gone\ndata: {}\n\n"
            return
        known = runs.known(found)
        news = known.model_dump_json()
        if news != said:
            yield f"data: {news}\n\n"
            said, quiet_s = news, 0.0
        elif quiet_s >= _BREATHE_EVERY_S:
            yield ": still there\n\n"
            quiet_s = 0.0
        if known.state not in ("waiting", "running"):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
        quiet_s += _LOOK_EVERY_S
