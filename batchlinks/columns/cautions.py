"""Columns that speak against contacting a patient: deceased, do not contact, opted out, returned mail.

They are never passed over in silence: somebody says whether their marks are heeded, so that these patients are left
out, or ignored. Found by their headers, and by a status that says so in plain words; a column in which nothing is
marked is no question.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.header_words import LEXICON, Sense, fold, senses_of, words_of
from batchlinks.columns.id_column import IdColumn, IdColumnUndecided, callable_names, column_called
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Part, Setting
from batchlinks.patients.identifier import clean, read_id
from batchlinks.table import CellKind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from batchlinks.table import Table


class Reason(Enum):
    """What a mark says of its patient, in words."""

    DECEASED = "the patient has died"
    DO_NOT_CONTACT = "the patient is not to be contacted"
    MAIL_RETURNED = "mail to the patient came back"
    MARKED = "the patient is marked"


@dataclass(frozen=True, slots=True)
class Caution:
    """A column with marks, by position in the table."""

    at: int
    name: str
    """As `--heed` takes it; a letter where the header may be a person's."""
    reason: Reason
    marked: "npt.NDArray[np.bool_]" = field(repr=False, compare=False)
    """For each row whether its patient is marked."""

    @property
    def rows(self) -> int:
        """How many are marked."""
        return int(self.marked.sum())


class CautionsUndecided(RosterError):
    """Nobody has said whether marked patients are to be left out."""

    def __init__(self, cautions: Sequence[Caution]) -> None:
        super().__init__(" ".join(map(question, cautions)), *_how_to_answer(cautions))
        self.cautions = tuple(cautions)


def question(caution: Caution) -> str:
    """What is asked of a column, as a sentence."""
    rows = "1 row" if caution.rows == 1 else f"{caution.rows:,} rows"
    return f"The column “{caution.name}” says in {rows} that {caution.reason.value}."


def _how_to_answer(cautions: Sequence[Caution]) -> Iterator[Part]:
    them = "them" if sum(caution.rows for caution in cautions) > 1 else "this patient"
    for option, when in (("heed", f"To leave {them} out"), ("ignore", "If that is not what the column means")):
        yield f" {when}:"
        for caution in cautions:
            yield from (" ", Setting(option), f' "{caution.name}"')
        yield "."


def find_cautions(
    table: "Table", *, heed: Iterable[str] = (), ignore: Iterable[str] = ()
) -> tuple[list[Caution], list[Caution]]:
    """The columns whose marks are heeded, and those on which nobody has decided.

    `heed`, `ignore`: columns by header or letter. Raises SettingsError for a column in `heed` that the list lacks, since
    marked patients would then be sent, and for one that stands in both.
    """
    heeded = {_position(table, name): name for name in heed}
    ignored = {at for name in ignore if (at := column_called(table.headers, name)) is not None}
    if both := heeded.keys() & ignored:
        name = callable_names(table.headers, sorted(both))[0]
        raise SettingsError(Setting("heed"), " and ", Setting("ignore"), f" both name {name}. Give one of them.")
    found = [
        caution
        for at in range(len(table.headers))
        if at not in ignored and (caution := _caution(table, at, is_heeded=at in heeded)) is not None
    ]
    return [each for each in found if each.at in heeded], [each for each in found if each.at not in heeded]


def find_marked_ids(
    heeded: Sequence[Caution], table: "Table", id_column: IdColumn, *, joined_by: str, width: int | None
) -> frozenset[str]:
    """The IDs of the rows that a heeded column marks: all rows of such a patient are left out, the unmarked too.

    `joined_by` and `width` as a run reads its IDs: text between the parts of a joined one, digits of a numeric one.
    """
    if not heeded:
        return frozenset()
    rows = np.flatnonzero(np.logical_or.reduce([caution.marked for caution in heeded])).tolist()
    parts = [table.column(part).take(rows).to_pylist() for part in id_column.parts]
    kinds = [table.kinds.get(part) for part in id_column.parts]
    found = set()
    for row, texts in zip(rows, zip(*parts, strict=True), strict=True):
        text = texts[0] if len(texts) == 1 else joined_by.join(map(clean, texts))
        kind = max(CellKind.TEXT if each is None else int(each[row]) for each in kinds)
        found.add(read_id(text, kind, width=width)[0])
    return frozenset(found - {""})


def _position(table: "Table", name: str) -> int:
    try:
        at = column_called(table.headers, name)
    except IdColumnUndecided as error:
        raise SettingsError(
            Setting("heed"), " fits several columns of the list. Name one by its letter: column C."
        ) from error
    if at is None:
        raise SettingsError(
            Setting("heed"),
            " names a column that the list does not have, so patients who are to be left out might not be. Correct the name, "
            "or leave it out.",
        )
    return at


def _caution(table: "Table", at: int, *, is_heeded: bool) -> Caution | None:
    reader = _reader_of(table.headers[at])
    if reader is None and is_heeded:
        reader = _marks_of(Reason.MARKED)
    if reader is None:
        return None
    values = pc.utf8_trim_whitespace(table.column(at))
    reasons = {value: reason for value in pc.unique(values).to_pylist() if (reason := reader(value)) is not None}
    if not reasons and not is_heeded:
        return None
    marked = pc.is_in(values, value_set=pa.array(list(reasons), pa.string())).to_numpy(zero_copy_only=False)
    reason = next(iter(reasons.values()), Reason.MARKED)
    return Caution(at, callable_names(table.headers, [at])[0], reason, marked)


# --- what a header says ---------------------------------------------------------------------------------------

_Reader = Callable[[str], Reason | None]
"""What a value of a column says of its patient; None where it says nothing."""

_WORDS = LEXICON["cautions"]
_HEADERS = tuple(
    (re.compile(rf"(?<!\S)(?:{_WORDS[name]})(?!\S)"), frozenset(_WORDS[beside].split()), reason)
    for name, beside, reason in (
        ("deceased", "beside", Reason.DECEASED),
        ("expired", "beside_expired", Reason.DECEASED),
        ("do_not_contact", "beside", Reason.DO_NOT_CONTACT),
        ("mail_returned", "beside", Reason.MAIL_RETURNED),
    )
)
_ALIVE = re.compile(rf"(?<!\S)(?:{_WORDS['alive']})(?!\S)")
_ALLOWED = re.compile(rf"(?<!\S)(?:{_WORDS['contact_allowed']})(?!\S)")
_BESIDE = frozenset(_WORDS["beside"].split())
_STATUS, _MARKED_STATUS = frozenset(_WORDS["status"].split()), frozenset(_WORDS["marked_status"].split())
_SOMEBODY_ELSE = frozenset({Sense.PROVIDER, Sense.HOLDER, Sense.EMPLOYEE})


def _reader_of(header: str) -> _Reader | None:
    """How the values of a column are read, None where its header says nothing of this."""
    words = words_of(header)
    text = " ".join(words)
    if _is_somebody_elses(header, words):
        return None
    for pattern, beside, reason in _HEADERS:
        if _says(pattern, beside, text):
            return _marks_of(reason)
    if _says(_ALIVE, _BESIDE, text):
        return lambda value: Reason.DECEASED if _plain(value) in _IS_NOT else None
    if _says(_ALLOWED, _BESIDE, text):
        return lambda value: Reason.DO_NOT_CONTACT if _plain(value) in _NOT_ALLOWED else None
    if words and set(words) <= _STATUS and _MARKED_STATUS.intersection(words):
        return _status_reader(frozenset(words))
    return None


def _says(pattern: re.Pattern[str], beside: frozenset[str], text: str) -> bool:
    found = pattern.search(text)
    return found is not None and set(f"{text[: found.start()]} {text[found.end() :]}".split()) <= beside


def _is_somebody_elses(header: str, words: Sequence[str]) -> bool:
    """Whether it speaks of a mother, a physician or a subscriber. A contact is somebody's here, not somebody."""
    relatives = {word for word in words if word not in ("contact", "contacts")}
    senses = set(senses_of(header))
    return bool(senses & _SOMEBODY_ELSE) or (
        Sense.RELATIVE in senses and any(Sense.RELATIVE in senses_of(word) for word in relatives)
    )


# --- what a value says ----------------------------------------------------------------------------------------

_SAYS_NO = frozenset(
    """n no 0 false f none never nein non nee off alive living active ok good valid deliverable unknown unk u na null nil
    not nan""".split()
) | {"not deceased", "n a", "not applicable", "still alive", "not known", "opted in", "opt in", "no date", "lebt"}
_IS_NOT = frozenset("n no 0 false f nein non".split())
_NOT_ALLOWED = _IS_NOT | frozenset(" declined refused denied revoked never".split()) | {
    "opted out", "opt out", "do not contact", "not allowed",
}  # fmt: skip
_NO_DATE = re.compile(r"[0\W_]*|9999\D.*|99991231|0001\D.*|0?1\D0?1\D0001\b.*|31\D12\D9999.*|12\D31\D9999.*")


def _plain(value: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", fold(value).casefold()))


def _marks_of(reason: Reason) -> _Reader:
    """For a column where anything but a no, a zero or `alive` is a mark."""

    def read(value: str) -> Reason | None:
        is_mark = not _NO_DATE.fullmatch(value) and _plain(value) not in _SAYS_NO
        return reason if is_mark else None

    return read


def _status_reader(words: frozenset[str]) -> _Reader:
    """For a status, which may say many other things: only plain words count."""
    deceased = _WORDS["deceased"]
    if words - _MARKED_STATUS:  # an expired `Status` may be a membership's
        deceased += "|expired"
    if words & {"vital", "life", "living"}:
        deceased += "|d"
    says = [
        (re.compile(rf"(?:patient )?(?:is )?(?:{pattern})(?: patient)?"), reason)
        for pattern, reason in (
            (deceased, Reason.DECEASED),
            (_WORDS["do_not_contact"], Reason.DO_NOT_CONTACT),
            (_WORDS["mail_returned"], Reason.MAIL_RETURNED),
        )
    ]
    return lambda value: next((reason for pattern, reason in says if pattern.fullmatch(_plain(value))), None)
