"""Asking for links: which are certain to be their patients', and when it makes no sense to go on."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from batchlinks.config.secrets import Credentials
from batchlinks.errors import Refused, Unreachable
from batchlinks.healthex.api import Answer, BadAnswer, ConsentsShown, Failed, HealthExApi, Issued, Rejected, Repeated
from batchlinks.healthex.concurrency_limiter import FailureCount
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.outcomes import Linked, NotLinked, Outcome, RequestCounts, RequestPolicy
from batchlinks.healthex.request_pool import Settled, SignIn, Wanted, Withheld, request_all, withhold_nobody
from batchlinks.healthex.whose_link import AnswerJudge, Refusal
from batchlinks.row_codes import ErrorCode

_UNNAMED_IN_A_ROW = 5
_WRONG_IN_A_ROW = 5
"""IDs in a row that never got a link of their own, after which HealthEx, or what is in between, mixes up its answers."""


class LinkApi(SignIn, Protocol):
    """The calls that links take, wherever they are made: `healthex.api.HealthExApi` makes them here."""

    async def ask_link(self, external_id: str, token: str) -> Answer:
        """Ask for the link of one external ID."""

    def distrust_connections(self) -> None:
        """Make no further call on a connection that is open now: an answer came that was another patient's."""


async def request_links(
    external_ids: Iterable[str],
    *,
    endpoint: Endpoint,
    credentials: Credentials,
    policy: RequestPolicy,
    judge: AnswerJudge,
    record: Callable[[Outcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
    withholds: Callable[[str], bool] = withhold_nobody,
) -> None:
    """Ask for a link for each ID, as `request_pool.request_all` does. A link that `judge` refuses is never recorded."""
    async with HealthExApi(endpoint, timeout_s=policy.timeout_s) as api:
        await request_links_through(
            api,
            external_ids,
            credentials=credentials,
            policy=policy,
            judge=judge,
            record=record,
            stopping=stopping,
            counts=counts,
            withholds=withholds,
        )


async def request_links_through(
    api: LinkApi,
    external_ids: Iterable[str],
    *,
    credentials: Credentials,
    policy: RequestPolicy,
    judge: AnswerJudge,
    record: Callable[[Outcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
    withholds: Callable[[str], bool] = withhold_nobody,
) -> None:
    """`request_links`, with the calls made by `api`."""
    await request_all(
        external_ids,
        LinkInquiry(api, judge),
        sign_in=api,
        credentials=credentials,
        policy=policy,
        record=record,
        stopping=stopping,
        counts=counts,
        withholds=withholds,
    )


class LinkInquiry:
    """Asks for links. `judge` says of each answer whose it is."""

    def __init__(self, api: LinkApi, judge: AnswerJudge) -> None:
        self._api = api
        self._judge = judge
        self._wrong_in_a_row = 0
        """IDs that got other patients' links to the end, since the last link that was right."""
        self._unnamed = _Unnamed()

    async def ask(self, external_id: str, token: str) -> Answer:
        return await self._api.ask_link(external_id, token)

    def judge(
        self, external_id: str, answer: Issued | Repeated | ConsentsShown, failures: FailureCount
    ) -> Wanted | Refusal:
        match answer:
            case Issued(link):
                refusal = self._judge.refusal(external_id, link)
                if refusal is None:
                    self._unnamed.clear()
                    self._wrong_in_a_row = 0
                return refusal or answer
            case Repeated(link):
                refusal = self._judge.refusal(external_id, link, repeated=True)
                if refusal is not None:
                    failures.repeated.add(link)
                return refusal or Issued(link)
            case ConsentsShown():
                raise TypeError("no answer to the call for a link")

    def note_refusal(self, external_id: str, refusal: Refusal) -> None:
        if refusal.ask_again:
            self._api.distrust_connections()
        if refusal.breaks_custom:
            self._unnamed.add(external_id, refusal)
            if self._unnamed.too_many:
                raise _names_nobody()

    def outcome(self, external_id: str, answer: Settled, failures: FailureCount) -> Outcome:
        if failures.repeated and not isinstance(answer, Issued):
            self._judge.shared |= failures.repeated
        match answer:
            case Issued(link):
                return Linked(external_id, link)
            case Rejected(status):
                return NotLinked(external_id, ErrorCode.REJECTED_BY_HEALTHEX, {"status": status})
            case Refusal():
                self._unnamed.close(external_id)
                self._wrong_in_a_row += answer.ask_again
                return _mismatch(external_id, answer)
            case BadAnswer(reason):
                return NotLinked(external_id, ErrorCode.BAD_ANSWER, {"reason": reason})
            case Failed(reason):
                gaps: dict[str, object] = {"reason": reason, "attempts": failures.counted}
                return NotLinked(external_id, ErrorCode.GAVE_UP, gaps)
            case Withheld():
                return NotLinked(external_id, ErrorCode.WITHDRAWN, {})
            case ConsentsShown():
                raise TypeError("no answer to the call for a link")

    def check(self, answer: Settled, *, untried: bool) -> None:
        if isinstance(answer, Refusal) and self._wrong_in_a_row >= _WRONG_IN_A_ROW and untried:
            raise _names_others()

    def left_open(self) -> Iterator[Outcome]:
        if self._unnamed.too_many:
            for external_id, refusal in self._unnamed.open():
                yield _mismatch(external_id, refusal)

    def all_refused(self, status: int) -> Refused:
        return Refused(
            f"HealthEx refused one patient after the other in the same way (answer {status}). Check that the project ID is "
            "right, that the project is active, and that the API key belongs to it."
        )

    def never_answered(self, ids: int, looks: str) -> Unreachable:
        return Unreachable(
            f"{ids} patients in a row got answers without a link, and nobody got one (the latest: {looks}). Something between "
            "this computer and HealthEx may be answering in its place, such as a sign-in page. Ask IT to look at it, then run "
            "the same command again."
        )


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
