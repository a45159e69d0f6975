"""How long a connection may keep the server waiting, and how many there may be: so that nobody shuts out the others.

Whoever connects and says nothing, or says it a byte at a time, has no token yet and would hold a descriptor for good.
"""

import asyncio
import sys
from dataclasses import dataclass, field
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 15.0
"""For how long the head of a request may take to arrive."""

UNREAD_S = 60.0
"""For how long an answer may wait for its reader to take any of it."""

_RESERVED_DESCRIPTORS = 64  # lists, ledgers, pipes to the processes at work
_DESCRIPTORS_EACH = 3  # the connection, the file that arrives on it, and another connection that is about to be closed
_FEWEST, _MOST = 4, 1_000


def most_connections() -> int:
    """How many connections there may be at once, by the number of files that this process may have open."""
    if sys.platform == "win32":  # sockets are no files there
        return _MOST
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _MOST
    return max(_FEWEST, min(_MOST, (limit - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_EACH))


@dataclass(slots=True)
class Connections:
    """All that are open, the oldest first."""

    most: int
    head_s: float = field(default_factory=lambda: HEAD_S)
    unread_s: float = field(default_factory=lambda: UNREAD_S)
    _open: "dict[BoundedConnection, None]" = field(default_factory=dict)

    def enter(self, connection: "BoundedConnection") -> None:
        """Take one in. Where there are too many, the oldest without a whole request is closed, or else this one."""
        self._open[connection] = None
        if len(self._open) > self.most:
            idle = (other for other in self._open if other is not connection and other.is_waiting_for_head)
            next(idle, connection).abort()

    def leave(self, connection: "BoundedConnection") -> None:
        self._open.pop(connection, None)

    def protocol(self) -> type[asyncio.Protocol]:
        """The class of those that belong here, as uvicorn takes it."""
        return type("BoundedConnectionOfServer", (BoundedConnection,), {"all": self})


class BoundedConnection(H11Protocol):
    """A connection that is closed where the head of a request, or the reader of an answer, does not come."""

    all: ClassVar[Connections]
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting_for_head(self) -> bool:
        """Whether no request is being answered on it."""
        return self.cycle is None or self.cycle.response_complete

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self.all.leave(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._wait_for_head()
        self.all.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.leave(self)
        self._stop_waiting_for_head()
        super().connection_lost(exc)
        self._stop_waiting_for_reader()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting_for_head()
        elif self.is_waiting_for_head and self._head_timer is None:
            # the first of the next request, or what is left of one that is answered already
            self._wait_for_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.all.unread_s, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.all.head_s, self.abort)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
