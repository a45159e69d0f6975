"""Which IDs a link may name: all that this run has seen, and all in the ledger. In memory only, for as long as the run.

A link that names its own patient plainly needs none of this, so nothing is gathered before one does not.
"""

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.patients.id_spelling import likeness_columns, likenesses
from batchlinks.patients.identifier import MAX_LENGTH


class LinkedIds(Protocol):
    """What is asked of the ledger."""

    def known(self, texts: Collection[str]) -> set[str]:
        """Those of `texts` that are IDs of a patient with a link, or a withdrawn one, in any project of the API."""

    def all_known(self) -> pa.Array:
        """All of these IDs, some perhaps more than once."""


class KnownIds:
    """The IDs of one run. `seen` gives those of the roster and the exclude list, whatever became of them."""

    def __init__(self, sent: pa.Array, seen: Callable[[], Iterable[str]], ledger: LinkedIds) -> None:
        self._sent = sent
        self._see = seen
        self._ledger = ledger
        self._gathered: frozenset[str] | None = None
        """All IDs of the ledger, once they had to be gathered."""

    def exactly(self, name: str) -> bool:
        """Whether this is a known ID, spelled exactly so."""
        if not name or len(name) > MAX_LENGTH:
            return False
        if name in self._seen:
            return True
        return bool(self._ledger.known([name])) if self._gathered is None else name in self._gathered

    def alike(self, name: str) -> Collection[str]:
        """IDs that differ from it at most in case, leading zeros and separators.

        Of those that are sent or have a link; only where there is none, of all that are known.
        """
        keys = likenesses(name)
        for known in (self._linked_by_likeness, self._seen_by_likeness):
            if found := {each for key in keys for each in known.get(key, ())}:
                return found
        return ()

    @cached_property
    def _seen(self) -> frozenset[str]:
        return frozenset(self._sent.to_pylist()).union(self._see())

    @cached_property
    def _linked_by_likeness(self) -> dict[str, tuple[str, ...]]:
        linked = self._ledger.all_known()
        self._gathered = frozenset(linked.to_pylist())
        return _by_likeness(pa.concat_arrays([self._sent, linked]))

    @cached_property
    def _seen_by_likeness(self) -> dict[str, tuple[str, ...]]:
        return _by_likeness(pa.array(sorted(self._seen), pa.string()))


class OnlyThisId:
    """For a link of which only matters whether it names this ID, its own."""

    def __init__(self, external_id: str) -> None:
        self._external_id = external_id

    def exactly(self, name: str) -> bool:
        return name == self._external_id

    def alike(self, name: str) -> Collection[str]:
        return (self._external_id,) if likenesses(name) & likenesses(self._external_id) else ()


def _by_likeness(ids: pa.Array) -> dict[str, tuple[str, ...]]:
    """Likeness -> the IDs that have it: one, or two of however many there are, which is as much in doubt as more."""
    ids = ids.unique()
    joined, by_group = likeness_columns(ids)
    other = pc.not_equal(joined, by_group)  # as a rule, both are the same
    keys = [*joined.to_pylist(), *by_group.filter(other).to_pylist()]
    texts = [*ids.to_pylist(), *ids.filter(other).to_pylist()]
    latest = dict(zip(keys, texts, strict=True))
    found: dict[str, tuple[str, ...]] = {key: (text,) for key, text in latest.items()}
    if len(latest) < len(keys):
        for key, text in zip(keys, texts, strict=True):
            if latest[key] != text:
                found[key] = (latest[key], text)
    found.pop("", None)
    return found
