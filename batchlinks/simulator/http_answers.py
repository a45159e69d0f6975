"""The answers of the stand-in as HTTP: whole, broken off, or none at all."""

import asyncio
import functools
import gzip
import http
import json
import zlib
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


class Kept(CutOff):
    """`sent` as it stands in place of an answer, on a connection that is kept; and `later` after so many seconds."""

    def __init__(self, sent: bytes, status: int, *, later: bytes = b"", after_s: float = 0.0) -> None:
        super().__init__(sent, status)
        self._later = later
        self._after_s = after_s

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            return
        transport.write(self.sent)
        if self._later:
            asyncio.get_running_loop().call_later(self._after_s, _write_if_open, transport, self._later)


class Endless(CutOff):
    """Goes on until nobody is there any more."""

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            return
        transport.write(self.sent)
        while not transport.is_closing():
            if transport.get_write_buffer_size() < _MOST_BUFFERED:
                transport.write(b"x" * _PIECE)
            await asyncio.sleep(0)


_PIECE = 8 * 1024
_MOST_BUFFERED = 64 * 1024


def _write_if_open(transport: asyncio.Transport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


def truncated(whole: web.Response) -> CutOff:
    """Promises the length of `whole`, and breaks off in the middle of its body."""
    head, body = _head(whole), _body(whole)
    return CutOff(head + body[: len(body) // 2], whole.status)


def repeated(whole: web.Response, after_s: float) -> Kept:
    """The answer, and the same again."""
    sent = _head(whole) + _body(whole)
    return Kept(sent, whole.status, later=sent, after_s=after_s) if after_s else Kept(sent * 2, whole.status)


def of_wrong_length(whole: web.Response, by: int) -> Kept:
    """Content-Length is `by` more than the body's length, or less where negative."""
    body = _body(whole)
    return Kept(_head(whole, f"Content-Length: {max(0, len(body) + by)}") + body, whole.status)


def in_chunks_with_garbage(whole: web.Response) -> Kept:
    """The answer in chunks, with something behind its end."""
    body = _body(whole)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return Kept(_head(whole, "Transfer-Encoding: chunked") + chunks + b"HTTP/1.1 200 OK\r\nX: ", whole.status)


def after_early_hints(whole: web.Response) -> Kept:
    """The answer after one of status 103."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    return Kept(hints + _head(whole) + _body(whole), whole.status)


def no_content(whole: web.Response) -> Kept:
    """204, which has no body, and all the same one."""
    return Kept(b"HTTP/1.1 204 No Content\r\n\r\n" + _body(whole), 204)


def of_http10(whole: web.Response) -> CutOff:
    """The answer as an old server gives it: its end is the connection's."""
    head = f"HTTP/1.0 {whole.status} {whole.reason}\r\nContent-Type: {whole.headers[hdrs.CONTENT_TYPE]}\r\n\r\n"
    return CutOff(head.encode() + _body(whole), whole.status)


def endless(status: int) -> Endless:
    """An answer whose body never ends."""
    return Endless(f"HTTP/1.1 {status} OK\r\nContent-Type: {HTML}\r\n\r\n".encode(), status)


def garbage() -> CutOff:
    """What a server says that speaks no HTTP."""
    return CutOff(b"220 mail.example.invalid ESMTP\r\n\x15\x03\x01\r\n\r\n")


def encoded(whole: web.Response, encoding: str) -> web.Response:
    """`whole` in this encoding; one that Python does not know is only said."""
    body = _body(whole)
    match encoding:
        case "gzip":
            body = gzip.compress(body)
        case "gzip, gzip":
            body = gzip.compress(gzip.compress(body))
        case "deflate":
            body = zlib.compress(body)
        case "raw-deflate":
            encoding, body = "deflate", zlib.compress(body)[2:-4]
    headers = {hdrs.CONTENT_TYPE: whole.headers[hdrs.CONTENT_TYPE], hdrs.CONTENT_ENCODING: encoding}
    return web.Response(status=whole.status, body=body, headers=headers)


@functools.lru_cache(maxsize=2)
def _bomb_of(megabytes: int) -> bytes:
    once = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    inner = b"".join([*(once.compress(b"\0" * 2**20) for _ in range(megabytes)), once.flush()])
    return gzip.compress(inner)


def bomb(status: int, megabytes: int) -> web.Response:
    """Compressed twice: a few thousand bytes that come to this many megabytes."""
    headers = {hdrs.CONTENT_TYPE: TEXT, hdrs.CONTENT_ENCODING: "gzip, gzip"}
    return web.Response(status=status, body=_bomb_of(megabytes), headers=headers)


def _body(whole: web.Response) -> bytes:
    return whole.body if isinstance(whole.body, bytes) else b""


def _head(whole: web.Response, framing: str | None = None) -> bytes:
    framing = framing or f"Content-Length: {len(_body(whole))}"
    kind = whole.headers[hdrs.CONTENT_TYPE]
    return f"HTTP/1.1 {whole.status} {whole.reason}\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()
