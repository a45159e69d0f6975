"""Asking for the links that are not known: the IDs of a run go out, and each answer into the ledger as it comes."""

import asyncio
import functools
import importlib.util
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from batchlinks.config.secrets import Credentials
from batchlinks.config.settings import RunSettings
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.links import AnswerJudge
from batchlinks.healthex.outcomes import Effort, Linked, NotLinked, Outcome, Tally
from batchlinks.ledger import Ledger
from batchlinks.progress import Progress
from batchlinks.signals import Interruption


@dataclass(slots=True)
class Asked:
    """What became of the IDs that were sent."""

    tally: Tally = field(default_factory=Tally)
    issued: list[str] = field(default_factory=list, repr=False)
    not_linked: list[NotLinked] = field(default_factory=list)
    stopped_by: BatchlinksError | None = None

    def go_on_with(self, later: "Asked", *, sent_before: int) -> None:
        """Some were asked for again, `sent_before` of them for the second time."""
        self.tally.requested += max(0, later.tally.requested - sent_before)
        self.tally.calls += later.tally.calls
        self.tally.retries += later.tally.retries
        self.issued += later.issued
        self.not_linked += later.not_linked
        self.stopped_by = later.stopped_by


def ask(
    ids: pa.Array,
    endpoint: Endpoint,
    credentials: Credentials,
    settings: RunSettings,
    ledger: Ledger,
    progress: Progress,
    interruption: Interruption,
    *,
    judge: AnswerJudge,
    anew: Mapping[str, str],
    proven: bool,
) -> Asked:
    """Ask for every link that is not known. What stops it is a value here: what was answered is still written.

    `judge` says which answers may be recorded. `anew`: external ID -> the link in the ledger that is not its own, and gives
    way to one that is. `proven`: HealthEx issued links for this project before. Raises SettingsError where no call could
    be made at all.
    """
    asked = Asked()
    if not len(ids):
        return asked
    effort = Effort(
        concurrency=min(settings.concurrency, len(ids)),
        rate=settings.rate,
        max_attempts=settings.max_attempts,
        timeout_s=settings.timeout,
        patience_s=settings.patience,
        proven=proven,
    )

    def record(outcome: Outcome) -> None:
        if isinstance(outcome, Linked):
            asked.issued.append(outcome.external_id)
            old = anew.get(outcome.external_id)
            ledger.record(outcome.external_id, outcome.link, replace=settings.refresh, instead_of=old)
        else:
            asked.not_linked.append(outcome)
        progress.settled(linked=isinstance(outcome, Linked))

    async def requests() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        with interruption.calls(lambda: loop.call_soon_threadsafe(stopping.set)):
            if interruption.happened:  # just before
                stopping.set()
            await _caller(settings)(
                _one_by_one(ids),
                endpoint=endpoint,
                credentials=credentials,
                effort=effort,
                judge=judge,
                record=record,
                stopping=stopping,
                tally=asked.tally,
            )

    progress.start(len(ids))
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(requests())
    except SettingsError:
        raise
    except BatchlinksError as error:
        asked.stopped_by = error
    finally:
        progress.finish()
    try:
        ledger.flush()  # however it ended: the latest answers are part of the results
    except BatchlinksError as error:
        asked.stopped_by = error
    return asked


def require_means(settings: RunSettings) -> None:
    """Raises SettingsError where what makes the calls is not installed: to be said before the roster is read."""
    if (settings.cluster or settings.workers) and importlib.util.find_spec("distributed") is None:
        raise SettingsError(
            'batchlinks[cluster] is not installed, and --cluster and --workers need it: pip install "batchlinks[cluster]".'
        )


def _caller(settings: RunSettings) -> Callable[..., Coroutine[Any, Any, None]]:
    """`ask_all`, with the calls made here or by the workers of a cluster.

    Imported here: the HTTP client takes a quarter of a second, and most nights every link is known.
    """
    if settings.cluster or settings.workers:
        from batchlinks.cluster import pool

        return functools.partial(pool.ask_all, scheduler=settings.cluster, workers=settings.workers)
    from batchlinks.healthex.request_pool import ask_all

    return ask_all


def _one_by_one(ids: pa.Array) -> Iterator[str]:
    for start in range(0, len(ids), 4096):
        yield from ids[start : start + 4096].to_pylist()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None  # there is no uvloop for it
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
