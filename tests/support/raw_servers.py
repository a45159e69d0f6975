"""Servers on a bare socket that say exactly what a test wants them to say, when it wants them to."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LINK_PAGE = "https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link"


def link_of(external_id: str) -> str:
    return f"{LINK_PAGE}?xid={external_id}.signature"


def answer(body: str | bytes, *headers: str, status: str = "HTTP/1.1 201 Created") -> bytes:
    """A whole answer, with its right Content-Length unless the headers hold one."""
    content = body.encode() if isinstance(body, str) else body
    length = () if any(line.lower().startswith("content-length") for line in headers) else (_length(content),)
    return "".join(f"{line}\r\n" for line in (status, *headers, *length, "")).encode() + content


def _length(content: bytes) -> str:
    return f"Content-Length: {len(content)}"


def in_chunks(body: str) -> bytes:
    head = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body.encode())


@dataclass
class Conversation:
    """One connection, seen from the server."""

    number: int
    """From 1, in the order in which they came."""

    connection: socket.socket
    _heard: bytes = b""

    def next_id(self) -> str:
        """The external ID of the next request. Raises ConnectionError where the client has closed the connection."""
        while True:
            head, blank, rest = self._heard.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0) if blank else 0
            if blank and len(rest) >= length:
                self._heard = rest[length:]
                external_id: str = json.loads(rest[:length])["externalId"]
                return external_id
            piece = self.connection.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            self._heard += piece

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer_honestly(self) -> None:
        """Every further request gets its own link."""
        while True:
            self.say(answer(link_of(self.next_id())))


@dataclass
class RawServer:
    url: str
    conversations: list[Conversation] = field(default_factory=list)


@contextmanager
def talking(script: Callable[[Conversation], None]) -> Iterator[RawServer]:
    """Runs `script` for every connection, in a thread of its own; the connection ends with it."""

    def talk(conversation: Conversation) -> None:
        with conversation.connection:
            try:
                script(conversation)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.conversations.append(Conversation(len(server.conversations) + 1, connection))
            threads.append(threading.Thread(target=talk, args=(server.conversations[-1],)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()
