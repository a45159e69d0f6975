"""Whether a password for results is strong enough, and one that Excel takes."""

import re
from collections.abc import Iterator

SHORTEST, LONGEST = 12, 255
"""Characters of a password; Excel takes no more than the latter."""

_MUST_REMAIN = 8
"""Characters that are not part of what everybody tries first."""

_TRIED_FIRST = """
    password passwort passwd welcome willkommen letmein changeme secret qwerty qwertz azerty asdfgh zxcvbn abc123 admin
    administrator default login master monkey dragon iloveyou sunshine princess football baseball hello winter spring
    summer autumn january february march april june july august september october november december monday
    tuesday wednesday thursday friday saturday sunday hospital clinic medical health healthex patient patients batchlinks
    consent outreach excel office company
""".split()
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHORTEST_RUN = 3

_SPELLINGS = (str.maketrans("", ""), str.maketrans("013457@$!", "oieastasi"), str.maketrans("013457@$!", "oleastasl"))
"""P4ssw0rd, Cl1nic."""

_GUESSED_TOGETHER = re.compile("|".join([*sorted(_TRIED_FIRST, key=len, reverse=True), r"(?:19|20)\d\d", r"(.)\1{2,}"]))


def objection_to(password: str) -> str | None:
    """Why a password is too weak, or no program would take it, in words that tell what is asked; None if it will do."""
    if len(password) > LONGEST:
        return f"it has more than {LONGEST} characters, which Excel does not take"
    if not password.isprintable():
        return "it holds a character that cannot be typed"
    if len(password) < SHORTEST:
        return f"it is too short: at least {SHORTEST} characters are asked"
    if _hard_to_guess(password) < _MUST_REMAIN:
        return (
            "it is too easy to guess: common words (password, summer, clinic), years and runs (1234, qwerty, aaa) count as one "
            f"character each, and at least {_MUST_REMAIN} must remain. Four words that have nothing to do with each other will do"
        )
    return None


def _hard_to_guess(password: str) -> int:
    """How many characters remain when what is guessed together counts as one; characters that come often count twice."""
    text = password.lower()
    together: set[int] = set()
    for start, end in [*_words(text), *_runs(text)]:
        together.update(range(start + 1, end))
    remaining = [sign for place, sign in enumerate(text) if place not in together]
    return min(len(remaining), 2 * len(set(remaining)))


def _words(text: str) -> Iterator[tuple[int, int]]:
    for spelling in _SPELLINGS:
        for found in _GUESSED_TOGETHER.finditer(text.translate(spelling)):
            yield found.span()


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Neighbours in the alphabet or on the keyboard, in either direction."""
    for step in (1, -1):
        start = 0
        for end in range(1, len(text) + 1):
            if end == len(text) or not _are_neighbours(text[end - 1], text[end], step):
                if end - start >= _SHORTEST_RUN:
                    yield start, end
                start = end


def _are_neighbours(one: str, other: str, step: int) -> bool:
    return any(0 <= (at := row.find(one) + step) < len(row) and one in row and row[at] == other for row in _RUNS)
