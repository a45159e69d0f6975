"""httpx on aiohttp's connections.

httpx's own connection pool does work that grows with the square of its connections at every request, and from ten in
flight on it is the bottleneck; aiohttp's does not. This transport also tells the failures apart that the
requesting needs told apart (nobody there, no answer, half an answer), knows the machine's proxy and its certificate
store, and bounds each call as a whole.
"""

import asyncio
import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import truststore

from batchlinks.errors import SettingsError

_CONNECT_SHARE = 0.8
"""Of a call's time, for its connection: so it shows in time that nobody was reached."""

_LONGEST_BODY = 64 * 1024
"""Bytes that are read of an answer: many times a link or a token, and nobody can fill the memory."""

_PLAIN_BODY = "batchlinks.body"
"""Under this name stands, among an answer's extensions, the body of one that was not compressed."""


class CertificateNotTrusted(httpx.ConnectError):
    """Another try would end the same way."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests to one host and reads each answer whole.

    Raises httpx's exceptions: ConnectError (CertificateNotTrusted among them) and ConnectTimeout when nobody was
    reached, ProxyError for a proxy in between (with `answer` and the status as its message where the proxy answered), ReadTimeout
    when no whole answer came in `timeout_s` seconds, RemoteProtocolError and ReadError for a broken one.
    """

    def __init__(self, base_url: str, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._proxy = _proxy_for(base_url)
        self._session: aiohttp.ClientSession | None = None
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
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s * _CONNECT_SHARE),
                auto_decompress=False,
                # Nothing but what the request says; Host and Content-Length are added in any case.
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(
                    request.method,
                    str(request.url),
                    data=request.read() or None,
                    headers=request.headers.multi_items(),
                    allow_redirects=False,
                    proxy=self._proxy,
                ) as response,
            ):
                body = await _beginning(response)
        except Exception as error:
            known = translated(error, request)
            if known is None:
                raise
            raise known from error
        return _as_httpx_has_it(response, body, request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def body_of(response: httpx.Response) -> bytes:
    """All of an answer's body. `response.content` would be the same, and take as long as all the rest of the answer."""
    plain: bytes | None = response.extensions.get(_PLAIN_BODY)
    return response.content if plain is None else plain


def _as_httpx_has_it(answer: aiohttp.ClientResponse, body: bytes, request: httpx.Request) -> httpx.Response:
    if "Content-Encoding" not in answer.headers:
        return httpx.Response(
            answer.status,
            headers=answer.raw_headers,
            stream=httpx.ByteStream(body),
            request=request,
            extensions={_PLAIN_BODY: body},
        )
    try:
        return httpx.Response(answer.status, headers=answer.raw_headers, content=body, request=request)
    except httpx.DecodingError as error:  # compressed, though nobody asked for it, and badly so
        raise httpx.RemoteProtocolError("the answer was garbled", request=request) from error


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
    """aiohttp's or asyncio's exception as httpx's, without a URL or a body in it; None for one that is a defect."""
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
