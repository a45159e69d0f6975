"""The calls of a run, made by the workers of a Dask cluster instead of by this process.

Only the single call is made elsewhere: an external ID and a token go to a worker, and what HealthEx answered comes
back with that ID as one value. When a call may start, what its answer means, retries, the token and the ledger stay with the
command, in the same code as without a cluster (`healthex.request_pool`). So whatever a run promises about pace and about
stopping holds for the cluster as a whole, however many workers there are.

On each worker lives one `Caller`, a Dask actor. IDs go to it and answers come from it in batches, since a message costs as
much as a dozen calls. A worker that is lost takes along only the calls that are under way there; others make them again.

This package alone knows Dask, and only a run with --workers or --cluster imports it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TypeVar

from batchlinks.cluster.dask_cluster import connect_to_cluster, silence_dask, start_local_cluster
from batchlinks.cluster.pool import WorkerPool
from batchlinks.config.secrets import Credentials
from batchlinks.healthex.api import Answer, Failed, HealthExApi, Throttled
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.link_inquiry import request_links_through
from batchlinks.healthex.outcomes import Outcome, RequestCounts, RequestPolicy
from batchlinks.healthex.request_pool import interrupted, withhold_nobody
from batchlinks.healthex.whose_link import AnswerJudge

_T = TypeVar("_T")


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
    scheduler: str | None,
    workers: int | None,
) -> None:
    """`healthex.link_inquiry.request_links`, with the calls made by workers: of the cluster at `scheduler`, or `workers` here.

    Raises what that raises; SettingsError, before any call, for a cluster that cannot be used; Unreachable where it
    is not there, has no worker, or its scheduler is lost.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(silence_dask())
        signing_in = await stack.enter_async_context(HealthExApi(endpoint, timeout_s=policy.timeout_s))
        cluster = connect_to_cluster(scheduler, policy.patience_s) if scheduler else start_local_cluster(workers or 1)
        client = await _run_unless_stopped(stopping, stack.enter_async_context(cluster))
        pool = await stack.enter_async_context(WorkerPool(client, endpoint, policy.timeout_s))
        await _run_unless_stopped(stopping, pool.gather(policy.patience_s))
        await request_links_through(
            ClusterApi(pool, signing_in),
            external_ids,
            credentials=credentials,
            policy=policy,
            judge=judge,
            record=record,
            stopping=stopping,
            counts=counts,
            withholds=withholds,
        )


class ClusterApi:
    """The two calls of the API: links are asked for by the workers; signing in, with key and secret, is done here."""

    def __init__(self, pool: "WorkerPool", signing_in: HealthExApi) -> None:
        self._pool = pool
        self._signing_in = signing_in

    async def ask_link(self, external_id: str, token: str) -> Answer:
        connection = self._pool.least_busy()
        if connection is None:
            return Failed("no worker of the cluster is left", reached=False)
        return await connection.ask(external_id, token)

    async def fetch_token(self, key: str, secret: str) -> str | Throttled | Failed:
        return await self._signing_in.fetch_token(key, secret)

    def distrust_connections(self) -> None:
        self._pool.distrust_connections()


async def _run_unless_stopped(stopping: asyncio.Event, starting: Awaitable[_T]) -> _T:
    """What `starting` comes to. Raises Interrupted as soon as `stopping` is set."""
    work = asyncio.ensure_future(starting)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise interrupted()
        return work.result()
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
