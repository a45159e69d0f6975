"""The answers of the stand-in as HTTP: whole, broken off, or none at all."""

import http
import json
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
LOGIN_PAGE: Final = (
    "<!doctype html>\n<html><head><title>Sign in</title></head><body><p>Please sign in.</p></body></html>\n"
)

_PHRASES: Final = {status.value: status.phrase for status in http.HTTPStatus}


def answer(status: int, text: str, content_type: str = JSON, headers: Mapping[str, str] | None = None) -> web.Response:
    """Exactly this."""
    all_headers: dict[str, str] = {hdrs.CONTENT_TYPE: content_type}
    if headers:
        all_headers |= headers
    return web.Response(status=status, body=text.encode(), headers=all_headers)


def problem(status: int, why: str | None = None, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer without a link. Error bodies are not documented: this one is JSON with the sentence `why`."""
    if why is None:
        why = _PHRASES.get(status, "Failed")
    return answer(status, json.dumps({"error": why}), headers=headers)


class CutOff(web.Response):
    """`sent` as it stands, in place of an answer or as its beginning; then the connection is closed."""

    def __init__(self, sent: bytes = b"", status: int = 200) -> None:
        super().__init__(status=status)
        self.sent = sent

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.write(self.sent)
            request.transport.close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: `prepare` has sent all there is."""


def truncated(whole: web.Response) -> CutOff:
    """Promises the length of `whole`, and breaks off in the middle of its body."""
    body = whole.body if isinstance(whole.body, bytes) else b""
    head = (
        f"HTTP/1.1 {whole.status} {whole.reason}\r\n"
        f"Content-Type: {whole.headers[hdrs.CONTENT_TYPE]}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return CutOff(head.encode() + body[: len(body) // 2], whole.status)
