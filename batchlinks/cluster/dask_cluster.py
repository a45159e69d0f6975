"""The Dask cluster itself: one of processes on this computer, or the one of a scheduler elsewhere."""

import asyncio
import logging
import signal
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import resource_tracker

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import connect
from distributed.security import Security
from distributed.versions import VersionMismatchWarning

from batchlinks.errors import SettingsError, Unreachable
from batchlinks.next_steps import Setting

_SLOW_START_S = 2.0
"""The scheduler has this long to answer at first, however short the patience."""

_REACHED_S = 2.0

_CONFIG_HERE: dict[str, object] = {
    "distributed.admin.event-loop": "asyncio" if sys.platform == "win32" else "uvloop",
    # Dask's web pages would be open to every user of this computer.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Dask's own settings, for a cluster on this computer."""

_SILENT = logging.CRITICAL + 1


@asynccontextmanager
async def start_local_cluster(workers: int) -> AsyncIterator[Client]:
    """As many processes on this computer. Nobody else on it can talk to them: each shows a certificate made for this run."""
    with tempfile.TemporaryDirectory(prefix="batchlinks-") as folder, dask.config.set(_CONFIG_HERE):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            asynchronous=True,
            host="127.0.0.1",
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=_SILENT,
            local_directory=folder,
            memory_limit=None,
            preload=["batchlinks.cluster.worker"],
        )
        try:
            await _start_workers(cluster)
            async with Client(cluster, asynchronous=True, set_as_default=False, direct_to_workers=True) as client:
                yield client
        finally:
            await cluster.close()  # type: ignore[misc]  # None only for callers without an event loop


async def _start_workers(cluster: Awaitable[object]) -> None:
    try:
        with _shield_children_from_ctrl_c():
            await cluster
    except RuntimeError:
        raise SettingsError(
            "The processes for ",
            Setting("workers"),
            " could not be started. Is there enough memory? In a program of your own, call "
            'batchlinks below `if __name__ == "__main__":`.',
        ) from None


@asynccontextmanager
async def connect_to_cluster(address: str, patience_s: float) -> AsyncIterator[Client]:
    """The cluster of this scheduler. Certificates come from Dask's own configuration. Raises SettingsError, Unreachable."""
    if address.startswith("tls:"):
        _require_certificates()
    try:
        timeout_s = max(patience_s, _SLOW_START_S)
        client = Client(address, asynchronous=True, set_as_default=False, timeout=timeout_s)
        await client
    except OSError:
        raise Unreachable(
            f"The Dask scheduler {address} cannot be reached. Is it running, and are the certificates those of its cluster? "
            "Then try again."
        ) from None
    async with client:
        if client.direct_to_workers is None:  # as Dask's own configuration leaves it
            client.direct_to_workers = await _can_reach_workers(client)
        yield client


def _require_certificates() -> None:
    """Dask would otherwise say so in words of its own, or go on trying."""
    try:
        found = Security().get_connection_args("client")["ssl_context"] is not None
    except OSError as error:
        raise SettingsError(
            "The certificates for ", Setting("cluster"), f" cannot be read ({error.strerror or 'no certificates'})."
        ) from None
    if not found:
        raise SettingsError(
            "For tls:// Dask needs the certificates of its cluster: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, and CERT and KEY "
            "of DASK_DISTRIBUTED__COMM__TLS__CLIENT__ (see docs/cluster.md)."
        )


async def _can_reach_workers(client: Client) -> bool:
    """Whether all workers can be reached from here: if not, what is sent to them goes through the scheduler."""

    async def reach(address: str) -> None:
        await (await connect(address, timeout=_REACHED_S, **client.connection_args)).close()

    tried = await asyncio.gather(*(reach(each) for each in await client.nthreads()), return_exceptions=True)
    return bool(tried) and not any(tried)


@contextmanager
def _shield_children_from_ctrl_c() -> Iterator[None]:
    """Processes that are started within never get it; they would fall over it before they can say that they ignore it."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it is started with the first process otherwise, and takes the mask off again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def silence_dask() -> Iterator[None]:
    """Within, Dask says nothing on standard error: what matters to a user is said by batchlinks."""
    talkative = {"asyncio", "distributed", "tornado"}
    talkative |= {name for name in logging.root.manager.loggerDict if name.partition(".")[0] in talkative}
    levels = {name: logging.getLogger(name).level for name in talkative}
    for name in levels:
        logging.getLogger(name).setLevel(_SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
