"""One call to HealthEx: an external ID goes out, always in a body and never in an address; what came back is a value.

This is the only module that knows the API's addresses, headers and statuses, and the only one that sees httpx's
exceptions. What is not documented is not relied on: any 2xx may carry the link, bare or JSON-quoted.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpx

from batchlinks.config.secrets import could_be_token
from batchlinks.errors import Refused, Unreachable
from batchlinks.healthex.consents import (
    PatientConsents,
    consents_request,
    read_consents,
    says_unknown_patient,
)
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.transport import (
    AiohttpTransport,
    CertificateNotTrusted,
    UnreadableBody,
    body_of,
    connection_of,
    raw_length,
)
from batchlinks.healthex.whose_link import read_link
from batchlinks.version import __version__

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
"""Whole ones by the standard; some servers send fractions."""

_CONTENT_TYPE = re.compile(r"(?:application|audio|font|image|message|model|multipart|text|video)/[a-z.+-]{1,40}")
"""Those that may be named in a message. There is no digit in them, so no external ID either."""

_USER_AGENT = f"batchlinks/{__version__}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A 2xx that carries a link on the link host. Final: the ID is never sent again."""

    link: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A link that the same connection brought for another ID just before: an answer that came again, as far as can be told."""

    link: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentsShown:
    """What HealthEx shows of one patient's consents; nobody where it knows no such patient, or nothing of the patient."""

    patients: tuple[PatientConsents, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A 4xx about this ID."""

    status: int


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """401: the token is missing, malformed, invalid or expired."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """429, or 503 with Retry-After: not now."""

    wait_s: float | None
    """As told by the server; None where it did not say."""


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """A 2xx or 3xx without what was asked for. Asked again, since a proxy's page may be gone the next time."""

    reason: str

    looks: str = ""
    """Its status, kind of content and length in words, with nothing of what stands in it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or one that says that the server failed. Asked again."""

    reason: str
    reached: bool = True
    """Whether the server saw the ID at all, as far as can be told."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Who made the call for us is gone, and with it the answer, if there was one. Says nothing of ID or server; asked again."""

    reason: str


Answer = Issued | Repeated | ConsentsShown | Rejected | Unauthorized | Throttled | BadAnswer | Failed | Lost


class HealthExApi:
    """The calls of the API. Holds connections: use it as an async context manager.

    `keep_connections` False makes each call on a connection of its own.
    """

    def __init__(self, endpoint: Endpoint, *, timeout_s: float, keep_connections: bool = True) -> None:
        self.endpoint = endpoint
        self._transport = AiohttpTransport(endpoint.api_url, timeout_s=timeout_s, keep_connections=keep_connections)
        self._keeps_connections = keep_connections
        self._link_url = httpx.URL(endpoint.link_url)
        self._consents_url = httpx.URL(endpoint.consents_url)
        self._token = ""
        self._headers = httpx.Headers()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

    def distrust_connections(self) -> None:
        """Close every connection that is open now; those with a call under way, once that is answered.

        For an answer that was another patient's: what else is on its way to us may be in the wrong place, too.
        """
        self._transport.distrust_connections()

    async def ask_link(self, external_id: str, token: str) -> Answer:
        """Ask for the link of one external ID.

        Raises Unreachable for what another try cannot heal: a proxy that wants credentials, a certificate that this
        computer does not trust.
        """
        body = json.dumps({"externalId": external_id}).encode()
        response = await self._post(self._link_url, body, token)
        if isinstance(response, Failed):
            return response
        if 200 <= response.status_code < 300:
            return self._read_link(response, external_id)
        return self._read_refusal(response)

    async def ask_consents(self, external_id: str, token: str, consent_types: Sequence[str]) -> Answer:
        """Ask what HealthEx shows of the consents of one external ID, of these kinds.

        Such an answer names no external ID. Use an API that keeps no connection, so that none but the patient's own can
        come. Raises Unreachable as `ask_link` does.
        """
        if self._keeps_connections:
            raise ValueError("an answer that names nobody needs a connection of its own")
        body = consents_request(external_id, self.endpoint.project_id, consent_types)
        response = await self._post(self._consents_url, body, token)
        if isinstance(response, Failed):
            return response
        if 200 <= response.status_code < 300:
            return _read_consents(response)
        if response.status_code in (400, 404) and _is_about_an_unknown_patient(response):
            return ConsentsShown(())
        return self._read_refusal(response)

    async def _post(self, url: httpx.URL, body: bytes, token: str) -> httpx.Response | Failed:
        if token != self._token:
            self._token, self._headers = token, _headers(token, keep_connection=self._keeps_connections)
        # As a stream: with `content`, httpx would work out afresh the headers that the transport adds anyway.
        request = httpx.Request("POST", url, headers=self._headers, stream=httpx.ByteStream(body))
        try:
            # Past httpx's client: cookies, redirects and hooks, which no call here uses, would double what a call costs.
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            return self._failure(error)

    def _read_refusal(self, response: httpx.Response) -> Answer:
        status = response.status_code
        retry_after = seconds_until(response.headers.get("Retry-After"), response.headers.get("Date"))
        match status:
            case 429:
                return Throttled(retry_after)
            case 503 if retry_after is not None:
                return Throttled(retry_after)
            case 401:
                return Unauthorized()
            case 407:
                raise self._proxy_wants_credentials()
            case 408 | 425:
                return Failed(f"answer {status}")
            case _ if status >= 500:
                return Failed(f"answer {status}")
            case _ if status >= 400:
                return Rejected(status)
            case _:
                return BadAnswer(
                    f"answer {status}, a redirect" if status >= 300 else f"answer {status}", _looks(response)
                )

    def _read_link(self, response: httpx.Response, external_id: str) -> Issued | Repeated | BadAnswer:
        try:
            body = body_of(response)
        except UnreadableBody as error:
            return BadAnswer(str(error), _looks(response))
        # A link is ASCII, so whatever the answer says of its encoding is of no use.
        link = read_link(body.decode("utf-8-sig", "replace"), self.endpoint.link_host)
        if link is None:
            return BadAnswer(_without_link(body), _looks(response))
        connection = connection_of(response)
        if connection.is_repeated(link, external_id):
            connection.distrust()
            return Repeated(link)
        return Issued(link)

    async def fetch_token(self, key: str, secret: str) -> str | Throttled | Failed:
        """A token for the key and secret.

        Raises Refused when they are not accepted or the address is no HealthEx API, and Unreachable as `ask_link` does.
        """
        try:
            response = await self._transport.handle_async_request(
                httpx.Request(
                    "POST",
                    self.endpoint.token_url,
                    json={"apiKey": key, "apiSecret": secret},
                    headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
                )
            )
        except httpx.TransportError as error:
            return self._failure(error)
        status = response.status_code
        if 200 <= status < 300:
            return _token_in(response) or Failed("an answer to the sign-in that holds no token")
        retry_after = seconds_until(response.headers.get("Retry-After"), response.headers.get("Date"))
        if status == 429 or (status == 503 and retry_after is not None):
            return Throttled(retry_after)
        if status == 407:
            raise self._proxy_wants_credentials()
        if status in (408, 425) or status >= 500 or status < 400:
            return Failed(f"answer {status} to the sign-in")
        if status == 404:
            raise Refused(
                "There is no HealthEx sign-in at this address (answer 404). Check HEALTHEX_API_URL; no link was asked for."
            )
        raise Refused(
            f"HealthEx did not accept the API key and secret (answer {status}). Check HEALTHEX_API_KEY and "
            "HEALTHEX_API_SECRET."
        )

    async def server_time(self) -> datetime | Failed | None:
        """The server's clock, from any answer at all; None where it does not tell. Raises Unreachable as `ask_link` does."""
        try:
            response = await self._transport.handle_async_request(
                httpx.Request("GET", self.endpoint.api_url, headers={"User-Agent": _USER_AGENT})
            )
        except httpx.TransportError as error:
            return self._failure(error)
        if response.status_code == 407:
            raise self._proxy_wants_credentials()
        return _http_date(response.headers.get("Date"))

    @property
    def proxy(self) -> str | None:
        """Address of the proxy that the calls go through, without credentials."""
        return self._transport.proxy

    def _failure(self, error: httpx.TransportError) -> Failed:
        """What no answer at all means. Raises Unreachable where it would be no different another time."""
        match error:
            case CertificateNotTrusted():
                raise Unreachable(
                    f"This computer does not trust the certificate of HealthEx, or of a proxy in between ({error}). Ask IT "
                    "to add the authority that issued it to this computer's certificate store."
                ) from error
            case httpx.ProxyError() if str(error) == "answer 407":
                raise self._proxy_wants_credentials() from error
            case httpx.ProxyError():
                return Failed(f"the proxy {self.proxy} failed: {error}", reached=False)
            case httpx.ConnectError() | httpx.ConnectTimeout():
                return Failed(str(error), reached=False)
            case _:
                return Failed(str(error))

    def _proxy_wants_credentials(self) -> Unreachable:
        return Unreachable(
            f"The proxy {self.proxy or 'between this computer and HealthEx'} wants credentials (answer 407). Set HTTPS_PROXY "
            "to http://user:password@proxy:port, or ask IT to let this computer through."
        )


def _headers(token: str, *, keep_connection: bool) -> httpx.Headers:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "User-Agent": _USER_AGENT,
    }
    return httpx.Headers(headers if keep_connection else headers | {"Connection": "close"})


def _read_consents(response: httpx.Response) -> ConsentsShown | BadAnswer:
    if connection_of(response).brought_more:
        return BadAnswer("more than one answer", _looks(response))
    try:
        body = body_of(response)
    except UnreadableBody as error:
        return BadAnswer(str(error), _looks(response))
    patients = read_consents(body)
    if patients is None:
        web_page = body.lstrip()[:1] == b"<"
        reason = "a web page instead of consents" if web_page else "an answer of another form than the documented one"
        return BadAnswer(reason, _looks(response))
    return ConsentsShown(patients)


def _is_about_an_unknown_patient(response: httpx.Response) -> bool:
    try:
        return says_unknown_patient(body_of(response))
    except UnreadableBody:
        return False


def _without_link(body: bytes) -> str:
    body = body.lstrip()
    if not body:
        return "an empty answer"
    if body[:1] == b"<":
        return "a web page instead of a link"
    return "no link on the expected host"


def _looks(response: httpx.Response) -> str:
    """As `status 200, text/html, 5,120 bytes`."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not kind:
        kind = "no content type"
    elif not _CONTENT_TYPE.fullmatch(kind):
        kind = "an unusual content type"
    return f"status {response.status_code}, {kind}, {_length_of(response)}"


def _length_of(response: httpx.Response) -> str:
    length, is_all = raw_length(response)
    return f"{length:,} {'byte' if length == 1 else 'bytes'}" if is_all else f"more than {length:,} bytes"


def _token_in(response: httpx.Response) -> str | None:
    try:
        answer = json.loads(body_of(response))
    except (ValueError, RecursionError, UnreadableBody):
        return None
    token = answer.get("token") if isinstance(answer, dict) else None
    return token if isinstance(token, str) and could_be_token(token) else None


def seconds_until(retry_after: str | None, date: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, in seconds or as an HTTP date (RFC 9110, 10.2.3); None without one.

    A date is held against the server's own Date header where there is one, since the clock here may be wrong.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    when = _http_date(text)
    if when is None:
        return None
    return max(0.0, (when - (_http_date(date) or datetime.now(UTC))).total_seconds())


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = parsedate_to_datetime(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
