"""Results of a run that go back to the program in Python that asked for it, and into no file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

import pyarrow as pa

from batchlinks.results.publish.existing_set import Owner
from batchlinks.results.publish.publisher import UnfinishedSet
from batchlinks.results.publish.result_files import LinksFile, PublishedFiles
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.roster.data_frame import digest_of
from batchlinks.roster.source import RosterFrame


class FramesOnly:
    """In place of `ResultFiles`: whoever asked has the sheets in the report."""

    folder = None

    def __init__(self, source: RosterFrame, project_id: str | None) -> None:
        self._name = source.name
        self._owner = Owner(source.address, project_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy up."""

    @property
    def owner(self) -> str:
        """Stands for the name of the frame and the project, and tells nothing of either."""
        return self._owner.digest

    def unfinished_sets(self) -> Sequence[UnfinishedSet]:
        """None: what a run gave back before cannot be taken back."""
        return ()

    def supersede(self, _sets: Collection[UnfinishedSet]) -> frozenset[str]:
        """Nothing gives way."""
        return frozenset()

    def finish(self) -> None:
        """Nothing to note."""

    def discard(self) -> None:
        """Nothing was written."""

    def publish(
        self,
        _summary: object,
        sheets: Mapping[str, Sheet],
        *_others: object,
        last_look: Callable[[], object] = lambda: None,
        **_more: object,
    ) -> PublishedFiles:
        """`last_look` as in `ResultFiles.publish`; it is all that is left to do."""
        last_look()
        if "links" not in sheets:
            return PublishedFiles(None, {}, None)
        links = sheets["links"]
        digest = digest_of(links.headers, pa.table(list(links.columns), names=list(links.headers)))
        return PublishedFiles(None, {}, None, with_links=[LinksFile(self._name, digest)])

    def publish_status(
        self,
        _summary: object,
        sheets: Mapping[str, Sheet],
        *_others: object,
        last_look: Callable[[], object] = lambda: None,
        **_more: object,
    ) -> PublishedFiles:
        """The same for a status, whose reminder is what has links."""
        return self.publish(None, {"links": sheets["reminder"]} if "reminder" in sheets else {}, last_look=last_look)
