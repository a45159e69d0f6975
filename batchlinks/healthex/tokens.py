"""One token for all calls: fetched once, renewed once however many calls find it dead."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from batchlinks.config.secrets import Credentials
from batchlinks.errors import BatchlinksError, Refused


@dataclass(slots=True)
class Token:
    """One token in use, and what HealthEx made of the calls that bore it."""

    text: str = field(repr=False)
    fresh: bool
    """Fetched by this run, as against brought along."""

    refused: bool = False
    """A call that bore it was answered 401: no other call sets out with it."""

    accepted: bool = False
    in_flight: int = 0
    _heard: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def sent(self) -> None:
        """A call sets out with it."""
        self.in_flight += 1

    def answered(self, *, accepted: bool) -> None:
        """That call is over; `accepted` where its answer shows that the token was good."""
        self.in_flight -= 1
        self.accepted = self.accepted or accepted
        if self.accepted or not self.in_flight:
            self._heard.set()

    async def ever_accepted(self) -> bool:
        """Whether it was ever any good, which calls that are still on their way may tell."""
        while not self.accepted and self.in_flight:
            self._heard.clear()
            await self._heard.wait()
        return self.accepted


class Tokens:
    """Hands out the current token. Not thread-safe: for one event loop."""

    def __init__(self, credentials: Credentials, fetch: Callable[[], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self._current: Token | None = None
        self._failure: BatchlinksError | None = None

    async def current(self) -> Token:
        """The token to use now. After a 401 one caller gets another, while all the rest wait for it.

        Raises what `fetch` raises, and Refused where a token was refused that had just been fetched, or where there
        is nothing to fetch another with.
        """
        if self._current is None or self._current.refused:
            async with self._lock:
                if self._failure is not None:
                    raise self._failure
                if self._current is None or self._current.refused:
                    try:
                        self._current = await self._next_after(self._current)
                    except BatchlinksError as error:
                        self._failure = error
                        raise
        return self._current

    async def _next_after(self, dead: Token | None) -> Token:
        if dead is None and self._credentials.token:
            return Token(self._credentials.token, fresh=False)
        if dead is not None and dead.fresh and not await dead.ever_accepted():
            raise Refused(
                "HealthEx refused a call (answer 401) with a token that it had just issued. Check that the API key "
                "belongs to this project."
            )
        if not self._credentials.can_renew:
            raise Refused(
                "HealthEx does not accept the token in HEALTHEX_TOKEN (any more), and there is no API key and secret to "
                "get a new one with. Set HEALTHEX_API_KEY and HEALTHEX_API_SECRET."
            )
        return Token(await self._fetch(), fresh=True)
