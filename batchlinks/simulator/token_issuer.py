"""The tokens of the stand-in: JSON Web Tokens (RFC 7519) signed with HS256, and how long each is good."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')


@dataclass(slots=True)
class IssuedToken:
    """A token whose signature is right."""

    generation: int
    """From 1, in the order in which they were issued."""

    expires_at: float
    """Unix time."""

    since: float
    """When it was issued, or first seen, on the issuer's clock."""

    calls: int = 0
    revoked: bool = False


class TokenIssuer:
    """Issues tokens and tells which are good. `clock` counts seconds from anywhere.

    Nothing but the secret is needed to know a token, so a stand-in that was started again takes the old ones.
    """

    def __init__(self, secret: str, clock: Callable[[], float]) -> None:
        self._key = hashlib.sha256(f"tokens of the stand-in {secret}".encode()).digest()
        self._clock = clock
        self._known: dict[str, IssuedToken] = {}
        self._issued = 0

    def issue(self, lifetime_s: float) -> str:
        """A new token whose `exp` lies `lifetime_s` seconds ahead, or behind where negative."""
        self._issued += 1
        now = time.time()
        claims = {"sub": "simulator", "jti": str(self._issued), "iat": int(now), "exp": int(now + lifetime_s)}
        signed = f"{_HEADER}.{_encode(json.dumps(claims).encode())}"
        text = f"{signed}.{self._signature(signed)}"
        self._known[text] = IssuedToken(self._issued, now + lifetime_s, self._clock())
        return text

    def find(self, text: str) -> IssuedToken | None:
        """The token, good or not; None where it is none of this issuer's."""
        token = self._known.get(text)
        if token is None:
            token = self._read(text)
            if token is not None:
                self._known[text] = token
        return token

    def is_good(self, token: IssuedToken, *, max_calls: int | None, max_age_s: float | None) -> bool:
        """Whether one more call may be made with it."""
        return not (
            token.revoked
            or token.expires_at <= time.time()
            or (max_calls is not None and token.calls >= max_calls)
            or (max_age_s is not None and self._clock() - token.since >= max_age_s)
        )

    def revoke_all(self) -> None:
        """Every token issued or seen so far is refused from now on."""
        for token in self._known.values():
            token.revoked = True

    def _read(self, text: str) -> IssuedToken | None:
        if not text.isascii():
            return None
        signed, _, signature = text.rpartition(".")
        header, _, payload = signed.partition(".")
        # Comparing the whole header also refuses every other algorithm, "none" above all.
        if header != _HEADER or not hmac.compare_digest(signature, self._signature(signed)):
            return None
        claims = json.loads(_decode(payload))
        return IssuedToken(int(claims["jti"]), float(claims["exp"]), self._clock())

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), "sha256"))
