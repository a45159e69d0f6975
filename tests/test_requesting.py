"""From IDs to links against a HealthEx that obeys, misbehaves, refuses, fails and dies."""

import gzip
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import pytest
import results
from conftest import PROJECT, Ended
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchlinks.cli.main import main
from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions
from batchlinks.simulator.faults import ScriptItem

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]

LINK_PAGE = "https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link"


def roster_of(folder: Path, ids: Iterable[str]) -> Path:
    path = folder / "patients.csv"
    rows = "".join(f"{external_id},Pat {number}\n" for number, external_id in enumerate(ids))
    path.write_text(f"MRN,Name\n{rows}", encoding="utf-8")
    return path


def some_ids(count: int) -> list[str]:
    return [f"{number:06d}" for number in range(100_001, 100_001 + count)]


def given_links(folder: Path) -> dict[str, str]:
    return {row["MRN"]: row["link"] for row in results.links(folder / "patients.links.xlsx")}


def error_codes(folder: Path) -> dict[str, str]:
    """ID -> error code."""
    return {row["MRN"]: row["error_code"] for row in results.errors(folder / "patients.errors.xlsx")}


def counts(folder: Path) -> dict[str, object]:
    return results.summary(folder / "patients.summary.json")


# --- all of it at once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retry_after", "patients"), [("seconds", 1500), ("date", 500)])
def test_many_patients_all_get_their_own_link_from_a_server_that_does_everything_wrong(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, retry_after: str, patients: int
) -> None:
    healthex = start_healthex(
        seed=11,
        server_error_share=0.08,
        drop_share=0.04,
        truncate_share=0.02,
        html_share=0.01,
        hang_share=0.01,
        token_dies_after_calls=150,
        rate=700,
        burst=10,
        retry_after=retry_after,
    )
    ids = some_ids(patients)

    ended = command("run", roster_of(tmp_path, ids), "--timeout", "0.5")

    assert ended.code == 0
    assert given_links(tmp_path) == {external_id: healthex.links[external_id] for external_id in ids}
    assert healthex.statuses[429] > 0
    assert healthex.token_calls >= 4
    assert healthex.token_calls <= 1 + healthex.statuses[401]
    calls = counts(tmp_path)["calls"]
    assert isinstance(calls, int)
    assert healthex.link_calls <= calls <= healthex.link_calls + 5  # some calls' time can run out on their way


@settings(
    max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, phases=[Phase.generate]
)
@given(seed=st.integers(0, 2**31), concurrency=st.integers(1, 64), fails=st.sampled_from([0.0, 0.1]))
def test_link_and_id_stay_together_whatever_the_order_of_the_answers(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    concurrency: int,
    fails: float,
) -> None:
    folder = tmp_path_factory.mktemp("order")
    options = SimulatorOptions(seed=seed, latency_ms=1, jitter_ms=25, drop_share=fails)
    ids = some_ids(40)
    roster = roster_of(folder, ids)

    with Simulator(options).running() as healthex:
        monkeypatch.setenv("HEALTHEX_API_URL", healthex.url)
        monkeypatch.setenv("HEALTHEX_LINK_HOST", options.link_host)
        monkeypatch.setenv("HEALTHEX_API_KEY", options.api_key)
        monkeypatch.setenv("HEALTHEX_API_SECRET", options.api_secret)
        code = main(
            ["run", str(roster), "--project-id", PROJECT, "--quiet", "--no-ledger", "--concurrency", str(concurrency)]
        )

    assert code == 0
    rows = results.links(folder / "patients.links.xlsx")
    assert [(row["MRN"], row["link"]) for row in rows] == [(each, healthex.links[each]) for each in ids]


# --- one answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"success_status": 201},
        {"body_format": "text"},
        {"content_type": "text/html; charset=utf-16"},
        {"content_type": "nonsense"},
        {"xid_encoding": "percent"},
        {"xid_encoding": "plus"},
    ],
    ids=lambda options: "-".join(map(str, *options.items())),
)
def test_what_the_documentation_leaves_open_may_be_either_way(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, options: dict[str, object]
) -> None:
    healthex = start_healthex(**options)
    ids = ["00-12.3", "A 1 b", "7/8#9", "12:34*5~6", "1_2"]

    ended = command("run", roster_of(tmp_path, ids), "--any-length", "--strict-links")

    assert ended.code == 0, ended.err
    assert given_links(tmp_path) == healthex.links
    assert len(healthex.links) == 5


@pytest.mark.parametrize(
    "hiccup",
    [
        500,
        503,
        408,
        425,
        "drop",
        "truncate",
        "html",
        "empty",
        "redirect",
        "foreign_host",
        "http_link",
        "no_xid",
        ("status", 429, {"Retry-After": "0"}),
        ("status", 429, {"Retry-After": formatdate(0, usegmt=True)}),
        ("status", 429),
        ("status", 503, {"Retry-After": "0"}),
        ("body", 200, "application/json", '{"link": "none"}'),
        ("body", 200, "application/json", '"not closed'),
        ("body", 200, "application/json", "x" * 200_000),
    ],
    ids=lambda hiccup: str(hiccup)[:60],
)
def test_what_can_heal_is_asked_again_and_nobody_else_is(
    command: Command, healthex: RunningSimulator, tmp_path: Path, hiccup: ScriptItem
) -> None:
    ids = some_ids(3)
    healthex.script(ids[1], [hiccup])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 0, ended.err
    assert [healthex.requests_for(external_id) for external_id in ids] == [1, 2, 1]
    assert given_links(tmp_path) == healthex.links
    assert counts(tmp_path)["retries"] == 1


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_a_4xx_about_one_id_refuses_its_row_at_once_and_tells_the_status(
    command: Command, healthex: RunningSimulator, tmp_path: Path, status: int
) -> None:
    ids = some_ids(8)
    healthex.script(ids[4], [status])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 3
    assert error_codes(tmp_path) == {ids[4]: "rejected_by_healthex"}
    assert f"answer {status}" in results.errors(tmp_path / "patients.errors.xlsx")[0]["error_message"]
    assert healthex.link_calls == 8


def test_a_redirect_is_never_followed(command: Command, start_healthex: StartHealthEx, tmp_path: Path) -> None:
    healthex = start_healthex(redirect_share=1.0)

    ended = command("run", roster_of(tmp_path, some_ids(2)), "--max-attempts", "2")

    assert ended.code == 3
    assert set(error_codes(tmp_path).values()) == {"bad_answer"}
    assert {call.path for call in healthex.calls} == {"/v1/auth/token", f"/v1/projects/{PROJECT}/link"}


@pytest.mark.parametrize("fault", ["html", "foreign_host"])
def test_an_id_that_never_gets_a_link_on_the_expected_host_is_a_bad_answer_after_its_last_attempt(
    command: Command, healthex: RunningSimulator, tmp_path: Path, fault: str
) -> None:
    ids = some_ids(3)
    healthex.script(ids[2], [fault] * 9)

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "3")

    assert ended.code == 3
    assert error_codes(tmp_path) == {ids[2]: "bad_answer"}
    assert healthex.requests_for(ids[2]) == 3


def test_the_request_is_what_the_documentation_asks_for(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    command("run", roster_of(tmp_path, ["123-456-0000"]))

    assert healthex.statuses == {201: 2}  # the stand-in refuses every other way of asking
    assert [call.path for call in healthex.calls] == ["/v1/auth/token", f"/v1/projects/{PROJECT}/link"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\nhttps://app.h",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhttps://app.h\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhttps",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhttps",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhttps",
        b"HTTP/1.1 2OO OK\r\n\r\nhttps",
        b"220 mail.example.invalid ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"",
    ],
    ids=["chunk-cut", "chunk-size", "cut", "gzip", "length", "status", "mail-server", "header", "tls", "nothing"],
)
def test_an_answer_that_is_no_whole_http_is_a_failure_like_any_other_and_never_a_defect(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    token = healthex.issue_token()
    monkeypatch.setenv("HEALTHEX_TOKEN", token)
    with answering(answer) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)
        ended = command("run", roster_of(tmp_path, some_ids(2)), "--patience", "0.5", "--timeout", "2")

    assert ended.code == 5, ended.err
    assert "defect" not in ended.err
    assert given_links(tmp_path) == {}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_answer_that_was_compressed_though_nobody_asked_for_it_is_read_all_the_same(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    [external_id] = some_ids(1)
    link = f"{LINK_PAGE}?xid={external_id}.signature"
    body = gzip.compress(link.encode()) if encoding == "gzip" else link.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    with answering(head.encode() + body) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)
        ended = command("run", roster_of(tmp_path, [external_id]))

    assert ended.code == 0, ended.err
    assert given_links(tmp_path) == {external_id: link}


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate", "raw-deflate"])
def test_one_layer_is_read_and_any_other_encoding_is_a_bad_answer(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, encoding: str
) -> None:
    healthex = start_healthex(encoded_share=1, content_encoding=encoding)
    ids = some_ids(2)

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "1")

    if "deflate" in encoding:
        assert ended.code == 0, ended.err
        assert given_links(tmp_path) == healthex.links
    else:
        assert error_codes(tmp_path) == dict.fromkeys(ids, "bad_answer")


def test_five_patients_who_get_nothing_but_answers_without_a_link_end_the_run(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(no_link_share=1, no_link_type="text/html; charset=x100001", no_link_length=1234)

    ended = command("run", roster_of(tmp_path, some_ids(200)), "--max-attempts", "2")

    assert ended.code == 5
    assert "text/html, 1,234 bytes" in ended.err
    assert "xxx" not in ended.err
    assert "x100001" not in ended.err
    assert healthex.link_calls < 150


def test_answers_without_a_link_refuse_their_rows_once_somebody_has_one_or_where_the_server_failed_too(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(9)
    for external_id in ids[:4]:
        healthex.script(external_id, ["no_link"])
    for external_id in ids[4:8]:
        healthex.script(external_id, [500, "no_link"])

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "1", "--concurrency", "1")

    assert ended.code == 3, ended.err
    assert set(error_codes(tmp_path).values()) <= {"bad_answer", "gave_up"}
    assert set(ids[:4]) <= set(error_codes(tmp_path))


def test_a_double_bomb_fills_no_memory(command: Command, start_healthex: StartHealthEx, tmp_path: Path) -> None:
    start_healthex(bomb_share=1, bomb_mb=256)
    tracemalloc.start()
    try:
        ended = command("run", roster_of(tmp_path, some_ids(1)), "--max-attempts", "1")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert ended.code == 3
    assert set(error_codes(tmp_path).values()) == {"bad_answer"}
    assert most < 100 * 2**20


def test_an_endless_answer_fills_no_memory_and_takes_no_time(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    started = time.monotonic()
    with answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", then_forever=b"x" * 8192) as url:
        monkeypatch.setenv("HEALTHEX_API_URL", url)
        ended = command("run", roster_of(tmp_path, some_ids(1)), "--max-attempts", "1", "--timeout", "20")

    assert ended.code == 3
    assert set(error_codes(tmp_path).values()) == {"bad_answer"}
    assert time.monotonic() - started < 10


@contextmanager
def answering(answer: bytes, *, then_forever: bytes = b"") -> Iterator[str]:
    """A server that answers every request with these bytes and closes the connection."""

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(answer)
                while then_forever:
                    connection.sendall(then_forever)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            talkers.append(threading.Thread(target=talk, args=(connection,)))
            talkers[-1].start()

    talkers: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for talker in talkers:
                talker.join()


# --- whose link is it? ----------------------------------------------------------------------------------------


ONCE = ("--max-attempts", "1")


def test_a_link_that_names_another_patient_is_never_written(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(seed=3, other_patient_share=0.2)
    ids = some_ids(100)

    ended = command("run", roster_of(tmp_path, ids), *ONCE)

    refused = error_codes(tmp_path)
    assert ended.code == 3
    assert set(refused.values()) == {"link_mismatch"}
    assert len(refused) > 5
    assert given_links(tmp_path) == {each: healthex.links[each] for each in ids if each not in refused}

    assert command("run", tmp_path / "patients.csv").code == 0  # asked again, each gets its own
    assert given_links(tmp_path) == healthex.links


def test_an_id_that_begins_like_a_longer_one_is_not_mistaken_for_it(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = ["A12", "A12.B5", "A12.B5.C7", "A7"]
    healthex.script("A12", [("link_of", "A12.B5")])
    healthex.script("A12.B5.C7", [("link_of", "A12.B5")])

    ended = command("run", roster_of(tmp_path, ids), *ONCE)

    assert ended.code == 3
    assert error_codes(tmp_path) == {"A12": "link_mismatch", "A12.B5.C7": "link_mismatch"}
    assert given_links(tmp_path) == {each: healthex.links[each] for each in ("A12.B5", "A7")}


def test_a_link_that_names_a_patient_of_an_earlier_roster_is_refused(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    command("run", roster_of(tmp_path, ["900001"]))
    healthex.script("100001", [("link_of", "900001")])

    ended = command("run", roster_of(tmp_path, ["100001"]), *ONCE)

    assert ended.code == 3
    assert error_codes(tmp_path) == {"100001": "link_mismatch"}


@pytest.mark.parametrize("unnamed", [1, 2, 4])
def test_a_link_that_names_nobody_is_not_used_where_another_names_its_patient(
    command: Command, healthex: RunningSimulator, tmp_path: Path, unnamed: int
) -> None:
    ids = some_ids(20)
    for external_id in ids[:unnamed]:
        healthex.script(external_id, ["unnamed", "unnamed"])

    ended = command("run", roster_of(tmp_path, ids), *ONCE)

    assert ended.code == 3
    assert error_codes(tmp_path) == dict.fromkeys(ids[:unnamed], "link_mismatch")


def test_strict_links_refuses_every_link_that_does_not_name_its_own_patient(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(unnamed_share=1.0)

    ended = command("run", roster_of(tmp_path, some_ids(30)), "--strict-links")

    assert ended.code == 3
    assert list(error_codes(tmp_path).values()) == ["link_mismatch"] * 30
    assert given_links(tmp_path) == {}
    assert healthex.link_calls == 30  # another call would bring another of the kind


@pytest.mark.parametrize("times", [1, 20])
def test_the_same_link_for_two_patients_is_refused_for_both_unless_a_second_call_brings_another(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, times: int
) -> None:
    healthex = start_healthex(unnamed_share=1.0)
    ids = some_ids(4)
    for external_id in ids[:2]:
        healthex.script(external_id, ["same_link"] * times)

    ended = command("run", roster_of(tmp_path, ids))

    if times == 1:
        assert ended.code == 0
        assert len({*given_links(tmp_path).values()}) == 4
    else:
        assert ended.code == 3
        assert error_codes(tmp_path) == {ids[0]: "link_mismatch", ids[1]: "link_mismatch"}
        assert set(given_links(tmp_path)) == set(ids[2:])


def test_the_same_link_is_refused_also_where_the_other_patient_had_it_in_an_earlier_run(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    start_healthex(same_link_share=1.0)
    assert command("run", roster_of(tmp_path, ["100001"])).code == 0

    ended = command("run", roster_of(tmp_path, ["100002"]))

    assert ended.code == 3
    assert error_codes(tmp_path) == {"100002": "link_mismatch"}


def test_a_link_that_names_its_patient_is_kept_by_that_patient_alone(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(4)
    healthex.script(ids[0], [("link_of", ids[1])])

    command("run", roster_of(tmp_path, ids), *ONCE)

    assert error_codes(tmp_path) == {ids[0]: "link_mismatch"}
    assert ids[1] in given_links(tmp_path)


def test_an_id_with_every_allowed_character_is_recognised_however_it_is_encoded(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    external_id = "a1 -_./:#*~9Z"
    link = f"{LINK_PAGE}?xid={quote(external_id, safe='')}.c2ln"
    healthex.script(external_id, [("body", 200, "application/json", json.dumps(link).replace("/", "\\/"))])

    ended = command("run", roster_of(tmp_path, [external_id]), "--strict-links", "--any-length")

    assert ended.code == 0, ended.err
    assert given_links(tmp_path) == {external_id: link}


# --- the token ------------------------------------------------------------------------------------------------


def test_one_token_serves_a_whole_run(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    command("run", roster_of(tmp_path, some_ids(200)))

    assert healthex.token_calls == 1


@pytest.mark.parametrize("concurrency", [1, 64])
def test_a_token_that_dies_in_mid_run_is_renewed_once_for_all(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, concurrency: int
) -> None:
    healthex = start_healthex(revoke_tokens_at_call=150, latency_ms=5, token_latency_ms=100)

    ended = command("run", roster_of(tmp_path, some_ids(300)), "--concurrency", concurrency)

    assert ended.code == 0
    assert healthex.token_calls == 2
    # Only calls that were under way when it died may be in vain.
    assert 1 <= healthex.statuses[401] <= concurrency
    assert counts(tmp_path)["retries"] == healthex.statuses[401]


def test_a_token_brought_along_is_used_first_and_renewed_with_key_and_secret(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    assert command("run", roster_of(tmp_path, some_ids(3))).code == 0
    assert healthex.token_calls == 0

    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token(lifetime_s=-60))
    assert command("run", roster_of(tmp_path, some_ids(6))).code == 0
    assert healthex.token_calls == 1
    assert healthex.statuses[401] == 1


def test_a_dead_token_with_nothing_to_renew_it_ends_the_run(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token(lifetime_s=-60))
    monkeypatch.delenv("HEALTHEX_API_KEY")
    monkeypatch.delenv("HEALTHEX_API_SECRET")

    ended = command("run", roster_of(tmp_path, some_ids(50)))

    assert ended.code == 4
    assert "HEALTHEX_TOKEN" in ended.err
    assert healthex.link_calls == 1


@pytest.mark.parametrize("token", ["tökén", "two words", "a\nX-Header: b"])
def test_a_token_that_is_none_is_a_setting_to_correct(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HEALTHEX_TOKEN", token)

    ended = command("run", roster_of(tmp_path, some_ids(2)))

    assert ended.code == 2
    assert "HEALTHEX_TOKEN" in ended.err
    assert token not in ended.err
    assert healthex.calls == []


def test_a_401_on_a_fresh_token_ends_the_run_after_one_call(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(token_dies_after_calls=0)

    ended = command("run", roster_of(tmp_path, some_ids(100)))

    assert ended.code == 4
    assert healthex.token_calls == 1
    assert healthex.link_calls == 1
    assert set(error_codes(tmp_path).values()) == {"not_attempted"}


def test_a_sign_in_that_stumbles_is_tried_again(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    healthex.script_token([503, ("status", 429, {"Retry-After": "0"}), "html", "ok"])

    ended = command("run", roster_of(tmp_path, some_ids(2)), "--patience", "20")

    assert ended.code == 0
    assert healthex.token_calls == 4


def test_a_sign_in_that_keeps_failing_ends_the_run_after_the_patience(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(token_status=500)

    ended = command("run", roster_of(tmp_path, some_ids(2)), "--patience", "1")

    assert ended.code == 5
    assert "answer 500 to the sign-in" in ended.err
    assert healthex.link_calls == 0


# --- refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_secret_that_is_not_accepted_ends_the_run_before_any_patient_is_named(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, status: int
) -> None:
    healthex = start_healthex(token_status=status)

    ended = command("run", roster_of(tmp_path, some_ids(200)))

    assert ended.code == 4
    assert "HEALTHEX_API_SECRET" in ended.err
    assert healthex.token_calls == 1
    assert healthex.link_calls == 0
    assert results.codes(tmp_path / "patients.errors.xlsx")[2] == "not_attempted"


@pytest.mark.parametrize("patients", [1, 3, 300])
@pytest.mark.parametrize(("project", "status"), [("inactive-project", 403), ("unknown-project", 404)])
def test_a_project_that_is_not_active_ends_the_run_after_a_handful_of_calls(
    command: Command, healthex: RunningSimulator, tmp_path: Path, project: str, status: int, patients: int
) -> None:
    ended = command("run", roster_of(tmp_path, some_ids(patients)), "--project-id", project)

    assert ended.code == 4
    assert f"answer {status}" in ended.err
    assert healthex.link_calls == min(patients, 5)
    assert set(error_codes(tmp_path).values()) == {"not_attempted"}


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_same_refusal_of_the_first_five_patients_ends_the_run(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, status: int
) -> None:
    healthex = start_healthex(every_status=status)

    ended = command("run", roster_of(tmp_path, some_ids(100)))

    assert ended.code == 4
    assert healthex.link_calls == 5


def test_four_refusals_and_a_link_refuse_four_rows(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(8)
    for external_id in ids[:4]:
        healthex.script(external_id, [422])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 3
    assert error_codes(tmp_path) == dict.fromkeys(ids[:4], "rejected_by_healthex")


def test_a_short_list_of_ids_that_are_all_wrong_is_not_taken_for_a_wrong_project(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    start_healthex(every_status=422)

    ended = command("run", roster_of(tmp_path, some_ids(3)))

    assert ended.code == 3
    assert set(error_codes(tmp_path).values()) == {"rejected_by_healthex"}


@pytest.mark.parametrize("status", [403, 404])
def test_five_in_a_row_that_are_forbidden_or_unknown_end_a_run_that_went_well(
    command: Command, healthex: RunningSimulator, tmp_path: Path, status: int
) -> None:
    ids = some_ids(40)
    for external_id in ids[20:]:
        healthex.script(external_id, [status])

    ended = command("run", roster_of(tmp_path, ids), "--concurrency", "1")

    assert ended.code == 4
    assert healthex.link_calls == 25
    assert set(given_links(tmp_path)) == set(ids[:20])


def test_any_other_4xx_refuses_its_row_however_many_come_in_a_row(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(40)
    for external_id in ids[20:]:
        healthex.script(external_id, [422])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 3
    assert error_codes(tmp_path) == dict.fromkeys(ids[20:], "rejected_by_healthex")


# --- told to wait ---------------------------------------------------------------------------------------------


def test_a_run_opens_with_one_call_and_widens_up_to_the_concurrency(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=40)

    command("run", roster_of(tmp_path, some_ids(150)), "--concurrency", "12")

    starts = [call.time for call in healthex.calls if call.external_id]
    assert starts[1] - starts[0] >= 0.04
    assert starts[3] - starts[1] >= 0.04
    assert healthex.max_in_flight == 12


def test_a_rate_is_never_exceeded(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    command("run", roster_of(tmp_path, some_ids(30)), "--rate", "25")

    starts = [call.time for call in healthex.calls if call.external_id]
    assert starts[-1] - starts[0] >= 0.85 * 29 / 25  # arrivals: the first may be late on a busy machine


@pytest.mark.usefixtures("healthex")
def test_a_rate_of_less_than_a_call_for_each_patience_is_no_silence(command: Command, tmp_path: Path) -> None:
    ended = command("run", roster_of(tmp_path, some_ids(3)), "--rate", "1", "--patience", "0.7")

    assert ended.code == 0, ended.err


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_says_to_come_back_in_an_hour_ends_the_run_and_the_message_says_when(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, status: int, form: str
) -> None:
    healthex = start_healthex(rate=0.001, burst=3, refusal_status=status, retry_after=form, retry_after_s=3600)
    ids = some_ids(20)

    ended = command("run", roster_of(tmp_path, ids), "--concurrency", "1")

    assert ended.code == 5
    assert "not before 20" in ended.err
    assert given_links(tmp_path) == healthex.links
    assert len(healthex.links) == 3
    assert error_codes(tmp_path) == dict.fromkeys(ids[3:], "not_attempted")


@pytest.mark.parametrize("retry_after", ["9" * 400, "99999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_beyond_all_reason_is_no_defect(
    command: Command, healthex: RunningSimulator, tmp_path: Path, retry_after: str
) -> None:
    ids = some_ids(1)
    healthex.script(ids[0], [("status", 429, {"Retry-After": retry_after})])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 5
    assert "come back later" in ended.err


def test_a_date_to_come_back_is_held_against_the_servers_own_clock(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(2)
    two_hours_ahead = time.time() + 7200
    headers = {
        "Date": formatdate(two_hours_ahead, usegmt=True),
        "Retry-After": formatdate(two_hours_ahead + 1, usegmt=True),
    }
    healthex.script(ids[1], [("status", 429, headers)])
    started = time.monotonic()

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 0, ended.err
    assert 1.0 <= time.monotonic() - started < 10


def test_a_refused_call_is_no_attempt(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    ids = some_ids(2)
    healthex.script(ids[1], [("status", 429, {"Retry-After": "0"})] * 3)

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "1")

    assert ended.code == 0, ended.err
    assert healthex.requests_for(ids[1]) == 4


def test_a_server_that_refuses_everybody_from_the_start_is_called_ten_times_at_most(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(every_status=429)

    ended = command("run", roster_of(tmp_path, some_ids(500)), "--patience", "2")

    assert ended.code == 5
    assert 1 < healthex.link_calls <= 10


def test_a_run_goes_on_after_a_server_that_refused_at_first(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(20)
    healthex.script(ids[0], [429])

    ended = command("run", roster_of(tmp_path, ids))

    assert ended.code == 0
    assert given_links(tmp_path) == healthex.links


# --- failing for itself, or with everybody --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "concurrency"), [([0], 1), ([0], 64), ([29], 64), ([26, 27, 28, 29], 64), ([5, 6, 7, 8], 1)], ids=str
)
def test_an_id_that_always_fails_gives_up_beside_others_that_get_through(
    command: Command, healthex: RunningSimulator, tmp_path: Path, places: list[int], concurrency: int
) -> None:
    ids = some_ids(30)
    poison = [ids[place] for place in places]
    for external_id in poison:
        healthex.script(external_id, [500] * 99)

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "3", "--concurrency", concurrency)

    assert ended.code == 3
    assert error_codes(tmp_path) == dict.fromkeys(poison, "gave_up")
    assert set(given_links(tmp_path)) == set(ids) - set(poison)
    message = results.errors(tmp_path / "patients.errors.xlsx")[0]["error_message"]
    assert "answer 500" in message
    assert "3 attempts" in message


@pytest.mark.parametrize("fault", [500, "drop"])
def test_ten_of_a_hundred_that_always_fail_give_up_and_the_others_are_linked(
    command: Command, healthex: RunningSimulator, tmp_path: Path, fault: ScriptItem
) -> None:
    ids = some_ids(100)
    poison = ids[9::10]
    for external_id in poison:
        healthex.script(external_id, [fault] * 99)

    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "3")

    assert ended.code == 3
    assert error_codes(tmp_path) == dict.fromkeys(poison, "gave_up")
    assert len(given_links(tmp_path)) == 90


def test_a_failure_that_passes_costs_nobody_an_attempt_while_nothing_gets_through(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(die_after=0, die_by="error")
    ids = some_ids(3)

    def recover() -> None:
        deadline = time.monotonic() + 20
        while len(healthex.calls) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        healthex.change(die_after=None)

    watcher = threading.Thread(target=recover)
    watcher.start()
    ended = command("run", roster_of(tmp_path, ids), "--max-attempts", "1", "--patience", "20")
    watcher.join()

    assert ended.code == 0, ended.err


@pytest.mark.parametrize(("die_by", "patients"), [("refuse", 60), ("error", 60), ("hang", 60), ("error", 300)])
def test_a_server_that_dies_in_mid_run_ends_it_and_the_next_run_asks_for_the_rest_only(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, die_by: str, patients: int
) -> None:
    healthex = start_healthex(die_after=40, die_by=die_by)
    ids = some_ids(patients)
    roster = roster_of(tmp_path, ids)

    ended = command("run", roster, "--patience", "0.6", "--timeout", "0.3")

    assert ended.code == 5
    assert "0.6 seconds" in ended.err
    assert given_links(tmp_path) == healthex.links
    assert len(healthex.links) == 40
    assert error_codes(tmp_path) == {each: "not_attempted" for each in ids if each not in healthex.links}
    first_answered = set(healthex.links)

    healthex.change(die_after=None)
    calls_before = len(healthex.calls)
    again = command("run", roster)

    assert again.code == 0, again.err
    asked = [call.external_id for call in healthex.calls[calls_before:] if call.external_id]
    assert sorted(asked) == sorted(set(ids) - first_answered)
    assert given_links(tmp_path) == healthex.links


@pytest.mark.parametrize("die_by", ["refuse", "error", "hang"])
def test_a_server_that_is_dead_from_the_start_is_left_alone_after_the_patience(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, die_by: str
) -> None:
    healthex = start_healthex(die_after=0, die_by=die_by)

    ended = command("run", roster_of(tmp_path, some_ids(100)), "--patience", "0.5")

    assert ended.code == 5
    assert "could not be reached" in ended.err
    assert healthex.link_calls == 0
    assert len(healthex.calls) <= 10


@pytest.mark.usefixtures("healthex")
def test_nobody_there_at_all_is_exit_5(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HEALTHEX_API_URL", f"http://127.0.0.1:{port}")

    ended = command("run", roster_of(tmp_path, some_ids(3)), "--patience", "0.3")

    assert ended.code == 5
    assert "no connection" in ended.err


# --- what is asked at all -------------------------------------------------------------------------------------


def test_the_second_run_of_a_roster_asks_for_nothing(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = roster_of(tmp_path, some_ids(20))
    command("run", roster)
    first = given_links(tmp_path)
    calls = len(healthex.calls)

    ended = command("run", roster)

    assert ended.code == 0
    assert len(healthex.calls) == calls
    assert given_links(tmp_path) == first
    assert counts(tmp_path)["reused"] == 20
    assert counts(tmp_path)["requested"] == 0


def test_refresh_asks_again_for_all_and_hands_out_the_new_links(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(fresh_links=True)
    roster = roster_of(tmp_path, some_ids(5))
    command("run", roster)
    first = given_links(tmp_path)

    ended = command("run", roster, "--refresh")

    assert ended.code == 0
    assert given_links(tmp_path) == healthex.links
    assert set(given_links(tmp_path).values()).isdisjoint(first.values())
    assert counts(tmp_path)["requested"] == 5


def test_without_a_ledger_every_run_asks_for_all(
    command: Command, healthex: RunningSimulator, tmp_path: Path, private_home: Path
) -> None:
    roster = roster_of(tmp_path, some_ids(3))
    command("run", roster, "--no-ledger")
    ended = command("run", roster, "--no-ledger")

    assert ended.code == 0
    assert healthex.link_calls == 6
    assert not list(private_home.rglob("*.sqlite3"))


def test_limit_sends_the_first_few_and_the_rest_wait_for_another_run(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ids = some_ids(10)
    roster = roster_of(tmp_path, ids)

    ended = command("run", roster, "--limit", "4")

    assert ended.code == 3
    assert list(given_links(tmp_path)) == ids[:4]
    assert error_codes(tmp_path) == dict.fromkeys(ids[4:], "not_attempted")
    assert healthex.link_calls == 4

    assert command("run", roster).code == 0
    assert healthex.link_calls == 10


@pytest.mark.usefixtures("healthex")
def test_only_new_leaves_out_who_stood_in_an_earlier_links_workbook(command: Command, tmp_path: Path) -> None:
    ids = some_ids(6)
    command("run", roster_of(tmp_path, ids[:4]))

    ended = command("run", roster_of(tmp_path, ids), "--only-new")

    assert ended.code == 0
    assert list(given_links(tmp_path)) == ids[4:]
    assert counts(tmp_path)["linked"] == 6
    assert counts(tmp_path)["written"] == 2


@pytest.mark.usefixtures("healthex")
def test_link_dates_tell_new_links_from_known_ones(command: Command, tmp_path: Path) -> None:
    ids = some_ids(3)
    command("run", roster_of(tmp_path, ids[:1]))

    command("run", roster_of(tmp_path, ids), "--link-dates")

    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["link_is_new"] for row in rows] == ["no", "yes", "yes"]
    assert all(len(row["link_issued_on"]) == 10 for row in rows)
