"""Made-up servers that refuse, and clients that keep pace with them, on a clock that is counted and not waited for."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from batchlinks.healthex.rate_controller import RateController

TIMER_S = 0.001
"""Timers go off at whole thousandths of a second, or somewhat later."""

TIMER_LATE_S = 0.0002
"""As asyncio's were seen to be on Linux."""

JITTER_S = 0.0005
IN_FLIGHT = 64


class Limiter(Protocol):
    """Something that lets calls through, or does not."""

    def take(self, now: float) -> float:
        """0.0 if this call is let through, else seconds to wait."""


class FixedWindows:
    """So many calls in each second of the clock."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._second, self._used = -1, 0

    def take(self, now: float) -> float:
        second = math.floor(now)
        if second != self._second:
            self._second, self._used = second, 0
        self._used += 1
        return 0.0 if self._used <= self._rate else second + 1 - now


@dataclass(slots=True)
class Client:
    """What one run sent and what came of it, second by second."""

    pace: RateController
    sent: list[int]
    refused: list[int]
    window: int = 1
    in_flight: int = 0
    timer_is_set: bool = False

    def let_through(self, first: int, last: int) -> int:
        """Calls in these seconds that were let through."""
        return sum(self.sent[first:last]) - sum(self.refused[first:last])

    def share_refused(self, first: int, last: int) -> float:
        return sum(self.refused[first:last]) / max(1, sum(self.sent[first:last]))


@dataclass(slots=True)
class World:
    """Clients that have no end of patients to ask for, a server, and the time that calls take."""

    server_at: Callable[[float], Limiter]
    latency_s: float
    spread: random.Random
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    def run(self, clients: list[Client], seconds: int) -> None:
        for client in clients:
            self._set_timer(client, 0.0)
        while self._events[0][0] < seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)

    def _let_in(self, client: Client, now: float) -> None:
        while client.in_flight < client.window and client.pace.wait_s(now) <= 0:
            client.pace.started(now)
            client.in_flight += 1
            self._after(self._way(now), lambda then, sent_at=now: self._arrive(client, sent_at, then))  # type: ignore[misc]
        if client.in_flight < client.window and not client.timer_is_set:
            due = math.ceil((now + client.pace.wait_s(now)) / TIMER_S) * TIMER_S
            self._set_timer(client, due + abs(self.spread.gauss(0, TIMER_LATE_S)))

    def _set_timer(self, client: Client, when: float) -> None:
        def ring(now: float) -> None:
            client.timer_is_set = False
            self._let_in(client, now)

        client.timer_is_set = True
        self._after(when, ring)

    def _arrive(self, client: Client, sent_at: float, now: float) -> None:
        refused = self.server_at(now).take(now) > 0
        client.sent[int(now)] += 1
        client.refused[int(now)] += refused

        def answer(then: float) -> None:
            client.in_flight -= 1
            if refused:
                client.pace.refused(sent_at, then)
            else:
                client.pace.let_through(sent_at, then)
                client.window = min(IN_FLIGHT, client.window + 1)
            self._let_in(client, then)

        self._after(self._way(now), answer)

    def _way(self, now: float) -> float:
        return now + self.latency_s / 2 + abs(self.spread.gauss(0, JITTER_S))

    def _after(self, when: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))


def paced(
    server: Limiter | Callable[[float], Limiter],
    *,
    seconds: int,
    latency_s: float = 0.003,
    clients: int = 1,
    seed: int = 0,
) -> list[Client]:
    """Clients that call a server for so long, each as fast as its own pace allows."""
    runs = [Client(RateController(), [0] * (seconds + 1), [0] * (seconds + 1)) for _ in range(clients)]
    server_at = server if callable(server) else lambda _: server
    World(server_at, latency_s, random.Random(seed)).run(runs, seconds)
    return runs
