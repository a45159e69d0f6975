"""Through a hospital's network: proxies, certificates, and `check --connect`, which tells where it is stuck."""

import asyncio
import base64
import datetime
import ipaddress
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import results
from conftest import Ended
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]

CREDENTIALS = "hospital:s3cret-pa55"


def roster_of(folder: Path, count: int = 3) -> Path:
    path = folder / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"{100_001 + n},Pat {n}\n" for n in range(count)), encoding="utf-8")
    return path


# --- small servers --------------------------------------------------------------------------------------------


@contextmanager
def served(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve connections on a free port of 127.0.0.1 from another thread; gives the port."""
    ports: list[int] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=tls)
        loop.set_exception_handler(lambda _loop, _context: None)  # handshakes that fail are what some tests are about
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in writers:  # a loop that is closed sooner leaves them open for good
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes) -> None:
    """Pass on everything between a client and a server until one of them closes."""
    far_reader, far_writer = await asyncio.open_connection(host, port)
    far_writer.write(first)
    ways = [asyncio.create_task(pipe(reader, far_writer)), asyncio.create_task(pipe(far_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        far_writer.close()
        with suppress(OSError):
            await far_writer.wait_closed()


@dataclass
class Proxy:
    """A real proxy: forwards plain requests, and tunnels with CONNECT."""

    port: int = 0
    asked_for: list[str] = field(default_factory=list)
    wants_credentials: bool = False
    refuses_with: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.asked_for.append(f"{method} {urlsplit(target).netloc or target}")
        expected = base64.b64encode(CREDENTIALS.encode())
        status = self.refuses_with
        if self.wants_credentials and b"Proxy-Authorization: Basic " + expected not in head:
            status = 407
        if status is not None:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            host, _, port = target.partition(":")
            await join(reader, writer, host, int(port), b"")
        else:
            # Everything after the first request goes to the same server, which understands whole addresses only in part.
            address = urlsplit(target)
            length = int(
                next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")).split(b":")[1]
            )
            body = await reader.readexactly(length)
            plain = head.replace(target.encode(), address.path.encode(), 1)
            plain = plain.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            await join(reader, writer, str(address.hostname), address.port or 80, plain + body)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    found = Proxy()
    with served(found.handle) as port:
        found.port = port
        yield found


class Authority:
    """A throw-away certificate authority, and a server certificate for this machine that it issued."""

    def __init__(self, folder: Path, *, expired: bool = False) -> None:
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Invented Hospital Root")])
        key = ec.generate_private_key(ec.SECP256R1())
        root = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .sign(key, hashes.SHA256())
        )
        server_key = ec.generate_private_key(ec.SECP256R1())
        server = (
            x509.CertificateBuilder(
                name,
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
                server_key.public_key(),
                x509.random_serial_number(),
            )
            .not_valid_before(now - datetime.timedelta(days=8))
            .not_valid_after(now + datetime.timedelta(days=-1 if expired else 8))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.root = folder / "root.pem"
        self.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self._chain = folder / "server.pem"
        self._chain.write_bytes(
            server.public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context


@contextmanager
def behind_tls(healthex: RunningSimulator, authority: Authority) -> Iterator[str]:
    """The stand-in, spoken to through TLS; gives its address."""
    port = urlsplit(healthex.url).port
    assert port is not None

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await join(reader, writer, "127.0.0.1", port, b"")

    with served(forward, authority.server_context()) as tls_port:
        yield f"https://localhost:{tls_port}"


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# --- certificates ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the store of other systems is not a file that a variable names")
def test_the_machines_own_certificate_store_is_believed(
    command: Command,
    healthex: RunningSimulator,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    with behind_tls(healthex, authority) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)

        ended = command("run", roster_of(tmp_path))

    assert ended.code == 0, ended.err
    assert len(results.links(tmp_path / "patients.links.xlsx")) == 3


@pytest.mark.parametrize("kind", ["unknown", "expired"])
def test_a_certificate_that_is_not_trusted_ends_the_run_at_once_and_says_so(
    command: Command,
    healthex: RunningSimulator,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    authority = Authority(tmp_path_factory.mktemp("authority"), expired=kind == "expired")
    if kind == "expired":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    with behind_tls(healthex, authority) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)

        ended = command("run", roster_of(tmp_path))  # with two minutes of patience, which it must not need
        connected = command("check", "--connect")

    assert ended.code == connected.code == 5
    for said in (ended.err, connected.err):
        assert "does not trust the certificate" in said
        assert ("expired" in said) == (kind == "expired")
    assert healthex.calls == []


# --- proxies --------------------------------------------------------------------------------------------------


def test_plain_calls_go_through_the_proxy(
    command: Command, healthex: RunningSimulator, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    ended = command("run", roster_of(tmp_path))

    assert ended.code == 0, ended.err
    assert set(proxy.asked_for) == {f"POST {urlsplit(healthex.url).netloc}"}
    assert len(proxy.asked_for) == 4


@pytest.mark.parametrize("with_credentials", [False, True])
def test_encrypted_calls_go_through_the_proxy_in_a_tunnel(
    command: Command,
    healthex: RunningSimulator,
    proxy: Proxy,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_credentials: bool,
) -> None:
    proxy.wants_credentials = with_credentials
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{CREDENTIALS}@" if with_credentials else "//"))
    with behind_tls(healthex, authority) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)

        ended = command("run", roster_of(tmp_path), "--verbose")
        connected = command("check", "--connect")

    assert ended.code == 0, ended.err
    assert set(proxy.asked_for) == {f"CONNECT {urlsplit(url).netloc}"}
    assert proxy.url in connected.out
    assert "s3cret" not in ended.err + connected.out + connected.err


@pytest.mark.usefixtures("healthex")
def test_no_proxy_is_obeyed(command: Command, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")

    ended = command("run", roster_of(tmp_path))

    assert ended.code == 0
    assert proxy.asked_for == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_proxy_that_wants_credentials_ends_the_run_at_once_and_is_named(
    command: Command,
    healthex: RunningSimulator,
    proxy: Proxy,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encrypted: bool,
) -> None:
    proxy.wants_credentials = True
    monkeypatch.setenv("HTTPS_PROXY" if encrypted else "HTTP_PROXY", proxy.url)
    with behind_tls(healthex, authority) as url:
        if encrypted:
            monkeypatch.setenv("HEALTHEX_API_URL", url)

        ended = command("run", roster_of(tmp_path))
        connected = command("check", "--connect")

    assert ended.code == connected.code == 5
    for said in (ended.err, connected.err):
        assert "407" in said
        assert proxy.url in said
    assert healthex.calls == []


def test_a_407_in_mid_run_keeps_what_was_answered(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    healthex.script("100003", ["proxy_auth"])

    ended = command("run", roster_of(tmp_path, 3), "--concurrency", "1")

    assert ended.code == 5
    assert "407" in ended.err
    assert len(results.links(tmp_path / "patients.links.xlsx")) == 2


@pytest.mark.parametrize("down", [True, False], ids=["down", "refuses"])
def test_a_proxy_that_is_down_or_refuses_is_named(
    command: Command,
    healthex: RunningSimulator,
    proxy: Proxy,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    down: bool,
) -> None:
    proxy.refuses_with = 403
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9" if down else proxy.url)
    with behind_tls(healthex, authority) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)

        ended = command("run", roster_of(tmp_path), "--patience", "0.3")

    assert ended.code == 5
    assert f"the proxy {'http://127.0.0.1:9' if down else proxy.url} failed" in ended.err
    assert down or "answer 403" in ended.err
    assert healthex.calls == []


@pytest.mark.usefixtures("healthex")
def test_a_proxy_of_a_kind_that_cannot_be_used_is_a_setting_to_correct(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")

    ended = command("run", roster_of(tmp_path))

    assert ended.code == 2
    assert "socks5" in ended.err


# --- check --connect ------------------------------------------------------------------------------------------


def test_check_connect_tries_everything_and_names_no_patient(command: Command, healthex: RunningSimulator) -> None:
    ended = command("check", "--connect")

    assert ended.code == 0
    assert "HealthEx accepts the API key and secret" in ended.out
    assert healthex.link_calls == 0
    assert healthex.token_calls == 1


@pytest.mark.usefixtures("healthex")
def test_check_connect_tells_a_wrong_secret(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHEX_API_SECRET", "wrong-secret-value")

    ended = command("check", "--connect")

    assert ended.code == 4
    assert "HEALTHEX_API_SECRET" in ended.err
    assert "wrong-secret-value" not in ended.err + ended.out


@pytest.mark.usefixtures("healthex")
def test_check_connect_tells_that_nobody_answers(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHEX_API_URL", "http://127.0.0.1:9")

    ended = command("check", "--connect")

    assert ended.code == 5
    assert "cannot be reached" in ended.err


def test_check_connect_goes_no_further_than_a_token_that_was_brought_along(
    command: Command, healthex: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    monkeypatch.delenv("HEALTHEX_API_KEY")
    monkeypatch.delenv("HEALTHEX_API_SECRET")

    ended = command("check", "--connect")

    assert ended.code == 0
    assert "HEALTHEX_TOKEN" in ended.out
    assert healthex.link_calls == 0
