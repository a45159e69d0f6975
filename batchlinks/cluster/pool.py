"""The calls of a run, made by the workers of a Dask cluster instead of by this process.

Only the single call is made elsewhere: an external ID and a token go to a worker, and what HealthEx answered comes
back with that ID as one value. When a call may start, what its answer means, retries, the token and the ledger stay with the
command, in the same code as without a cluster (`healthex.request_pool`). So whatever a run promises about pace and about
stopping holds for the cluster as a whole, however many workers there are.

On each worker lives one `Caller`, a Dask actor. IDs go to it and answers come from it in batches, since a message costs as
much as a dozen calls. A worker that is lost takes along only the calls that are under way there; others make them again.

This module alone knows Dask, and only a run with --workers or --cluster imports it.
"""

import asyncio
import importlib.metadata
import logging
import platform
import signal
import sys
import tempfile
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import connect
from distributed.security import Security
from distributed.versions import VersionMismatchWarning

from batchlinks.advice import Advice, Do, Setting
from batchlinks.config.secrets import Credentials
from batchlinks.config.settings import stays_private
from batchlinks.errors import BatchlinksError, SettingsError, Unreachable, defect
from batchlinks.healthex.api import Answer, Failed, HealthExApi, Lost, Throttled
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.healthex.links import AnswerJudge
from batchlinks.healthex.outcomes import Effort, Outcome, Tally
from batchlinks.healthex.request_pool import ask_all_through, interrupted
from batchlinks.logs import logger
from batchlinks.version import __version__

_T = TypeVar("_T")

_GATHER_S = 0.005
"""How long IDs wait here for others to travel with. Not longer, or calls would come to HealthEx in bursts."""

_MOST_GATHER_S = 0.05
"""Answers wait on their worker as long for each worker that there is, since the command takes some hundred messages a second;
never longer than this."""

_HOLD_S = 1.0
"""How long a worker that has no answer lets the command wait for one."""

_LATE_S = 2.0
"""A worker that is not heard for this long beyond what a call may take is lost."""

_LOOK_S = 0.5
"""How often the scheduler is asked which workers there are."""

_ABANDONED_S = 300.0
"""A worker that no command has asked for answers for so long drops what it has."""

_SIGN_OF_LIFE_S = 20.0
"""How often there is a task for the scheduler: it does not see messages to actors, and may end a cluster that seems idle."""

_GREETING_S = 10.0
"""At the start, how long the first workers wait for the slower ones: all are looked at before the first call."""

_SLOW_START_S = 2.0
"""The scheduler has this long to answer at first, however short the patience."""

_REACHED_S = 2.0
_GOODBYE_S = 2.0


async def ask_all(
    external_ids: Iterable[str],
    *,
    endpoint: Endpoint,
    credentials: Credentials,
    effort: Effort,
    judge: AnswerJudge,
    record: Callable[[Outcome], None],
    stopping: asyncio.Event,
    tally: Tally,
    scheduler: str | None,
    workers: int | None,
) -> None:
    """`healthex.request_pool.ask_all`, with the calls made by the workers of the cluster at `scheduler`, or by `workers` here.

    Raises what that raises; SettingsError, before any call, for a cluster that cannot be used; Unreachable where it
    is not there, has no worker, or its scheduler is lost.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_dask_is_silent())
        signing_in = await stack.enter_async_context(HealthExApi(endpoint, timeout_s=effort.timeout_s))
        cluster = _cluster_at(scheduler, effort.patience_s) if scheduler else _cluster_here(workers or 1)
        client = await _unless(stopping, stack.enter_async_context(cluster))
        crew = await stack.enter_async_context(_Crew(client, endpoint, effort.timeout_s))
        await _unless(stopping, crew.gather(effort.patience_s))
        await ask_all_through(
            _CrewApi(crew, signing_in),
            external_ids,
            credentials=credentials,
            effort=effort,
            judge=judge,
            record=record,
            stopping=stopping,
            tally=tally,
        )


class _CrewApi:
    """The two calls of the API: links are asked for by the workers; signing in, with key and secret, is done here."""

    def __init__(self, crew: "_Crew", signing_in: HealthExApi) -> None:
        self._crew = crew
        self._signing_in = signing_in

    async def ask_link(self, external_id: str, token: str) -> Answer:
        line = self._crew.least_busy()
        if line is None:
            return Failed("no worker of the cluster is left", reached=False)
        return await line.ask(external_id, token)

    async def fetch_token(self, key: str, secret: str) -> str | Throttled | Failed:
        return await self._signing_in.fetch_token(key, secret)

    def distrust_connections(self) -> None:
        self._crew.distrust_connections()


# --- on a worker ----------------------------------------------------------------------------------------------


class Sealed:
    """What goes between command and workers. Dask prints what it sends in some of its messages; this prints as nothing."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content

    def __repr__(self) -> str:
        return "<sealed>"

    def __reduce__(self) -> tuple[type["Sealed"], tuple[Any]]:
        return Sealed, (self.content,)


class Caller:
    """Makes the calls that it is handed, and keeps the answers until they are fetched. Lives on a worker, as a Dask actor."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._api = HealthExApi(endpoint, timeout_s=timeout_s)
        self._calls: set[asyncio.Task[None]] = set()
        self._answers: list[tuple[str, Answer | BatchlinksError]] = []
        self._answered = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, ids_by_token: Sealed, *, distrust_connections: bool = False) -> None:
        """Start a call for each of these IDs: token -> IDs. `distrust_connections`: on new connections only."""
        self._require_open()
        if distrust_connections:
            self._api.distrust_connections()
        for token, external_ids in ids_by_token.content.items():
            for external_id in external_ids:
                call = asyncio.create_task(self._call(external_id, token))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)

    async def answers(self, gather_s: float) -> Sealed:
        """All answers so far, each with its ID. A defect or error is an answer too.

        Waits for the first, but not for long, and then `gather_s` seconds for others.
        """
        self._require_open()
        self._reset_alarm()
        with suppress(TimeoutError):
            async with asyncio.timeout(_HOLD_S):
                await self._answered.wait()
            await asyncio.sleep(gather_s)
        self._answered.clear()
        answers, self._answers = self._answers, []
        return Sealed(answers)

    async def close(self) -> None:
        """Drop everything."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for call in self._calls:
            call.cancel()
        await self._api.__aexit__(None, None, None)

    async def _call(self, external_id: str, token: str) -> None:
        answer: Answer | BatchlinksError
        try:
            answer = await self._api.ask_link(external_id, token)
        except BatchlinksError as error:
            answer = error
        except Exception as error:  # what it says may hold the ID, so it is not sent as it is
            answer = BatchlinksError(defect(error))
        self._answers.append((external_id, answer))
        self._answered.set()

    def _require_open(self) -> None:
        if (
            self._closed
        ):  # a command that slept for long comes back: to it this worker is lost, and it gets another caller
            raise RuntimeError("closed")

    def _reset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(_ABANDONED_S, lambda: loop.create_task(self.close()))


def versions() -> tuple[str, str, str]:
    """What must be the same on every computer: versions of batchlinks, of Python, of Dask."""
    python = ".".join(platform.python_version_tuple()[:2])
    return __version__, python, importlib.metadata.version("distributed")


def dask_setup(_worker: object) -> None:
    """For workers on this computer: Ctrl-C is for the command, which lets them finish the calls that are under way.

    Dask calls it in each, since this module is preloaded there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# --- the command's side ---------------------------------------------------------------------------------------


class _Line:
    """The command's line to one worker: IDs out, answers back, both in batches."""

    def __init__(self, caller: Any, silence_s: float, gather_s: Callable[[], float]) -> None:
        self._caller = caller
        self._gather_s = gather_s
        self._silence_s = silence_s
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        """External ID -> where its answer is waited for."""
        self._to_send: dict[str, list[str]] = {}
        """Token -> external IDs."""
        self._distrusts = False
        """Whether the worker is to give up its connections."""
        self._anything_to_send = asyncio.Event()

    @property
    def busy(self) -> int:
        """Calls under way."""
        return len(self._waiting)

    async def ask(self, external_id: str, token: str) -> Answer:
        """One call, as `HealthExApi.ask_link`; Lost where the worker is lost before its answer is here."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[external_id] = answer
        self._to_send.setdefault(token, []).append(external_id)
        self._anything_to_send.set()
        try:
            return await answer
        finally:
            del self._waiting[external_id]

    def distrust_connections(self) -> None:
        """The worker gives up the connections that it has before it makes any call of which it does not know yet."""
        self._distrusts = True
        self._anything_to_send.set()

    async def work(self) -> None:
        """Until the worker is lost, which is no error."""
        try:
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(self._send())
                both_ways.create_task(self._fetch())
        except* (
            Exception
        ) as lost:  # whatever it is: the calls under way are made again, and patience ends what does not heal
            kinds = ", ".join(sorted({type(error).__name__ for error in lost.exceptions}))
            logger().debug(f"A worker of the cluster was lost ({kinds}).")

    def hang_up(self) -> None:
        """Whoever waits for an answer is told that none will come."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(Lost("a worker of the cluster was lost"))

    async def _send(self) -> None:
        while True:
            await self._anything_to_send.wait()
            await asyncio.sleep(_GATHER_S)
            self._anything_to_send.clear()
            batch, self._to_send = self._to_send, {}
            distrusts, self._distrusts = self._distrusts, False
            async with asyncio.timeout(self._silence_s):
                await self._caller.take(Sealed(batch), distrust_connections=distrusts)

    async def _fetch(self) -> None:
        while True:
            async with asyncio.timeout(self._silence_s):
                answers = await self._caller.answers(self._gather_s())
            for external_id, answer in answers.content:
                waiting = self._waiting.get(external_id)
                if waiting is None or waiting.done():
                    continue
                if isinstance(answer, BatchlinksError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)

    async def close(self) -> None:
        """Let the worker drop what it still holds."""
        await self._caller.close()


class _Crew:
    """The workers at hand. Looks again and again who has come and who has gone. A context manager."""

    def __init__(self, client: Client, endpoint: Endpoint, timeout_s: float) -> None:
        self._client = client
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._lines: dict[str, _Line] = {}
        """Address of a worker -> the line to it."""
        self._serving: dict[str, asyncio.Task[None]] = {}
        """Address -> what is done about it; named by the address."""
        self._met = asyncio.Event()
        """Somebody came or went."""
        self._misfits: dict[str, SettingsError] = {}
        self._looking: asyncio.Task[None] | None = None
        self._sign_of_life: object = None
        self._failure: BatchlinksError | None = None

    async def __aenter__(self) -> "_Crew":
        return self

    async def __aexit__(self, *_: object) -> None:
        lines = list(self._lines.values())
        if self._looking is not None:
            self._looking.cancel()
        for serving in self._serving.values():
            serving.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await asyncio.gather(*(line.close() for line in lines), return_exceptions=True)

    def least_busy(self) -> _Line | None:
        """The worker with the fewest calls under way, so that a slow one gets few. Raises what ends the run."""
        if self._failure is not None:
            raise self._failure
        return min(self._lines.values(), key=lambda line: line.busy, default=None)

    def distrust_connections(self) -> None:
        """Have every worker give up the connections that it has."""
        for line in self._lines.values():
            line.distrust_connections()

    async def gather(self, patience_s: float) -> None:
        """Wait until there are workers. Raises SettingsError for one that cannot be used, Unreachable when none comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while True:
            await self._look()
            await self._greeted()
            if self._lines:
                break
            if loop.time() >= until:
                raise Unreachable(
                    f"The cluster had no worker that answers for {patience_s:g} seconds. Start its workers, then try "
                    "again."
                )
            await asyncio.sleep(_LOOK_S)
        self._looking = asyncio.create_task(self._keep_looking())

    async def _greeted(self) -> None:
        """Wait until every worker that was found has its line or a reason why not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GREETING_S):
                while self._serving.keys() - self._lines.keys():
                    await self._met.wait()
                    self._met.clear()
        for misfit in self._misfits.values():
            raise misfit

    async def _keep_looking(self) -> None:
        """Workers come and go; the scheduler's loss is the end."""
        loop = asyncio.get_running_loop()
        last_sign = loop.time()
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                if loop.time() - last_sign > _SIGN_OF_LIFE_S:
                    last_sign = loop.time()
                    self._sign_of_life = self._client.submit(int, key=_new_key())
                told = set(self._misfits)
                await self._look()
                for address in self._misfits.keys() - told:
                    logger().warning(f"{self._misfits[address]} It is not used.")
        except BatchlinksError as error:
            self._failure = error
        except Exception as error:
            self._failure = BatchlinksError(defect(error))
        for line in self._lines.values():
            line.hang_up()

    async def _look(self) -> None:
        if self._client.status != "running":
            raise _scheduler_lost()
        try:
            async with asyncio.timeout(self._timeout_s + _LATE_S):
                there = set(await self._client.nthreads())
        except (OSError, TimeoutError):
            raise _scheduler_lost() from None
        for address in self._serving.keys() - there:
            self._serving[address].cancel()
        for address in there - self._serving.keys() - self._misfits.keys():
            self._serving[address] = asyncio.create_task(self._serve(address), name=address)
            self._serving[address].add_done_callback(self._left)

    async def _serve(self, address: str) -> None:
        """Open a line to a worker, and keep it for as long as the worker is there."""
        try:
            await self._greet(address)
            caller = await self._caller_on(address)
        except SettingsError as error:
            self._misfits[address] = error
            return
        except Exception as error:  # it went as soon as it came, or is too busy: it is looked for again
            logger().debug(f"A worker of the cluster did not answer ({type(error).__name__}).")
            return
        line = self._lines[address] = _Line(caller, self._timeout_s + _HOLD_S + _LATE_S, self._gather_s)
        self._met.set()
        try:
            await line.work()
        finally:
            del self._lines[address]
            line.hang_up()

    def _gather_s(self) -> float:
        return min(_MOST_GATHER_S, _GATHER_S * len(self._lines))

    def _left(self, serving: asyncio.Task[None]) -> None:
        del self._serving[serving.get_name()]
        self._met.set()

    async def _greet(self, address: str) -> None:
        """Raises SettingsError for a worker that must not be used."""
        if not stays_private(address):
            raise SettingsError(
                f"Patient IDs and the token would travel in clear to the worker {address}. Start it with tls://, as its "
                "scheduler."
            )
        try:
            answers = await self._client.run(versions, workers=[address])
        except (ImportError, AttributeError):
            raise SettingsError(
                f"The worker {address} has no batchlinks, or an older one. Install batchlinks {__version__} on it."
            ) from None
        if answers[address] != versions():
            here, there = (_in_words(each) for each in (versions(), answers[address]))
            raise SettingsError(f"The worker {address} runs {there}, and this computer {here}. They must be the same.")

    async def _caller_on(self, address: str) -> Any:
        future = self._client.submit(
            Caller,
            self._endpoint,
            self._timeout_s,
            actor=True,
            key=_new_key(),
            workers=[address],
            allow_other_workers=False,
        )
        with self._client.as_current():
            return await future


def _new_key() -> str:
    """What Dask, its logs and its dashboard know a task by; says nothing."""
    return f"batchlinks-{uuid.uuid4().hex}"


def _in_words(found: tuple[str, str, str]) -> str:
    return f"batchlinks {found[0]}, Python {found[1]} and Dask {found[2]}"


def _scheduler_lost() -> Unreachable:
    return Unreachable("The scheduler of the Dask cluster is lost. ", Advice(Do.GO_ON))


# --- the cluster ----------------------------------------------------------------------------------------------

_CONFIG_HERE: dict[str, object] = {
    "distributed.admin.event-loop": "asyncio" if sys.platform == "win32" else "uvloop",
    # Dask's web pages would be open to every user of this computer.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Dask's own settings, for a cluster on this computer."""

_SILENT = logging.CRITICAL + 1


@asynccontextmanager
async def _cluster_here(workers: int) -> AsyncIterator[Client]:
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
            preload=[__name__],
        )
        try:
            await _start(cluster)
            async with Client(cluster, asynchronous=True, set_as_default=False, direct_to_workers=True) as client:
                yield client
        finally:
            await cluster.close()  # type: ignore[misc]  # None only for callers without an event loop


async def _start(cluster: Awaitable[object]) -> None:
    try:
        with _children_deaf_to_ctrl_c():
            await cluster
    except RuntimeError:
        raise SettingsError(
            "The processes for ",
            Setting("workers"),
            " could not be started. Is there enough memory? In a program of your own, call "
            'batchlinks below `if __name__ == "__main__":`.',
        ) from None


@asynccontextmanager
async def _cluster_at(address: str, patience_s: float) -> AsyncIterator[Client]:
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
            client.direct_to_workers = await _reached(client)
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


async def _reached(client: Client) -> bool:
    """Whether all workers can be reached from here: if not, what is sent to them goes through the scheduler."""

    async def reach(address: str) -> None:
        await (await connect(address, timeout=_REACHED_S, **client.connection_args)).close()

    tried = await asyncio.gather(*(reach(each) for each in await client.nthreads()), return_exceptions=True)
    return bool(tried) and not any(tried)


# --- around it ------------------------------------------------------------------------------------------------


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
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


async def _unless(stopping: asyncio.Event, starting: Awaitable[_T]) -> _T:
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


@contextmanager
def _dask_is_silent() -> Iterator[None]:
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
