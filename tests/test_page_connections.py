"""Visitors who come slowly, by the hundred, or leave in the middle: over a real socket, none of them harms the others."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from dask_processes import wait_until
from page import TOKEN, Page, csv_of, environment, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of descriptors are POSIX")

PATIENCE_S = 20.0
SIGNED_IN = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
QUICK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
from batchlinks.web import access, connection_limits
connection_limits.HEAD_S, connection_limits.UNREAD_S, access.SLOWEST_BODY_S = 1.0, 1.0, 2.0
from batchlinks.cli.main import main
main(sys.argv[1:])
"""
"""The server with room for few connections, and with little time for each."""

HALF_REQUESTS = {
    "nothing": b"",
    "a letter": b"G",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    "a head after another": b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HT",
    "a body that does not come": b"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\n",
    "a body that a signed-in visitor does not send": (
        f"PATCH /api/runs/{'0' * 32} HTTP/1.1\r\n{SIGNED_IN}Content-Length: 999\r\n\r\n{{".encode()
    ),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    data = tmp_path_factory.mktemp("page")
    with served(data, env=environment(data), program=("-c", QUICK)) as running:
        yield running


def connected(page: Page) -> socket.socket:
    address = urlsplit(page.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE_S)


def said_until_the_end(connection: socket.socket) -> bytes:
    """All that the server says until it closes the connection. Raises TimeoutError where it does not."""
    said = b""
    try:
        while piece := connection.recv(65_536):
            said += piece
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize("half", HALF_REQUESTS.values(), ids=HALF_REQUESTS)
def test_half_a_request_is_closed_after_its_time(page: Page, half: bytes) -> None:
    with connected(page) as connection:
        connection.sendall(half)

        said_until_the_end(connection)


def test_a_head_that_trickles_in_is_closed_after_its_time(page: Page) -> None:
    with connected(page) as connection, pytest.raises(OSError):
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_S:
            connection.sendall(b"G")
            time.sleep(0.05)


def test_a_body_that_stops_arriving_is_answered_with_what_to_do(page: Page) -> None:
    with connected(page) as connection:
        connection.sendall(
            f"POST /api/runs HTTP/1.1\r\n{SIGNED_IN}Content-Type: multipart/form-data; boundary=x\r\n"
            "Content-Length: 100000\r\n\r\n--x\r\n".encode()
        )

        said = said_until_the_end(connection)

    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"upload it again" in said


def server_holds(page: Page, connection: socket.socket) -> bool:
    """Whether the server's process still has its end of a connection open, as its system lists it."""
    here = connection.getsockname()
    return any(other.raddr == here for other in psutil.Process(page.process.pid).net_connections("tcp"))


def test_whoever_does_not_read_an_answer_is_closed(page: Page) -> None:
    """Seen at the server: the end of a connection whose window is full may never reach the one who does not read."""
    request = f"GET /openapi.json HTTP/1.1\r\n{SIGNED_IN}\r\n".encode()
    with connected(page) as connection:
        wait_until(lambda: server_holds(page, connection))
        connection.setblocking(False)
        deadline = time.monotonic() + PATIENCE_S
        while server_holds(page, connection):
            assert time.monotonic() < deadline
            with suppress(BlockingIOError, ConnectionError):
                connection.send(request * 20)
            time.sleep(0.01)


@pytest.mark.parametrize("half", [HALF_REQUESTS["half a head"], HALF_REQUESTS["nothing"]], ids=["half", "none"])
def test_two_hundred_half_requests_do_not_keep_an_honest_visitor_out(page: Page, half: bytes) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(connected(page)) for _ in range(200)]
        for connection in crowd:
            try:
                connection.sendall(half)
            except ConnectionError:
                continue  # one that had to make room

        assert page.client.get("/api/runs").status_code == 200
        assert page.upload(csv_of(3)).status_code == 201
        for connection in crowd:
            said_until_the_end(connection)


def test_a_visitor_who_takes_part_is_not_hurried(page: Page) -> None:
    """Longer in all than a head may take: a request, a pause, another on the same connection, then an upload."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="roster"; filename="a.csv"\r\n\r\n'
        + csv_of(400)
        + b"\r\n--x--\r\n"
    )
    address = urlsplit(page.url)
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE_S)) as client:
        for _ in range(3):
            client.request("GET", "/api/runs", headers={"Authorization": f"Bearer {TOKEN}"})
            with client.getresponse() as answer:
                assert (answer.status, answer.read()[:1]) == (200, b"[")
            time.sleep(0.6)
        client.putrequest("POST", "/api/runs")
        client.putheader("Authorization", f"Bearer {TOKEN}")
        client.putheader("Content-Type", "multipart/form-data; boundary=x")
        client.putheader("Content-Length", str(len(body)))
        client.endheaders()
        for at in range(0, len(body), 1_000):
            client.send(body[at : at + 1_000])
            time.sleep(0.15)

        assert client.getresponse().status == 201


# --- who leaves in the middle -----------------------------------------------------------------------------------


def test_a_browser_that_is_closed_in_the_middle_is_nothing_to_report(tmp_path: Path) -> None:
    with served(tmp_path, env=environment(tmp_path)) as page:
        run_id = page.uploaded(csv_of(3))
        uploading = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
        part = '--x\r\nContent-Disposition: form-data; name="roster"; filename="a.csv"\r\n\r\nMRN\r\n123'
        requests = [
            f"POST /api/runs HTTP/1.1\r\n{SIGNED_IN}{uploading}",
            f"POST /api/runs HTTP/1.1\r\n{SIGNED_IN}{uploading}{part}",
            f"PATCH /api/runs/{run_id} HTTP/1.1\r\n{SIGNED_IN}Content-Length: 99\r\n\r\n{{",
            f"POST /api/runs/{run_id}/start HTTP/1.1\r\n{SIGNED_IN}Content-Length: 99\r\n\r\n",
            f"GET /api/runs/{run_id}/events HTTP/1.1\r\n{SIGNED_IN}\r\n",
            f"GET /openapi.json HTTP/1.1\r\n{SIGNED_IN}\r\n" * 50,
        ]
        for request in requests:
            for reset in (False, True):
                with connected(page) as connection:
                    if reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    connection.sendall(request.encode())
                    assert page.client.get("/api/runs").status_code == 200  # so that it has been taken up
        assert len(page.client.get("/api/runs").json()) == 1
        code, _, said = page.end()

    assert code == 0
    assert "defect" not in said.lower()
    assert not said.strip()
