"""External IDs -> their links: many calls at once, retried where that can heal, stopped where it cannot.

A fixed number of workers takes IDs from one iterator, so a million of them cost no more memory than a hundred. An
ID and what became of it travel together as one value.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol

import tenacity

from batchlinks.config.secrets import Credentials
from batchlinks.errors import Interrupted, Refused, Unreachable
from batchlinks.healthex.api import (
    Answer,
    BadAnswer,
    Failed,
    HealthExApi,
    Issued,
    Lost,
    Rejected,
    Repeated,
    Throttled,
    Unauthorized,
)
from batchlinks.healthex.concurrency_limiter import FIRST_PAUSE_S, FailureCount, Permit, RequestLimiter
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.outcomes import Linked, NotLinked, Outcome, RequestCounts, RequestPolicy
from batchlinks.healthex.tokens import Token, Tokens
from batchlinks.healthex.whose_link import AnswerJudge, Refusal
from batchlinks.next_steps import Advice, Do
from batchlinks.row_codes import ErrorCode

_REFUSALS_IN_A_ROW = 5
_WITHOUT_A_LINK = 5
"""IDs that got nothing but answers without a link, from which on it is not HealthEx that answers."""
_UNNAMED_IN_A_ROW = 5
_WRONG_IN_A_ROW = 5
"""IDs in a row that never got a link of their own, after which HealthEx, or what is in between, mixes up its answers."""
_WORKERS = 16
"""At least so many IDs are at hand, whatever the calls in flight."""

_DRAIN_S = 5.0
"""How long a run that stops waits for the answers that are on their way, so that no link is issued and lost."""

_ABOUT_THE_RUN = frozenset({403, 404})


class LinkApi(Protocol):
    """The two calls of the API, wherever they are made: `healthex.api.HealthExApi` makes them here."""

    async def ask_link(self, external_id: str, token: str) -> Answer:
        """Ask for the link of one external ID."""

    async def fetch_token(self, key: str, secret: str) -> str | Throttled | Failed:
        """A token for the key and secret."""

    def distrust_connections(self) -> None:
        """Make no further call on a connection that is open now: an answer came that was another patient's."""


async def request_all(
    external_ids: Iterable[str],
    *,
    endpoint: Endpoint,
    credentials: Credentials,
    policy: RequestPolicy,
    judge: AnswerJudge,
    record: Callable[[Outcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
) -> None:
    """Ask for a link for each ID, and hand what became of it to `record` as soon as it is known.

    A link that `judge` refuses is asked for again, and never recorded. IDs that `record` never hears of were not
    settled: ask for them again in another run. Raises Refused, Unreachable or, when `stopping` was set, Interrupted;
    answers that were on their way then are still waited for and recorded.
    """
    async with HealthExApi(endpoint, timeout_s=policy.timeout_s) as api:
        await request_all_through(
            api,
            external_ids,
            credentials=credentials,
            policy=policy,
            judge=judge,
            record=record,
            stopping=stopping,
            counts=counts,
        )


async def request_all_through(
    api: LinkApi,
    external_ids: Iterable[str],
    *,
    credentials: Credentials,
    policy: RequestPolicy,
    judge: AnswerJudge,
    record: Callable[[Outcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
) -> None:
    """`request_all`, with the calls made by `api`."""
    requests = _Requests(api, credentials, policy, judge, record, counts)
    await requests.run(iter(external_ids), stopping)


class _Requests:
    def __init__(
        self,
        api: LinkApi,
        credentials: Credentials,
        policy: RequestPolicy,
        judge: AnswerJudge,
        record: Callable[[Outcome], None],
        counts: RequestCounts,
    ) -> None:
        self._api = api
        self._policy = policy
        self._judge = judge
        self._record = record
        self._counts = counts
        self._credentials = credentials
        # At a rate of less than a call for each patience, waiting for the next turn is no silence.
        self._patience_s = max(policy.patience_s, 2.0 / policy.rate if policy.rate else 0.0)
        self._limiter = RequestLimiter(concurrency=policy.concurrency, rate=policy.rate, patience_s=self._patience_s)
        self._tokens = Tokens(credentials, self._fetch_token)
        self._rejections = _Rejections(project_verified=policy.project_verified)
        self._never_a_link = 0
        """IDs so far whose every attempt was answered, and never with a link."""
        self._wrong_in_a_row = 0
        """IDs that got other patients' links to the end, since the last link that was right."""
        self._unnamed = _Unnamed()
        self._reason: Exception | None = None
        self._taken = 0
        self._exhausted = False
        self._calling: set[asyncio.Task[None]] = set()
        self._last_failure = "no answer"

    async def run(self, external_ids: Iterator[str], stopping: asyncio.Event) -> None:
        # The limiter bounds the calls. A few workers more, so that an ID that always fails holds up no other.
        workers = [
            asyncio.create_task(self._guarded(self._work(external_ids)))
            for _ in range(max(self._policy.concurrency, _WORKERS))
        ]
        helpers = [
            asyncio.create_task(self._guarded(self._watch(stopping))),
            asyncio.create_task(self._guarded(self._watch_patience())),
        ]
        running = set(workers)
        try:
            while running and self._reason is None:
                done, _ = await asyncio.wait({*running, *helpers}, return_when=asyncio.FIRST_COMPLETED)
                running -= done
            if self._reason is not None:
                await self._drain(workers)
        finally:
            await _cancel([*workers, *helpers])
        reason = self._reason or self._rejections.all_about_the_run()
        if not isinstance(reason, Refused):
            self._flush(self._rejections.settle())
        if self._unnamed.too_many:
            self._flush(_mismatch(external_id, refusal) for external_id, refusal in self._unnamed.open())
        if reason is not None:
            raise reason

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Whatever goes wrong in a task, a defect too, ends the run; none dies unseen."""
        try:
            await work
        except _Stopped:
            return
        except Exception as error:
            self._stop(error)

    # --- workers ---------------------------------------------------------------------------------------------

    async def _work(self, external_ids: Iterator[str]) -> None:
        while self._reason is None:
            external_id = next(external_ids, None)
            if external_id is None:
                self._exhausted = True
                return
            self._taken += 1
            await self._request_one(external_id)

    @property
    def _untried(self) -> bool:
        """Whether there is an ID that was not sent even once."""
        return not self._exhausted or self._taken > self._counts.requested

    async def _request_one(self, external_id: str) -> None:
        """Ask for one ID until there is an outcome, and record it."""
        failures = FailureCount(external_id)
        answer = await self._ask(external_id, failures)
        if isinstance(answer, Failed | BadAnswer | Refusal):
            answer = await self._ask_again(external_id, failures, answer)
        if failures.repeated and not isinstance(answer, Issued):
            self._judge.shared |= failures.repeated
        match answer:
            case Issued(link):
                self._flush(self._rejections.settle(issued=True))
                self._record(Linked(external_id, link))
            case Rejected(status):
                rejected = NotLinked(external_id, ErrorCode.REJECTED_BY_HEALTHEX, {"status": status})
                self._flush(self._rejections.add(status, rejected))
            case Refusal():
                self._unnamed.close(external_id)
                self._record(_mismatch(external_id, answer))
                self._wrong_in_a_row += answer.ask_again
                if self._wrong_in_a_row >= _WRONG_IN_A_ROW and self._untried:
                    raise _names_others()
            case BadAnswer(reason, looks):
                self._record(NotLinked(external_id, ErrorCode.BAD_ANSWER, {"reason": reason}))
                self._never_a_link += failures.bad_answers == failures.counted
                if self._never_a_link >= _WITHOUT_A_LINK and not self._rejections.issued:
                    raise _nobody_answers_with_links(self._never_a_link, looks)
            case Failed(reason):
                self._limiter.record_given_up(failures)
                gaps: dict[str, object] = {"reason": reason, "attempts": failures.counted}
                self._record(NotLinked(external_id, ErrorCode.GAVE_UP, gaps))

    async def _ask_again(
        self, external_id: str, failures: FailureCount, first: Failed | BadAnswer | Refusal
    ) -> "_Settled":
        """Back off and ask again, until an answer is final or the ID's attempts are used up."""
        answers: list[_Settled] = [first]

        async def next_answer() -> _Settled:
            return answers.pop() if answers else await self._retry(external_id, failures)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(_can_heal),
            stop=lambda _: failures.counted >= self._policy.max_attempts,
            wait=self._pause_s,
            retry_error_callback=_last_answer,
            sleep=self._sleep,
        )
        return await retrying(next_answer)

    def _pause_s(self, state: tenacity.RetryCallState) -> float:
        # Another patient's link heals on another connection, and not with time.
        return self._limiter.pause_s(1 if isinstance(_last_answer(state), Refusal) else state.attempt_number)

    async def _sleep(self, seconds: float) -> None:
        if self._reason is not None:
            raise _Stopped
        await asyncio.sleep(seconds)

    async def _retry(self, external_id: str, failures: FailureCount) -> "_Settled":
        self._counts.retries += 1
        return await self._ask(external_id, failures)

    async def _ask(self, external_id: str, failures: FailureCount) -> "_Settled":
        """One attempt: one call, and more only where the token had died or the server said to wait."""
        while self._reason is None:
            token = await self._tokens.current()
            permit = await self._limiter.enter()
            if token.refused:  # while this call waited for its turn
                self._limiter.not_used()
                continue
            if not failures.first_call:
                failures.first_call = permit.number
                self._counts.requested += 1
            answer = await self._call(external_id, token)
            match answer:
                case Issued(link):
                    refusal = self._judge.refusal(external_id, link)
                    if refusal is not None:
                        return self._refuse(external_id, refusal, permit, failures)
                    self._unnamed.clear()
                    self._wrong_in_a_row = 0
                    self._limiter.record_success(permit)
                    return answer
                case Repeated(link):
                    refusal = self._judge.refusal(external_id, link, repeated=True)
                    if refusal is not None:
                        failures.repeated.add(link)
                        return self._refuse(external_id, refusal, permit, failures)
                    self._limiter.record_success(permit)
                    return Issued(link)
                case Rejected():
                    self._limiter.record_success(permit, widen=self._rejections.issued)
                    return answer
                case BadAnswer():
                    failures.counted += 1
                    failures.bad_answers += 1
                    self._limiter.record_success(permit, widen=self._rejections.issued)
                    return answer
                case Failed():
                    self._last_failure = answer.reason
                    self._limiter.failed(permit, failures, reached=answer.reached, untried=self._untried)
                    return answer
                case Throttled(wait_s):
                    self._counts.retries += 1
                    self._last_failure = "it said to wait"
                    await self._sleep(self._limiter.throttled(permit, wait_s))
                case Unauthorized():
                    self._counts.retries += 1
                    token.refused = True
                    self._limiter.answered()
                case Lost(reason):
                    self._counts.retries += 1
                    self._last_failure = reason
                    self._limiter.not_used()
        raise _Stopped

    def _refuse(self, external_id: str, refusal: Refusal, permit: Permit, failures: FailureCount) -> Refusal:
        """The link is not certain to be this patient's. Raises Unreachable where none of them is any more."""
        failures.counted += 1
        self._limiter.record_success(permit, widen=self._rejections.issued)
        if refusal.ask_again:
            self._api.distrust_connections()
        if refusal.breaks_custom:
            self._unnamed.add(external_id, refusal)
            if self._unnamed.too_many:
                raise _names_nobody()
        return refusal

    async def _call(self, external_id: str, token: Token) -> Answer:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 every worker is a task
        self._calling.add(task)
        self._counts.calls += 1
        token.sent()
        answer: Answer | None = None
        try:
            answer = await self._api.ask_link(external_id, token.text)
        finally:
            self._calling.discard(task)
            token.answered(accepted=isinstance(answer, Issued | Repeated | Rejected))
            if answer is None:
                self._limiter.not_used()
        return answer

    def _flush(self, outcomes: Iterable[NotLinked]) -> None:
        for outcome in outcomes:
            self._record(outcome)

    # --- the token ---------------------------------------------------------------------------------------------

    async def _fetch_token(self) -> str:
        """Sign in, again and again while the server fails, for as long as the patience lasts."""
        retries = 0
        while True:
            answer = await self._api.fetch_token(self._credentials.key, self._credentials.secret)
            if isinstance(answer, str):
                return answer
            retries += 1
            pause = min(self._limiter.pause_s(retries) + FIRST_PAUSE_S, max(0.2, self._patience_s / 4))
            if isinstance(answer, Failed):
                self._last_failure = answer.reason
            else:
                self._last_failure = "it said to wait, at the sign-in"
                if answer.wait_s is not None:
                    self._limiter.retry_after(answer.wait_s)
                    pause = max(answer.wait_s, pause)
            await asyncio.sleep(pause)

    # --- stopping ----------------------------------------------------------------------------------------------

    def _stop(self, reason: Exception) -> None:
        """The first reason counts."""
        if self._reason is None:
            self._reason = reason

    async def _watch(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._stop(interrupted())

    async def _watch_patience(self) -> None:
        while True:
            left = self._patience_s - self._limiter.seconds_without_success()
            if left <= 0 and (self._untried or not self._limiter.only_stragglers):
                break
            await asyncio.sleep(max(left, 0.05))
        self._stop(
            Unreachable(
                f"HealthEx could not be reached, or kept failing, for {self._patience_s:g} seconds "
                f"({self._last_failure}). ",
                Advice(Do.GO_ON),
            )
        )

    async def _drain(self, workers: list[asyncio.Task[None]]) -> None:
        """Let the answers that are on their way arrive, and wake everybody who waits for something else."""
        for worker in workers:
            if worker not in self._calling:
                worker.cancel()
        if self._calling:
            await asyncio.wait(self._calling, timeout=_DRAIN_S)


def interrupted() -> Interrupted:
    """What ends a run that was told to stop."""
    return Interrupted("Interrupted. ", Advice(Do.GO_ON))


_Settled = Issued | Refusal | Rejected | BadAnswer | Failed


class _Stopped(Exception):
    """Leaves an ID alone, from wherever its worker is."""


async def _cancel(tasks: "Iterable[asyncio.Task[None]]") -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _last_answer(state: tenacity.RetryCallState) -> _Settled:
    assert state.outcome is not None  # noqa: S101 tenacity calls this after an attempt
    answer: _Settled = state.outcome.result()
    return answer


def _nobody_answers_with_links(ids: int, looks: str) -> Unreachable:
    return Unreachable(
        f"{ids} patients in a row got answers without a link, and nobody got one (the latest: {looks}). Something between this "
        "computer and HealthEx may be answering in its place, such as a sign-in page. Ask IT to look at it, then run the same "
        "command again."
    )


def _can_heal(answer: _Settled) -> bool:
    return answer.ask_again if isinstance(answer, Refusal) else isinstance(answer, Failed | BadAnswer)


def _mismatch(external_id: str, refusal: Refusal) -> NotLinked:
    return NotLinked(external_id, ErrorCode.LINK_MISMATCH, {"reason": refusal.reason})


class _Unnamed:
    """Links that name nobody, one after the other, in a project whose links name their patients."""

    def __init__(self) -> None:
        self._refused: dict[str, Refusal | None] = {}
        """By external ID; None once its outcome is recorded."""

    @property
    def too_many(self) -> bool:
        return len(self._refused) >= _UNNAMED_IN_A_ROW

    def add(self, external_id: str, refusal: Refusal) -> None:
        self._refused[external_id] = refusal

    def close(self, external_id: str) -> None:
        """Its outcome is recorded."""
        if external_id in self._refused:
            self._refused[external_id] = None

    def clear(self) -> None:
        """A link is right."""
        if self._refused:
            self._refused.clear()

    def open(self) -> list[tuple[str, Refusal]]:
        """Those whose outcome is not recorded."""
        return [(external_id, refusal) for external_id, refusal in self._refused.items() if refusal is not None]


def _names_nobody() -> Unreachable:
    return Unreachable(
        f"HealthEx sent links that name no patient for {_UNNAMED_IN_A_ROW} patients in a row, although the links of this project "
        "have named their patients so far. None of them was used, since nobody can tell whose they are. Run the same command "
        "again later. If it stays so, IT asks HealthEx whether that is meant, and only then allows it: `batchlinks ledger "
        "accept-unnamed`."
    )


def _names_others() -> Unreachable:
    return Unreachable(
        f"HealthEx sent other patients' links for {_WRONG_IN_A_ROW} patients in a row, at every try. None of them was used. "
        "HealthEx, or something between it and this computer, may be mixing up its answers. Ask IT to look at it, then run the "
        "same command again."
    )


class _Rejections:
    """4xx answers that may be about the run and not about their IDs: held back until that is clear."""

    def __init__(self, *, project_verified: bool) -> None:
        self.issued = False
        self._opening = not project_verified
        """Neither a link nor two different refusals so far."""
        self._streak: list[tuple[int, NotLinked]] = []

    def add(self, status: int, outcome: NotLinked) -> list[NotLinked]:
        """Take one more; gives back those that are clear by now. Raises Refused when the run makes no sense."""
        self._streak.append((status, outcome))
        alike = len({status for status, _ in self._streak}) == 1
        if not (alike if self._opening else status in _ABOUT_THE_RUN):
            return self.settle()
        if len(self._streak) >= _REFUSALS_IN_A_ROW:
            raise _project_refused(status)
        return []

    def settle(self, *, issued: bool = False) -> list[NotLinked]:
        """They were about their IDs after all."""
        self.issued = self.issued or issued
        self._opening = False
        outcomes = [outcome for _, outcome in self._streak]
        self._streak.clear()
        return outcomes

    def all_about_the_run(self) -> Refused | None:
        """At the end of a short run: was everything that was asked refused for the same reason?"""
        statuses = {status for status, _ in self._streak}
        if self._opening and statuses and statuses <= _ABOUT_THE_RUN:
            return _project_refused(statuses.pop())
        return None


def _project_refused(status: int) -> Refused:
    return Refused(
        f"HealthEx refused one patient after the other in the same way (answer {status}). Check that the project ID is right, "
        "that the project is active, and that the API key belongs to it."
    )
