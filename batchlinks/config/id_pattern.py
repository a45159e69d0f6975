"""What a whole ID must match (`--id-pattern`), by an engine that never backtracks: a pattern from outside stops nobody.

Arrow brings RE2, whose time grows with the length of text and pattern and with nothing else; Python's own engine can be
kept busy for hours by ten characters. RE2 lacks what cannot be had without going back: lookahead, backreferences.
"""

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.errors import SettingsError
from batchlinks.next_steps import Part, Setting

LONGEST = 500
"""Characters of a pattern at most."""

_ITS_NAME = Setting("id_pattern")
_MOST_REPEATS = 128  # an ID has no more characters
_LARGEST = 500  # with all counts written out; `[A-Z]{2,4}-?\d{6,10}` has 15
_SIZE_OF_A_PROPERTY = 50  # `\pL` is hundreds of ranges
_PART = re.compile(r"\\[pP](?:\{[^}]*\}|.)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[^:)]*[:)]|\{\d+(?:,\d*)?\}|.", re.DOTALL)
_GOES_BACK = re.compile(r"\(\?(?:[=!(>#]|<[=!]|P[=>])|[*+?}]\+")
_ESCAPES_OF_PYTHON = re.compile(r"\\[1-9Z]")
_BRACE = re.compile(r"\{(?:(\d{1,9})(?:,(\d{0,9}))?\})?")


class IdPattern:
    """A regular expression that an ID must match from its first character to its last."""

    def __init__(self, text: str, option: Part = _ITS_NAME) -> None:
        """Raises SettingsError, naming `option`, for a text that is no such expression."""
        if len(text) > LONGEST:
            raise SettingsError(option, f" is too long: it has {len(text):,} characters, and {LONGEST} is the most.")
        parts = _PART.findall(text)
        bare = "".join(part for part in parts if part[0] not in "[\\")
        if _GOES_BACK.search(bare) or any(map(_ESCAPES_OF_PYTHON.fullmatch, parts)):
            raise SettingsError(option, _UNSUPPORTED)
        if not all(map(_is_count, _BRACE.finditer(bare))):
            raise SettingsError(
                option,
                f": a count in braces is {{8}}, {{6,8}} or {{6,}}, and at most {_MOST_REPEATS}, since no ID is longer.",
            )
        if _size(parts) > _LARGEST or "\0" in text:
            raise SettingsError(option, _NOT_UNDERSTOOD)
        self._whole = rf"\A(?:{text})\z"
        try:
            _search([""], text)  # by itself: with what stands around it, `a)|(b` would be an expression
            _search([""], self._whole)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            raise SettingsError(option, _NOT_UNDERSTOOD) from None

    def mask(self, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Which of these match; ids of type string without nulls."""
        found: npt.NDArray[np.bool_] = _search(ids, self._whole).to_numpy(zero_copy_only=False)
        return found

    def fitting(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of these that match. One call for many is much quicker than `fits` for each."""
        texts = pa.array(list(ids), pa.string())
        return frozenset(texts.filter(pa.array(self.mask(texts))).to_pylist())

    def fits(self, identifier: str) -> bool:
        """Whether this one matches."""
        return bool(self.mask(pa.array([identifier], pa.string()))[0])


def _search(texts: pa.Array | list[str], pattern: str) -> pa.Array:
    return pc.match_substring_regex(pa.array(texts, pa.string()) if isinstance(texts, list) else texts, pattern)


def _is_count(brace: re.Match[str]) -> bool:
    counts = [int(count) for count in brace.groups() if count]
    return bool(counts) and max(counts) <= _MOST_REPEATS


def _size(parts: Iterable[str]) -> int:
    """How many characters and classes the pattern has once every count is written out: what matching costs at most."""
    groups: list[int] = [0]
    last = 0
    for part in parts:
        if part.startswith("(") and not part.endswith(")"):
            groups.append(0)
            last = 0
        elif part == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif part.startswith("{") and len(part) > 1:
            repeated = last * max(int(count or 0) for count in part[1:-1].split(","))
            groups[-1] += repeated - last
            last = repeated
        elif part not in ("*", "+", "?", "|"):
            last = _SIZE_OF_A_PROPERTY if part[:2] in (r"\p", r"\P") else 1
            groups[-1] += last
    return sum(groups)


_NOT_UNDERSTOOD = " is not a regular expression (RE2 syntax, as in MRN-[0-9]{6}), or describes too much."
_UNSUPPORTED = (
    " uses what is not supported here: lookahead, lookbehind, a reference to an earlier group, an atomic group, a condition, a "
    "comment, or \\Z. Describe the whole ID without them, as in MRN-[0-9]{6}."
)
