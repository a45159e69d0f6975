"""The text of a message: fields in guillemets take the values of a row, as in a letter; nothing else is done with it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError

_MOST_BYTES = 100_000

_FIELD = re.compile(r"«\s*([^«»\n]{1,200}?)\s*»|<<\s*([^<>\n]{1,200}?)\s*>>")

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_PAIRS = frozenset("^{}\\[~]|€\f")
"""Characters of the alphabet of texts (GSM 03.38) that count as two."""


@dataclass(frozen=True, slots=True)
class MessageText:
    """A message with fields, and what it is without them."""

    name: str
    """Of its file."""

    text: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, each once."""
        return tuple(dict.fromkeys(one or other for one, other in _FIELD.findall(self.text)))

    def filled(self, values: Mapping[str, str]) -> str:
        """The message with these values; what a value looks like is never looked at."""
        return _FIELD.sub(lambda found: values[found[1] or found[2]], self.text)


def read_message(path: Path) -> MessageText:
    """A message from a text file in UTF-8. Raises SettingsError where it is none, or has no place for the link."""
    try:
        content = read_small_file(path, at_most=_MOST_BYTES)
    except OSError as error:
        raise SettingsError(f"The message {path} cannot be read ({error.strerror}).") from error
    return message_text(path.name, content)


def message_text(name: str, content: bytes) -> MessageText:
    """The same from a file's name and content."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name} is not a text file in UTF-8. Save it as plain text (UTF-8).") from error
    message = MessageText(name, text.replace("\r\n", "\n").strip())
    if "\0" in text or not message.text:
        raise SettingsError(f"{name} is empty, or is not a text file.")
    return message


def segments(text: str) -> int:
    """Parts in which a texting service sends and charges it: one character outside the alphabet of texts makes them short."""
    if set(text) <= _GSM | _GSM_PAIRS:
        length = sum(2 if character in _GSM_PAIRS else 1 for character in text)
        return 1 if length <= 160 else math.ceil(length / 153)
    length = len(text.encode("utf-16-le")) // 2
    return 1 if length <= 70 else math.ceil(length / 67)
