"""Before any link is asked for or handed out: who has consented is left out, and whoever may have is held back."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.config.settings import StatusSettings
from batchlinks.logs import logger
from batchlinks.next_steps import Do
from batchlinks.pipeline.consent_answers import ConsentRequester, log_failures
from batchlinks.pipeline.missing_links import RequestPlan
from batchlinks.plural import counted
from batchlinks.responses.asking import AskingRule
from batchlinks.responses.judgment import Response
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.result import Screened


def leave_out_consented(plan: RequestPlan, screened: Screened, requester: ConsentRequester) -> None:
    """Take patients who have consented, or of whom it is not known, out of the plan; their rows get the reason.

    What stopped the asking stops the plan: no link is asked for then. Raises it where it is known of nobody.
    """
    ids = pa.concat_arrays([plan.known.column("external_id").combine_chunks(), plan.to_send])
    rule = AskingRule(datetime.now(UTC), timedelta(hours=StatusSettings().max_age))
    result = requester.ask(ids, rule)
    log_failures(result)
    by_response: dict[Response, list[str]] = {}
    for external_id, answer in result.answers.items():
        by_response.setdefault(answer.response, []).append(external_id)
    unknown = by_response.get(Response.UNKNOWN, [])
    if result.stopped_by is not None and len(unknown) == len(ids):
        raise result.stopped_by
    consented = by_response.get(Response.CONSENTED, [])
    for position, external_id in zip(_positions(screened, consented), consented, strict=True):
        asked_at = result.answers[external_id].asked_at
        day = (asked_at or rule.now).astimezone().date().isoformat()
        screened.refuse(position, ErrorCode.HAS_CONSENTED, day=day)
    for position in _positions(screened, unknown):
        screened.refuse(
            position,
            ErrorCode.NOT_ATTEMPTED,
            reason="it isn't known whether this patient has consented",
            advice=Do.GO_ON,
        )
    if consented:
        logger().info(f"{counted(len(consented), 'patient')} left out: HealthEx shows that they have consented.")
    _leave_out(plan, [*consented, *unknown])
    plan.stopped_by = result.stopped_by


def _positions(screened: Screened, ids: list[str]) -> list[int]:
    positions: list[int] = screened.positions_of(pa.array(ids, pa.string())).tolist()
    return positions


def _leave_out(plan: RequestPlan, ids: list[str]) -> None:
    gone = pa.array(ids, pa.string())
    plan.known = plan.known.filter(pc.invert(pc.is_in(plan.known.column("external_id"), value_set=gone)))
    plan.to_send = plan.to_send.filter(pc.invert(pc.is_in(plan.to_send, value_set=gone)))
    left_out = frozenset(ids)
    plan.suspect = {one: link for one, link in plan.suspect.items() if one not in left_out}
