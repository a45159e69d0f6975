"""Asking who has consented: what HealthEx shows of each patient, and when it makes no sense to go on."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from batchlinks.config.secrets import Credentials
from batchlinks.errors import Refused, Unreachable
from batchlinks.healthex.api import Answer, BadAnswer, ConsentsShown, Failed, HealthExApi, Issued, Rejected, Repeated
from batchlinks.healthex.concurrency_limiter import FailureCount
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.outcomes import Answered, ConsentOutcome, RequestCounts, RequestPolicy, Unanswered
from batchlinks.healthex.request_pool import Settled, Wanted, Withheld, request_all, withhold_nobody
from batchlinks.healthex.whose_link import Refusal
from batchlinks.plural import counted


async def request_consents(
    external_ids: Iterable[str],
    consent_types: Sequence[str],
    *,
    endpoint: Endpoint,
    credentials: Credentials,
    policy: RequestPolicy,
    record: Callable[[ConsentOutcome], None],
    stopping: asyncio.Event,
    counts: RequestCounts,
    withholds: Callable[[str], bool] = withhold_nobody,
) -> None:
    """Ask for the consents of each ID, as `request_pool.request_all` does, each call on a connection of its own."""
    async with HealthExApi(endpoint, timeout_s=policy.timeout_s, keep_connections=False) as api:
        await request_all(
            external_ids,
            ConsentInquiry(api, consent_types),
            sign_in=api,
            credentials=credentials,
            policy=policy,
            record=record,
            stopping=stopping,
            counts=counts,
            withholds=withholds,
        )


class ConsentInquiry:
    """Asks for consents of these kinds."""

    def __init__(self, api: HealthExApi, consent_types: Sequence[str]) -> None:
        self._api = api
        self._consent_types = tuple(consent_types)

    async def ask(self, external_id: str, token: str) -> Answer:
        return await self._api.ask_consents(external_id, token, self._consent_types)

    def judge(
        self, _external_id: str, answer: Issued | Repeated | ConsentsShown, _failures: FailureCount, /
    ) -> Wanted | Refusal:
        """Whatever came is this ID's, since it came on the connection on which nothing but that was asked."""
        if not isinstance(answer, ConsentsShown):
            raise TypeError("no answer to the call for consents")
        return answer

    def note_refusal(self, external_id: str, refusal: Refusal) -> None:
        """Never happens: `judge` refuses nothing."""

    def outcome(self, external_id: str, answer: Settled, failures: FailureCount) -> ConsentOutcome:
        match answer:
            case ConsentsShown(patients):
                return Answered(external_id, patients)
            case Rejected(status):
                return Unanswered(external_id, f"HealthEx refused the question (answer {status})")
            case BadAnswer(reason):
                return Unanswered(external_id, f"HealthEx sent {reason}")
            case Failed(reason):
                return Unanswered(external_id, f"{reason}, after {counted(failures.counted, 'try', 'tries')}")
            case Withheld():
                return Unanswered(external_id, "this patient is not to be contacted", withheld=True)
            case Issued() | Refusal():
                raise TypeError("no answer to the call for consents")

    def check(self, answer: Settled, *, untried: bool) -> None:
        """Nothing to check: no answer can be another patient's."""

    def left_open(self) -> Iterable[ConsentOutcome]:
        return ()

    def all_refused(self, status: int) -> Refused:
        return Refused(
            f"HealthEx refused to say who has consented, for one patient after the other in the same way (answer {status}). "
            "Check that the API key may read consents and that the project ID is right. Links are not affected."
        )

    def never_answered(self, ids: int, looks: str) -> Unreachable:
        return Unreachable(
            f"{ids} patients in a row got answers that are no consents, and nobody got one (the latest: {looks}). Something "
            "between this computer and HealthEx may be answering in its place, such as a sign-in page. Ask IT to look at it, "
            "then run the same command again."
        )
