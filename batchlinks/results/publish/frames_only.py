"""Results of a run that go back to the program in Python that asked for it, and into no file."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from batchlinks.results.publish.existing_set import Owner
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.roster.source import RosterFrame


class FramesOnly:
    """In place of `ResultFiles`: whoever asked has the sheets in the report."""

    folder = None

    def __init__(self, source: RosterFrame, project_id: str | None) -> None:
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

    def unfinished_runs(self) -> frozenset[str]:
        """None: what a run gave back before cannot be taken back."""
        return frozenset()

    def finish(self) -> None:
        """Nothing to note."""

    def discard(self) -> None:
        """Nothing was written."""

    def publish(
        self, *_sheets: object, last_look: Callable[[], object] = lambda: None, **_more: object
    ) -> PublishedFiles:
        """`last_look` as in `ResultFiles.publish`; it is all that is left to do."""
        last_look()
        return PublishedFiles(None, {}, None)
