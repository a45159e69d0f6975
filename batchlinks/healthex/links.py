"""What HealthEx answered: is it a link, and whose is it? Pure.

A link is `https://app.healthex.io/#/patient-consent/{projectId}/enrollment/link?xid={externalId}.{signature}`
(public documentation, July 2026). The xid stands in the query of the fragment and begins with the external ID. How it
is encoded there is not documented, so it is percent-decoded before it is compared. Links are signed: none is ever
built here.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NAMED_SHARE = 0.95
"""Where this share of a run's links name their own ID, a link that names nobody is not believed."""

_LONGEST = 4096
_AT_ONCE = 8_192
"""Links that are held against their IDs together, so that a million never stand side by side."""

_ENCODED = re.compile(r"[%+&#?]")


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


def candidates(xid: str) -> Iterable[str]:
    """The IDs that an xid may name, longest first: whatever stands before one of its dots."""
    end = xid.rfind(".")
    while end > 0:
        yield xid[:end]
        end = xid.rfind(".", 0, end)


@dataclass(slots=True)
class Verdicts:
    """Which of a run's links may not be handed out, and why. Positions are those of `ids` and `links`."""

    mismatched: dict[int, str] = field(default_factory=dict)
    """Position -> the reason in words for the error report."""

    unnamed: list[int] = field(default_factory=list)
    """Links that name no ID and are used all the same."""


def judge(
    ids: pa.ChunkedArray,
    links: pa.ChunkedArray,
    *,
    host: str,
    strict: bool,
    known_ids: Callable[[Collection[str]], Collection[str]],
    other_owners: Callable[[Collection[str]], Mapping[str, Collection[str]]],
) -> Verdicts:
    """Hold every link of a run, new or known, against the ID it goes to.

    `ids` and `links` are strings and belong together position by position. `known_ids` tells which of some texts are IDs
    of the roster or the ledger, `other_owners` to which IDs the ledger gives some links.
    """
    named, doubtful = _own_names(ids, links, host)
    known = set(known_ids({name for names in doubtful.values() for name in names}) if doubtful else ())
    verdicts = Verdicts()
    nameless = []
    for position, names in doubtful.items():
        own = ids[position].as_py()
        owner = next((name for name in names if name == own or name in known), None)
        if owner == own:
            named += 1
        elif owner is None:
            nameless.append(position)
        else:
            verdicts.mismatched[position] = "it names another patient"
    believed = not strict and named < NAMED_SHARE * len(ids)
    for position in nameless:
        if believed:
            verdicts.unnamed.append(position)
        else:
            verdicts.mismatched[position] = "it does not name its patient"
    _refuse_shared(verdicts, ids, links, nameless, other_owners)
    return verdicts


def _own_names(ids: pa.ChunkedArray, links: pa.ChunkedArray, host: str) -> tuple[int, dict[int, list[str]]]:
    """How many links name their own ID and can name no longer one; and the names that others may bear."""
    named = start = 0
    doubtful: dict[int, list[str]] = {}
    for batch in pa.table([ids, links], ["ids", "links"]).to_batches(max_chunksize=_AT_ONCE):
        if not len(batch):  # a column in pieces may have one of no rows
            continue
        some_ids, some_links = batch.columns
        certain = _plainly_named(some_ids, some_links, host)
        named += int(pc.sum(certain).as_py() or 0)
        left = np.flatnonzero(~certain.to_numpy(zero_copy_only=False))
        texts = zip(some_ids.take(pa.array(left)).to_pylist(), some_links.take(pa.array(left)).to_pylist(), strict=True)
        for position, (external_id, link) in zip(left.tolist(), texts, strict=True):
            xid = xid_of(link, host) or ""
            rest = xid.removeprefix(external_id)
            if len(rest) < len(xid) and rest.startswith(".") and "." not in rest[1:]:
                named += 1
            else:
                doubtful[start + position] = list(candidates(xid))
        start += len(batch)
    return named, doubtful


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
    verdicts: Verdicts,
    ids: pa.ChunkedArray,
    links: pa.ChunkedArray,
    nameless: list[int],
    other_owners: Callable[[Collection[str]], Mapping[str, Collection[str]]],
) -> None:
    """The same link for two IDs is refused for both. (Where it names one of them, the other is refused already.)"""
    if not nameless:
        return
    shared = {entry["values"] for entry in pc.value_counts(links).to_pylist() if entry["counts"] > 1}
    texts = {position: links[position].as_py() for position in nameless}
    owners = other_owners(set(texts.values()))
    for position, link in texts.items():
        others = set(owners.get(link, ())) - {ids[position].as_py()}
        if link in shared or others:
            verdicts.mismatched[position] = "the same link was answered for another patient"
    verdicts.unnamed = [position for position in verdicts.unnamed if position not in verdicts.mismatched]
