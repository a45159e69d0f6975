"""Connections on which every answer follows its own request, and nothing else ever arrives.

HTTP/1.1 ties an answer to its request by nothing but their order on the connection, and a link may name nobody. aiohttp keeps
what arrives on an idle connection and hands it to the next request as its answer: another patient's link. So each
connection here remembers the bytes since its last request. It is used again only where they are exactly one answer, and
nothing waits in the socket at the moment at which the next request is written.

This rests on public names of aiohttp, and on one that is not (`_factory`). Should a later aiohttp no longer use one of
them, connections are not watched, and then they are not used a second time, or not at all.
"""

import asyncio
import re
import select
import sys
import weakref
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

LONGEST_KEPT = 128 * 1024
"""Bytes of an answer, head included, that are remembered. A connection with a longer one is not used again."""

_TURNS = 4
"""Turns of the event loop in which what the socket has must have come through, or the connection is given up."""

_FRAMING = re.compile(rb"\r\n(?i:(content-length)|transfer-encoding):[ \t]*([^\r\n]*)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?")
_BODILESS = (b"204", b"304")


class NothingSent(aiohttp.ClientConnectionError):
    """The connection was no longer silent when its request should have gone out, so the request did not. Try another one."""


class WatchedProtocol(ResponseHandler):
    """One connection, and what arrived on it since its last request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._handed_out = False
        """Whether requests of ours go out on it. What a proxy says while it opens a tunnel is none of our concern."""
        self._asked = False
        """Whether a request is out, so that an answer may arrive."""
        self._arrived = b""
        """Since the last request."""
        self._seen_whole = 0
        """Length of `arrived` when it was last found to be exactly one answer."""
        self._distrusted = False
        self._last_link: tuple[str, str] | None = None
        self._readiness: Any = None

    def take(self) -> bool:
        """Hand the connection out for another request, or False where it must not be used any more."""
        if self._distrusted or (self._handed_out and not self._is_answered()):
            return False
        self._handed_out = True
        self._asked = False
        return True

    async def ask(self) -> bool:
        """Whether a request may be written now: nothing has arrived that nobody asked for, and nothing waits in the socket."""
        for _ in range(_TURNS):
            if self._distrusted or not self.is_connected() or (self._arrived and not self._seen_whole):
                return False
            if not self._is_readable():
                self._arrived, self._seen_whole = b"", 0
                self._asked = True
                return True
            # Under TLS it may be no more than a session ticket: the event loop tells, as soon as it comes to it.
            await asyncio.sleep(0)
        return False

    def data_received(self, data: bytes) -> None:
        # aiohttp calls it with nothing in hand, too, to have its parser go on.
        if data and self._handed_out and (not self._asked or (self._arrived and self._is_answered())):
            self.distrust()
            return
        if len(self._arrived) <= LONGEST_KEPT:
            self._arrived += data
        super().data_received(data)

    @property
    def should_close(self) -> bool:
        """Aiohttp asks for this as soon as an answer has been read."""
        return super().should_close or self._distrusted or not self._is_answered()

    def distrust(self) -> None:
        """Never use the connection again: close it now, or as soon as the answer that is on its way has been read."""
        self._distrusted = True
        if self.transport is not None and (not self._asked or self._is_answered()):
            self.transport.abort()

    def is_repeated(self, link: str, external_id: str) -> bool:
        """Whether the last link that came on this connection, for another ID, was the very same. Notes the link."""
        last, self._last_link = self._last_link, (link, external_id)
        return last is not None and last[0] == link and last[1] != external_id

    @property
    def brought_more(self) -> bool:
        """Whether more than one answer came to the last request: then nobody knows which of them is the right one."""
        return has_surplus(self._arrived)

    def _is_answered(self) -> bool:
        if self._seen_whole != len(self._arrived):
            self._seen_whole = len(self._arrived) if is_one_answer(self._arrived) else 0
        return self._seen_whole > 0

    def _is_readable(self) -> bool:
        """Whether bytes, or the end of the connection, lie in the socket. The event loop has not delivered them yet."""
        transport = self.transport
        socket = None if transport is None else transport.get_extra_info("socket")
        if socket is None:
            return False
        if sys.platform == "win32":
            return bool(select.select([socket.fileno()], [], [], 0)[0])
        if self._readiness is None:
            self._readiness = select.poll()
            self._readiness.register(socket.fileno(), select.POLLIN)
        return bool(self._readiness.poll(0))


class WatchedConnector(aiohttp.TCPConnector):
    """Hands out connections that are new, or brought exactly one answer to their last request and nothing since."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._watched: weakref.WeakSet[WatchedProtocol] = weakref.WeakSet()
        self._factory = self._new_protocol  # type: ignore[assignment]  # a partial, there

    async def connect(self, req: aiohttp.ClientRequest, *arguments: Any, **options: Any) -> Connection:
        while True:
            connection = await super().connect(req, *arguments, **options)
            protocol = connection.protocol
            if not isinstance(protocol, WatchedProtocol):
                connection.close()
                raise RuntimeError("this version of aiohttp does not let its connections be watched")
            if protocol.take():
                return connection
            connection.close()

    def distrust_all(self) -> None:
        """Close every connection that is open now; those with a call under way, once that is answered."""
        for protocol in list(self._watched):
            protocol.distrust()

    def _new_protocol(self) -> WatchedProtocol:
        protocol = WatchedProtocol(asyncio.get_running_loop())
        self._watched.add(protocol)
        return protocol


class WatchedRequest(aiohttp.ClientRequest):
    """Looks at its connection once more right before it is written, which may be turns of the event loop after it was taken."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        # Without a body nothing but the head is written, in here.
        if self.method == "GET" and not await _protocol_of(conn).ask():
            raise NothingSent
        return await super().send(conn)

    async def write_bytes(self, writer: Any, conn: Connection, *arguments: Any, **options: Any) -> None:
        protocol = _protocol_of(conn)
        if await protocol.ask():
            await super().write_bytes(writer, conn, *arguments, **options)
        else:
            protocol.set_exception(NothingSent())


class WatchedResponse(aiohttp.ClientResponse):
    """Knows its connection for longer than until its last byte was read."""

    watched: WatchedProtocol

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        self.watched = _protocol_of(connection)
        return await super().start(connection)


def _protocol_of(connection: Connection) -> WatchedProtocol:
    protocol = connection.protocol
    assert isinstance(protocol, WatchedProtocol)  # noqa: S101 the connector hands out no other
    return protocol


def is_one_answer(arrived: bytes) -> bool:
    """Whether these bytes are one whole answer to a GET or POST, to the last byte, and its end is beyond doubt.

    Stricter than any parser: what is not plain HTTP/1.1 of a stated length or in chunks, or comes after an
    informational answer, is no.
    """
    return _bytes_beyond(arrived) == 0


def has_surplus(arrived: bytes) -> bool:
    """Whether these bytes go on after the end of a whole answer, where that end is beyond doubt."""
    beyond = _bytes_beyond(arrived)
    return beyond is not None and beyond > 0


def _bytes_beyond(arrived: bytes) -> int | None:
    """Bytes after the end of the answer, negative where some are missing; None where its end is in doubt."""
    head, blank, body = arrived.partition(b"\r\n\r\n")
    # A parser may end a head at bare line feeds, and so earlier than here.
    if not blank or head[:9] != b"HTTP/1.1 " or head[9:10] == b"1" or head.count(b"\n") != head.count(b"\r\n"):
        return None
    framing = _FRAMING.findall(head)
    if head[9:12] in _BODILESS:
        return len(body)
    if len(framing) != 1:
        return None
    is_length, value = framing[0]
    value = value.strip(b" \t")
    if is_length:
        return len(body) - int(value) if value.isdigit() and len(value) < 10 else None
    return _bytes_beyond_chunks(body) if value.lower() == b"chunked" else None


def _bytes_beyond_chunks(body: bytes) -> int | None:
    """Bytes after the last chunk; None where there is none. Trailers, which nobody asks for, are no end."""
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        size = _CHUNK_SIZE.fullmatch(body, at, end) if end >= 0 else None
        if size is None:
            return None
        length = int(size[1], 16)
        at = end + 2 + length + 2
        if body[at - 2 : at] != b"\r\n":
            return None
        if not length:
            return len(body) - at
