"""`batchlinks check --connect`: does this computer get through to HealthEx, step by step? Sends no patient ID."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime

from batchlinks.config.secrets import read_credentials
from batchlinks.config.settings import deployment
from batchlinks.errors import Unreachable
from batchlinks.healthex.api import Failed, HealthExApi, Throttled
from batchlinks.healthex.endpoint import Endpoint

_CLOCK_MAY_DIFFER_S = 300.0


def try_connection(*, timeout_s: float, say: Callable[[str], object]) -> None:
    """Try network, proxy, certificate, clock and token, and say how each went.

    Raises Unreachable, Refused or SettingsError at the first step that fails.
    """
    asyncio.run(_try(timeout_s, say))


async def _try(timeout_s: float, say: Callable[[str], object]) -> None:
    where = deployment(os.environ)
    async with HealthExApi(Endpoint(where.api_url, where.link_host, ""), timeout_s=timeout_s) as api:
        say(f"Proxy        {api.proxy or 'none: this computer connects directly'}")
        server_time = await api.server_time()
        if isinstance(server_time, Failed):
            raise Unreachable(
                f"{where.api_url} cannot be reached ({server_time.reason}). Check the network and the proxy (HTTPS_PROXY, "
                "NO_PROXY), or ask IT to let it through."
            )
        say(f"Network      {where.api_url} answers")
        say(f"Certificate  {'trusted' if where.api_url.startswith('https:') else 'none: plain http to this computer'}")
        say(f"Clock        {_clock(server_time)}")
        credentials = read_credentials()
        if not credentials.can_renew:
            say("Sign-in      a token is set (HEALTHEX_TOKEN); only a link call would tell whether it is valid")
            return
        answer = await api.fetch_token(credentials.key, credentials.secret)
        if isinstance(answer, Failed):
            raise Unreachable(f"The sign-in failed: {answer.reason}. Try again later.")
        if isinstance(answer, Throttled):
            raise Unreachable("HealthEx says to come back later. Try again in a few minutes.")
        say("Sign-in      HealthEx accepts the API key and secret")


def _clock(server_time: datetime | None) -> str:
    if server_time is None:
        return "the server does not tell its time"
    off_s = (datetime.now(UTC) - server_time).total_seconds()
    if abs(off_s) > _CLOCK_MAY_DIFFER_S:
        return f"this computer's clock is {abs(off_s) / 60:,.0f} minutes {'ahead' if off_s > 0 else 'behind'}: set it right"
    return "right"
