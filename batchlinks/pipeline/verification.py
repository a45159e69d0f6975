"""After the calls: every row that could be sent has a link that is certainly its own, or the reason why not."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.advice import Do
from batchlinks.arrow import positions_among
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.healthex.links import judge
from batchlinks.ledger import Ledger
from batchlinks.pipeline.requests import Asked
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.result import Screened
from batchlinks.table import Table


def refuse_unanswered(screened: Screened, asked: Asked, links: pa.Table, *, limited_to: int | None) -> None:
    """Every row that could be sent and has no link gets the reason."""
    positions = screened.positions_of(pa.array([outcome.external_id for outcome in asked.not_linked], pa.string()))
    for position, outcome in zip(positions.tolist(), asked.not_linked, strict=True):
        screened.refuse(position, outcome.code, **outcome.gaps)
    sendable = np.flatnonzero(screened.sendable)
    places = positions_among(screened.ids.take(pa.array(sendable)), links.column("external_id"))
    left = sendable[places.is_null().to_numpy(zero_copy_only=False)]
    if (stopped := _why_stopped(asked.stopped_by)) is not None:
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


def judged(
    screened: Screened, table: Table, links: pa.Table, link_host: str, ledger: Ledger, *, strict: bool
) -> pa.Table:
    """The links that may be handed out. Each is held against the ID it goes to, whether new or known."""
    ids, texts = links.column("external_id"), links.column("link")

    def known_ids(names: Collection[str]) -> set[str]:
        candidates = pa.array(sorted(names), pa.string())
        in_roster = candidates.filter(pc.is_in(candidates, value_set=screened.ids))
        return set(in_roster.to_pylist()) | ledger.known(names)

    verdicts = judge(ids, texts, host=link_host, strict=strict, known_ids=known_ids, other_owners=ledger.other_owners)
    if verdicts.unnamed:
        unnamed = screened.positions_of(ids.take(pa.array(verdicts.unnamed)))
        screened.warnings[WarningCode.UNNAMED_LINK] = sorted(table.row_numbers[unnamed].tolist())
    if not verdicts.mismatched:
        return links
    wrong = np.fromiter(verdicts.mismatched, dtype=np.int64)
    for position, reason in zip(
        screened.positions_of(ids.take(pa.array(wrong))).tolist(), verdicts.mismatched.values(), strict=True
    ):
        screened.refuse(position, ErrorCode.LINK_MISMATCH, reason=reason)
    right = np.ones(len(ids), dtype=bool)
    right[wrong] = False
    return links.filter(pa.array(right))
