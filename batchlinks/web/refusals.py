"""How a refusal is said: as a page to a person in front of a browser, as JSON to a program. Never with a value given."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from batchlinks.errors import BatchlinksError, SettingsError, defect
from batchlinks.logs import logger
from batchlinks.web.form_fields import error_of
from batchlinks.web.known_patients import NobodyKnown, NotHere
from batchlinks.web.runs import NotNow, NotThere, TooLarge, Unusable
from batchlinks.web.wording import PAGE, asks

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "We can't find this page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "That doesn't work at this address.",
}


def refusal(request: Request, status: int, sentence: str, **more: Any) -> Response:
    """The answer, for whoever asks."""
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
    if wants_page:
        from batchlinks.web.pages import notice

        return notice(status, sentence, headers)
    return JSONResponse({"detail": sentence, **more}, status, headers)


def explain(app: FastAPI) -> None:
    """Make every exception of this package, and every other, an answer with a sentence."""

    def on(kind: type[Exception], answer: Callable[[Request, Any], Response]) -> None:
        app.add_exception_handler(kind, answer)

    on(NotThere, lambda request, error: refusal(request, HTTPStatus.NOT_FOUND, str(error)))
    on(NobodyKnown, lambda request, error: refusal(request, HTTPStatus.NOT_FOUND, str(error), alike=error.alike))
    on(NotHere, lambda request, error: refusal(request, HTTPStatus.FORBIDDEN, str(error)))
    on(NotNow, lambda request, error: refusal(request, HTTPStatus.CONFLICT, str(error)))
    on(Unusable, _unusable)
    on(SettingsError, _bad_setting)
    on(RequestValidationError, lambda request, error: _bad_setting(request, error_of(error.errors())))
    on(
        TooLarge,
        lambda request, _: refusal(request, 413, "This list is larger than this server accepts. Split it, or ask IT."),
    )
    on(BatchlinksError, _broken)
    on(HTTPException, _http)
    on(ClientDisconnect, lambda _request, _error: Response(status_code=HTTPStatus.REQUEST_TIMEOUT))  # nobody reads it
    on(Exception, _defect)


def _unusable(request: Request, error: Unusable) -> Response:
    choices: dict[str, Any] = {"sheets": list(error.sheets)} if error.sheets else {}
    if error.header_rows:
        choices["header_rows"] = list(error.header_rows)
    return refusal(request, 422, str(error), asks=error.asks, **choices)


def _bad_setting(request: Request, error: SettingsError) -> Response:
    return refusal(request, 422, error.said_at(PAGE), asks=asks(error))


def _broken(request: Request, error: BatchlinksError) -> Response:
    logger().error(str(error))
    return refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, error.said_at(PAGE))


def _http(request: Request, error: HTTPException) -> Response:
    answer = refusal(request, error.status_code, _SENTENCES.get(HTTPStatus(error.status_code), str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


def _defect(request: Request, error: Exception) -> Response:
    sentence = defect(error)
    logger().error(sentence)
    return refusal(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
