"""The links that are not known yet: which IDs are to be sent, the calls, and each answer into the ledger as it comes."""

import functools
import importlib.util
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import frees_memory, positions_among
from batchlinks.config.secrets import Credentials
from batchlinks.config.settings import RunSettings
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.outcomes import Linked, NotLinked, Outcome, RequestCounts
from batchlinks.healthex.whose_link import AnswerJudge
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.next_steps import Setting
from batchlinks.pipeline.call_loop import one_by_one, request_policy, run_until_told_to_stop
from batchlinks.pipeline.contact_guard import ContactGuard
from batchlinks.pipeline.context import RunHooks
from batchlinks.pipeline.link_verification import LinkChecks
from batchlinks.screening.result import Screened


@dataclass(slots=True)
class RequestPlan:
    """Which patients of a run have a link already, and which are requested."""

    known: pa.Table = field(repr=False)
    """As `Ledger.links_for` tells them."""

    to_send: pa.Array = field(repr=False)
    """External IDs, in roster order."""

    suspect: Mapping[str, str] = field(repr=False)
    """External ID -> the link in the ledger that may be another patient's: it is requested anew, once."""

    is_limited: bool
    """Whether only the first patients are taken, to try it out: whoever is in its workbook is handed out later as well."""

    stopped_by: BatchlinksError | None = None
    """What ended the run before its first call for a link: none is made then."""

    def take_known(self) -> pa.Table:
        """The known links. The plan lets go of them: a million take 150 MB."""
        known, self.known = self.known, self.known.slice(0, 0)
        return known


@dataclass(slots=True)
class RequestResult:
    """What became of the IDs that were sent."""

    counts: RequestCounts = field(default_factory=RequestCounts)
    issued: list[str] = field(default_factory=list, repr=False)
    not_linked: list[NotLinked] = field(default_factory=list)
    stopped_by: BatchlinksError | None = None

    def add_second_round(self, later: "RequestResult", *, sent_before: int) -> None:
        """Some were requested again, `sent_before` of them for the second time."""
        self.counts.requested += max(0, later.counts.requested - sent_before)
        self.counts.calls += later.counts.calls
        self.counts.retries += later.counts.retries
        self.issued += later.issued
        self.not_linked += later.not_linked
        self.stopped_by = later.stopped_by


@frees_memory
def plan_requests(screened: Screened, checks: LinkChecks, ledger: Ledger, *, limit: int | None) -> RequestPlan:
    """What the ledger knows of the patients that can be sent, the first `limit` of them, and what it does not."""
    sendable = screened.sendable if limit is None else screened.sendable & (np.cumsum(screened.sendable) <= limit)
    wanted = screened.ids.filter(pa.array(sendable))
    known = ledger.links_for(wanted)
    suspect = checks.to_ask_anew(known)
    known = _without(suspect, known)
    to_send = wanted.filter(positions_among(wanted, known.column("external_id")).is_null())
    return RequestPlan(known, to_send, suspect, is_limited=len(wanted) < int(screened.sendable.sum()))


@dataclass(frozen=True, slots=True)
class LinkRequester:
    """Requests links of one project, and puts each answer into the ledger as it comes."""

    endpoint: Endpoint
    credentials: Credentials
    settings: RunSettings
    ledger: Ledger
    checks: LinkChecks
    guard: ContactGuard
    hooks: RunHooks

    def request_links(self, plan: RequestPlan) -> tuple[pa.Table, RequestResult]:
        """The known links and those that were requested now, as `Ledger.links_for` tells them, and how it went.

        What stops it is a value here: what was answered is still written. Raises SettingsError where no call could be
        made at all.
        """
        if plan.stopped_by is not None:
            return plan.take_known(), RequestResult(stopped_by=plan.stopped_by)
        result = self._request(plan.to_send, plan.suspect, project_verified=plan.known.num_rows > 0)
        links = plan.take_known()
        if not len(plan.to_send):
            return links, result
        # Where all are asked for anew, whoever got no new link keeps the one of before.
        links = pa.concat_tables([links, self.ledger.links_for(plan.to_send, earlier_too=self.settings.refresh)])
        if result.stopped_by is None and (suspect := self.checks.to_ask_anew(links)):
            links = self._request_again(suspect, links, plan.to_send, result)
        return links, result

    def _request_again(
        self, suspect: Mapping[str, str], links: pa.Table, sent_before: pa.Array, result: RequestResult
    ) -> pa.Table:
        """Request anew what later answers show to be wrong. Returns all links as they are then."""
        log_suspect_links(suspect)
        ids = pa.array(suspect, pa.string())
        try:
            later = self._request(ids, suspect, project_verified=True)
        except SettingsError:  # a cluster that is gone since: they stay refused
            return links
        result.add_second_round(later, sent_before=pc.sum(pc.is_in(ids, sent_before)).as_py())
        return pa.concat_tables([_without(suspect, links), self.ledger.links_for(ids)])

    def _request(self, ids: pa.Array, suspect: Mapping[str, str], *, project_verified: bool) -> RequestResult:
        """`project_verified`: HealthEx issued links for this project before."""
        result = RequestResult()
        if not len(ids):
            return result
        settings, ledger, progress = self.settings, self.ledger, self.hooks.progress

        def record(outcome: Outcome) -> None:
            if isinstance(outcome, Linked):
                result.issued.append(outcome.external_id)
                old = suspect.get(outcome.external_id)
                ledger.record(outcome.external_id, outcome.link, replace=settings.refresh, instead_of=old)
            else:
                result.not_linked.append(outcome)
            progress.advance(linked=isinstance(outcome, Linked))

        policy = request_policy(settings, len(ids), project_verified=project_verified)
        progress.start(len(ids))
        try:
            run_until_told_to_stop(
                lambda stopping: _choose_caller(settings)(
                    one_by_one(ids),
                    endpoint=self.endpoint,
                    credentials=self.credentials,
                    policy=policy,
                    judge=self.judge,
                    record=record,
                    stopping=stopping,
                    counts=result.counts,
                    withholds=self.guard.withholds,
                ),
                self.hooks.interruption,
            )
        except SettingsError:
            raise
        except BatchlinksError as error:
            result.stopped_by = error
        finally:
            progress.finish()
        try:
            ledger.flush()  # however it ended: the latest answers are part of the results
        except BatchlinksError as error:
            result.stopped_by = error
        return result

    @property
    def judge(self) -> AnswerJudge:
        """Says of each answer whether it may be recorded."""
        return self.checks.judge


def require_cluster_installed(settings: RunSettings) -> None:
    """Raises SettingsError where what makes the calls is not installed: to be said before the roster is read."""
    if (settings.cluster or settings.workers) and importlib.util.find_spec("distributed") is None:
        raise SettingsError(
            "batchlinks[cluster] is not installed, and ",
            Setting("cluster"),
            " and ",
            Setting("workers"),
            ' need it: pip install "batchlinks[cluster]".',
        )


def log_suspect_links(external_ids: Collection[str]) -> None:
    """Say how many links are requested anew since they may be other patients'."""
    if external_ids:
        number = len(external_ids)
        one = "1 link may be another patient's. It isn't handed out; a new one is requested."
        many = f"{number:,} links may be other patients'. They aren't handed out; new ones are requested."
        logger().warning(one if number == 1 else many, links=number)


def _without(external_ids: Collection[str], links: pa.Table) -> pa.Table:
    """Itself where none of these IDs is to be left out."""
    if not external_ids:
        return links
    return links.filter(pc.invert(pc.is_in(links.column("external_id"), pa.array(external_ids, pa.string()))))


def _choose_caller(settings: RunSettings) -> Callable[..., Coroutine[Any, Any, None]]:
    """`request_links`, with the calls made here or by the workers of a cluster.

    Imported here: the HTTP client takes a quarter of a second, and most nights every link is known.
    """
    if settings.cluster or settings.workers:
        from batchlinks.cluster import cluster_calls

        return functools.partial(cluster_calls.request_links, scheduler=settings.cluster, workers=settings.workers)
    from batchlinks.healthex.link_inquiry import request_links

    return request_links
