"""One token for all calls: fetched once, renewed once however many calls find it dead."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from batchlinks.errors import Refused


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs in to HealthEx. Prints as stars."""

    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """A JWT minted elsewhere; used first."""

    @property
    def can_renew(self) -> bool:
        return bool(self.key and self.secret)


@dataclass(slots=True)
class Token:
    """One token in use, and whether HealthEx has accepted a call that bore it."""

    text: str = field(repr=False)
    fresh: bool
    """Fetched by this run, as against brought along."""

    accepted: bool = False
    in_flight: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set whenever no call that bears it is in flight, or one was accepted."""


class Tokens:
    """Hands out the current token. Not thread-safe: for one event loop."""

    def __init__(self, credentials: Credentials, fetch: Callable[[], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self._current: Token | None = None
        self.fetched = 0

    async def current(self) -> Token:
        """The token to use now. Raises what `fetch` raises."""
        if self._current is None:
            async with self._lock:
                if self._current is None:
                    self._current = (
                        Token(self._credentials.token, fresh=False)
                        if self._credentials.token
                        else await self._renewed()
                    )
        return self._current

    async def replace(self, dead: Token) -> None:
        """After a 401 on `dead`: make sure that another token is current. One call fetches it, the others wait.

        Raises Refused where a token fetched just now was refused at once, or nothing is there to fetch one with.
        """
        while not dead.accepted and dead.in_flight:
            # Others are on their way with the same token; their answers tell whether it was ever any good.
            dead.answered.clear()
            await dead.answered.wait()
        async with self._lock:
            if self._current is not dead:
                return
            if dead.fresh and not dead.accepted:
                raise Refused(
                    "HealthEx refused a call (answer 401) with a token that it had just issued. Check that the API key "
                    "belongs to this project."
                )
            self._current = await self._renewed()

    async def _renewed(self) -> Token:
        if not self._credentials.can_renew:
            raise Refused(
                "HealthEx does not accept the token in HEALTHEX_TOKEN (any more), and there is no API key and secret to "
                "get a new one with. Set HEALTHEX_API_KEY and HEALTHEX_API_SECRET."
            )
        token = Token(await self._fetch(), fresh=True)
        self.fetched += 1
        return token
