"""The workers at hand, and the connection to each: IDs out, answers back, both in batches."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distributed import Client

from batchlinks.cluster.worker import HOLD_S, Caller, Sealed, versions
from batchlinks.config.settings import stays_private
from batchlinks.errors import BatchlinksError, SettingsError, Unreachable, defect
from batchlinks.healthex.api import Answer, Lost
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.logs import logger
from batchlinks.next_steps import Advice, Do
from batchlinks.version import __version__

_GATHER_S = 0.005
"""How long IDs wait here for others to travel with. Not longer, or calls would come to HealthEx in bursts."""

_MOST_GATHER_S = 0.05
"""Answers wait on their worker as long for each worker that there is, since the command takes some hundred messages a second;
never longer than this."""

_LATE_S = 2.0
"""A worker that is not heard for this long beyond what a call may take is lost."""

_LOOK_S = 0.5
"""How often the scheduler is asked which workers there are."""

_KEEPALIVE_S = 20.0
"""How often there is a task for the scheduler: it does not see messages to actors, and may end a cluster that seems idle."""

_HANDSHAKE_S = 10.0
"""At the start, how long the first workers wait for the slower ones: all are looked at before the first call."""

_CLOSE_S = 2.0


class WorkerConnection:
    """The command's connection to one worker: IDs out, answers back, both in batches."""

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

    def disconnect(self) -> None:
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


class WorkerPool:
    """The workers at hand. Looks again and again who has come and who has gone. A context manager."""

    def __init__(self, client: Client, endpoint: Endpoint, timeout_s: float) -> None:
        self._client = client
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._connections: dict[str, WorkerConnection] = {}
        """Address of a worker -> the connection to it."""
        self._serving: dict[str, asyncio.Task[None]] = {}
        """Address -> what is done about it; named by the address."""
        self._changed = asyncio.Event()
        """Somebody came or went."""
        self._unusable: dict[str, SettingsError] = {}
        self._looking: asyncio.Task[None] | None = None
        self._keepalive: object = None
        self._failure: BatchlinksError | None = None

    async def __aenter__(self) -> "WorkerPool":
        return self

    async def __aexit__(self, *_: object) -> None:
        connections = list(self._connections.values())
        if self._looking is not None:
            self._looking.cancel()
        for serving in self._serving.values():
            serving.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)

    def least_busy(self) -> WorkerConnection | None:
        """The worker with the fewest calls under way, so that a slow one gets few. Raises what ends the run."""
        if self._failure is not None:
            raise self._failure
        return min(self._connections.values(), key=lambda connection: connection.busy, default=None)

    def distrust_connections(self) -> None:
        """Have every worker give up the connections that it has."""
        for connection in self._connections.values():
            connection.distrust_connections()

    async def gather(self, patience_s: float) -> None:
        """Wait until there are workers. Raises SettingsError for one that cannot be used, Unreachable when none comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while True:
            await self._look()
            await self._wait_for_handshakes()
            if self._connections:
                break
            if loop.time() >= until:
                raise Unreachable(
                    f"The cluster had no worker that answers for {patience_s:g} seconds. Start its workers, then try "
                    "again."
                )
            await asyncio.sleep(_LOOK_S)
        self._looking = asyncio.create_task(self._keep_looking())

    async def _wait_for_handshakes(self) -> None:
        """Wait until every worker that was found has its connection or a reason why not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HANDSHAKE_S):
                while self._serving.keys() - self._connections.keys():
                    await self._changed.wait()
                    self._changed.clear()
        for misfit in self._unusable.values():
            raise misfit

    async def _keep_looking(self) -> None:
        """Workers come and go; the scheduler's loss is the end."""
        loop = asyncio.get_running_loop()
        last_sign = loop.time()
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                if loop.time() - last_sign > _KEEPALIVE_S:
                    last_sign = loop.time()
                    self._keepalive = self._client.submit(int, key=_new_key())
                told = set(self._unusable)
                await self._look()
                for address in self._unusable.keys() - told:
                    logger().warning(f"{self._unusable[address]} It is not used.")
        except BatchlinksError as error:
            self._failure = error
        except Exception as error:
            self._failure = BatchlinksError(defect(error))
        for connection in self._connections.values():
            connection.disconnect()

    async def _look(self) -> None:
        if self._client.status != "running":
            raise _report_lost_scheduler()
        try:
            async with asyncio.timeout(self._timeout_s + _LATE_S):
                there = set(await self._client.nthreads())
        except (OSError, TimeoutError):
            raise _report_lost_scheduler() from None
        for address in self._serving.keys() - there:
            self._serving[address].cancel()
        for address in there - self._serving.keys() - self._unusable.keys():
            self._serving[address] = asyncio.create_task(self._serve(address), name=address)
            self._serving[address].add_done_callback(self._left)

    async def _serve(self, address: str) -> None:
        """Open a connection to a worker, and keep it for as long as the worker is there."""
        try:
            await self._handshake(address)
            caller = await self._caller_on(address)
        except SettingsError as error:
            self._unusable[address] = error
            return
        except Exception as error:  # it went as soon as it came, or is too busy: it is looked for again
            logger().debug(f"A worker of the cluster did not answer ({type(error).__name__}).")
            return
        connection = self._connections[address] = WorkerConnection(
            caller, self._timeout_s + HOLD_S + _LATE_S, self._gather_s
        )
        self._changed.set()
        try:
            await connection.work()
        finally:
            del self._connections[address]
            connection.disconnect()

    def _gather_s(self) -> float:
        return min(_MOST_GATHER_S, _GATHER_S * len(self._connections))

    def _left(self, serving: asyncio.Task[None]) -> None:
        del self._serving[serving.get_name()]
        self._changed.set()

    async def _handshake(self, address: str) -> None:
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
            here, there = (_describe_versions(each) for each in (versions(), answers[address]))
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


def _describe_versions(found: tuple[str, str, str]) -> str:
    return f"batchlinks {found[0]}, Python {found[1]} and Dask {found[2]}"


def _report_lost_scheduler() -> Unreachable:
    return Unreachable("The scheduler of the Dask cluster is lost. ", Advice(Do.GO_ON))
