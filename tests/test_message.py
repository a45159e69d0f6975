"""The message about the night: it arrives, by whatever way, and who cannot be told never ends the night."""

import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy

import pytest

from batchlinks.errors import SettingsError
from batchlinks.nightly import message as notice

TITLE = "batchlinks nightly 2026-11-25: all done (exit code 0)"
BODY = "clinic: done. Run 0123456789ab: 1,200 rows, 1,198 linked\nplan: done <b>&</b>"


class Taken(http.server.BaseHTTPRequestHandler):
    """Takes what is posted, and answers as its server was told."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append(content)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_hook(status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taken) as server:
        posted: list[bytes] = []
        server.posted = posted  # type: ignore[attr-defined]
        server.status = status  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", posted
        server.shutdown()


@contextmanager
def mail_server() -> Iterator[tuple[str, list[bytes]]]:
    """Takes one mail after the other, by the least of SMTP."""
    mails: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line, line.makefile("rwb") as file:
                file.write(b"220 mail\r\n")
                file.flush()
                for command in file:
                    verb = command.split()[0].upper()
                    file.write(b"354 go on\r\n" if verb == b"DATA" else b"250 yes\r\n")
                    file.flush()
                    if verb == b"DATA":
                        mails.append(b"".join(iter(file.readline, b".\r\n")))
                        file.write(b"250 taken\r\n")
                        file.flush()
                    if verb == b"QUIT":
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", mails
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_message_reaches_a_web_hook_and_a_mailbox() -> None:
    with web_hook() as (hook, posted), mail_server() as (host, mails):
        urls = [
            f"json://{hook}/team",
            f"mailto://{host}?from=batchlinks@clinic.example&to=team@clinic.example&mode=insecure",
        ]
        notice.check_urls(urls)

        assert notice.send(urls, TITLE, BODY) == []

    (post,), (mail,) = posted, mails
    said = json.loads(post)
    assert (said["title"], said["message"]) == (TITLE, BODY)
    letter = message_from_bytes(mail, policy=policy.default)
    assert (letter["Subject"], letter["To"]) == (TITLE, "team@clinic.example")
    body = letter.get_body(("html", "plain"))
    assert body is not None
    text = body.get_content()
    assert "1,198 linked" in text
    assert "&lt;b&gt;" in text or body.get_content_subtype() == "plain"


def test_who_cannot_be_told_is_named_without_secrets_and_the_others_are_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with web_hook() as (hook, posted), web_hook(500) as (broken, _):
        urls = [
            f"json://ann:Secret1@{broken}/Secret1",
            f"json://{hook}/Secret1",
            "json://ann:Secret1@127.0.0.1:9/Secret1",
            "nonsense://Secret1",
        ]
        sentences = notice.send(urls, TITLE, BODY)

    assert sentences == [
        f"The message about the night was not taken by address {number} of notify ({kind}://…)."
        for number, kind in ((1, "json"), (3, "json"), (4, "nonsense"))
    ]
    assert len(posted) == 1
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_who_does_not_answer_does_not_hold_up_the_night() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sentences = notice.send([f"json://127.0.0.1:{silent.getsockname()[1]}"], TITLE, BODY, patience_s=0.2)

    assert len(sentences) == 1


def test_nobody_to_tell_is_no_trouble() -> None:
    notice.check_urls([])

    assert notice.send([], TITLE, BODY) == []


@pytest.mark.parametrize("url", ["nonsense://Secret1@host", "mailto://", "team@clinic.example Secret1", ""])
def test_an_address_that_nothing_can_be_sent_to_is_found_before_the_night(url: str) -> None:
    with pytest.raises(SettingsError, match="Address 2 of notify") as raised:
        notice.check_urls(["json://127.0.0.1:9/", url])

    assert "Secret1" not in str(raised.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(SettingsError, match=r'pip install "batchlinks\[notify\]"'):
        notice.check_urls(["json://127.0.0.1:9/"])
