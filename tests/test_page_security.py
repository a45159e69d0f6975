"""Who gets into the upload page and what stays out: each promise of its security, from outside, over a socket."""

import http.client
import ipaddress
import json
import re
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import rosters
from conftest import Ended
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st
from page import TOKEN, Page, csv_of, environment, served

from batchlinks.web.uploads import plain_name

UPLOAD_PAGE = Path(__file__).parent.parent / "docs" / "upload-page.md"
PLACES = ["/", "/api/runs", "/api/runs/" + "0" * 32, "/openapi.json", "/docs", "/static/page.css", "/nothing/here"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    data = tmp_path_factory.mktemp("page")
    with served(data, "--max-upload", "2", env=environment(data)) as running:
        yield running


@pytest.fixture
def stranger(page: Page) -> Iterator[httpx.Client]:
    """A client that has no token yet."""
    with httpx.Client(base_url=page.url) as client:
        yield client


# --- token ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_without_the_token_every_address_answers_401(stranger: httpx.Client, place: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "x=y"}):
        for method in ("GET", "POST", "PATCH", "DELETE", "HEAD"):
            assert stranger.request(method, place, headers=headers).status_code == 401
    assert stranger.get(place, params={"token": "wrong"}).status_code == 401
    assert stranger.get("/", headers={"Accept": "text/html"}).headers["content-type"].startswith("text/html")


def test_the_token_is_taken_out_of_the_address_and_a_cookie_takes_its_place(stranger: httpx.Client) -> None:
    answer = stranger.get("/", params={"token": TOKEN, "from": "mail"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/?from=mail")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert stranger.get("/api/runs").status_code == 200
    assert (
        stranger.get(f"{stranger.base_url}//evil.example/", params={"token": TOKEN}).headers["location"]
        == "/evil.example/"
    )
    assert stranger.post("/api/runs", params={"token": TOKEN}).status_code == 401


def test_an_address_is_printed_with_a_token_of_its_own_each_time_and_no_log_holds_it(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "batchlinks", "serve", "--port", "0", "--verbose"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path, BATCHLINKS_WEB_TOKEN=""),
        )
        try:
            assert process.stdout
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url
            with httpx.Client(follow_redirects=True) as client:
                assert client.get(url[0]).status_code == 200
                assert client.get(url[0] + "x").status_code == 401
        finally:
            process.terminate()
            out, err = process.communicate()
        tokens.append(url[0].partition("token=")[2])
        assert tokens[-1] not in out + err
        assert process.returncode == 0
        assert not any(tokens[-1].encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(set(tokens)) == 2
    assert all(len(token) >= 32 for token in tokens)


# --- host and origin --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost:80@evil", "[::2]"]
)
def test_a_foreign_host_is_refused(page: Page, host: str) -> None:
    assert page.client.get("/api/runs", headers={"Host": host}).status_code == 400
    assert page.client.get("/", params={"token": TOKEN}, headers={"Host": host}).status_code == 400


def test_this_machine_is_known_by_its_usual_names(page: Page) -> None:
    port = urlsplit(page.url).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert page.client.get("/api/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:{port}"])
def test_a_foreign_origin_is_refused(page: Page, method: str, origin: str) -> None:
    shown = origin.format(port=urlsplit(page.url).port)

    answer = page.client.request(method, "/api/runs", headers={"Origin": shown})

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_origin_is_not_foreign(page: Page) -> None:
    assert page.client.get("/api/runs", headers={"Origin": page.url}).status_code == 200
    crossed = {"Sec-Fetch-Site": "cross-site"}
    assert page.client.post("/api/runs", headers=crossed).status_code == 403
    assert page.client.get("/api/runs", headers=crossed).status_code == 200


# --- headers ----------------------------------------------------------------------------------------------------


def test_every_answer_forbids_scripts_from_elsewhere_and_keeping(page: Page, stranger: httpx.Client) -> None:
    answers = [page.client.get(place) for place in PLACES]
    answers += [stranger.get("/"), stranger.get("/", params={"token": TOKEN})]
    answers += [page.client.get("/api/runs", headers={"Host": "evil.example"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


# --- uploads ----------------------------------------------------------------------------------------------------


def upload_head(url: str, length: str) -> bytes:
    return (
        f"POST /api/runs HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\n{length}\r\n\r\n"
    ).encode()


PART = b'--b\r\nContent-Disposition: form-data; name="roster"; filename="a.csv"\r\n\r\n'


def test_an_upload_that_announces_too_much_gets_413_before_it_is_sent(page: Page) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(page.url).port), timeout=20) as connection:
        connection.sendall(upload_head(page.url, "Content-Length: 3000000") + PART)

        answer = connection.recv(10_000)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_upload_of_unknown_size_gets_413_while_it_arrives(page: Page) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(page.url).port), timeout=20) as connection:
        connection.sendall(upload_head(page.url, "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n%b\r\n" % (len(PART), PART))
        for _ in range(25):
            connection.sendall(b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000))

        answer = connection.recv(10_000)  # the upload has not ended

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_who_sends_too_much_gets_to_read_why_and_nothing_is_kept(page: Page) -> None:
    before = sorted(path.name for path in (page.data / "uploads").iterdir())

    for size in (2_000_001, 30_000_000):
        answer = page.upload(b"x" * size)
        assert answer.status_code == 413
        assert "MB" in answer.json()["detail"] or "larger" in answer.json()["detail"]
    assert page.client.patch("/api/runs/" + "0" * 32, json={"sheet": "x" * 1_100_000}).status_code == 413

    assert sorted(path.name for path in (page.data / "uploads").iterdir()) == before
    assert not list((page.data / "uploads" / "arriving").iterdir())


def test_a_hostile_file_becomes_a_sentence_and_the_server_goes_on(page: Page) -> None:
    bomb = rosters.raw_workbook(
        f'<row r="1">{rosters.text_cell("A1", "MRN")}</row>' + " " * 5_000_000 + "".join(
            f'<row r="{n}">{rosters.text_cell(f"A{n}", "1" * 8)}</row>' for n in (2, 1_048_576)
        ) + f'<row r="1048576">{rosters.text_cell("XFD1048576", " ")}</row>'
    )  # fmt: skip
    entities = rosters.raw_workbook(
        f'<row r="1">{rosters.text_cell("A1", "&amp;a;")}</row>', before='<!DOCTYPE x [<!ENTITY a "b">]>'
    )
    for content in (bomb, entities):
        answer = page.upload(content, "patients.xlsx")
        assert answer.status_code == 422
        assert len(answer.json()["detail"]) > 40

    assert page.client.get("/api/runs").json() == []


def test_uploads_and_results_are_private_and_their_names_lead_nowhere(page: Page) -> None:
    run_id = page.uploaded(csv_of(1), "../../..\\evil.csv")

    assert page.run(run_id)["name"] == "evil.csv"
    for path in [page.data / "uploads", *(page.data / "uploads").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    page.client.delete(f"/api/runs/{run_id}")


@given(name=st.text(max_size=300))
@example("../../../evil.csv")
@example("C:\\evil.csv")
@example("\u202evsc.live.csv")
@example("x" * 300 + ".xlsx")
@example("..")
@example("\x00")
@settings(derandomize=True, database=None)
def test_whatever_a_file_is_called_its_name_is_one_that_every_system_takes(name: str) -> None:
    plain = plain_name(name)

    assert plain not in ("", ".", "..")
    assert not re.search(r'[\x00-\x1f\x7f/\\:*?"<>|\u202a-\u202e]', plain)
    assert len(plain.encode()) <= 150
    assert plain == plain.strip(" .")
    assert plain_name(f"{name}x.csv").endswith("x.csv")


# --- several people ---------------------------------------------------------------------------------------------


def test_behind_a_proxy_everyone_sees_their_own_runs_and_no_others(tmp_path: Path) -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", UPLOAD_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "batchlinks.toml").write_text(sample, encoding="utf-8")
    with (
        served(tmp_path, "--trusted-proxy", "127.0.0.1, 10.0.0.0/8", env=environment(tmp_path)) as page,
        httpx.Client(base_url=page.url, headers={"X-Remote-User": "ann@hospital.example"}, timeout=30) as ann,
        httpx.Client(base_url=page.url, headers={"X-Remote-User": "bob@hospital.example"}, timeout=30) as bob,
        httpx.Client(base_url=page.url) as nobody,
    ):
        run_id = ann.post("/api/runs", files={"roster": ("patients.csv", csv_of(2))}).json()["id"]
        assert [run["id"] for run in ann.get("/api/runs").json()] == [run_id]
        assert bob.get("/api/runs").json() == []
        for kind in ("", "/links", "/errors", "/check", "/events"):
            assert bob.get(f"/api/runs/{run_id}{kind}").status_code == 404
        assert bob.post(f"/api/runs/{run_id}/start").status_code == 404
        assert bob.patch(f"/api/runs/{run_id}", json={"limit": 1}).status_code == 404
        assert bob.delete(f"/api/runs/{run_id}").status_code == 404
        assert bob.get(f"/runs/{run_id}").status_code == 404

        assert nobody.get("/api/runs").status_code == 401
        assert nobody.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
        assert nobody.get("/", params={"token": TOKEN}).status_code == 401
        for spoofed in (
            [("X-Remote-User", "ann"), ("X-Remote-User", "eve")],
            [("X-Remote-User", "")],
            [("X-User", "ann")],
        ):
            assert nobody.get("/api/runs", headers=spoofed).status_code == 401
        public = {"Host": "links.hospital.example", "Origin": "https://links.hospital.example"}
        assert ann.get("/api/runs", headers=public).status_code == 200
        assert (
            ann.get("/api/runs", headers={"Origin": "https://links.hospital.example.evil.example"}).status_code == 403
        )
        ann.delete(f"/api/runs/{run_id}")
        log = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]

    users = {(line.get("event") or line["command"]): line["user"] for line in log}
    assert users == dict.fromkeys(("begun", "ended", "uploaded", "deleted"), "ann@hospital.example")


def test_a_header_from_an_address_that_is_not_trusted_names_nobody(tmp_path: Path) -> None:
    options = ("--behind-proxy", "--user-header", "X-Remote-User", "--trusted-proxy", "10.9.8.7")
    with served(tmp_path, *options, env=environment(tmp_path)) as page:
        for headers in (
            {"X-Remote-User": "ann"},
            {"X-Remote-User": "ann", "X-Forwarded-For": "10.9.8.7"},
            {"X-Remote-User": "ann", "Forwarded": "for=10.9.8.7", "X-Real-IP": "10.9.8.7"},
        ):
            assert page.client.get("/api/runs", headers=headers).status_code == 401


# --- on the network ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "TLS"),
        (["--host", "192.0.2.7"], "--behind-proxy"),
        (["--host", "links.example"], "--behind-proxy"),
        (["--host", "0.0.0.0", "--certfile", "nowhere.pem"], "certificate"),
        (["--keyfile", "key.pem"], "--certfile"),
        (["--user-header", "X-User"], "--behind-proxy"),
        (["--behind-proxy", "--user-header", "X-User"], "--trusted-proxy"),
        (["--behind-proxy", "--trusted-proxy", "10.0.0.1"], "--user-header"),
        (["--behind-proxy", "--user-header", "X User", "--trusted-proxy", "10.0.0.1"], "name of a header"),
        (["--behind-proxy", "--user-header", "X-User", "--trusted-proxy", "proxy.example"], "addresses"),
        (["--public-url", "links.example"], "--public-url"),
        (["--port", "70000"], "--port"),
        (["--max-upload", "0"], "--max-upload"),
        (["--keep-days", "0"], "--keep-days"),
        (["--runs-at-once", "0"], "--runs-at-once"),
    ],
)  # fmt: skip
def test_what_is_not_safe_or_makes_no_sense_is_refused_with_exit_code_2(
    command: Callable[..., Ended], options: list[str], said: str
) -> None:
    ended = command("serve", *options)

    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_without_its_libraries_the_page_says_what_to_install(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for module in [name for name in sys.modules if name.startswith("batchlinks.web.")]:
        monkeypatch.delitem(sys.modules, module)

    ended = command("serve")

    assert (ended.code, ended.err) == (
        2, 'Error: The upload page is not installed: pip install "batchlinks[web]".\n',
    )  # fmt: skip


def test_a_port_that_is_taken_is_a_sentence(command: Callable[..., Ended]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = command("serve", "--port", taken.getsockname()[1])

    assert ended.code == 2
    assert "--port" in ended.err


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for this machine, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_with_a_certificate_it_speaks_tls_to_the_network_and_nothing_else(tmp_path: Path, certificate: Path) -> None:
    with served(
        tmp_path, "--host", "0.0.0.0", "--certfile", str(certificate), env=environment(tmp_path), scheme="https"
    ) as page:
        trusting = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=page.url, verify=trusting) as client:
            answer = client.get("/", params={"token": TOKEN})
            assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
            assert answer.headers["set-cookie"].startswith("__Host-")
            assert client.get("/api/runs", headers={"Origin": page.url}).status_code == 200
            assert client.get("/api/runs", headers={"Host": "evil.example"}).status_code == 400
        plain = http.client.HTTPConnection("127.0.0.1", urlsplit(page.url).port, timeout=10)
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.request("GET", "/")
            plain.getresponse()
        plain.close()


# --- what is said and kept --------------------------------------------------------------------------------------


def test_nothing_of_a_patient_is_in_the_servers_output_its_addresses_or_a_process_list(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data, "--verbose", "--log-format", "json", env=environment(data)) as page:
        run_id = page.uploaded(b"MRN,Last name\nZQX00001,Wolpertinger\nZQX00002,Wolpertinger\n", "Wolpertinger.csv")
        page.start(run_id)
        seen = ""
        while page.run(run_id)["state"] not in ("done", "stopped"):
            seen += "\n".join(path.read_text("utf-8", "replace") for path in Path("/proc").glob("[0-9]*/cmdline"))
            time.sleep(0.02)
        assert page.run(run_id)["exit_code"] == 2  # no project is set up
        assert "No project" in page.run(run_id)["message"]
        page.client.get("/api/runs/ZQX00001")
        page.client.get("/ZQX00001?name=Wolpertinger")
        page.client.post("/api/runs", files={"roster": ("Wolpertinger.xlsx", b"ZQX00001")})
        page.client.patch(f"/api/runs/{run_id}", json={"id_column": "Wolpertinger", "ZQX00001": 1})
        code, out, err = page.end()

    assert code == 0
    for text in (out, err, seen):
        assert not re.search(f"Wolpertinger|ZQX|{TOKEN}", text)
    assert all(json.loads(line)["level"] for line in err.splitlines())
    assert "web.job" in seen


def test_lists_are_deleted_on_time_and_also_by_a_server_that_starts_later(tmp_path: Path) -> None:
    with served(tmp_path, env=environment(tmp_path)) as page:
        run_id = page.uploaded(csv_of(2))
        assert (tmp_path / "uploads" / run_id / "roster").exists()

    with served(tmp_path, "--keep-days", "0.00001", env=environment(tmp_path)):
        deadline = time.monotonic() + 20
        while (tmp_path / "uploads" / run_id).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert '"reason":"its days are over"' in (tmp_path / "audit.jsonl").read_text()
