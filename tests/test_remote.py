"""Rosters and results on other computers: through the command, over lines that break, and with servers one should not trust."""

import functools
import html
import http.server
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
import pytest
import results
from conftest import Ended
from elsewhere import S3, BreakingLine, Sshd, free_port, sshd_running
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL

from batchlinks.errors import ExitCode, FolderError, FolderLost, SettingsError
from batchlinks.pipeline import intake
from batchlinks.roster import read as reading
from batchlinks.simulator import RunningSimulator
from batchlinks.storage import store
from batchlinks.storage.address import Address
from batchlinks.storage.folder import Folder
from batchlinks.storage.opening import open_folder
from batchlinks.storage.ssh import connect

Command = Callable[..., Ended]
LineTo = Callable[[int], BreakingLine]

ROSTER = b"MRN,Last name\n00417,Lee\n00418,Ray\n"
MUCH = bytes(range(256)) * 12_000
"""Three megabytes: many packets."""


# --- run and check ----------------------------------------------------------------------------------------------


def put_roster(folder: str, name: str = "patients.csv") -> str:
    open_folder(folder).write(name, ROSTER)
    return f"{folder}/{name}"


def test_a_roster_on_s3_gets_its_links(command: Command, healthex: RunningSimulator, s3: S3, tmp_path: Path) -> None:
    roster = put_roster(s3.folder(), "Übersicht #2 (März).csv")

    ended = command("run", roster, "--output-dir", tmp_path / "out")

    assert ended.code == 0
    assert len(results.links(tmp_path / "out" / "Übersicht #2 (März).links.xlsx")) == 2
    assert len(healthex.links) == 2
    assert results.summary(tmp_path / "out" / "Übersicht #2 (März).summary.json")["roster"] == "Übersicht #2 (März).csv"


@pytest.mark.needs("sshd")
def test_a_roster_on_a_server_gets_its_links(
    command: Command, healthex: RunningSimulator, sshd: Sshd, tmp_path: Path
) -> None:
    roster = put_roster(f"{sshd.address}{tmp_path}/in")

    checked = command("check", roster, "--output-dir", tmp_path / "out")
    ended = command("run", roster, "--output-dir", tmp_path / "out")

    assert (checked.code, ended.code) == (0, 0)
    assert len(results.links(tmp_path / "out" / "patients.links.xlsx")) == len(healthex.links) == 2
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["patients.csv"]


@pytest.mark.usefixtures("healthex")
def test_the_same_remote_roster_replaces_its_results_and_another_of_the_same_name_does_not(
    command: Command, s3: S3, tmp_path: Path
) -> None:
    first, second = put_roster(s3.folder()), put_roster(s3.folder())
    for roster in (first, first, second):
        assert command("run", roster, "--output-dir", tmp_path).code == 0

    assert sorted(path.name for path in tmp_path.glob("*.links.xlsx")) == [
        "patients (2).links.xlsx",
        "patients.links.xlsx",
    ]


@pytest.mark.usefixtures("healthex")
def test_a_caller_in_python_may_name_an_address(s3: S3, tmp_path: Path) -> None:
    import batchlinks

    report = batchlinks.run(put_roster(s3.folder()), output_dir=tmp_path)

    assert report.summary.linked == 2


@pytest.mark.parametrize("which", ["run", "check"])
def test_without_a_folder_for_the_results_nothing_is_fetched(
    command: Command, s3: S3, line_to: LineTo, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    line = line_to(s3.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")

    ended = command(which, "s3://clinic-rosters/in/patients.csv")

    assert (ended.code, line.connections) == (2, 0)
    assert "--output-dir" in ended.err


def test_a_roster_that_is_too_large_is_not_fetched_whole(
    command: Command, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = s3.folder()
    open_folder(folder).write("patients.csv", MUCH)
    for module in (intake, reading):
        monkeypatch.setattr(module, "MAX_FILE_BYTES", 1_000_000)

    ended = command("check", f"{folder}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "larger than 1 MB" in ended.err


@pytest.mark.parametrize("option", ["--output-dir", "--exclude", "--ledger"])
def test_only_the_roster_may_be_elsewhere(command: Command, private_home: Path, option: str) -> None:
    (private_home / "patients.csv").write_bytes(ROSTER)

    ended = command("check", "patients.csv", option, "s3://clinic-rosters/out")

    assert ended.code == 2
    assert option in ended.err
    assert {path.name for path in private_home.iterdir()} - {"data"} == {"patients.csv"}  # no folder called s3:


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    handler = functools.partial(Files, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_signed_web_address_is_fetched_and_its_signature_is_never_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "patients.csv").write_bytes(ROSTER)
    with web_server(tmp_path / "web") as url:
        found = command("check", f"{url}/patients.csv?X-Signature=hidden", "--output-dir", tmp_path, "--verbose")
        missing = command("check", f"{url}/patient.csv?X-Signature=hidden", "--output-dir", tmp_path, "--verbose")

    assert (found.code, missing.code) == (0, 2)
    assert "http://127.0.0.1" in missing.err
    assert "hidden" not in found.err + found.out + missing.err + missing.out
    assert (tmp_path / "patients.check.json").is_file()


# --- what cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sftp://ann:Secret1@host/patients.csv", "BATCHLINKS_SFTP_PASSWORD"),
        ("s3://AKIA:Secret1@bucket/patients.csv", "AWS_PROFILE"),
        ("s3://Secret1@bucket/patients.csv", "AWS_PROFILE"),
        ("http://hospital.example/patients.csv?Secret1", "https://"),
        ("ftp://hospital.example/Secret1", "sftp://"),
        ("nonsense://host/Secret1", "no kind of place"),
        ("sftp:///Secret1", "does not name a host"),
        ("sftp://host:99999/Secret1", "does not name a host"),
        ("s3://bucket/in/", "Name the file"),
        ("s3://bucket", "Name the file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_its_secrets_are_not_said(
    command: Command, tmp_path: Path, address: str, said: str
) -> None:
    ended = command("check", address, "--output-dir", tmp_path, "--verbose")

    assert ended.code == 2
    assert said in ended.err
    assert "Secret1" not in ended.err + ended.out


@pytest.mark.parametrize(
    ("text", "shown", "identity"),
    [
        ("sftp://ann@host:2222/in", "sftp://host:2222/in", "sftp://ann@host:2222/in"),
        ("ssh://host/in/", "sftp://host/in", "sftp://host/in"),
        ("S3://bucket/in/a#b?c.csv", "s3://bucket/in/a#b?c.csv", "s3://bucket/in/a#b?c.csv"),
        ("sftp://[::1]:22/in", "sftp://[::1]:22/in", "sftp://[::1]:22/in"),
        ("https://host/a.csv?sig=1", "https://host/a.csv", "https://host/a.csv"),
        ("abfs://container@account/in", "abfs://account/in", "abfs://container@account/in"),
    ],
)
def test_an_address_is_shown_without_what_lets_somebody_in(text: str, shown: str, identity: str) -> None:
    address = Address.of(text)

    assert (str(address), address.identity) == (shown, identity)


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("sftp", "paramiko"), ("memory", "fsspec")])
def test_without_the_extra_it_says_what_to_install(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, library: str
) -> None:
    for module in ("remote_folder", "store", "s3", "sftp", "ssh"):
        monkeypatch.delitem(sys.modules, f"batchlinks.storage.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)

    ended = command("check", f"{scheme}://host/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert 'pip install "batchlinks[remote]"' in ended.err


@pytest.mark.parametrize("address", ["s3://no-such-bucket/in/patients.csv", "s3://clinic-rosters/in/patient.csv"])
@pytest.mark.usefixtures("s3")
def test_what_is_not_on_s3_is_said(command: Command, tmp_path: Path, address: str) -> None:
    ended = command("check", address, "--output-dir", tmp_path)

    assert ended.code == 2
    assert ended.err == f"Error: {address} cannot be read: there is nothing of that name. Check the address.\n"


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_no_place() -> None:
    place = open_folder("s3://no-such-bucket/in")

    assert not place.exists()
    with pytest.raises(FolderError, match="nothing of that name"):
        place.write("patients.csv", b"")


def test_s3_without_credentials_says_where_they_come_from(
    command: Command, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = put_roster(s3.folder())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    ended = command("check", roster, "--output-dir", tmp_path)

    assert ended.code == 2
    assert "no credentials; set AWS_PROFILE" in ended.err


def test_s3_in_clear_is_for_this_computer_only(
    command: Command, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.clinic.example:9000")

    ended = command("check", f"{s3.folder()}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "AWS_ENDPOINT_URL" in ended.err
    assert "in clear" in ended.err


class Refusing(http.server.BaseHTTPRequestHandler):
    """S3 that says to everything that the key is unknown, and quotes what was asked."""

    def do_GET(self) -> None:
        quoted = f"{html.escape(self.path)} AKIA-of-the-tests"
        body = f"<Error><Code>InvalidAccessKeyId</Code><Message>{quoted}</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_refusal_of_s3_is_said_in_our_words(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    del s3
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(FolderError) as raised:
            open_folder("s3://clinic-rosters/in").folder("Wolpertinger").entries()
        server.shutdown()

    assert raised.value.exit_code == ExitCode.UNUSABLE
    assert "the access key is not known there" in str(raised.value)
    assert "AKIA" not in str(raised.value)


# --- servers that one should not trust --------------------------------------------------------------------------


@pytest.mark.needs("sshd")
def test_an_unknown_server_is_sent_nothing_and_the_sentence_says_how_to_know_it(
    command: Command, sshd: Sshd, tmp_path: Path
) -> None:
    sshd.known_hosts.unlink()

    ended = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> ~/.ssh/known_hosts" in ended.err
    assert "SHA256:" in ended.err
    command_given = ended.err.partition("then add it: ")[2].strip()
    subprocess.run(command_given, shell=True, check=True, stderr=subprocess.DEVNULL)
    put_roster(f"{sshd.address}{tmp_path}")
    assert command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path).code == 0


@pytest.mark.needs("sshd")
def test_a_server_with_another_key_than_the_known_one_is_sent_nothing(
    command: Command, sshd: Sshd, tmp_path: Path
) -> None:
    kind, _ = sshd.host_key.split()
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    key = other.with_suffix(".pub").read_text().split()[1]
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")

    ended = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "another key than the one that known_hosts has" in ended.err


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("checking", ["accept-new", "no"])
def test_who_wishes_it_takes_the_first_key_of_a_server_on_trust_but_no_other(
    command: Command, sshd: Sshd, tmp_path: Path, checking: str
) -> None:
    sshd.known_hosts.unlink()
    (sshd.home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n  StrictHostKeyChecking {checking}\n")
    roster = put_roster(f"{sshd.address}{tmp_path}/in")
    kept = sshd.known_hosts.read_text()

    assert kept.startswith(f"[127.0.0.1]:{sshd.port} ")
    assert command("check", roster, "--output-dir", tmp_path).code == 0
    assert sshd.known_hosts.read_text() == kept

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = (tmp_path / "other.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    assert command("check", roster, "--output-dir", tmp_path).code == 2


@pytest.mark.needs("sshd")
def test_a_server_of_which_only_another_kind_of_key_is_known_is_sent_nothing(
    command: Command, sshd: Sshd, tmp_path: Path
) -> None:
    key = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {key.with_suffix('.pub').read_text()}")

    ended = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "another key than the one that known_hosts has" in ended.err


@pytest.mark.needs("sshd")
def test_a_key_that_the_server_does_not_take_is_said(command: Command, sshd: Sshd, tmp_path: Path) -> None:
    for path in (sshd.home / ".ssh").glob("id_*"):
        path.unlink()
    nobody = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", sshd.home / ".ssh" / "id_ed25519"], check=True)
    stranger = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)

    for ended in (nobody, stranger):
        assert ended.code == 2
        assert "refuses the sign-in" in ended.err


class PasswordServer(paramiko.ServerInterface):
    """Takes one password, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:  # noqa: ARG002
        self.shown.append(password)
        return AUTH_SUCCESSFUL if password == "Secret1" else AUTH_FAILED


@pytest.mark.parametrize("known", [True, False])
def test_a_password_is_shown_to_a_known_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "password").write_text("Secret1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("BATCHLINKS_SFTP_PASSWORD_FILE", str(tmp_path / "password"))
    key, server = paramiko.RSAKey.generate(2048), PasswordServer()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        host = f"[127.0.0.1]:{port} ssh-rsa {key.get_base64()}\n" if known else ""
        (tmp_path / ".ssh" / "known_hosts").write_text(host)

        def serve() -> None:
            line, _ = listener.accept()
            with suppress(paramiko.SSHException, EOFError, ConnectionError):
                transport = paramiko.Transport(line)
                transport.add_server_key(key)
                transport.start_server(server=server)
                transport.join(10)

        threading.Thread(target=serve, daemon=True).start()
        if known:
            client = connect(Address.of(f"sftp://ann@127.0.0.1:{port}"))
            transport = client.get_transport()
            assert transport is not None
            assert transport.is_authenticated()
            client.close()
        else:
            with pytest.raises(FolderError, match="not known to this computer"):
                connect(Address.of(f"sftp://ann@127.0.0.1:{port}"))

    assert server.shown == (["Secret1"] if known else [])


@pytest.mark.needs("sshd")
def test_a_name_in_another_encoding_is_said_and_not_shown(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/Wolpertinger M\xfcller.csv")).write_bytes(b"")

    with pytest.raises(FolderLost, match="not UTF-8; rename") as raised:
        open_folder(f"{sshd.address}{tmp_path}/in").entries()

    assert "Wolpertinger" not in str(raised.value)


@pytest.mark.needs("sshd")
def test_the_settings_of_ssh_are_followed(sshd: Sshd, tmp_path: Path) -> None:
    ssh = sshd.home / ".ssh"
    (ssh / "id_ed25519").rename(ssh / "for_the_clinic")
    (ssh / "id_ed25519.pub").unlink()
    sshd.known_hosts.unlink()
    (ssh / "hosts of the clinic").mkdir()
    (ssh / "clinic_hosts").write_text(f"clinic-by-key {sshd.host_key}\n")
    (ssh / "config").write_text(
        f"Host clinic\n  HostName 127.0.0.1\n  Port {sshd.port}\n  HostKeyAlias clinic-by-key\n"
        "  IdentityFile ~/.ssh/for_the_clinic\n  IdentitiesOnly yes\n  UserKnownHostsFile ~/.ssh/clinic_hosts\n"
    )
    place = open_folder(f"sftp://clinic{tmp_path}/in")

    place.write("patients.csv", ROSTER)

    assert (tmp_path / "in" / "patients.csv").read_bytes() == ROSTER


@pytest.mark.needs("sshd")
def test_settings_of_ssh_that_make_no_sense_are_said(command: Command, sshd: Sshd, tmp_path: Path) -> None:
    (sshd.home / ".ssh" / "config").write_bytes(b"\xff\xfe")

    ended = command("check", f"{sshd.address}{tmp_path}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "~/.ssh/config" in ended.err


def test_a_server_that_does_not_answer_is_said(command: Command, tmp_path: Path) -> None:
    ended = command("check", f"sftp://127.0.0.1:{free_port()}/patients.csv", "--output-dir", tmp_path)

    assert ended.code == 2
    assert "cannot be reached by SSH" in ended.err


# --- lines that break -------------------------------------------------------------------------------------------


@pytest.fixture(params=["s3", pytest.param("sftp", marks=pytest.mark.needs("sshd"))])
def broken(
    request: pytest.FixtureRequest, line_to: LineTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Folder, Folder, BreakingLine]:
    """A place by a line that breaks, the same by another that does not, and the line."""
    if request.param == "s3":
        monkeypatch.setattr("batchlinks.storage.s3._ATTEMPTS", 1)  # the waits between them grow
        s3 = request.getfixturevalue("s3")
        line, address = line_to(s3.port), s3.folder()
        whole = open_folder(address)
        assert whole.entries() == []
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
        return open_folder(address), whole, line
    monkeypatch.setattr("batchlinks.storage.sftp._AHEAD", 1_000_000)  # so that a list is asked for more than once
    sshd = request.getfixturevalue("sshd")
    line = line_to(sshd.port)
    sshd.known_as(line.port)
    return open_folder(f"sftp://127.0.0.1:{line.port}{tmp_path}/in"), open_folder(str(tmp_path / "in")), line


def test_an_upload_whose_line_breaks_is_done_by_another_try(broken: tuple[Folder, Folder, BreakingLine]) -> None:
    place, whole, line = broken
    place.write("patients.csv", b"former")
    line.breaks(1, after=1_000_000)

    place.write("patients.csv", MUCH)

    assert line.breaks_left == 0
    assert whole.read("patients.csv") == MUCH
    assert [entry.name for entry in whole.entries()] == ["patients.csv"]


def test_an_upload_whose_line_stays_broken_leaves_no_half_file_under_a_final_name(
    broken: tuple[Folder, Folder, BreakingLine], tmp_path: Path
) -> None:
    place, whole, line = broken
    source = tmp_path / "source"
    source.write_bytes(MUCH)
    place.write("patients.csv", b"former")
    line.breaks(1_000, after=1_000_000)

    for name in ("patients.csv", "new.csv"):
        with pytest.raises(FolderLost) as raised:
            place.upload(source, name)

    assert raised.value.exit_code == ExitCode.BROKEN
    assert place.address in str(raised.value)
    assert whole.read("patients.csv") == b"former"
    assert [entry.name for entry in whole.entries() if not entry.name.startswith(".batchlinks-")] == ["patients.csv"]

    line.breaks(0, after=0)
    place.upload(source, "new.csv")  # as the next night
    assert [entry.name for entry in whole.entries()] == ["new.csv", "patients.csv"]
    assert whole.read("new.csv") == MUCH


def test_a_list_whose_line_breaks_is_never_read_by_half(broken: tuple[Folder, Folder, BreakingLine]) -> None:
    place, whole, line = broken
    whole.write("patients.csv", MUCH)
    assert [entry.size for entry in place.entries()] == [len(MUCH)]

    line.breaks(1, after=1_000_000)
    assert place.read("patients.csv") == MUCH
    assert line.breaks_left == 0

    line.breaks(1_000, after=1_000_000)
    with pytest.raises(FolderLost):
        place.read("patients.csv")


@pytest.mark.needs("sshd")
def test_a_line_that_breaks_while_a_list_is_asked_for_prints_nothing_of_its_own(
    sshd: Sshd, line_to: LineTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread dies of is printed by Python itself, wherever it was started."""
    monkeypatch.setattr("batchlinks.storage.sftp._ATTEMPTS", 1)
    died: list[object] = []
    monkeypatch.setattr("threading.excepthook", died.append)
    (tmp_path / "patients.csv").write_bytes(MUCH)
    line = line_to(sshd.port)
    sshd.known_as(line.port)
    for after in range(8_000, 80_000, 4_000):
        place = open_folder(f"sftp://127.0.0.1:{line.port}{tmp_path}")
        assert place.exists()
        line.breaks(1, after=after)
        with pytest.raises(FolderLost):
            place.read("patients.csv")
    for thread in threading.enumerate():
        if thread.daemon and "prefetch" in thread.name:
            thread.join(timeout=10)
            assert not thread.is_alive()

    assert died == []


# --- what a server can do ---------------------------------------------------------------------------------------


@pytest.mark.needs("sshd")
def test_on_a_server_files_are_private_unless_they_are_for_the_group(sshd: Sshd, tmp_path: Path) -> None:
    place = open_folder(f"{sshd.address}{tmp_path}/out")
    place.folder("private").write("a.csv", b"")
    place.folder("group").write("a.csv", b"", mode=0o640)

    def mode(*parts: str) -> int:
        return stat.S_IMODE(tmp_path.joinpath("out", *parts).stat().st_mode)

    assert (mode(), mode("private"), mode("private", "a.csv")) == (0o700, 0o700, 0o600)
    assert (mode("group"), mode("group", "a.csv")) == (0o2750, 0o640)


@pytest.mark.needs("sshd")
def test_links_and_pipes_on_a_server_are_not_files(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "kept.csv").write_bytes(b"")
    inbox = tmp_path / "in"
    inbox.mkdir()
    os.mkfifo(inbox / "pipe.csv")
    (inbox / "link.csv").symlink_to(tmp_path / "secret" / "kept.csv")
    (inbox / "folder").symlink_to(tmp_path / "secret")
    place = open_folder(f"{sshd.address}{inbox}")

    assert (place.entries(), place.folders()) == ([], [])

    place.remove_folder()
    assert not inbox.exists()
    assert (tmp_path / "secret" / "kept.csv").exists()


@pytest.mark.needs("sshd")
def test_a_server_that_cannot_replace_in_one_step_gets_by_all_the_same(sshd: Sshd, tmp_path: Path) -> None:
    with sshd_running(tmp_path / "older", sftp="-P posix-rename") as (port, host_key):
        (tmp_path / "older" / "authorized_keys").write_bytes((sshd.home / ".ssh" / "id_ed25519.pub").read_bytes())
        sshd.known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}\n")
        place = open_folder(f"sftp://127.0.0.1:{port}{tmp_path}/in")
        for content in (b"first", b"second"):
            place.write("patients.csv", content)

    assert (tmp_path / "in" / "patients.csv").read_bytes() == b"second"
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["patients.csv"]


@pytest.mark.needs("sshd")
def test_the_home_of_the_user_may_be_named(sshd: Sshd) -> None:
    name = f"batchlinks-test-{os.getpid()}-{time.monotonic_ns()}"
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    place = open_folder(f"{sshd.address}/~/{name}")
    try:
        place.write("patients.csv", ROSTER)
        assert (home / name / "patients.csv").read_bytes() == ROSTER
    finally:
        place.remove_folder()
    assert not (home / name).exists()


class AnotherTime:
    """A clock that is ten minutes ahead of every server's."""

    AHEAD_S = 600

    def time(self) -> float:
        return time.time() + self.AHEAD_S


@pytest.mark.parametrize("kind", ["s3", pytest.param("sftp", marks=pytest.mark.needs("sshd"))])
def test_a_file_is_as_old_as_this_computers_clock_says(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = request.getfixturevalue("s3" if kind == "s3" else "sshd")
    place = open_folder(server.folder() if kind == "s3" else f"{server.address}{tmp_path}/in")
    place.write("patients.csv", b"")
    monkeypatch.setattr(store, "time", AnotherTime())

    (entry,) = place.entries()

    assert abs(entry.modified - AnotherTime().time()) < 30


def test_a_folder_of_s3_that_a_browser_made_is_no_file(s3: S3) -> None:
    place = open_folder(s3.folder())
    place.write("patients.csv", b"")
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    for marker in ("", "done/"):
        files.call_s3("put_object", Bucket=s3.bucket, Key=f"{place.address.split('/', 3)[3]}/{marker}", FixedAnswer=b"")

    assert [entry.name for entry in place.entries()] == ["patients.csv"]
    assert place.folders() == ["done"]
    place.folder("done").remove_folder()
    assert place.folders() == []


def test_a_password_comes_from_the_environment_alone() -> None:
    with pytest.raises(SettingsError):
        open_folder("sftp://ann:secret@host/in")
