"""After the calls: every row that could be sent has a link that is certainly its own, or the reason why not."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import positions_among
from batchlinks.columns.id_column import IdColumn
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.healthex.known_ids import KnownIds
from batchlinks.healthex.outcomes import NotLinked
from batchlinks.healthex.whose_link import DECIDED_FROM, AnswerJudge, Leniency, Verdicts, any_names_its_own, judge
from batchlinks.ledger import Ledger
from batchlinks.next_steps import Do
from batchlinks.patients.id_spelling import ids_within
from batchlinks.pipeline.intake import Roster
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.result import Screened
from batchlinks.table import Table

_USUAL_SHARE = 0.05


def refuse_unanswered(
    screened: Screened,
    not_linked: Sequence[NotLinked],
    links: pa.Table,
    *,
    stopped_by: BatchlinksError | None,
    limited_to: int | None,
) -> None:
    """Every row that could be sent and has no link gets the reason. (Asked for anew, one may have the link of before.)"""
    without = pa.array([outcome.external_id for outcome in not_linked], pa.string())
    had_before = positions_among(without, links.column("external_id")).is_valid().to_pylist()
    not_linked = [outcome for outcome, had in zip(not_linked, had_before, strict=True) if not had]
    positions = screened.positions_of(pa.array([outcome.external_id for outcome in not_linked], pa.string()))
    for position, outcome in zip(positions.tolist(), not_linked, strict=True):
        screened.refuse(position, outcome.code, **outcome.gaps)
    sendable = np.flatnonzero(screened.sendable)
    places = positions_among(screened.ids.take(pa.array(sendable)), links.column("external_id"))
    left = sendable[places.is_null().to_numpy(zero_copy_only=False)]
    if (stopped := _why_stopped(stopped_by)) is not None:
        screened.refuse(left, ErrorCode.NOT_ATTEMPTED, reason=stopped, advice=Do.GO_ON)
    else:
        first = f"this run was limited to the first {limited_to}"
        screened.refuse(left, ErrorCode.NOT_ATTEMPTED, reason=first, advice=Do.LIFT_LIMIT)


def _why_stopped(error: BatchlinksError | None) -> str | None:
    if error is None:
        return None
    return {
        ExitCode.REFUSED: "HealthEx refused the credentials or the project, and the run was stopped",
        ExitCode.UNREACHABLE: "HealthEx could not be reached or kept failing, and the run was stopped",
        ExitCode.INTERRUPTED: "the run was interrupted",
    }.get(error.exit_code, "the run was stopped by a failure on this computer")


class LinkChecks:
    """Holds the links of one run against the IDs that they go to, by the rules of `healthex.whose_link`.

    Those that the ledger knows before the first call, each answer as it arrives (`judge`), and all of them again before
    anything is written.
    """

    def __init__(self, roster: Roster, screened: Screened, ledger: Ledger, host: str, *, strict: bool) -> None:
        self._screened = screened
        self._table = roster.table
        self._column = roster.id_column
        self._ledger = ledger
        self._host = host
        self._anew: set[str] = set()
        """IDs whose links were found wrong in the ledger: each is asked for anew once."""
        self._judged: tuple[pa.Table, tuple[Leniency, int], Verdicts] | None = None
        self.judge = AnswerJudge(
            host, self._known_ids(), _leniency(ledger, host, strict=strict), on_named=ledger.record_named
        )

    def to_ask_anew(self, links: pa.Table) -> dict[str, str]:
        """ID -> link, of those among the ledger's links that are not certain to be their patients'.

        Each is named once in a run.
        """
        ids, texts = links.column("external_id"), links.column("link")
        wrong = [position for position, refusal in self._judge_all(links).mismatched.items() if refusal.ask_again]
        chosen = pa.array(wrong, pa.int64())
        found = zip(ids.take(chosen).to_pylist(), texts.take(chosen).to_pylist(), strict=True)
        anew = {external_id: link for external_id, link in found if external_id not in self._anew}
        self._anew |= anew.keys()
        return anew

    def keep_certain(self, links: pa.Table) -> pa.Table:
        """The links that may be handed out. The rows of all others get the reason."""
        verdicts = self._judge_all(links)
        self._judged = None  # a million links, which are not needed here any more
        screened, ids = self._screened, links.column("external_id")
        if verdicts.unnamed:
            unnamed = screened.positions_of(ids.take(pa.array(verdicts.unnamed)))
            screened.warnings[WarningCode.UNNAMED_LINK] = sorted(self._table.row_numbers[unnamed].tolist())
        if not verdicts.mismatched:
            return links
        wrong = np.fromiter(verdicts.mismatched, dtype=np.int64)
        rows = screened.positions_of(ids.take(pa.array(wrong))).tolist()
        for row, refusal in zip(rows, verdicts.mismatched.values(), strict=True):
            if screened.code_at(row) is None:  # else it was asked for anew, and why that came to nothing is said
                screened.refuse(row, ErrorCode.LINK_MISMATCH, reason=refusal.reason)
        right = np.ones(len(ids), dtype=bool)
        right[wrong] = False
        return links.filter(pa.array(right))

    def _judge_all(self, links: pa.Table) -> Verdicts:
        seen_elsewhere = bool(self._ledger.naming().names)  # by a run beside this one
        self.judge.leniency = self.judge.leniency.having_seen(seen_elsewhere)
        rules = self.judge.leniency, len(self.judge.shared)
        if self._judged is not None and self._judged[0] is links and self._judged[1] == rules:
            return self._judged[2]  # the same links by the same rules: as a rule, all that were asked for are right
        verdicts = judge(
            links.column("external_id"),
            links.column("link"),
            host=self._host,
            known=self._known_ids(),
            leniency=self.judge.leniency,
            other_owners=self._ledger.other_owners,
            shared=self.judge.shared,
        )
        self.judge.note(named=verdicts.named)
        self._judged = links, (self.judge.leniency, len(self.judge.shared)), verdicts
        return verdicts

    def _known_ids(self) -> KnownIds:
        """Those of this moment: other runs may record links meanwhile."""
        sent = self._screened.ids.filter(pa.array(self._screened.sendable))
        return KnownIds(sent, lambda: ids_seen(self._screened, self._table, self._column), self._ledger)


def _leniency(ledger: Ledger, host: str, *, strict: bool) -> Leniency:
    """What the ledger says of the project's links; one that has no mark so far (of 0.2.0, or young) is looked through."""
    naming = ledger.naming()
    names = naming.names
    if names is None:
        number = 0
        for links in ledger.all_links():
            number += len(links)
            if any_names_its_own(links.column("external_id"), links.column("link"), host):
                names = True
                break
        if names or number >= DECIDED_FROM:
            ledger.decide_naming(bool(names))
    return Leniency(strict=strict, names=bool(names), accepted=naming.accepted_at is not None)


def ids_seen(screened: Screened, table: Table, column: IdColumn) -> Iterator[str]:
    """Every ID of the roster and the exclude list, whatever became of it; of a refused row all that may be meant by it."""
    yield from filter(None, screened.ids.to_pylist())
    yield from screened.excluded
    widths = _usual_lengths(screened.ids)
    refused = np.flatnonzero(screened.codes)
    cells = zip(*(table.column(part).take(pa.array(refused)).to_pylist() for part in column.parts), strict=True)
    for position, texts in zip(refused.tolist(), cells, strict=True):
        for text in (*texts, "".join(texts), screened.ids[position].as_py(), *table.ragged_fields.get(position, ())):
            for each in ids_within(text):
                yield each
                if each.isdigit():
                    yield from (each.zfill(width) for width in widths)


def _usual_lengths(ids: pa.Array) -> list[int]:
    """Of the all-digit IDs: to these the zeros may have been lost that others had."""
    digits = ids.filter(pc.match_substring_regex(ids, "^[0-9]+$"))
    lengths = pc.value_counts(pc.binary_length(digits)).to_pylist()
    return [each["values"] for each in lengths if each["counts"] >= _USUAL_SHARE * len(digits)]
