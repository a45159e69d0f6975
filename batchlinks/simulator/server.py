"""The stand-in as a running HTTP server, in the foreground or in a thread of its own."""

import asyncio
import dataclasses
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from aiohttp import web

from batchlinks.errors import SettingsError
from batchlinks.simulator.behavior import SimulatorOptions
from batchlinks.simulator.consent_book import Decision
from batchlinks.simulator.faults import ScriptItem, carries_link, parse_step
from batchlinks.simulator.service import Call, Service

__all__ = ["Call", "RunningSimulator", "Simulator", "new_event_loop"]

_T = TypeVar("_T")

CHANGE_S = 10.0
STOP_S = 0.2
"""How long calls being answered may take to finish once the server is told to stop."""

# aiohttp would log requests that it cannot parse, and an external ID may stand in them.
_SILENT = logging.Logger("batchlinks.simulator.silent", level=logging.CRITICAL + 1)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop there is here: uvloop's, which Windows has not."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _Listener:
    """The listening socket. It can be shut, and opened again at the same port."""

    def __init__(self, protocols: web.Server, host: str, port: int) -> None:
        self._protocols = protocols
        self._host = host
        self._port = port
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def open(self) -> None:
        if self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._protocols, self._host, self._port, backlog=1024)
            self._port = self._listener.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """New connections are refused; those that are open stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class Simulator:
    """A stand-in for the HealthEx API. Each time it is run it starts anew: nothing outlives the run.

    `clock` counts seconds from anywhere and never goes back; pace and age of tokens are measured with it.
    """

    def __init__(self, options: SimulatorOptions | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = SimulatorOptions() if options is None else options
        self._clock = clock

    async def serve(self, host: str, port: int, ready: Callable[[str], object], stop: asyncio.Event) -> None:
        """Serves until `stop` is set; `ready` gets the address, `http://HOST:PORT`, once it answers there.

        `port` 0 takes a free one. No call is recorded, so it may run for as long as one likes. Raises
        `OSError` where it cannot listen there.
        """
        service = Service(self._options, record=False, clock=self._clock)
        await _serve(service, host, port, lambda door: ready(door.url), stop)

    @contextmanager
    def running(self, *, record: bool = True) -> "Iterator[RunningSimulator]":
        """Serves on a free port of 127.0.0.1, from a thread of its own, for as long as the block runs.

        With `record`, `calls` and `links` are kept: memory grows with every call. Raises at the end what went
        wrong inside the server, so that a defect of the stand-in never passes for a fault it was asked for.
        """
        service = Service(self._options, record=record, clock=self._clock)
        started: Future[RunningSimulator] = Future()

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            await _serve(
                service,
                "127.0.0.1",
                0,
                lambda door: started.set_result(RunningSimulator(service, door, loop, stop)),
                stop,
            )

        def work() -> None:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(serve())

        with ThreadPoolExecutor(1, thread_name_prefix="simulator") as threads:
            served = threads.submit(work)
            served.add_done_callback(lambda _: started.cancel())
            try:
                server = started.result()
            except CancelledError:
                served.result()
                raise
            try:
                yield server
            finally:
                server.stop()
            served.result()


class RunningSimulator:
    """A stand-in that runs in another thread: what it has seen so far, and what it is to do next."""

    def __init__(self, service: Service, door: _Listener, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        self._service = service
        self._socket = door
        self._loop = loop
        self._stopping = stop
        self.url = door.url

    @property
    def options(self) -> SimulatorOptions:
        return self._service.options

    @property
    def calls(self) -> list[Call]:
        """Every request so far, in order of arrival; empty without `record`."""
        return list(self._service.calls)

    def requests_for(self, external_id: str) -> int:
        """How many link calls came for this ID, whatever was answered; needs `record`."""
        return sum(call.external_id == external_id and not call.asks_consents for call in self.calls)

    def consent_requests_for(self, external_id: str) -> int:
        """The same for calls for consents."""
        return sum(call.external_id == external_id and call.asks_consents for call in self.calls)

    @property
    def links(self) -> dict[str, str]:
        """The right link last answered for each ID; needs `record`. Wrong links are not among them."""
        return dict(self._service.links)

    @property
    def link_calls(self) -> int:
        return self._service.link_calls

    @property
    def consent_calls(self) -> int:
        return self._service.consent_calls

    @property
    def study_calls(self) -> int:
        return self._service.study_calls

    @property
    def token_calls(self) -> int:
        return self._service.token_calls

    @property
    def refused(self) -> int:
        """Link calls over `rate` or `in_flight_limit`."""
        return self._service.refused

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return Counter(dict(self._service.statuses))

    @property
    def in_flight(self) -> int:
        """Link calls being answered at this moment."""
        return self._service.in_flight

    @property
    def max_in_flight(self) -> int:
        """The most link calls that were being answered at the same time."""
        return self._service.max_in_flight

    def script(self, external_id: str, items: Iterable[ScriptItem]) -> None:
        """What the next well-formed link calls for this ID get, an item each, before the options apply again.

        Faults, limits and refused IDs do not touch a scripted call. `faults.parse_step` says how items are
        written; raises its `SettingsError`. A former script of the ID is forgotten.
        """
        self._service.scripts[external_id] = deque(parse_step(item) for item in items)

    def script_consents(self, external_id: str, items: Iterable[ScriptItem]) -> None:
        """The same for the next well-formed calls for the consents of this ID; "ok" is what the options say of it.

        Raises `SettingsError`.
        """
        steps = deque(parse_step(item) for item in items)
        if any(carries_link(step) for step in steps):
            raise SettingsError("A call for consents cannot be answered with a link.")
        self._service.consent_scripts[external_id] = steps

    def decide(self, external_id: str, decision: str, *, project: str | None = None) -> None:
        """This patient decides now, in the first project unless one is named: `consented`, `declined`, `expired`, `undecided`.

        `consent_lag_s` later it is shown.
        """
        chosen = Decision(decision)

        async def decide() -> None:
            self._service.book.decide(project or self.options.projects[0], external_id, chosen)

        self._on_loop(decide())

    def script_token(self, items: Iterable[ScriptItem]) -> None:
        """The same for the next well-formed calls for a token; "ok" is a token. Raises `SettingsError`."""
        steps = deque(parse_step(item) for item in items)
        if any(carries_link(step) for step in steps):
            raise SettingsError("A call for a token cannot be answered with a link.")
        self._service.token_script = steps

    def change(self, **options: Any) -> None:
        """Other values for some options (named as in `SimulatorOptions`), in force when this returns.

        Counts go on. `die_after=0` is dead at once, `die_after=None` alive again at the same port. Raises
        `SettingsError` for values that make no sense.
        """
        changed = dataclasses.replace(self.options, **options)

        async def change() -> None:
            self._service.change(changed)
            await _open_or_shut(self._service, self._socket)

        self._on_loop(change())

    def revoke_tokens(self) -> None:
        """Every token issued so far is refused from now on."""

        async def revoke() -> None:
            self._service.tokens.revoke_all()

        self._on_loop(revoke())

    def issue_token(self, lifetime_s: float = 86_400.0) -> str:
        """A token as from the token endpoint, but not counted; expired already if `lifetime_s` < 0."""

        async def issue() -> str:
            return self._service.tokens.issue(lifetime_s)

        return self._on_loop(issue())

    def _on_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CHANGE_S)

    def stop(self) -> None:
        """Ends the server before the block ends; the end of the block waits until it has stopped."""
        # The loop is closed already where the server ended by itself, of a defect.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)


async def _serve(
    service: Service, host: str, port: int, ready: Callable[[_Listener], object], stop: asyncio.Event
) -> None:
    protocols = web.Server(
        service.handle,
        handler_cancellation=True,
        access_log=None,
        logger=_SILENT,
        auto_decompress=False,
    )
    door = _Listener(protocols, host, port)
    service.on_death = lambda: door.shut() if service.refuses_connections else None
    await door.open()
    try:
        await _open_or_shut(service, door)
        ready(door)
        await stop.wait()
    finally:
        service.stopping.set()
        door.shut()
        protocols.pre_shutdown()
        await protocols.shutdown(STOP_S)
    if service.defects:
        raise service.defects[0]


async def _open_or_shut(service: Service, door: _Listener) -> None:
    if service.refuses_connections:
        door.shut()
    else:
        await door.open()
