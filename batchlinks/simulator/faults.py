"""What goes wrong, and when: pure, and the same every time for the same seed.

A `Step` is what the server does with one call. Steps come from a script, or are drawn by `FaultPlan`.
"""

import hashlib
import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from typing import Literal, TypeAlias

from batchlinks.errors import SettingsError
from batchlinks.simulator.behavior import SimulatorOptions


class Fault(StrEnum):
    """Everything that can happen to one call; each is an option `NAME_share` and a word in a script."""

    DROP = "drop"
    HANG = "hang"
    TRUNCATE = "truncate"
    SERVER_ERROR = "server_error"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_EARLY = "too_early"
    PROXY_AUTH = "proxy_auth"
    REDIRECT = "redirect"
    HTML = "html"
    EMPTY = "empty"
    FOREIGN_HOST = "foreign_host"
    HTTP_LINK = "http_link"
    NO_XID = "no_xid"
    OTHER_PATIENT = "other_patient"
    SAME_LINK = "same_link"
    UNNAMED = "unnamed"
    SHORT_XID = "short_xid"
    STRANGER = "stranger"
    LISTED = "listed"
    SWAPPED = "swapped"
    REPEAT = "repeat"
    LATE = "late"
    NO_LINK = "no_link"
    ENCODED = "encoded"
    BOMB = "bomb"
    ENDLESS = "endless"
    GARBAGE = "garbage"
    SHORT_LENGTH = "short_length"
    LONG_LENGTH = "long_length"
    CHUNK_GARBAGE = "chunk_garbage"
    EARLY_HINTS = "early_hints"
    NO_CONTENT = "no_content"
    HTTP10 = "http10"


@dataclass(frozen=True, slots=True)
class Honest:
    """The right link. `status` None: the option `success_status`."""

    status: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """No link, but this status."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkOf:
    """The right link of another ID."""

    external_id: str


@dataclass(frozen=True, slots=True)
class FixedAnswer:
    """Exactly this."""

    status: int
    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Slow:
    """`then`, after `seconds`."""

    seconds: float
    then: "Step"


# What is whole and holds something of the server's own, a link or a token.
Answer: TypeAlias = Honest | LinkOf | Fault
Step: TypeAlias = Honest | Status | LinkOf | FixedAnswer | Slow | Fault
ScriptItem: TypeAlias = int | str | tuple[object, ...]

HONEST = Honest()
_STATUSES = range(200, 600)
# A 503 with Retry-After would be a refusal for pace and not a failure, so it is sent without.
SERVER_ERRORS = (Status(500), Status(502), Status(503), Status(504))
REDIRECT_PATH = "/elsewhere"
_LINK_FAULTS = frozenset(
    {
        Fault.FOREIGN_HOST,
        Fault.HTTP_LINK,
        Fault.NO_XID,
        Fault.OTHER_PATIENT,
        Fault.SAME_LINK,
        Fault.UNNAMED,
        Fault.SHORT_XID,
        Fault.STRANGER,
        Fault.LISTED,
        Fault.SWAPPED,
    }
)
_STATUS_OF = {
    Fault.REQUEST_TIMEOUT: Status(408),
    Fault.TOO_EARLY: Status(425),
    Fault.PROXY_AUTH: Status(407, {"Proxy-Authenticate": 'Basic realm="proxy"'}),
    Fault.REDIRECT: Status(302, {"Location": REDIRECT_PATH}),
}


def parse_step(item: ScriptItem) -> Step:
    """A step from the way a script writes it.

    - `"ok"` or any 2xx: the right link; another status: that, without a link
    - the name of a `Fault`
    - `("status", CODE)` or `("status", CODE, {HEADER: VALUE})`: that, without a link
    - `("link_of", ID)`: the right link of another ID
    - `("body", CODE, CONTENT_TYPE, TEXT)`: exactly this
    - `("slow", SECONDS)` or `("slow", SECONDS, ITEM)`: the right link, or the item, after a wait

    Raises `SettingsError` for anything else.
    """
    match item:
        case "ok":
            return HONEST
        case bool():
            pass
        case int(code) if 200 <= code <= 299:
            return Honest(code)
        case int(code) if code in _STATUSES:
            return Status(code)
        case str(name) if name in set(Fault):
            return step_of(Fault(name))
        case ("status", int(code)) if code in _STATUSES:
            return Status(code)
        case ("status", int(code), dict(headers)) if code in _STATUSES:
            return Status(code, dict(headers))
        case ("link_of", str(external_id)):
            return LinkOf(external_id)
        case ("body", int(code), str(content_type), str(text)) if code in _STATUSES:
            return FixedAnswer(code, content_type, text)
        case ("slow", int(seconds) | float(seconds)):
            return Slow(seconds, HONEST)
        case ("slow", int(seconds) | float(seconds), int(then) | str(then) | tuple(then)):
            return Slow(seconds, parse_step(then))
    # What stands in the item may be an external ID, so it is not repeated.
    raise SettingsError("A script item must be a status, a fault's name, or a tuple that begins with its kind.")


def carries_link(step: Step) -> bool:
    """Whether this step makes sense only as the answer to a link call."""
    while isinstance(step, Slow):
        step = step.then
    return isinstance(step, LinkOf) or (isinstance(step, Fault) and step in _LINK_FAULTS)


def step_of(fault: Fault, *, variant: float = 0.0) -> Step:
    """What the server does for a fault; `variant`, in [0, 1), picks one where there are several."""
    if fault is Fault.SERVER_ERROR:
        return SERVER_ERRORS[int(variant * len(SERVER_ERRORS))]
    return _STATUS_OF.get(fault, fault)


def draw(seed: int, subject: str, attempt: int) -> tuple[float, float, float]:
    """Three independent numbers in [0, 1), always the same for the same arguments."""
    digest = hashlib.blake2b(f"{seed}\n{attempt}\n{subject}".encode(), digest_size=24).digest()
    # 53 bits are what a float holds; all 64 could round up to 1.0.
    first, second, third = (int.from_bytes(digest[at : at + 8], "little") >> 11 for at in (0, 8, 16))
    return first * 2.0**-53, second * 2.0**-53, third * 2.0**-53


class FaultPlan:
    """What the options have in store for each attempt at each ID."""

    def __init__(self, options: SimulatorOptions) -> None:
        shares = {Fault(name): share for name, share in options.fault_shares().items() if share > 0}
        self._seed = options.seed
        self._latency_s = options.latency_ms / 1000
        self._jitter_s = options.jitter_ms / 1000
        self._faults = tuple(shares)
        self._bounds = tuple(itertools.accumulate(shares.values()))
        self.depends_on_attempt = bool(shares) or options.jitter_ms > 0

    def step(self, external_id: str, attempt: int) -> tuple[Step, float]:
        """What happens to this attempt (1 is the first), and the seconds to wait before."""
        if not self.depends_on_attempt:
            return HONEST, self._latency_s
        which, variant, jitter = draw(self._seed, external_id, attempt)
        wait_s = self._latency_s + jitter * self._jitter_s
        at = bisect_right(self._bounds, which)
        if at == len(self._bounds):
            return HONEST, wait_s
        return step_of(self._faults[at], variant=variant), wait_s


class TokenBucket:
    """Lets `rate` calls a second through, and up to `burst` at once after a pause."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._level = self._burst
        self._filled_at = now

    def take(self, now: float) -> float:
        """0.0 if this call is let through, else the seconds until one would be. A refusal uses nothing up."""
        self._level = min(self._burst, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        # Many small refills lose a little to rounding, and a call that waited as told must get through.
        if self._level >= 1.0 - 1e-6:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self._rate


def retry_after(form: Literal["seconds", "date", "none"], wait_s: float, unix_now: float) -> dict[str, str]:
    """The `Retry-After` header that says `wait_s` seconds, rounded up to whole ones; {} for "none"."""
    match form:
        case "seconds":
            return {"Retry-After": str(max(1, math.ceil(wait_s)))}
        case "date":
            return {"Retry-After": formatdate(math.ceil(unix_now + wait_s), usegmt=True)}
        case "none":
            return {}
