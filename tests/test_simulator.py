"""The stand-in for HealthEx, seen from a socket: what it demands, what it answers, and how it fails."""

import asyncio
import base64
import contextlib
import dataclasses
import email.utils
import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import time
import typing
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlinks.errors import SettingsError
from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions
from batchlinks.simulator.faults import HONEST, Fault, FaultPlan, ScriptItem, TokenBucket, draw, parse_step

PROJECT = "demo-project"
CREDENTIALS = {"apiKey": "simulator-key", "apiSecret": "simulator-secret"}
JSON = {"Accept": "application/json", "Content-Type": "application/json"}
LINK_START = f"https://app.healthex.invalid/#/patient-consent/{PROJECT}/enrollment/link"


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def link(self) -> str:
        return self.body.decode()


class Client:
    """Calls over one connection that is kept open, like any client would."""

    def __init__(self, server: RunningSimulator, *, timeout_s: float = 10.0) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
        self.token = server.issue_token()

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        try:
            self._connection.request(method, path, body, headers or {})
            with self._connection.getresponse() as response:
                return Reply(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def ask_token(self, body: object = CREDENTIALS) -> Reply:
        return self.send("POST", "/v1/auth/token", json.dumps(body), JSON)

    def ask(self, external_id: str = "00417", **changes: typing.Any) -> Reply:
        """A link call as it should be, but for the headers (`_` for `-`, None leaves it out), project or body."""
        project = changes.pop("project", PROJECT)
        body = changes.pop("body", json.dumps({"externalId": external_id}))
        headers = {**JSON, "Authorization": f"Bearer {self.token}"}
        for name, value in changes.items():
            header = name.replace("_", "-")
            if value is None:
                del headers[header]
            else:
                headers[header] = value
        return self.send("POST", f"/v1/projects/{project}/link", body, headers)


@contextmanager
def simulated(
    *, clock: Callable[[], float] = time.monotonic, **options: typing.Any
) -> Iterator[tuple[RunningSimulator, Client]]:
    with Simulator(SimulatorOptions(**options), clock=clock).running() as server:
        client = Client(server)
        try:
            yield server, client
        finally:
            client.close()


@pytest.fixture
def server() -> Iterator[RunningSimulator]:
    with Simulator().running() as server:
        yield server


@pytest.fixture
def client(server: RunningSimulator) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


# Links and tokens, as documented


def test_a_token_from_the_key_and_the_secret_gets_a_link(server: RunningSimulator, client: Client) -> None:
    reply = client.ask_token()
    client.token = json.loads(reply.body)["token"]
    answer = client.ask("123-456-0000")

    assert (reply.status, answer.status) == (201, 201)
    assert answer.headers["Content-Type"] == "text/html"
    assert re.fullmatch(rf"{re.escape(LINK_START)}\?xid=123-456-0000\.[\w-]{{43}}", answer.link)
    assert server.links == {"123-456-0000": answer.link}
    assert (server.link_calls, server.token_calls) == (1, 1)


def test_a_token_is_a_jwt_that_ends_in_a_day(client: Client) -> None:
    answer = json.loads(client.ask_token().body)
    token = answer["token"]
    assert abs(answer["expiration"] - time.time() - 86_400) < 60
    header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))

    assert json.loads(header) == {"alg": "HS256", "typ": "JWT"}
    assert abs(json.loads(claims)["exp"] - time.time() - 86_400) < 60


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"apiKey": "simulator-key", "apiSecret": "wrong"}, 401),
        ({"apiKey": "simulator-key"}, 401),
        ({}, 401),
        ({**CREDENTIALS, "more": 1}, 400),
        ([], 400),
        ("text", 400),
    ],
    ids=["wrong secret", "no secret", "nothing", "too much", "an array", "a string"],
)
def test_without_the_right_key_and_secret_there_is_no_token(client: Client, body: object, status: int) -> None:
    assert client.ask_token(body).status == status


def test_the_same_id_gets_a_fresh_signature_or_the_same_link() -> None:
    with simulated(fresh_links=False) as (_, client):
        first = client.ask().link
        assert client.ask().link == first
    with simulated() as (_, client):
        assert client.ask().link == first, "the seed decides, not the run"
    with simulated(seed=1) as (_, client):
        assert client.ask().link != first
    with simulated() as (server, client):
        links = [client.ask().link, client.ask().link]
        assert links[0] != links[1]
        assert server.links == {"00417": links[1]}


def test_an_id_of_another_project_has_another_link() -> None:
    with simulated(projects=("a", "b c")) as (_, client):
        link_a, link_b = client.ask(project="a").link, client.ask(project="b%20c").link
        assert link_a.rpartition(".")[2] != link_b.rpartition(".")[2]


@pytest.mark.parametrize(("encoding", "decode"), [("raw", str), ("percent", unquote), ("plus", unquote_plus)])
@pytest.mark.parametrize("external_id", ["A 1/2#3:4*5~6", "00417", "x.y_z-1", "é%41+"])
def test_xid_begins_with_the_id_in_the_encoding_asked_for(
    encoding: str, decode: Callable[[str], str], external_id: str
) -> None:
    with simulated(xid_encoding=encoding) as (_, client):
        xid = client.ask(external_id).link.partition("?xid=")[2]
        assert decode(xid.rpartition(".")[0]) == external_id


def test_status_and_body_of_an_answer_are_open() -> None:
    with simulated(success_status=200, body_format="json") as (server, client):
        answer = client.ask()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body) == server.links["00417"]
    with simulated(content_type="application/json") as (server, client):
        answer = client.ask()
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.body.decode() == server.links["00417"]
    with simulated(token_success_status=200, token_expiration=False) as (_, client):
        answer = client.ask_token()
        assert answer.status == 200
        assert json.loads(answer.body).keys() == {"token"}


# Strictness


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer a.b.c"}, 401),
        ({"Authorization": "Bearer \xe9.\xe9.\xe9"}, 401),
        ({"Authorization": "Basic c2ltdWxhdG9y"}, 401),
        ({"Accept": None}, 406),
        ({"Accept": "*/*"}, 406),
        ({"Accept": "text/html"}, 406),
        ({"Content_Type": None}, 415),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/json; charset=utf-8"}, 415),
        ({"project": "unknown"}, 404),
        ({"project": "inactive-project"}, 403),
        ({"body": ""}, 400),
        ({"body": "00417"}, 400),
        ({"body": '"00417"'}, 400),
        ({"body": '["externalId", "00417"]'}, 400),
        ({"body": '[["externalId", "00417"]]'}, 400),
        ({"body": "{}"}, 400),
        ({"body": '{"externalId": ""}'}, 400),
        ({"body": '{"externalId": "  "}'}, 400),
        ({"body": '{"externalId": 417}'}, 400),
        ({"body": '{"externalId": null}'}, 400),
        ({"body": '{"externalid": "00417"}'}, 400),
        ({"body": '{"externalId": "00417", "name": "x"}'}, 400),
        ({"body": '{"externalId": "00417", "externalId": "00417"}'}, 400),
        ({"body": '{"externalId": "\\ud800"}'}, 400),
        ({"body": b'{"externalId": "\xff"}'}, 400),
        ({"body": '{"externalId": "00417"}'.encode("utf-16")}, 400),
        ({"body": gzip.compress(b'{"externalId": "00417"}'), "Content_Encoding": "gzip"}, 400),
        ({"body": "[" * 10_000}, 400),
        ({"body": json.dumps({"externalId": "0" * 20_000})}, 413),
        ({"body": json.dumps({"externalId": "0" * 2_000_000})}, 413),
    ],
)
def test_a_call_that_is_not_as_documented_is_refused(
    server: RunningSimulator, client: Client, changes: dict[str, typing.Any], status: int
) -> None:
    assert client.ask(**changes).status == status
    assert not server.links
    assert client.ask().status == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/v1/projects/{PROJECT}/link", 405),
        ("PUT", f"/v1/projects/{PROJECT}/link", 405),
        ("GET", "/v1/auth/token", 405),
        ("POST", "/", 404),
        ("POST", f"/v1/projects/{PROJECT}/links", 404),
        ("POST", f"/v1/projects/{PROJECT}/link/", 404),
        ("POST", f"/v1/projects/{PROJECT}/link?externalId=00417", 404),
        ("POST", f"//v1/projects/{PROJECT}/link", 404),
        ("POST", "/v1/projects//link", 404),
        ("POST", "/v1/auth/token/", 404),
    ],
)
def test_other_methods_and_paths_lead_nowhere(client: Client, method: str, path: str, status: int) -> None:
    reply = client.send(method, path, "{}", {**JSON, "Authorization": f"Bearer {client.token}"})
    assert reply.status == status
    assert reply.headers["Allow"] == ("POST" if status == 405 else None)


def test_the_token_is_judged_before_everything_that_it_protects(client: Client) -> None:
    assert client.ask(Authorization=None, Accept=None, project="unknown", body="").status == 401


def test_a_token_of_another_algorithm_key_or_time_is_refused(server: RunningSimulator, client: Client) -> None:
    _, claims, signature = server.issue_token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    with Simulator(SimulatorOptions(api_secret="another")).running() as other:
        foreign = other.issue_token()

    for token in (f"{none}.{claims}.", f"{none}.{claims}.{signature}", foreign, server.issue_token(-1)):
        client.token = token
        assert client.ask().status == 401
    assert server.requests_for("00417") == 4


def test_a_token_outlives_the_server_that_issued_it() -> None:
    with simulated() as (_, client):
        token = client.token
    with simulated() as (_, client):
        client.token = token
        assert client.ask().status == 201


def test_status_for_inactive_projects_and_further_projects_can_be_set() -> None:
    with simulated(inactive_status=409, projects=("p",), inactive_projects=("q",)) as (_, client):
        assert [client.ask(project=project).status for project in ("p", "q", PROJECT)] == [201, 409, 404]


# What the server notes


def test_calls_are_recorded_with_id_token_status_and_attempt(server: RunningSimulator, client: Client) -> None:
    first_token = client.token
    client.ask("1")
    client.token = server.issue_token()
    client.ask("1")
    client.token = "nonsense"
    client.ask("1")
    client.token = first_token
    client.ask("2", Accept="*/*")
    client.ask(body="{}")
    client.send("GET", "/")

    seen = [(call.external_id, call.status, call.token_generation, call.attempt) for call in server.calls]
    assert seen == [
        ("1", 201, 1, 1),
        ("1", 201, 2, 2),
        ("1", 401, None, 3),
        ("2", 406, 1, 1),
        (None, 400, 1, 0),
        (None, 404, None, 0),
    ]
    assert [call.path for call in server.calls][-2:] == [f"/v1/projects/{PROJECT}/link", "/"]
    assert [call.time for call in server.calls] == sorted(call.time for call in server.calls)
    assert server.requests_for("1") == 3
    assert server.statuses == {201: 2, 401: 1, 406: 1, 400: 1, 404: 1}


def test_unless_asked_only_counts_are_kept() -> None:
    with Simulator().running(record=False) as server:
        client = Client(server)
        client.ask()
        client.close()
        assert (server.calls, server.links) == ([], {})
        assert (server.link_calls, server.max_in_flight, server.statuses) == (1, 1, {201: 1})


def test_the_most_calls_at_the_same_time_are_counted() -> None:
    with simulated(latency_ms=300) as (server, _), ThreadPoolExecutor(5) as threads:
        clients = [Client(server) for _ in range(5)]
        statuses = [reply.status for reply in threads.map(lambda client: client.ask(), clients)]
        for client in clients:
            client.close()
        assert statuses == [201] * 5
        assert server.max_in_flight == 5


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(0)
    with simulated() as (server, client):
        client.ask()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"00417 is not HTTP\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert not [record for record in caplog.records if not record.name.startswith("asyncio")]
    assert "00417" not in caplog.text
    assert capfd.readouterr() == ("", "")


# Scripts


def test_a_script_says_what_the_next_calls_for_an_id_get(server: RunningSimulator, client: Client) -> None:
    server.script("00417", [503, ("status", 429, {"Retry-After": "2"}), 422, 202, "ok"])

    replies = [client.ask() for _ in range(6)]

    assert [reply.status for reply in replies] == [503, 429, 422, 202, 201, 201]
    assert [reply.headers["Retry-After"] for reply in replies[:3]] == [None, "2", None]
    assert replies[3].link.startswith(f"{LINK_START}?xid=00417.")
    assert replies[5].link == server.links["00417"]
    assert server.requests_for("00417") == 6
    assert client.ask("another").status == 201


def test_a_script_may_hold_any_body_another_link_and_a_wait(server: RunningSimulator, client: Client) -> None:
    server.script("00417", [("link_of", "00418"), ("body", 299, "text/x", "any"), ("slow", 0.05), ("slow", 0.05, 500)])

    other, body, slow, slow_failure = (client.ask() for _ in range(4))

    assert other.link == client.ask("00418").link
    assert (body.status, body.headers["Content-Type"], body.body) == (299, "text/x", b"any")
    assert slow.link == server.links["00417"]
    assert slow_failure.status == 500
    assert server.calls[3].time - server.calls[2].time >= 0.05


def test_a_scripted_call_meets_no_limit_and_no_fault() -> None:
    with simulated(rate=0.001, burst=1, server_error_share=1, reject_pattern=".*") as (server, client):
        server.script("00417", ["ok", "ok"])
        assert [client.ask().status for _ in range(3)] == [201, 201, 422]


def test_a_script_does_not_excuse_a_call_that_is_not_as_documented(
    server: RunningSimulator,
    client: Client,
) -> None:
    server.script("00417", [500])
    assert [client.ask(Accept="*/*").status, client.ask().status] == [406, 500]


@pytest.mark.parametrize(
    "item",
    ["gone", True, 99, 600, (), ("link_of",), ("status", 1), ("body", 200), ("slow", "1"), ("slow", 1, "gone"), None],
)
def test_a_script_that_makes_no_sense_is_refused(server: RunningSimulator, item: ScriptItem) -> None:
    with pytest.raises(SettingsError):
        server.script("00417", [item])


def test_calls_for_a_token_can_be_scripted_too(server: RunningSimulator, client: Client) -> None:
    server.script_token([503, "html", "drop", "empty", "truncate", "ok"])

    assert client.ask_token().status == 503
    assert client.ask_token().body.startswith(b"<!doctype html>")
    with pytest.raises(http.client.RemoteDisconnected):
        client.ask_token()
    assert client.ask_token().body == b""
    with pytest.raises(http.client.IncompleteRead):
        client.ask_token()
    assert "token" in json.loads(client.ask_token().body)
    assert server.token_calls == 6
    with pytest.raises(SettingsError):
        server.script_token(["no_xid"])


# Faults of the connection


def test_a_dropped_connection_is_closed_without_an_answer(server: RunningSimulator, client: Client) -> None:
    server.script("00417", ["drop"])
    with pytest.raises(http.client.RemoteDisconnected):
        client.ask()
    assert [call.status for call in server.calls] == [None]
    assert client.ask().status == 201


@pytest.mark.parametrize("body_format", ["json", "text"])
def test_a_truncated_answer_promises_more_than_it_holds(body_format: str) -> None:
    with simulated(body_format=body_format) as (server, client):
        server.script("00417", ["truncate"])
        with pytest.raises(http.client.IncompleteRead) as caught:
            client.ask()
        assert 0 < len(caught.value.partial) < len(client.ask().body)
        assert server.calls[0].status == 201


def test_a_link_that_broke_off_does_not_count_as_answered(server: RunningSimulator, client: Client) -> None:
    server.script("00417", ["truncate"])
    with pytest.raises(http.client.IncompleteRead):
        client.ask()
    assert server.links == {}


def test_a_hanging_call_is_never_answered_and_does_not_hold_up_the_end() -> None:
    with simulated() as (server, _):
        server.script("00417", ["hang", "hang"])
        patient, impatient = Client(server), Client(server, timeout_s=0.2)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(patient.ask)
            with pytest.raises(TimeoutError):
                impatient.ask()
            assert impatient.ask().status == 201
            _until(lambda: server.in_flight == 1)
            before = time.monotonic()
            server.stop()
            with pytest.raises(http.client.RemoteDisconnected):
                waiting.result(5)
        impatient.close()
        patient.close()
    assert time.monotonic() - before < 1
    assert [call.status for call in server.calls] == [None, None, 201]


def test_a_slow_call_does_not_hold_up_the_end() -> None:
    with simulated(latency_ms=60_000) as (server, client), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.ask)
        _until(lambda: server.in_flight == 1)
        before = time.monotonic()
        server.stop()
        with suppress(OSError, http.client.HTTPException):
            waiting.result(5)
        assert time.monotonic() - before < 1


# Answers that are no usable link


@pytest.mark.parametrize(
    ("fault", "status"),
    [("request_timeout", 408), ("too_early", 425), ("proxy_auth", 407), ("redirect", 302), ("server_error", 500)],
)
def test_failures_with_a_status(server: RunningSimulator, client: Client, fault: str, status: int) -> None:
    server.script("00417", [fault])
    reply = client.ask()
    assert reply.status == status
    assert (reply.headers["Location"] is not None) == (status == 302)
    assert (reply.headers["Proxy-Authenticate"] is not None) == (status == 407)
    assert reply.headers["Retry-After"] is None


def test_answers_without_a_link(server: RunningSimulator, client: Client) -> None:
    server.script("00417", ["html", "empty"])
    page, empty = client.ask(), client.ask()
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!doctype html>")
    assert (empty.status, empty.body) == (201, b"")


def test_links_that_must_not_be_used(server: RunningSimulator, client: Client) -> None:
    right, other = client.ask("00417").link, client.ask("00418").link
    faults = ["foreign_host", "http_link", "no_xid", "other_patient", "same_link", "unnamed", "short_xid"]
    server.script("00417", faults)
    links = dict(zip(faults, (client.ask().link for _ in faults), strict=True))

    assert links["foreign_host"].startswith("https://app.healthex.invalid.elsewhere.invalid/#/")
    assert links["http_link"] == right.replace("https:", "http:")
    assert links["no_xid"] == LINK_START
    assert links["other_patient"] == other
    assert links["short_xid"].startswith(f"{LINK_START}?xid=0041.")
    assert links["unnamed"].startswith(f"{LINK_START}?xid=")
    assert "00417" not in links["unnamed"]
    server.script("00418", ["same_link", "unnamed"])
    assert client.ask("00418").link == links["same_link"]
    assert client.ask("00418").link != links["unnamed"]
    assert server.links == {"00417": right, "00418": other}


def test_the_first_of_all_ids_has_no_other_patient_to_be_confused_with() -> None:
    with simulated(other_patient_share=1) as (_, client):
        first, second = client.ask("1").link, client.ask("2").link
        assert "xid=1." in first
        assert second == first


def test_a_stranger_looks_like_the_id_and_is_another(server: RunningSimulator, client: Client) -> None:
    for external_id in ("00417", "AB-1003.x", "7"):
        server.script(external_id, ["stranger", "stranger"])
        first, again = client.ask(external_id).link, client.ask(external_id).link
        named = first.partition("?xid=")[2].rpartition(".")[0]
        assert first == again
        assert named != external_id
        assert re.sub("[0-9]", "0", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", named))) == re.sub(
            "[0-9]", "0", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", external_id))
        )
    assert server.links == {}


def test_listed_ids_are_those_whose_links_are_answered_to_others() -> None:
    with simulated(listed_share=1, listed_ids=frozenset({"900001", "900002"})) as (_, client):
        named = {client.ask(str(number)).link.partition("?xid=")[2].partition(".")[0] for number in range(20)}
        assert named == {"900001", "900002"}


def test_two_calls_at_the_same_time_get_each_others_link() -> None:
    with simulated(swapped_share=1, swap_wait_s=5) as (server, client), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.ask, "1")
        _until(lambda: server.in_flight == 1)
        with contextlib.closing(Client(server)) as second:
            assert "xid=1." in second.ask("2").link
        assert "xid=2." in waiting.result(5).link
    with simulated(swapped_share=1, swap_wait_s=0.01) as (_, client):
        assert "xid=1." in client.ask("1").link


@pytest.mark.parametrize(
    ("spelling", "spelled"),
    [("lower", "ab-0 07"), ("upper", "AB-0 07"), ("no-zeros", "Ab-0 7"), ("no-separators", "Ab007")],
)
def test_links_can_spell_an_id_otherwise(spelling: str, spelled: str) -> None:
    with simulated(xid_spelling=spelling, xid_encoding="percent-twice") as (server, client):
        server.script("1", [("link_of", "Ab-0 07")])
        for external_id in ("Ab-0 07", "1"):
            xid = client.ask(external_id).link.partition("?xid=")[2].rpartition(".")[0]
            assert unquote(unquote(xid)) == spelled
    with simulated(xid_spelling="lower", xid_spelled=0.5) as (_, client):
        links = [client.ask(f"A{number}").link for number in range(40)]
        assert 5 < sum("xid=a" in link for link in links) < 35
    with simulated(xid_encoding="space") as (_, client):
        assert "xid=a%20/b." in client.ask("a /b").link


def test_every_so_many_th_call_can_meet_a_fault() -> None:
    with simulated(nth_call=3, nth_fault="html") as (_, client):
        assert [b"html" in client.ask(str(number)).body for number in range(6)] == [False, False, True] * 2


@pytest.mark.parametrize("after_ms", [0, 30])
def test_an_answer_can_come_twice_on_its_connection(after_ms: int) -> None:
    with simulated(repeat_share=1, repeat_after_ms=after_ms) as (server, _):
        sent = talk(server, "1", until=lambda heard: heard.count(b"xid=1.") == 2)
        answers = sent.split(b"HTTP/1.1 ")[1:]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ("short_length", rb"HTTP/1.1 2.. .*Content-Length: (?!0)\d+\r\n\r\n.*xid=1\.[\w-]{43}"),
        ("long_length", rb"HTTP/1.1 2.. .*Content-Length: \d+\r\n\r\n.*xid=1\.[\w-]{43}"),
        ("chunk_garbage", rb"HTTP/1.1 2.. .*chunked\r\n\r\n.*xid=1\..*\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nX: "),
        ("early_hints", rb"HTTP/1.1 103 .*HTTP/1.1 2.. .*xid=1\.[\w-]{43}"),
        ("no_content", rb"HTTP/1.1 204 No Content\r\n\r\n.*xid=1\.[\w-]{43}"),
        ("http10", rb"HTTP/1.0 2.. .*xid=1\.[\w-]{43}"),
        ("garbage", rb"220 mail"),
        ("endless", rb"HTTP/1.1 2.. .*x{100000}"),
    ],
)
def test_an_answer_can_be_more_or_less_than_http_wants_it_to_be(
    server: RunningSimulator, fault: str, pattern: bytes
) -> None:
    server.script("1", [fault])
    talk(server, "1", until=lambda heard: re.search(pattern, heard, re.DOTALL) is not None)
    assert server.statuses.total() == 1


def test_an_answer_can_be_encoded_once_twice_or_in_name_only() -> None:
    for encoding, decode in (
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("raw-deflate", lambda body: zlib.decompress(body, -15)),
        ("gzip, gzip", lambda body: gzip.decompress(gzip.decompress(body))),
        ("br", bytes),
    ):
        with simulated(encoded_share=1, content_encoding=encoding) as (_, client):
            reply = client.ask("1")
            assert reply.headers["Content-Encoding"] == encoding.removeprefix("raw-")
            assert b"xid=1." in decode(reply.body)
    with simulated(bomb_share=1, bomb_mb=64) as (_, client):
        reply = client.ask("1")
        assert len(reply.body) < 10_000
        assert len(gzip.decompress(gzip.decompress(reply.body))) == 64 * 2**20


def test_text_that_is_no_link_has_the_type_and_length_asked_for() -> None:
    with simulated(no_link_share=1, no_link_type="image/png", no_link_length=7) as (_, client):
        reply = client.ask("1")
        assert (reply.headers["Content-Type"], reply.body) == ("image/png", b"xxxxxxx")
    with simulated(late_share=1, late_s=0.05) as (_, client):
        assert "xid=1." in client.ask("1").link


def talk(server: RunningSimulator, external_id: str, *, until: Callable[[bytes], bool]) -> bytes:
    """All that comes back on the connection of one link call, until enough of it is there."""
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"externalId": external_id})
    lines = {**JSON, "Host": host, "Authorization": f"Bearer {server.issue_token()}", "Content-Length": len(body)}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    heard = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"POST /v1/projects/{PROJECT}/link HTTP/1.1\r\n{head}\r\n{body}".encode())
        while not until(heard):
            piece = connection.recv(65536)
            assert piece, f"only {heard[:2000]!r} came"
            heard += piece
    return heard


def test_ids_can_be_refused_by_list_and_by_pattern() -> None:
    with simulated(reject_ids=frozenset({"7"}), reject_pattern="9+", reject_status=404) as (_, client):
        ids = ["7", "77", "99", "98"]
        assert [client.ask(external_id).status for external_id in ids] == [404, 201, 404, 201]
        assert client.ask("7").status == 404


def test_every_call_can_get_the_same_status() -> None:
    with simulated(every_status=403) as (server, client):
        assert client.ask().status == 403
        server.change(every_status=None)
        assert client.ask().status == 201


# Shares: seeded, and different for each attempt


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_a_share(fault: Fault) -> None:
    listed = {"listed_ids": frozenset({"900001"})}
    step, _ = FaultPlan(options_of({f"{fault}_share": 1.0, **listed})).step("00417", 1)
    assert step != HONEST
    assert step == parse_step(str(fault)) or fault is Fault.SERVER_ERROR


def test_shares_are_kept_and_the_same_seed_does_the_same_again() -> None:
    shares: dict[str, typing.Any] = {"server_error_share": 0.2, "html_share": 0.1, "redirect_share": 0.1}

    def statuses(seed: int) -> list[int]:
        with simulated(seed=seed, **shares) as (_, client):
            replies = [client.ask(f"{number:05}") for number in range(500) for _ in range(2)]
            return [
                201 if b"http" in reply.body else reply.status * (1 + reply.body.count(b"html")) for reply in replies
            ]

    first = statuses(1)
    assert first == statuses(1)
    assert first != statuses(2)
    assert first[::2] != first[1::2], "an ID that failed may succeed when it is sent again"
    assert 0.55 < first.count(201) / len(first) < 0.65
    assert {500, 502, 503, 504, 302} < set(first)


def test_faults_depend_neither_on_the_order_nor_on_refusals() -> None:
    clock = Clock()
    with simulated(server_error_share=0.5) as (_, client):
        calm = {str(number): client.ask(str(number)).status for number in range(40)}
    with simulated(server_error_share=0.5, rate=1, burst=1, clock=clock) as (server, client):
        hurried = {}
        for number in reversed(range(40)):
            clock.now += 1
            hurried[str(number)] = client.ask(str(number)).status
            assert client.ask(str(number)).status == 429
        assert server.refused == 40
    assert hurried == calm


@given(st.integers(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 9))
def test_drawn_numbers_are_shares_and_never_change(seed: int, subject: str, attempt: int) -> None:
    drawn = draw(seed, subject, attempt)
    assert all(0 <= number < 1 for number in drawn)
    assert drawn == draw(seed, subject, attempt)
    assert drawn != draw(seed, subject, attempt + 1)


def test_latency_is_as_told() -> None:
    plan = FaultPlan(SimulatorOptions(latency_ms=100, jitter_ms=50))
    waits = [plan.step("00417", attempt)[1] for attempt in range(1, 201)]
    assert all(0.1 <= wait_s < 0.15 for wait_s in waits)
    assert max(waits) - min(waits) > 0.04
    assert FaultPlan(SimulatorOptions(latency_ms=100)).step("00417", 1) == (HONEST, 0.1)
    with simulated(latency_ms=50, token_latency_ms=100) as (_, client):
        before = time.monotonic()
        client.ask()
        between = time.monotonic()
        client.ask_token()
        assert between - before >= 0.05
        assert time.monotonic() - between >= 0.1


# The pace


def test_a_bucket_lets_the_burst_through_and_then_the_rate() -> None:
    clock = Clock()
    with simulated(rate=10, burst=3, clock=clock) as (server, client):
        assert [client.ask(str(n)).status for n in range(5)] == [201, 201, 201, 429, 429]
        clock.now += 0.1
        assert [client.ask(str(n)).status for n in range(2)] == [201, 429]
        clock.now += 100
        assert [client.ask(str(n)).status for n in range(4)] == [201, 201, 201, 429]
        assert (server.refused, server.link_calls) == (4, 11)


def test_in_the_long_run_the_rate_is_what_gets_through() -> None:
    bucket = TokenBucket(rate=7, burst=5, now=0.0)
    let_through = sum(bucket.take(step / 1000) == 0 for step in range(10_000))
    assert let_through == 5 + 7 * 10 - 1


def test_whoever_waits_as_long_as_told_gets_through() -> None:
    bucket = TokenBucket(rate=3, burst=1, now=0.0)
    now = 0.0
    for _ in range(1000):
        assert bucket.take(now) == 0
        now += bucket.take(now)


def test_a_refusal_says_when_to_come_back_in_the_form_asked_for() -> None:
    clock = Clock()
    with simulated(rate=0.4, burst=1, clock=clock) as (server, client):
        client.ask()
        assert client.ask().headers["Retry-After"] == "3"
        server.change(retry_after_s=900)
        assert client.ask().headers["Retry-After"] == "900"
        server.change(retry_after="date", refusal_status=503)
        refusal = client.ask()
        told = email.utils.parsedate_to_datetime(refusal.headers["Retry-After"]).timestamp()
        assert refusal.status == 503
        assert 890 < told - time.time() <= 901
        server.change(retry_after="none")
        assert client.ask().headers["Retry-After"] is None
        server.change(retry_after="seconds", retry_after_share=0.5)
        told_count = sum(client.ask().headers["Retry-After"] is not None for _ in range(100))
        assert 30 < told_count < 70


def test_a_refused_call_is_not_an_attempt() -> None:
    clock = Clock()
    with simulated(rate=1, burst=1, clock=clock) as (server, client):
        client.ask("1")
        client.ask("2")
        clock.now += 1
        client.ask("2")
        assert [(call.status, call.attempt) for call in server.calls] == [(201, 1), (429, 1), (201, 1)]


def test_more_calls_at_the_same_time_than_allowed_are_refused() -> None:
    with simulated(in_flight_limit=1, latency_ms=400) as (server, client), ThreadPoolExecutor(1) as threads:
        second = Client(server)
        waiting = threads.submit(client.ask)
        _until(lambda: server.in_flight == 1)
        refusal = second.ask()
        assert (refusal.status, refusal.headers["Retry-After"]) == (429, "1")
        assert waiting.result().status == 201
        assert second.ask().status == 201
        second.close()


# Tokens that die


def test_a_token_can_die_after_some_calls_or_some_time() -> None:
    clock = Clock()
    with simulated(token_dies_after_calls=2, token_dies_after_s=10, clock=clock) as (server, client):
        assert [client.ask().status for _ in range(3)] == [201, 201, 401]
        client.token = server.issue_token()
        assert client.ask().status == 201
        clock.now += 10
        assert client.ask().status == 401


def test_all_tokens_can_be_revoked_at_a_call_or_at_once() -> None:
    with simulated(revoke_tokens_at_call=3) as (server, client):
        assert [client.ask().status for _ in range(4)] == [201, 201, 401, 401]
        client.token = json.loads(client.ask_token().body)["token"]
        assert client.ask().status == 201
        server.revoke_tokens()
        assert client.ask().status == 401


def test_the_token_endpoint_can_fail() -> None:
    with simulated(token_status=503) as (_, client):
        assert client.ask_token().status == 503


def test_tokens_can_be_short_lived() -> None:
    with simulated(token_lifetime_s=0) as (_, client):
        client.token = json.loads(client.ask_token().body)["token"]
        assert client.ask().status == 401


# The end


def test_it_can_die_after_some_answers_and_come_back_at_the_same_port() -> None:
    with simulated(die_after=2) as (server, client):
        assert [client.ask().status for _ in range(2)] == [201, 201]
        with pytest.raises(http.client.RemoteDisconnected):
            client.ask()
        with pytest.raises(ConnectionRefusedError):
            client.ask()
        with pytest.raises(ConnectionRefusedError):
            client.ask_token()
        server.change(die_after=None)
        assert client.ask().status == 201
        server.change(die_after=0)
        with pytest.raises(http.client.RemoteDisconnected):
            client.ask()
        with pytest.raises(ConnectionRefusedError):
            client.ask()
        server.change(die_after=None)
        assert client.ask().status == 201


def test_it_can_be_dead_from_the_start() -> None:
    with Simulator(SimulatorOptions(die_after=0)).running() as server:
        host, port = server.url.removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


def test_it_can_die_by_failing_or_by_falling_silent() -> None:
    with simulated(die_after=1, die_by="error") as (server, client):
        assert [client.ask().status, client.ask().status, client.ask_token().status] == [201, 503, 503]
        server.change(die_by="hang")
        impatient = Client(server, timeout_s=0.1)
        with pytest.raises(TimeoutError):
            impatient.ask()
        impatient.close()


# In the foreground


def test_served_in_the_foreground_it_says_where_and_stops_when_told() -> None:
    async def serve() -> bytes:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        serving = asyncio.create_task(Simulator().serve("127.0.0.1", 0, address.set_result, stop))
        host, port = (await address).removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        status_line = await reader.readline()
        stop.set()
        await asyncio.wait_for(serving, 1)
        writer.close()
        await writer.wait_closed()
        return status_line

    assert asyncio.run(serve()) == b"HTTP/1.1 404 Not Found\r\n"


def test_a_port_that_is_taken_is_an_error(server: RunningSimulator) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError):
        asyncio.run(Simulator().serve("127.0.0.1", port, lambda _: None, asyncio.Event()))


def test_a_defect_of_the_stand_in_comes_out_at_the_end() -> None:
    clock: list[float] = [0.0] * 3
    with pytest.raises(IndexError), Simulator(clock=clock.pop).running() as server:
        client = Client(server)
        replies = [client.ask().status for _ in range(3)]
        client.close()
        assert 500 in replies


# Options


def test_every_option_has_a_default_and_an_explanation() -> None:
    for option in dataclasses.fields(SimulatorOptions):
        assert option.default is not dataclasses.MISSING
        assert option.metadata["help"]
        assert isinstance(option.metadata["unit"], str)


def test_no_secret_and_no_external_id_is_printed_or_an_argument() -> None:
    options = dataclasses.fields(SimulatorOptions)
    private = {option.name for option in options if option.metadata["private"]}
    lists = {option.name for option in options if option.name.endswith("_ids")}
    assert private == {"api_secret", *lists}
    hidden = dict.fromkeys(lists, frozenset({"00417"}))
    assert "00417" not in repr(SimulatorOptions(api_secret="00417", **hidden))  # type: ignore[arg-type]


def test_options_are_read_without_the_server() -> None:
    code = "import sys; from batchlinks.simulator import SimulatorOptions; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        {"success_status": 404},
        {"token_status": 99},
        {"inactive_status": 1000},
        {"latency_ms": -1},
        {"rate": 0},
        {"burst": 0},
        {"retry_after_share": 1.5},
        {"drop_share": -0.1},
        {"drop_share": 0.6, "hang_share": 0.5},
        {"reject_pattern": "("},
        {"die_after": -1},
        {"listed_share": 0.1},
        {"nth_call": 0},
        {"nth_fault": "nothing"},
        {"xid_spelled": 2},
        {"projects": ("a,b",)},
        {"body_format": "xml"},
    ],
    ids=str,
)
def test_options_without_sense_are_refused(options: dict[str, typing.Any]) -> None:
    with pytest.raises(SettingsError):
        options_of(options)


def test_ten_shares_of_a_tenth_are_one() -> None:
    names = [f"{fault}_share" for fault in Fault][:10]
    shares = options_of(dict.fromkeys(names, 0.1)).fault_shares()
    assert sum(shares.values()) == pytest.approx(1)


def test_a_change_without_sense_is_refused_and_changes_nothing(server: RunningSimulator, client: Client) -> None:
    with pytest.raises(SettingsError):
        server.change(rate=-1)
    assert server.options == SimulatorOptions()
    assert client.ask().status == 201


def options_of(options: dict[str, typing.Any]) -> SimulatorOptions:
    return SimulatorOptions(**options)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
