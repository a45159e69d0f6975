"""Secrets: from the environment, from a file that it names, or from the system's keyring. From nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchlinks.config.passwords import objection_to
from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError
from batchlinks.next_steps import Advice, Do, Setting, Variable

KEYRING_SERVICE = "batchlinks"
_LARGEST_SECRET = 64_000
_PATIENCE_S = 10.0  # with a pipe, as of `HEALTHEX_API_KEY_FILE=<(pass show healthex)`
RESULT_PASSWORD = "BATCHLINKS_RESULT_PASSWORD"  # noqa: S105 the name of a variable


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


def could_be_token(text: str) -> bool:
    """Whether it fits into a header line as it is. Anything else would break it, or be smuggled into it."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def read_credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """What signs in to HealthEx. Raises SettingsError when there is nothing, or half of it."""
    token = read_secret("HEALTHEX_TOKEN", environment, in_keyring=False)
    key = read_secret("HEALTHEX_API_KEY", environment)
    secret = read_secret("HEALTHEX_API_SECRET", environment)
    if bool(key) != bool(secret):
        missing = "HEALTHEX_API_SECRET" if key else "HEALTHEX_API_KEY"
        raise SettingsError(f"{missing} is not set. HealthEx issues the key and the secret together.")
    if not (token or key):
        raise SettingsError(
            "There is nothing to sign in to HealthEx with: set HEALTHEX_API_KEY and HEALTHEX_API_SECRET (or the same "
            "with _FILE, or keep them in the system's keyring). No account yet? Try `batchlinks demo`."
        )
    if token and not could_be_token(token):
        raise SettingsError(
            "What HEALTHEX_TOKEN holds is no token: it has a space, a line break or an odd letter in it."
        )
    return Credentials(key=key, secret=secret, token=token)


def read_result_password(environment: Mapping[str, str] = os.environ) -> str:
    """What results are encrypted with. Raises SettingsError where there is nothing, or what somebody would guess."""
    password = read_secret(RESULT_PASSWORD, environment)
    if not password:
        raise SettingsError(Setting("protect"), " needs a password: ", Advice(Do.GIVE_RESULT_PASSWORD))
    objection = objection_to(password)
    if objection:
        raise SettingsError("The password in ", Variable(RESULT_PASSWORD), f" will not do: {objection}.")
    return password


def read_secret(name: str, environment: Mapping[str, str] = os.environ, *, in_keyring: bool = True) -> str:
    """One secret by the name of its variable; "" where it is nowhere. Raises SettingsError for an unreadable file."""
    if value := environment.get(name, "").strip():
        return value
    if path := environment.get(f"{name}_FILE", "").strip():
        try:
            content = read_small_file(Path(path), _LARGEST_SECRET, wait_for_pipe_s=_PATIENCE_S)
            value = content.decode("utf-8").strip()
        except OSError as error:
            raise _file_error(name, f"cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise _file_error(name, "cannot be read") from error
        if not value:
            raise _file_error(name, "is empty")
        return value
    return _from_keyring(name) if in_keyring else ""


def _file_error(name: str, what: str) -> SettingsError:
    return SettingsError("The file that ", Variable(f"{name}_FILE"), f" names {what}.")


def _from_keyring(name: str) -> str:
    import keyring  # slow to import, and needed only where the environment has nothing
    import keyring.errors

    try:
        return (keyring.get_password(KEYRING_SERVICE, name) or "").strip()
    except (keyring.errors.KeyringError, RuntimeError):
        return ""  # no keyring on this machine, or a locked one: the same as no secret in it
