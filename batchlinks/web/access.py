"""Who may come in: the right host and origin, the access token or a user whom a trusted proxy names, a bounded upload.

Pure ASGI, ahead of everything else: what is refused here has reached no other line of the server, and not its body.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LONGEST_USER = 200
_DRAIN_S = 20.0
"""For how long a refused upload is still taken from the line, so that its sender gets to read why it was refused."""

SLOWEST_BODY_S = 30.0
"""For how long in all the server waits for a body, beside the time that its bytes have at the slowest rate."""

_SLOWEST_BYTES_A_SECOND = 1_000

NOTICE_STYLE = (Path(__file__).parent / "static" / "notice.css").read_text(encoding="utf-8")
"""Stands in the page that turns somebody away, who may not load anything else from here."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    f"style-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(NOTICE_STYLE.encode()).digest()).decode()}'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Whom the server lets in."""

    token: str | None
    """None where a proxy signs people in."""

    user_header: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    host_names: frozenset[str] = frozenset()
    """By which this server is called, in lower case, besides the address that a call arrives at."""

    public_origin: str | None = None
    """`https://links.hospital.example`, where a proxy stands in front."""

    behind_proxy: bool = False

    @property
    def session(self) -> str:
        """What the cookie holds: proof of the token that does not give it away."""
        return hmac.new((self.token or "").encode(), b"batchlinks upload page", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def is_session(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.session.encode())


class BodyTooLarge(HTTPException):
    """413, in the middle of a body."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The upload is too large.")


Refuse = Callable[[Request, int, str], Response]
"""Makes the answer for a refusal: for a person or for a program."""


class Guard:
    """The ASGI application that stands in front of another."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy, max_body: Callable[[Scope], int], refuse: Refuse) -> None:
        """`max_body`: bytes that a request may bring; `refuse` makes the answers."""
        self._app = app
        self._policy = policy
        self._max_body = max_body
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = Request(scope)
        guarded = _with_headers(send)
        if answer := self._deny(request):
            await answer(scope, receive, guarded)
            return
        limit = self._max_body(scope)
        if _announced_length(request) > limit:
            await _refuse_large(self._too_large(request), scope, receive, guarded)
            return
        bounded = _Bounded(self._app, limit, lambda: self._too_large(request), lambda: self._too_slow(request))
        await bounded(scope, receive, guarded)

    def _deny(self, request: Request) -> Response | None:
        """The answer to a request that comes no further; notes who it is in one that does."""
        if not self._is_our_host(request):
            return self._refuse(
                request, HTTPStatus.BAD_REQUEST, "This isn't the address of this server. Use the full link IT gave you."
            )
        if not self._is_our_origin(request):
            return self._refuse(request, HTTPStatus.FORBIDDEN, "Another website asked for this, so we blocked it.")
        if self._policy.user_header is not None:
            user = self._user_named_by_proxy(request, self._policy.user_header)
            if user is None:
                return self._refuse(request, HTTPStatus.UNAUTHORIZED, "You are not signed in.")
            request.state.user = user
            return None
        request.state.user = None
        if "token" in request.query_params:
            return self._with_token(request)
        if self._has_token(request):
            return None
        return self._refuse(
            request,
            HTTPStatus.UNAUTHORIZED,
            "Use the full link IT gave you; it includes your access key. If it no longer works, ask IT for a new one.",
        )

    # --- host and origin --------------------------------------------------------------------------------------

    def _is_our_host(self, request: Request) -> bool:
        name = _host_name(request.headers.get("host", ""))
        arrived_at = str((request.scope.get("server") or ("", 0))[0])
        own = {arrived_at, *self._policy.host_names}
        if _is_loopback(arrived_at):
            own |= {"localhost", "127.0.0.1", "::1"}
        return name in own

    def _is_our_origin(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if origin is None:
            foreign = request.headers.get("sec-fetch-site") == "cross-site"
            return not foreign or request.method in _SAFE_METHODS
        host = request.headers.get("host", "")
        schemes = ("http", "https") if self._policy.behind_proxy else (request.url.scheme,)
        return origin in {self._policy.public_origin, *(f"{scheme}://{host}" for scheme in schemes)}

    # --- token and user ---------------------------------------------------------------------------------------

    def _has_token(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._policy.is_token(bearer.strip())
        return self._policy.is_session(request.cookies.get(self._cookie(request), ""))

    def _with_token(self, request: Request) -> Response:
        """The token leaves the address bar, the history and what a browser tells others; a cookie takes its place."""
        if request.method not in ("GET", "HEAD") or not self._policy.is_token(request.query_params["token"]):
            return self._refuse(request, HTTPStatus.UNAUTHORIZED, "This link has expired or wasn't copied completely.")
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        path = re.sub("^/+", "/", request.url.path)
        answer = RedirectResponse(f"{path}?{urlencode(others)}" if others else path, HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            self._cookie(request),
            self._policy.session,
            httponly=True,
            samesite="strict",
            secure=self._is_secure(request),
            path="/",
        )
        return answer

    def _cookie(self, request: Request) -> str:
        """Cookies are not told apart by port, but two servers on one computer are two; a browser guards `__Host-`."""
        if self._is_secure(request):
            return "__Host-batchlinks"
        return f"batchlinks-{(request.scope.get('server') or ('', 0))[1]}"

    def _is_secure(self, request: Request) -> bool:
        forwarded = self._policy.behind_proxy and request.headers.get("x-forwarded-proto", "").lower() == "https"
        return request.url.scheme == "https" or forwarded or (self._policy.public_origin or "").startswith("https:")

    def _user_named_by_proxy(self, request: Request, header: str) -> str | None:
        """From a trusted address only, and only where one name is given: a second may be the sender's own."""
        names = request.headers.getlist(header)
        if request.client is None or len(names) != 1 or not self._is_trusted(request.client.host):
            return None
        with suppress(UnicodeError):
            name = names[0].encode("latin-1").decode("utf-8").strip()
            return name if name.isprintable() and 0 < len(name) <= _LONGEST_USER else None
        return None

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._policy.trusted_proxies)

    def _too_large(self, request: Request) -> Response:
        megabytes = self._max_body(request.scope) // 1_000_000
        return self._refuse(
            request,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The upload is larger than {megabytes:,} MB, the limit of this server. Split the list, or ask IT.",
        )

    def _too_slow(self, request: Request) -> Response:
        return self._refuse(
            request,
            HTTPStatus.REQUEST_TIMEOUT,
            "The upload stopped arriving. Check the connection and upload it again.",
        )


def own_names(host: str) -> frozenset[str]:
    """By which names a server that listens on this host may be called."""
    unspecified = host in ("", "0.0.0.0", "::")  # noqa: S104 - it is compared with
    return frozenset({socket.gethostname().lower()} if unspecified else {host.lower().strip("[]")})


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded


# --- bounded bodies -------------------------------------------------------------------------------------------


def _announced_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


class _Bounded:
    """Ends a request whose body grows beyond the limit, or hardly arrives, while it arrives."""

    def __init__(
        self, app: ASGIApp, limit: int, too_large: Callable[[], Response], too_slow: Callable[[], Response]
    ) -> None:
        self._app = app
        self._limit = limit
        self._too_large = too_large
        self._too_slow = too_slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, waited_s, more_body = 0, 0.0, True
        too_large = too_slow = started = False
        clock = asyncio.get_running_loop().time

        async def bounded() -> Message:
            nonlocal received, waited_s, more_body, too_large, too_slow
            if not more_body:  # what comes now is the word that the browser is gone
                return await receive()
            since = clock()
            try:
                async with asyncio.timeout(SLOWEST_BODY_S + received / _SLOWEST_BYTES_A_SECOND - waited_s):
                    message = await receive()
            except TimeoutError:
                too_slow = True
                return {"type": "http.disconnect"}
            waited_s += clock() - since
            received += len(message.get("body", b""))
            more_body = message.get("more_body", False)
            if received > self._limit:
                too_large = True
                raise BodyTooLarge
            return message

        async def unless_ended(message: Message) -> None:
            nonlocal started
            if not (too_large or too_slow):
                started = True
                await send(message)

        with suppress(BodyTooLarge):
            await self._app(scope, bounded, unless_ended)
        if too_large:
            await _refuse_large(self._too_large(), scope, receive, send)
        elif too_slow and not started:
            answer = self._too_slow()
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)


async def _refuse_large(refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Say so at once, then take what is still coming for a while: a sender cut off in mid-send does not get to read it."""

    async def held_open(message: Message) -> None:
        if message["type"] == "http.response.body":
            await send({**message, "more_body": True})
        else:
            MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

    await refusal(scope, receive, held_open)
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
