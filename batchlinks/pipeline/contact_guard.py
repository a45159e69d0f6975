"""Who may not be contacted, looked at again before every call and every file, since somebody may say no in mid-run."""

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import frees_memory
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger import DoNotContact, Ledger
from batchlinks.logs import logger
from batchlinks.plural import counted
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.exclusions import are_opted_out
from batchlinks.screening.result import Screened


class OptedOutMeanwhile(Exception):
    """Somebody in the files that were about to be put in place is not to be contacted any more: they are written anew."""


class ContactGuard:
    """Of one run, from its screening on: who has been added to the list of people not to contact, or withdrawn, since."""

    def __init__(self, do_not_contact: DoNotContact, ledger: Ledger, *, exact_ids: bool) -> None:
        """Raises SettingsError where the list cannot be used."""
        self._do_not_contact = do_not_contact
        self._ledger = ledger
        self._exact_ids = exact_ids
        _move_withdrawals(ledger, do_not_contact)
        self.listed = ledger.withdrawn() | do_not_contact.ids()
        """IDs of those who are left alone, as they were when they were looked at last."""

        self._seen = do_not_contact.ids()
        self._screened: Screened | None = None
        self._withheld: frozenset[str] = frozenset()

    def watch(self, screened: Screened) -> None:
        """From now on it is about these patients, who were screened by `listed`."""
        self._screened = screened

    def withholds(self, external_id: str) -> bool:
        """Whether this patient must not be asked for, by the list as it is now. Raises BatchlinksError where it is lost."""
        try:
            listed = self._do_not_contact.ids()
        except SettingsError as error:
            raise BatchlinksError(*error.args, " Links already received are saved.") from error
        if listed is not self._seen:
            self._seen = listed
            self._take_in(listed)
        return external_id in self._withheld

    @frees_memory
    def leave_out(self, links: pa.Table) -> pa.Table:
        """The links without those of patients who said no in mid-run; their rows get the reason.

        Raises BatchlinksError where the list cannot be read any more: then no file may be written.
        """
        self._look_again()
        screened = self._screened
        if screened is None or not self._withheld:
            return links
        withheld = pa.array(sorted(self._withheld), pa.string())
        here = pc.is_in(screened.ids, value_set=withheld).to_numpy(zero_copy_only=False)
        screened.refuse((screened.sendable & here).nonzero()[0], ErrorCode.WITHDRAWN)
        return links.filter(pc.invert(pc.is_in(links.column("external_id"), value_set=withheld)))

    def check_unchanged(self) -> None:
        """Asked as the files are about to be put in place.

        Raises OptedOutMeanwhile where they may not, BatchlinksError where nobody can tell.
        """
        before = self._withheld
        self._look_again()
        if self._withheld != before:
            raise OptedOutMeanwhile

    def _look_again(self) -> None:
        """At the file itself, and at the ledger, whose withdrawals of one project stand there."""
        self._do_not_contact.refresh()
        try:
            self._seen = self._do_not_contact.ids()
            self._take_in(self._seen | self._ledger.withdrawn())
        except SettingsError as error:
            raise BatchlinksError(*error.args, " No file was written. Links already received are saved.") from error

    def _take_in(self, listed: frozenset[str]) -> None:
        new = listed - self.listed
        if not new or self._screened is None:
            return
        self.listed |= new
        ids = self._screened.ids
        open_rows = pa.array(self._screened.codes == 0)
        said_no = pc.and_(open_rows, pa.array(are_opted_out(ids, new, exact_ids=self._exact_ids)))
        found = frozenset(ids.filter(said_no).to_pylist()) - self._withheld
        if found:
            self._withheld |= found
            logger().warning(
                f"{counted(len(found), 'patient was', 'patients were')} withdrawn while this run was at work, and "
                f"{'is' if len(found) == 1 else 'are'} left out.",
                patients=len(found),
            )


def _move_withdrawals(ledger: Ledger, do_not_contact: DoNotContact) -> None:
    """Who was withdrawn in every project by a version before 0.3 is listed from now on, whatever becomes of the ledger."""
    if not (everywhere := ledger.withdrawn_everywhere()):
        return
    try:
        days = {one: moment[:10] for one, moment in everywhere.items()}
        do_not_contact.add(days, by="batchlinks 0.2", since=days)
    except BatchlinksError as error:  # they stay in the ledger, and are withdrawn as before
        logger().warning(f"Withdrawals that stand in the ledger only could not be listed. {error}")
        return
    ledger.forget_withdrawn_everywhere(everywhere)
