"""httpx on aiohttp's connections.

httpx's own connection pool does work that grows with the square of its connections at every request, and from ten in
flight on it is the bottleneck; aiohttp's does not. This transport also tells the failures apart that the
requesting needs told apart (nobody there, no answer, half an answer), knows the machine's proxy and its certificate
store, and bounds each call as a whole. Its connections are watched (`healthex.connections`).
"""

import asyncio
import ssl
import zlib
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import truststore

from batchlinks.errors import SettingsError
from batchlinks.healthex.connections import (
    NothingSent,
    WatchedConnector,
    WatchedProtocol,
    WatchedRequest,
    WatchedResponse,
)

_CONNECT_SHARE = 0.8
"""Of a call's time, for its connection: so it shows in time that nobody was reached."""

_LONGEST_BODY = 64 * 1024
"""Bytes that are read of an answer: many times a link or a token, and nobody can fill the memory."""

_MOST_CONNECTIONS = 3
"""Connections that one call tries, where something arrives on each before the request is out."""

_BODY = "batchlinks.body"
"""Under this name stands, among an answer's extensions, its body as it came."""

_ENCODED = "batchlinks.encoded"
_CONNECTION = "batchlinks.connection"
_INFLATED = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""Encodings that are read, though nobody asks for them, and what zlib calls them."""


class CertificateNotTrusted(httpx.ConnectError):
    """Another try would end the same way."""


class UnreadableBody(Exception):
    """An answer's body is in an encoding that is not read, or would be too long. The message holds nothing of the answer."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests to one host and reads each answer whole.

    Raises httpx's exceptions: ConnectError (CertificateNotTrusted among them) and ConnectTimeout when nobody was
    reached, ProxyError for a proxy in between (with `answer` and the status as its message where the proxy answered), ReadTimeout
    when no whole answer came in `timeout_s` seconds, RemoteProtocolError and ReadError for a broken one.
    `keep_connections` False gives each request a connection of its own.
    """

    def __init__(self, base_url: str, *, timeout_s: float, keep_connections: bool = True) -> None:
        self._timeout_s = timeout_s
        self._keep_connections = keep_connections
        self._proxy = _proxy_for(base_url)
        self._session: aiohttp.ClientSession | None = None
        self._connector: WatchedConnector | None = None
        self._tls: ssl.SSLContext | bool = (
            truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if base_url.startswith("https:") or self._proxy else True
        )

    @property
    def proxy(self) -> str | None:
        """Address of the proxy, without the credentials that may stand in it."""
        if self._proxy is None:
            return None
        scheme, _, address = self._proxy.partition("://")
        return f"{scheme}://{address.rpartition('@')[2]}"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session or self._open_session()
        for _ in range(_MOST_CONNECTIONS):
            try:
                async with (
                    asyncio.timeout(self._timeout_s),
                    session.request(
                        request.method,
                        str(request.url),
                        data=request.read() or None,
                        headers=request.headers.multi_items(),
                        allow_redirects=False,
                        proxy=self._proxy,
                    ) as response,
                ):
                    body = await _beginning(response)
                    return _as_httpx_has_it(response, body, request)
            except NothingSent:
                continue
            except Exception as error:
                known = translated(error, request)
                if known is None:
                    raise
                raise known from error
        raise httpx.ReadError("something arrived that nobody had asked for", request=request)

    def _open_session(self) -> aiohttp.ClientSession:
        self._connector = WatchedConnector(
            limit=0, ssl=self._tls, ttl_dns_cache=60, force_close=not self._keep_connections
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            request_class=WatchedRequest,
            response_class=WatchedResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s * _CONNECT_SHARE),
            auto_decompress=False,
            # Nothing but what the request says; Host and Content-Length are added in any case.
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self._session

    def distrust_connections(self) -> None:
        """Close every connection that is open now; those with a call under way, once that is answered."""
        if self._connector is not None:
            self._connector.distrust_all()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def body_of(response: httpx.Response) -> bytes:
    """All of an answer's body, inflated where it was compressed. Raises UnreadableBody.

    `response.content` would take as long as all the rest of the answer, and would inflate 5 KB to 3 GB.
    """
    body: bytes = response.extensions[_BODY]
    if not response.extensions[_ENCODED]:
        return body
    layers = [layer.lower() for layer in response.headers.get_list("Content-Encoding", split_commas=True)]
    match [layer for layer in layers if layer not in ("", "identity")]:
        case []:
            return body
        case [layer] if layer in _INFLATED:
            return _inflated(body, _INFLATED[layer])
        case _:
            raise UnreadableBody("an answer in an encoding that nobody asked for")


def raw_length(response: httpx.Response) -> tuple[int, bool]:
    """Bytes that were read of an answer's body, as it came, and whether these are all."""
    length = len(response.extensions[_BODY])
    return min(length, _LONGEST_BODY), length <= _LONGEST_BODY


def _inflated(body: bytes, window: int) -> bytes:
    if window == zlib.MAX_WBITS and body[:1] and body[0] & 0x0F != zlib.DEFLATED:
        window = -zlib.MAX_WBITS  # "deflate" without the header that the standard asks for, as some servers have it
    inflater = zlib.decompressobj(window)
    try:
        plain = inflater.decompress(body, _LONGEST_BODY)
    except zlib.error:
        raise UnreadableBody("a compressed answer that cannot be read") from None
    if not inflater.eof or inflater.unused_data:
        raise UnreadableBody("a compressed answer that is too long, or cannot be read")
    return plain


def connection_of(response: httpx.Response) -> WatchedProtocol:
    """The connection on which an answer came."""
    connection: WatchedProtocol = response.extensions[_CONNECTION]
    return connection


def _as_httpx_has_it(answer: aiohttp.ClientResponse, body: bytes, request: httpx.Request) -> httpx.Response:
    assert isinstance(answer, WatchedResponse)  # noqa: S101 the session makes no other
    return httpx.Response(
        answer.status,
        headers=answer.raw_headers,
        stream=httpx.ByteStream(body),
        request=request,
        # Looking for a header here takes a tenth of the time that httpx takes for it.
        extensions={_BODY: body, _ENCODED: "Content-Encoding" in answer.headers, _CONNECTION: answer.watched},
    )


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The body; of an endless one as much as anybody could want, and its connection is given up."""
    length = response.content_length
    if length is not None and length <= _LONGEST_BODY:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LONGEST_BODY:
            response.close()
            break
    return bytes(body)


def translated(error: Exception, request: httpx.Request) -> httpx.TransportError | None:
    """Aiohttp's or asyncio's exception as httpx's, without a URL or a body in it; None for one that is a defect."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return httpx.ProxyError(f"answer {error.status}", request=request)
        case aiohttp.ClientProxyConnectionError():
            return httpx.ProxyError("not reached", request=request)
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not valid"
            return CertificateNotTrusted(reason, request=request)
        case aiohttp.ClientConnectorSSLError():
            return httpx.ConnectError("no secure connection", request=request)
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("no connection in time", request=request)
        case aiohttp.ClientConnectorError() | aiohttp.InvalidURL():
            return httpx.ConnectError("no connection", request=request)
        case TimeoutError():
            return httpx.ReadTimeout("no answer in time", request=request)
        case aiohttp.ClientPayloadError():
            return httpx.RemoteProtocolError("the answer was cut short", request=request)
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError("the answer was no HTTP", request=request)
        case aiohttp.ClientError() | OSError():
            return httpx.ReadError("the connection was dropped", request=request)
        case _:
            return None


def _proxy_for(url: str) -> str | None:
    """The machine's proxy for this host (HTTPS_PROXY, NO_PROXY, and the system's settings on macOS and Windows).

    Worked out once: asking for every call would cost five times as much as the call. Raises SettingsError.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found:
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme not in ("http", "https"):
        raise SettingsError(
            f"The proxy set on this computer is of the kind {proxy.scheme}://; only http:// and https:// work."
        )
    return f"{proxy.scheme}://{proxy.netloc}"
