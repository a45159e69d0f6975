"""The message at the end of a night, to wherever apprise delivers: mail, Teams, Slack and many others.

The addresses hold passwords and tokens: of them no more than the beginning is ever said, `mailto://`.
"""

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from batchlinks.errors import SettingsError

_PATIENCE_S = 60.0
"""For all deliveries together, which go on side by side. The night is over: nobody waits for a mail server that hangs."""


def check_urls(urls: Sequence[str]) -> None:
    """Raise SettingsError for an address that nothing can be sent to, or when the extra `notify` is not installed."""
    for number, url in enumerate(urls, 1):
        if _delivery(url) is None:
            raise SettingsError(
                f"Address {number} of notify ({_shown(url)}) is not one that a message can be sent to. They look like "
                "mailto://user:password@mail.example?to=team@clinic.example; https://appriseit.com lists all kinds."
            )


def send(urls: Sequence[str], title: str, body: str, *, patience_s: float = _PATIENCE_S) -> list[str]:
    """Send a message to each address. Returns a sentence for each that did not take it, and raises nothing for that."""
    taken = [False] * len(urls)

    def deliver(place: int) -> None:
        try:
            taken[place] = bool(_delivery(urls[place]).notify(body=body, title=title, body_format="text"))
        except Exception:  # a delivery that breaks has not delivered; what it says may hold the address
            taken[place] = False

    threads = [threading.Thread(target=deliver, args=(place,), daemon=True) for place in range(len(urls))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [
        f"The message about the night was not taken by address {number} of notify ({_shown(url)})."
        for number, (url, done) in enumerate(zip(urls, taken, strict=True), 1)
        if not done
    ]


def _delivery(url: str) -> Any:
    """What sends to an address; None for one that apprise does not understand. Raises SettingsError without apprise."""
    try:
        import apprise  # slow to import, and needed only where there is somebody to tell
    except ImportError as error:
        raise SettingsError(
            'batchlinks[notify] is not installed, and notify needs it: pip install "batchlinks[notify]".'
        ) from error
    logging.getLogger("apprise").propagate = False  # it logs addresses and what servers answer
    delivery = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    return delivery if url.strip() and delivery.add(url.strip()) else None


def _shown(url: str) -> str:
    found = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://", url)
    return f"{found[1]}://…" if found else "no address"
