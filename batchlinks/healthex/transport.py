"""httpx on aiohttp's connections.

httpx's own connection pool does work that grows with the square of its connections at every request, and from ten in
flight on it is the bottleneck; aiohttp's does not. This transport also tells the failures apart that the
requesting needs told apart (nobody there, no answer, half an answer), knows the machine's proxy and its certificate
store, and bounds each call as a whole.
"""

import asyncio
import ssl
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import truststore

from batchlinks.errors import SettingsError


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests to one host and reads each answer whole.

    Raises httpx's exceptions: ConnectError and ConnectTimeout when nobody was reached, ProxyError for a proxy in between
    (its message is the status where the proxy answered), ReadTimeout when no whole answer came in `timeout_s`
    seconds, RemoteProtocolError and ReadError for a broken one.
    """

    def __init__(self, base_url: str, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.proxy, self._proxy_auth = _proxy_for(base_url)
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | bool = (
            truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if base_url.startswith("https:") or self.proxy else True
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s),
                auto_decompress=False,
                # httpx has written every header already.
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(
                    request.method,
                    str(request.url),
                    data=request.content or None,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=self.proxy,
                    proxy_auth=self._proxy_auth,
                ) as response,
            ):
                body = await response.read()
        except Exception as error:
            raise translated(error, request) from error
        return httpx.Response(response.status, headers=response.raw_headers, content=body, request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def translated(error: Exception, request: httpx.Request) -> Exception:
    """aiohttp's or asyncio's exception as httpx's. Never holds a URL or a body; an unknown one comes back as it is."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return httpx.ProxyError(str(error.status), request=request)
        case aiohttp.ClientProxyConnectionError():
            return httpx.ProxyError("not reached", request=request)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return httpx.ConnectError(_certificate_trouble(error), request=request)
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
            return error


def _certificate_trouble(
    error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError,
) -> str:
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error.os_error
    reason = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "TLS failed"
    return f"certificate: {reason}"


def _proxy_for(url: str) -> tuple[str | None, aiohttp.BasicAuth | None]:
    """The machine's proxy for this host (HTTPS_PROXY, NO_PROXY, and the system's settings on macOS and Windows).

    Worked out once: asking for every call would cost five times as much as the call.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None, None
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found:
        return None, None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme not in ("http", "https"):
        raise SettingsError(
            f"The proxy set on this computer is of the kind {proxy.scheme}://; only http:// and https:// work."
        )
    auth = aiohttp.BasicAuth(unquote(proxy.username), unquote(proxy.password or "")) if proxy.username else None
    address = proxy.netloc.rpartition("@")[2]
    return f"{proxy.scheme}://{address}", auth
