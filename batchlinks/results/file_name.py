"""Names of files, made from text that a roster holds, that every system takes. Pure."""

import re
import unicodedata
from collections.abc import Sequence

BLANK = "(blank)"
"""Of the file for a blank text."""

_LONGEST = 80
"""Characters; with the folders above it a path stays within what Windows takes."""
_LONGEST_BYTES = 180

# Not only what a system refuses: Excel has trouble with brackets, a shell with what looks like an option, and a
# list of the names is opened in a spreadsheet, which must not take one for a formula.
_REFUSED = re.compile(r'[<>:"/\\|?*\[\]%]')
_NOT_FIRST = frozenset([*".~-'=+@"])
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)


def file_names(texts: Sequence[str]) -> list[str]:
    """A name without ending for each of the texts, which are all different; so are the names, also where case does not count.

    A text that can be a name is its own. Otherwise signs that some system refuses become `_`, and the second of two names
    that a system could take for one gets ` (2)`.
    """
    taken: set[str] = set()
    names = []
    for text in texts:
        plain = _plain(text)
        name, number = plain, 1
        while _folded(name) in taken:
            number += 1
            name = f"{plain} ({number})"
        taken.add(_folded(name))
        names.append(name)
    return names


def _plain(text: str) -> str:
    if not text:
        return BLANK
    name = unicodedata.normalize("NFC", text)
    name = "".join("_" if unicodedata.category(sign)[0] == "C" else sign for sign in name)
    name = _REFUSED.sub("_", " ".join(name.split()))[:_LONGEST]
    name = name.encode()[:_LONGEST_BYTES].decode("utf-8", "ignore").rstrip(". ")
    if unicodedata.normalize("NFKC", name[:1]) in _NOT_FIRST:
        name = f"_{name[1:]}"
    if _RESERVED.match(name):
        name = f"_{name}"
    return name or "_"


def _folded(name: str) -> str:
    """The same for all names that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
