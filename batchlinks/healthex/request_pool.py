"""External IDs -> what HealthEx says of each: many calls at once, retried where that can heal, stopped where it cannot.

A fixed number of workers takes IDs from one iterator, so a million of them cost no more memory than a hundred. An
ID and what became of it travel together as one value. What is asked, and what an answer to it comes to, is an `Inquiry`:
`link_inquiry` asks for links, `consent_inquiry` who has consented.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import tenacity

from batchlinks.config.secrets import Credentials
from batchlinks.errors import Interrupted, Refused, Unreachable
from batchlinks.healthex.api import (
    Answer,
    BadAnswer,
    ConsentsShown,
    Failed,
    Issued,
    Lost,
    Rejected,
    Repeated,
    Throttled,
    Unauthorized,
)
from batchlinks.healthex.concurrency_limiter import FIRST_PAUSE_S, FailureCount, Permit, RequestLimiter
from batchlinks.healthex.outcomes import RequestCounts, RequestPolicy
from batchlinks.healthex.tokens import Token, Tokens
from batchlinks.healthex.whose_link import Refusal
from batchlinks.next_steps import Advice, Do

_REFUSALS_IN_A_ROW = 5
_NEVER_WANTED = 5
"""IDs that got nothing but answers of another kind, from which on it is not HealthEx that answers."""
_WORKERS = 16
"""At least so many IDs are at hand, whatever the calls in flight."""

_DRAIN_S = 5.0
"""How long a run that stops waits for the answers that are on their way, so that no link is issued and lost."""

_ABOUT_THE_RUN = frozenset({403, 404})

Wanted = Issued | ConsentsShown
"""An answer that is what was asked for."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """No call was made any more: this patient is not to be contacted."""


Settled = Wanted | Refusal | Rejected | BadAnswer | Failed | Withheld
"""What the attempts for one ID end with."""

_Outcome = TypeVar("_Outcome")
_Outcome_co = TypeVar("_Outcome_co", covariant=True)


class SignIn(Protocol):
    """Where tokens come from: `healthex.api.HealthExApi` asks for them."""

    async def fetch_token(self, key: str, secret: str) -> str | Throttled | Failed:
        """A token for the key and secret."""


class Inquiry(Protocol[_Outcome_co]):
    """What is asked about each ID, and what the answers come to."""

    async def ask(self, external_id: str, token: str) -> Answer:
        """One call."""

    def judge(
        self, external_id: str, answer: Issued | Repeated | ConsentsShown, failures: FailureCount, /
    ) -> Wanted | Refusal:
        """Whether an answer of the right kind is certain to be this ID's. One that is refused is not recorded."""

    def note_refusal(self, external_id: str, refusal: Refusal) -> None:
        """An attempt ended so. Raises Unreachable where it makes no sense to go on."""

    def outcome(self, external_id: str, answer: Settled, failures: FailureCount) -> _Outcome_co:
        """What is recorded of an ID whose attempts have ended."""

    def check(self, answer: Settled, *, untried: bool) -> None:
        """After an outcome was recorded. Raises Unreachable where it makes no sense to go on with IDs that are `untried`."""

    def left_open(self) -> Iterable[_Outcome_co]:
        """At the end: outcomes of IDs that were given up with the run."""

    def all_refused(self, status: int) -> Refused:
        """What ends the run where one ID after the other is refused in the same way."""

    def never_answered(self, ids: int, looks: str) -> Unreachable:
        """What ends the run where so many IDs got nothing but answers of another kind, the latest of which `looks` so."""


def withhold_nobody(_external_id: str) -> bool:
    """Every call may be made."""
    return False


async def request_all(
    external_ids: Iterable[str],
    inquiry: Inquiry[_Outcome],
    *,
    sign_in: SignIn,
    credentials: Credentials,
    policy: RequestPolicy,
    record: Callable[[_Outcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
    withholds: Callable[[str], bool] = withhold_nobody,
) -> None:
    """Inquire about each ID, and hand what became of it to `record` as soon as it is known.

    An answer that the inquiry refuses is asked for again, and never recorded. `withholds` is asked before each call whether it
    must not be made, since somebody said no in the meantime. IDs that `record` never hears of were not
    settled: ask for them again in another run. Raises Refused, Unreachable or, when `stopping` was set, Interrupted;
    answers that were on their way then are still waited for and recorded.
    """
    requests = _Requests(inquiry, sign_in, credentials, policy, record, counts, withholds)
    await requests.run(iter(external_ids), stopping)


class _Requests(Generic[_Outcome]):
    def __init__(
        self,
        inquiry: Inquiry[_Outcome],
        sign_in: SignIn,
        credentials: Credentials,
        policy: RequestPolicy,
        record: Callable[[_Outcome], None],
        counts: RequestCounts,
        withholds: Callable[[str], bool],
    ) -> None:
        self._withholds = withholds
        self._inquiry = inquiry
        self._sign_in = sign_in
        self._policy = policy
        self._record = record
        self._counts = counts
        self._credentials = credentials
        # At a rate of less than a call for each patience, waiting for the next turn is no silence.
        self._patience_s = max(policy.patience_s, 2.0 / policy.rate if policy.rate else 0.0)
        self._limiter = RequestLimiter(concurrency=policy.concurrency, rate=policy.rate, patience_s=self._patience_s)
        self._tokens = Tokens(credentials, self._fetch_token)
        self._rejections = _Rejections(inquiry, project_verified=policy.project_verified)
        self._never_wanted = 0
        """IDs so far whose every attempt was answered, and never with what was asked for."""
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
        self._flush(self._inquiry.left_open())
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
        outcome = self._inquiry.outcome(external_id, answer, failures)
        match answer:
            case Rejected(status):
                self._flush(self._rejections.add(status, outcome))
            case Refusal():
                self._record(outcome)
            case BadAnswer():
                self._record(outcome)
                self._count_never_wanted(answer, failures)
            case Withheld():
                self._taken -= not failures.first_call
                self._limiter.record_given_up(failures)
                self._record(outcome)
            case Failed():
                self._limiter.record_given_up(failures)
                self._record(outcome)
            case _:
                self._flush(self._rejections.settle(succeeded=True))
                self._record(outcome)
        self._inquiry.check(answer, untried=self._untried)

    def _count_never_wanted(self, answer: BadAnswer, failures: FailureCount) -> None:
        self._never_wanted += failures.bad_answers == failures.counted
        if self._never_wanted >= _NEVER_WANTED and not self._rejections.succeeded:
            raise self._inquiry.never_answered(self._never_wanted, answer.looks)

    async def _ask_again(
        self, external_id: str, failures: FailureCount, first: Failed | BadAnswer | Refusal
    ) -> Settled:
        """Back off and ask again, until an answer is final or the ID's attempts are used up."""
        answers: list[Settled] = [first]

        async def next_answer() -> Settled:
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

    async def _retry(self, external_id: str, failures: FailureCount) -> Settled:
        self._counts.retries += 1
        return await self._ask(external_id, failures)

    async def _ask(self, external_id: str, failures: FailureCount) -> Settled:
        """One attempt: one call, and more only where the token had died or the server said to wait."""
        while self._reason is None:
            token = await self._tokens.current()
            permit = await self._limiter.enter()
            if token.refused:  # while this call waited for its turn
                self._limiter.not_used()
                continue
            if self._withholds(external_id):
                self._limiter.not_used()
                return Withheld()
            if not failures.first_call:
                failures.first_call = permit.number
                self._counts.requested += 1
            answer = await self._call(external_id, token)
            match answer:
                case Issued() | Repeated() | ConsentsShown():
                    judged = self._inquiry.judge(external_id, answer, failures)
                    if isinstance(judged, Refusal):
                        return self._refuse(external_id, judged, permit, failures)
                    self._limiter.record_success(permit)
                    return judged
                case Rejected():
                    self._limiter.record_success(permit, widen=self._rejections.succeeded)
                    return answer
                case BadAnswer():
                    failures.counted += 1
                    failures.bad_answers += 1
                    self._limiter.record_success(permit, widen=self._rejections.succeeded)
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
        """The answer is not certain to be this patient's. Raises Unreachable where none of them is any more."""
        failures.counted += 1
        self._limiter.record_success(permit, widen=self._rejections.succeeded)
        self._inquiry.note_refusal(external_id, refusal)
        return refusal

    async def _call(self, external_id: str, token: Token) -> Answer:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 every worker is a task
        self._calling.add(task)
        self._counts.calls += 1
        token.sent()
        answer: Answer | None = None
        try:
            answer = await self._inquiry.ask(external_id, token.text)
        finally:
            self._calling.discard(task)
            token.answered(accepted=isinstance(answer, Issued | Repeated | ConsentsShown | Rejected))
            if answer is None:
                self._limiter.not_used()
        return answer

    def _flush(self, outcomes: Iterable[_Outcome]) -> None:
        for outcome in outcomes:
            self._record(outcome)

    # --- the token ---------------------------------------------------------------------------------------------

    async def _fetch_token(self) -> str:
        """Sign in, again and again while the server fails, for as long as the patience lasts."""
        retries = 0
        while True:
            answer = await self._sign_in.fetch_token(self._credentials.key, self._credentials.secret)
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


class _Stopped(Exception):
    """Leaves an ID alone, from wherever its worker is."""


async def _cancel(tasks: "Iterable[asyncio.Task[None]]") -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _last_answer(state: tenacity.RetryCallState) -> Settled:
    assert state.outcome is not None  # noqa: S101 tenacity calls this after an attempt
    answer: Settled = state.outcome.result()
    return answer


def _can_heal(answer: Settled) -> bool:
    return answer.ask_again if isinstance(answer, Refusal) else isinstance(answer, Failed | BadAnswer)


class _Rejections(Generic[_Outcome]):
    """4xx answers that may be about the run and not about their IDs: held back until that is clear."""

    def __init__(self, inquiry: Inquiry[_Outcome], *, project_verified: bool) -> None:
        self._inquiry = inquiry
        self.succeeded = False
        self._opening = not project_verified
        """Neither a success nor two different refusals so far."""
        self._streak: list[tuple[int, _Outcome]] = []

    def add(self, status: int, outcome: _Outcome) -> list[_Outcome]:
        """Take one more; gives back those that are clear by now. Raises Refused when the run makes no sense."""
        self._streak.append((status, outcome))
        alike = len({status for status, _ in self._streak}) == 1
        if not (alike if self._opening else status in _ABOUT_THE_RUN):
            return self.settle()
        if len(self._streak) >= _REFUSALS_IN_A_ROW:
            raise self._inquiry.all_refused(status)
        return []

    def settle(self, *, succeeded: bool = False) -> list[_Outcome]:
        """They were about their IDs after all."""
        self.succeeded = self.succeeded or succeeded
        self._opening = False
        outcomes = [outcome for _, outcome in self._streak]
        self._streak.clear()
        return outcomes

    def all_about_the_run(self) -> Refused | None:
        """At the end of a short run: was everything that was asked refused for the same reason?"""
        statuses = {status for status, _ in self._streak}
        if self._opening and statuses and statuses <= _ABOUT_THE_RUN:
            return self._inquiry.all_refused(statuses.pop())
        return None
