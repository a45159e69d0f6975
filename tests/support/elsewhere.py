"""Storages on other computers, started by the tests: a server that speaks S3, and a real OpenSSH server."""

import itertools
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_BUCKET = "clinic-rosters"
_numbers = itertools.count()


# --- S3 ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class S3:
    """A server that speaks S3, with one bucket."""

    url: str
    bucket: str = _BUCKET

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def folder(self) -> str:
        """The address of a folder that nobody has used."""
        return f"s3://{self.bucket}/test-{next(_numbers)}/in"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3:
    """S3 as a clinic has it: address and credentials in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-of-the-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    _put_bucket(s3_server)
    return s3_server


def _put_bucket(server: S3) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port))) as line:
        line.sendall(
            f"PUT /{server.bucket} HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        line.recv(1 << 16)


# --- SFTP -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sshd:
    """An OpenSSH server that lets this user in by key."""

    port: int
    home: Path
    """Of the one who connects: with key and known hosts."""

    host_key: str
    """Type and key, as known_hosts has them."""

    @property
    def address(self) -> str:
        return f"sftp://127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def known_as(self, port: int) -> None:
        """The server is reached by another port, too."""
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {self.host_key}\n")


@contextmanager
def sshd_running(folder: Path, *, sftp: str = "") -> Iterator[tuple[int, str]]:
    """A server that lets in whose key stands in `folder/authorized_keys`: its port and its ed25519 key. `sftp`: more options."""
    assert SSHD is not None
    folder.mkdir(exist_ok=True)
    for kind in ("ecdsa", "ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / f"host_{kind}"], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_ecdsa\nHostKey {folder}/host_ed25519\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"PermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp {sftp}\nLogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in; made at boot elsewhere
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield port, " ".join((folder / "host_ed25519.pub").read_text().split()[:2])
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def sshd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    ssh = folder / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "id_ed25519"], check=True)
    shutil.copy(ssh / "id_ed25519.pub", folder / "authorized_keys")
    with sshd_running(folder) as (port, host_key):
        (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        yield Sshd(port, folder / "home", host_key)


@pytest.fixture
def sshd(sshd_server: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sshd:
    """The server as this user reaches it: with the key and the known hosts in `~/.ssh`, which the test may change."""
    home = tmp_path / "home"
    shutil.copytree(sshd_server.home, home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("BATCHLINKS_SFTP_PASSWORD", raising=False)
    return replace(sshd_server, home=home)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("sshd did not start")


# --- a line that breaks -----------------------------------------------------------------------------------------


class BreakingLine:
    """A way to a server of this computer that breaks when so many bytes went one way, as often as it was told to."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.breaks_after = 0
        self.breaks_left = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def breaks(self, times: int, *, after: int) -> None:
        """`times` times a connection breaks when more than so many bytes went there, or came back."""
        self.breaks_left, self.breaks_after = times, after

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._to_port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while content := source.recv(1 << 16):
                carried += len(content)
                if self.breaks_left and carried > self.breaks_after:
                    self.breaks_left -= 1
                    for line in (source, target):  # at once, as when a cable is pulled: a reset, no farewell
                        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                target.sendall(content)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@pytest.fixture
def line_to() -> Iterator[Callable[[int], BreakingLine]]:
    """Makes a line to a port of this computer."""
    with ExitStack() as stack:
        yield lambda port: stack.enter_context(closing(BreakingLine(port)))
