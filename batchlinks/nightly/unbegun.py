"""A night that could not begin, since its command or its settings file is wrong: told to whoever can be known all the same.

A settings file that is broken may still say where metrics and message go. What it says there is taken, unless it is a file
that is not to be obeyed at all.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from batchlinks.config.secrets import read_secret
from batchlinks.config.settings import CONFIG_NAME, check_addresses, check_path
from batchlinks.config.settings_file import read_settings_file
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.logs import logger
from batchlinks.nightly.night_outcome import Night
from batchlinks.nightly.reporting import Recipients, note_night, send_report
from batchlinks.pipeline.context import RunContext

_LONGEST_VALUE = 60
"""Lines over which a list of addresses may go."""

_LARGEST_TO_SEARCH = 100_000


def report_unbegun(
    arguments: Sequence[str],
    problem: str,
    *,
    environment: Mapping[str, str] = os.environ,
    now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
) -> None:
    """Tell audit log, metrics, message and outbox, as far as they can be known, why there was no night. Raises nothing."""
    night = Night(now().date().isoformat(), problems=[problem], stopped_by=ExitCode.UNUSABLE)
    note_night(night, "ended", RunContext(environment=environment), **night.record(now(), 0.0).audit_facts())
    record = send_report(night, _find_recipients(arguments, environment), now(), 0.0)
    for each in record.problems[1:]:
        logger().error(each, exit_code=record.exit_code)


def _find_recipients(arguments: Sequence[str], environment: Mapping[str, str]) -> Recipients:
    said = _read_what_can_be_read(_option(arguments, "--config"))

    def place(name: str) -> str | None:
        found = _option(arguments, f"--{name}") or environment.get(f"BATCHLINKS_{name.upper()}") or said.get(name)
        return found if isinstance(found, str) and found else None

    def addresses() -> Sequence[str]:
        given = read_secret("BATCHLINKS_NOTIFY", environment, in_keyring=False).split()
        check_addresses(given, "BATCHLINKS_NOTIFY")
        listed = said.get("notify")
        return given or ([each for each in listed if isinstance(each, str)] if isinstance(listed, list) else [])

    metrics = place("metrics")
    shared = said.get("share_with_group") is True or "--share-with-group" in arguments
    return Recipients(place("outbox"), shared, Path(metrics) if metrics else None, addresses)


def _option(arguments: Sequence[str], name: str) -> str | None:
    """The last value that the command gives for an option."""
    found = None
    for place, each in enumerate(arguments):
        if each.startswith(f"{name}="):
            found = each.partition("=")[2]
        elif each == name and place + 1 < len(arguments):
            found = arguments[place + 1]
    return found


def _read_what_can_be_read(named: str | None) -> Mapping[str, object]:
    """The keys at the top of the settings file that tell where a night is told; nothing of one that is not to be obeyed."""
    path = Path(named or CONFIG_NAME)
    try:
        check_path("--config", path)
        text = read_settings_file(path, named=named is not None).decode("utf-8", "replace")
    except (BatchlinksError, OSError):
        return {}
    with suppress(ValueError, RecursionError):
        return {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    return _search(text[:_LARGEST_TO_SEARCH].splitlines())


def _search(lines: Sequence[str]) -> Mapping[str, object]:
    """The same from a file that is no TOML: each key is read by itself, up to the first table."""
    top = next((place for place, line in enumerate(lines) if line.lstrip().startswith("[[")), len(lines))
    found: dict[str, object] = {}
    for place, line in enumerate(lines[:top]):
        if not re.match(r"\s*(metrics|notify|outbox|share[-_]with[-_]group)\s*=", line):
            continue
        for end in range(place + 1, min(place + _LONGEST_VALUE, top) + 1):
            with suppress(ValueError, RecursionError):
                read = tomllib.loads("\n".join(lines[place:end]))
                found.update({key.replace("-", "_"): value for key, value in read.items()})
                break
    return found
