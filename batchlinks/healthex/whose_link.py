"""What HealthEx answered: is it a link, and whose is it? All the rules, and all of them pure.

A link is `https://app.healthex.io/#/patient-consent/{projectId}/enrollment/link?xid={externalId}.{signature}`
(public documentation, July 2026). The xid stands in the query of the fragment and begins with the external ID. How it
is encoded there is not documented, so it is percent-decoded before it is compared. Links are signed: none is ever
built here.

`whose` says whom a link names, `Leniency` what becomes of one that names nobody. Every link passes both twice: when its
answer arrives (`AnswerJudge`), and before anything is written (`judge`). `tests/test_whose_link.py` has a table of cases.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.healthex.known_ids import OnlyThisId
from batchlinks.patients.identifier import MAX_LENGTH

DECIDED_FROM = 20
"""Links of a project, none of which names a patient, from which on its links are known to name nobody."""

_LONGEST = 4096
_LONGEST_NAME = 4 * MAX_LENGTH
"""Of a name in an xid, which may spell its ID with more characters than the ID has."""

_MOST_DECODINGS = 4
_AT_ONCE = 8_192
"""Links that are held against their IDs together, so that a million never stand side by side."""

_ENCODED = re.compile(r"[%+&#?]")


# --- is it a link? ------------------------------------------------------------------------------------------------


def read_link(body: str, host: str) -> str | None:
    """The link in an answer's body, bare or JSON-quoted, or None where it carries no link on `host`."""
    text: object = body.strip()
    if body.lstrip().startswith('"'):
        try:
            text = json.loads(body)
        except ValueError:
            return None
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isascii() or not text.isprintable():
        return None
    return text if xid_of(text, host) else None


def xid_of(link: str, host: str) -> str | None:
    """The decoded xid of an `https` link on `host`; None where there is none, an empty or more than one."""
    # Most links are written plainly; taking them apart by hand is eight times as fast as urlsplit and parse_qsl.
    before, mark, xid = link.partition("?xid=")
    if not (mark and before.startswith(f"https://{host}/#/") and "?" not in before and not _ENCODED.search(xid)):
        xid = _parsed_xid(link, host)
    return xid if xid and not xid.endswith(".") else None


def _parsed_xid(link: str, host: str) -> str:
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    if parts.scheme != "https" or parts.netloc.lower().removesuffix(":443") != host.lower():
        return ""
    _, _, query = parts.fragment.partition("?")
    # A plus stands for a space in many encodings, and no external ID has one in it.
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "xid"]
    return values[0] if len(values) == 1 else ""


# --- whose is it? -------------------------------------------------------------------------------------------------


class NamesIds(Protocol):
    """The IDs that a link may name: see `healthex.known_ids`."""

    def exactly(self, name: str) -> bool:
        """Whether this is a known ID, spelled exactly so."""

    def alike(self, name: str) -> Collection[str]:
        """IDs that differ from it at most in case, leading zeros and separators.

        Of those that are sent or have a link; only where there is none, of all that are known. Two stand for any number.
        """


class Verdict(Enum):
    """Whom a link names. `value` is the reason in words for the error report."""

    OWN = "it names its own patient"
    OTHER = "it names another patient"
    IN_DOUBT = "it could be either of two patients'"
    NOBODY = "it does not name its patient"
    ELSEWHERE = "it does not lead to the expected host"
    SHARED = "the same link was answered for another patient"

    @property
    def names_somebody(self) -> bool:
        """Whether it shows that the project's links name patients."""
        return self in (Verdict.OWN, Verdict.OTHER, Verdict.IN_DOUBT)


def whose(external_id: str, link: str, host: str, known: NamesIds) -> Verdict:
    """Whether the link that was answered for `external_id`, or recorded for it, is its own.

    It names the longest known ID that begins its xid, followed by a dot and spelled exactly so; failing that, the one that is
    alike. A longer name that is like another ID's puts it in doubt, and so do two IDs that are alike.
    """
    xid = xid_of(link, host)
    if xid is None:
        return Verdict.ELSEWHERE
    if xid.rpartition(".")[0] == external_id and "%" not in xid and "+" not in xid:
        return Verdict.OWN  # whatever else it might name is shorter
    readings = list(_readings(xid))
    names = sorted({name for reading in readings for name in candidates(reading)}, key=len, reverse=True)
    exact = next((name for name in names if name == external_id or known.exactly(name)), None)
    if exact is not None and exact != external_id:
        return Verdict.OTHER
    for name in names:
        if name == exact:
            break
        owners = set(known.alike(name))
        if owners == {external_id}:
            return Verdict.OWN
        if owners:
            return Verdict.IN_DOUBT if exact is not None or len(owners) > 1 else Verdict.OTHER
    if exact is not None:
        return Verdict.OWN
    return Verdict.OTHER if any(_is_anothers(reading, external_id, known) for reading in readings) else Verdict.NOBODY


def _readings(xid: str) -> Iterator[str]:
    """The xid as it stands, and percent-decoded again for as long as that changes it."""
    for _ in range(_MOST_DECODINGS):
        yield xid
        decoded = unquote_plus(xid)
        if decoded == xid:
            return
        xid = decoded


def candidates(xid: str) -> Iterable[str]:
    """The IDs that an xid may name, longest first: whatever stands before one of its dots."""
    end = xid.rfind(".", 0, _LONGEST_NAME)
    while end > 0:
        yield xid[:end]
        end = xid.rfind(".", 0, end)


def _is_anothers(xid: str, external_id: str, known: NamesIds) -> bool:
    """Whether all of an xid without a dot, which no signature follows, is another's ID."""
    if "." in xid or xid == external_id:
        return False
    return known.exactly(xid) or bool(set(known.alike(xid)) - {external_id})


@dataclass(frozen=True, slots=True)
class Leniency:
    """What becomes of a link that names nobody. It is used only where none of its project's links names anybody."""

    strict: bool = False
    """Never used (`--strict-links`)."""

    names: bool = False
    """A link of this project has named a patient."""

    accepted: bool = False
    """Used all the same: IT has said so for this project (`ledger accept-unnamed`)."""

    @property
    def allows(self) -> bool:
        return not self.strict and not self.expects_names

    @property
    def expects_names(self) -> bool:
        """Whether a link that names nobody is out of the ordinary: else another call would bring another like it."""
        return self.names and not self.accepted

    def having_seen(self, named: bool) -> "Leniency":
        """The same, once a link was (or was not) seen that names a patient."""
        return replace(self, names=True) if named and not self.names else self


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a link may not be handed out."""

    verdict: Verdict

    ask_again: bool
    """Whether another call may bring a better one."""

    @property
    def reason(self) -> str:
        return self.verdict.value

    @property
    def breaks_custom(self) -> bool:
        """Whether it names nobody where others name their patients."""
        return self.verdict is Verdict.NOBODY and self.ask_again


class AnswerJudge:
    """Judges each answer of a run as it arrives. What it has seen so far decides over a link that names nobody.

    So an early one may be let through that a later answer shows to be wrong: all are judged again before any is handed
    out, by what the whole run has shown.
    """

    def __init__(self, host: str, known: NamesIds, leniency: Leniency, *, on_named: Callable[[], object]) -> None:
        """`on_named` is called at the first link that names a patient, unless that was known of the project."""
        self._host = host
        self._known = known
        self._on_named = on_named
        self.leniency = leniency
        self.shared: set[str] = set()
        """Links that other IDs were answered with again, and nothing else: nobody's, unless they name somebody."""

    def refusal(self, external_id: str, link: str, *, repeated: bool = False) -> Refusal | None:
        """Why this link may not be recorded for this ID, or None where it may.

        `repeated`: another ID was just answered with the very same, so it must name its patient.
        """
        verdict = whose(external_id, link, self._host, self._known)
        if not self.leniency.names:
            self.note(named=verdict.names_somebody)
        if verdict is Verdict.OWN or (verdict is Verdict.NOBODY and self.leniency.allows):
            return Refusal(Verdict.SHARED, ask_again=True) if repeated and verdict is Verdict.NOBODY else None
        return Refusal(verdict, ask_again=verdict is not Verdict.NOBODY or self.leniency.expects_names)

    def note(self, *, named: bool) -> None:
        """A link was (or was not) seen that names a patient, here or elsewhere."""
        if named and not self.leniency.names:
            self.leniency = self.leniency.having_seen(True)
            self._on_named()


# --- many at once -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verdicts:
    """Which of a run's links may not be handed out, and why. Positions are those of `ids` and `links`."""

    mismatched: dict[int, Refusal] = field(default_factory=dict)

    unnamed: list[int] = field(default_factory=list)
    """Links that name no ID and are used all the same."""

    named: bool = False
    """Whether any of them names a patient."""


def judge(
    ids: pa.ChunkedArray,
    links: pa.ChunkedArray,
    *,
    host: str,
    known: NamesIds,
    leniency: Leniency,
    other_owners: Callable[[Collection[str]], Mapping[str, Collection[str]]],
    shared: Collection[str] = (),
) -> Verdicts:
    """Hold every link of a run, new or known, against the ID it goes to.

    `ids` and `links` are strings and belong together position by position. `other_owners` tells to which IDs the ledger
    gives some links; `shared` are links that others were answered with, too.
    """
    found = Verdicts()
    nameless = []
    plainly_named = len(ids)
    for position, external_id, link in _not_plainly_named(ids, links, host):
        verdict = whose(external_id, link, host, known)
        found.named = found.named or verdict.names_somebody
        plainly_named -= 1
        if verdict is Verdict.NOBODY:
            nameless.append(position)
        elif verdict is not Verdict.OWN:
            found.mismatched[position] = Refusal(verdict, ask_again=True)
    found.named = found.named or plainly_named > 0
    leniency = leniency.having_seen(found.named)
    if leniency.allows:
        found.unnamed = nameless
        _refuse_shared(found, ids, links, other_owners, shared)
    else:
        found.mismatched |= dict.fromkeys(nameless, Refusal(Verdict.NOBODY, ask_again=leniency.expects_names))
    return found


def any_names_its_own(ids: pa.ChunkedArray, links: pa.ChunkedArray, host: str) -> bool:
    """Whether one of these links names the ID that it was recorded for, which stands at the same position."""
    doubtful = list(_not_plainly_named(ids, links, host))
    return len(doubtful) < len(ids) or any(
        whose(external_id, link, host, OnlyThisId(external_id)) is Verdict.OWN for _, external_id, link in doubtful
    )


def _not_plainly_named(ids: pa.ChunkedArray, links: pa.ChunkedArray, host: str) -> Iterator[tuple[int, str, str]]:
    """Position, ID and link, wherever the link does not name its own ID plainly."""
    start = 0
    for batch in pa.table([ids, links], ["ids", "links"]).to_batches(max_chunksize=_AT_ONCE):
        if not len(batch):  # a column in pieces may have one of no rows
            continue
        some_ids, some_links = batch.columns
        certain = _plainly_named(some_ids, some_links, host)
        left = np.flatnonzero(~certain.to_numpy(zero_copy_only=False))
        texts = (column.take(pa.array(left)).to_pylist() for column in (some_ids, some_links))
        for position, external_id, link in zip(left.tolist(), *texts, strict=True):
            yield start + position, external_id, link
        start += len(batch)


def _plainly_named(ids: pa.Array, links: pa.Array, host: str) -> pa.Array:
    """Which links are written like the first, and name their own ID in it and nothing longer; the others may do so too.

    All of a project's links are the same up to their xid. A million are seen through in the time in which Python takes
    fifty thousand apart.
    """
    before, mark, _ = str(links[0].as_py() or "").partition("?xid=")
    if not (mark and before.startswith(f"https://{host}/#/") and "?" not in before):
        return pa.repeat(pa.scalar(False), len(links))
    alike = pc.starts_with(links, before + mark)
    # As bytes, which are cut many times faster than characters.
    longest = pc.max(pc.binary_length(links)).as_py()
    xids = pc.binary_slice(links.cast(pa.binary()), len((before + mark).encode()), longest)
    names = pc.list_element(pc.split_pattern(xids, ".", max_splits=1, reverse=True), 0)
    signed = pc.and_(pc.less(pc.binary_length(names), pc.binary_length(xids)), pc.invert(pc.ends_with(xids, ".")))
    plain = pc.invert(pc.match_substring_regex(xids, _ENCODED.pattern))
    return pc.and_(pc.and_(alike, pc.equal(names, ids.cast(pa.binary()))), pc.and_(signed, plain))


def _refuse_shared(
    found: Verdicts,
    ids: pa.ChunkedArray,
    links: pa.ChunkedArray,
    other_owners: Callable[[Collection[str]], Mapping[str, Collection[str]]],
    answered_to_others: Collection[str],
) -> None:
    """The same link for two IDs is refused for both. (Where it names one of them, the other is refused already.)"""
    if not found.unnamed:
        return
    shared = {entry["values"] for entry in pc.value_counts(links).to_pylist() if entry["counts"] > 1}
    texts = {position: links[position].as_py() for position in found.unnamed}
    owners = other_owners(set(texts.values()))
    for position, link in texts.items():
        others = set(owners.get(link, ())) - {ids[position].as_py()}
        if link in shared or link in answered_to_others or others:
            found.mismatched[position] = Refusal(Verdict.SHARED, ask_again=True)
    found.unnamed = [position for position in found.unnamed if position not in found.mismatched]
