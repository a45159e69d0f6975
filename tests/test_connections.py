"""Connections that say more, less, earlier or later than they should: the next patient never gets what came unasked."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import results
from aiohttp.client_proto import ResponseHandler
from conftest import PROJECT, Ended
from hypothesis import given
from hypothesis import strategies as st
from raw_servers import LINK_PAGE, Conversation, answer, in_chunks, link_of, talking

from batchlinks.healthex.api import Answer, ConsentsShown, Failed, HealthExApi, Issued, Repeated
from batchlinks.healthex.connections import WatchedConnector, WatchedProtocol, is_one_answer
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]
HALF_A_HEAD = b"HTTP/1.1 201 Created\r\nContent-Le"


def ask(url: str, *ids: str, between: Callable[[], Any] = lambda: None, timeout_s: float = 5.0) -> list[Answer]:
    """What came for these IDs, asked for one after the other, with something done `between` each two."""

    async def scene() -> list[Answer]:
        found = []
        async with HealthExApi(Endpoint(url, "app.healthex.invalid", PROJECT), timeout_s=timeout_s) as api:
            for external_id in ids:
                found.append(await api.ask_link(external_id, "token"))
                waiting = between()
                if waiting is not None:
                    await waiting
        return found

    return asyncio.run(scene())


def own_links(*ids: str) -> list[Answer]:
    return [Issued(link_of(external_id)) for external_id in ids]


# --- kept, where nothing is wrong with it -------------------------------------------------------------------------


@pytest.mark.parametrize("form", [answer, in_chunks], ids=["length", "chunks"])
def test_a_connection_with_one_answer_for_each_request_is_kept(form: Callable[[str], bytes]) -> None:
    def script(conversation: Conversation) -> None:
        while True:
            conversation.say(form(link_of(conversation.next_id())))

    with talking(script) as server:
        assert ask(server.url, "1", "2", "3") == own_links("1", "2", "3")

    assert len(server.conversations) == 1


def test_an_answer_in_many_pieces_is_one_answer() -> None:
    def script(conversation: Conversation) -> None:
        while True:
            for byte in answer(link_of(conversation.next_id())):
                conversation.say(bytes([byte]))

    with talking(script) as server:
        assert ask(server.url, "1", "2") == own_links("1", "2")

    assert len(server.conversations) == 1


# --- more than one answer -----------------------------------------------------------------------------------------

UNASKED = {
    "an answer": answer(link_of("9")),
    "an answer in chunks": in_chunks(link_of("9")),
    "half an answer": answer(link_of("9"))[:-5],
    "half a head": HALF_A_HEAD,
    "a line": b"\r\n",
    "a byte": b"H",
    "no HTTP": b"220 mail.example.invalid ESMTP\r\n",
    "a hundred answers": answer(link_of("9")) * 100,
    "a flood": b"x" * 1_000_000,
}


@pytest.mark.parametrize("form", [answer, in_chunks], ids=["length", "chunks"])
@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED)
def test_what_comes_in_one_piece_with_an_answer_is_no_ones(unasked: bytes, form: Callable[[str], bytes]) -> None:
    def script(conversation: Conversation) -> None:
        external_id = conversation.next_id()
        if conversation.number == 1:
            conversation.say(form(link_of(external_id)) + unasked)
        else:
            conversation.say(form(link_of(external_id)))
        conversation.answer_honestly()

    with talking(script) as server:
        found = ask(server.url, "1", "2", "3")

    assert found[:1] == own_links("1") or isinstance(found[0], Failed)  # where no parser makes sense of the whole
    assert found[1:] == own_links("2", "3")
    assert len(server.conversations) == 2


@pytest.mark.parametrize("delivered", [True, False], ids=["in the program", "in the socket"])
@pytest.mark.parametrize("unasked", [*UNASKED.values(), b""], ids=[*UNASKED, "the end"])
def test_what_comes_while_a_connection_is_idle_is_no_ones(unasked: bytes, delivered: bool) -> None:
    asked_on: list[int] = []
    go, said = threading.Event(), threading.Event()

    def script(conversation: Conversation) -> None:
        asked_on.append(int(conversation.next_id()))
        conversation.say(answer(link_of(str(asked_on[-1]))))
        if conversation.number == 1:
            go.wait(5)
            try:
                if unasked:
                    conversation.connection.settimeout(0.2)
                    conversation.say(unasked)
                else:
                    conversation.connection.shutdown(1)
            finally:
                said.set()
        while True:
            asked_on.append(int(conversation.next_id()))
            conversation.say(answer(link_of(str(asked_on[-1]))))

    def idle() -> Any:
        go.set()
        if delivered:
            return asyncio.to_thread(said.wait, 5)  # the event loop goes on, and reads what comes
        assert said.wait(5)  # nothing in this program moves, so it stays in the socket
        return None

    with talking(script) as server:
        assert ask(server.url, "1", "2", between=idle) == own_links("1", "2")

    assert asked_on == [1, 2], "each was sent once"
    assert len(server.conversations) == 2


def test_an_answer_before_its_request_is_no_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    heard: list[str] = []
    connect = WatchedConnector.connect

    async def connect_and_wait(self: WatchedConnector, *arguments: Any, **options: Any) -> Any:
        connection = await connect(self, *arguments, **options)
        assert said.wait(5)
        return connection

    def script(conversation: Conversation) -> None:
        if conversation.number == 1:
            conversation.say(answer(link_of("9")))
        said.set()
        heard.append(conversation.next_id())
        conversation.say(answer(link_of(heard[-1])))
        conversation.answer_honestly()

    monkeypatch.setattr(WatchedConnector, "connect", connect_and_wait)
    with talking(script) as server:
        assert ask(server.url, "1", "2") == own_links("1", "2")

    assert heard == ["1"], "nothing was sent on the first connection"


def test_a_server_that_always_speaks_first_is_a_failure() -> None:
    def script(conversation: Conversation) -> None:
        conversation.say(b"220 mail.example.invalid ESMTP\r\n")
        conversation.next_id()

    with talking(script) as server:
        [found] = ask(server.url, "1")

    assert isinstance(found, Failed)


def test_an_answer_that_comes_again_after_the_next_request_is_noticed() -> None:
    def script(conversation: Conversation) -> None:
        first = answer(link_of(conversation.next_id()))
        conversation.say(first)
        second = conversation.next_id()
        conversation.say(first)
        conversation.say(answer(link_of(second)))
        conversation.answer_honestly()

    with talking(script) as server:
        found = ask(server.url, "1", "2", "2", "3")

    assert found[:1] == own_links("1")
    assert found[1:2] == [Repeated(link_of("1"))]
    assert found[2:] == [Issued(link_of("2")), Repeated(link_of("2"))]


@pytest.mark.parametrize("after_ms", [0, 5])
def test_repeated_answers_put_nobody_in_anothers_row(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, after_ms: int
) -> None:
    healthex = start_healthex(repeat_share=0.3, repeat_after_ms=after_ms, jitter_ms=4, seed=5)
    (tmp_path / "patients.csv").write_text("MRN\n" + "".join(f"{100_001 + n}\n" for n in range(80)), encoding="utf-8")

    ended = command("run", tmp_path / "patients.csv", "--concurrency", "8")

    assert ended.code in (0, 3), ended.err
    for row in results.links(tmp_path / "patients.links.xlsx"):
        assert f"xid={row['MRN']}." in row["link"]
    assert healthex.link_calls >= 80


@pytest.mark.parametrize("after_s", [0.0, 0.002])
def test_repeated_answers_whose_links_name_nobody_put_nobody_in_anothers_row(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_s: float
) -> None:
    made_for: dict[str, str] = {}
    asked = itertools.count()

    def script(conversation: Conversation) -> None:
        while True:
            external_id = conversation.next_id()
            number = next(asked)
            link = f"{LINK_PAGE}?xid=q{number}Zq.signature"
            made_for[link] = external_id
            conversation.say(answer(link))
            if number % 3 == 0:  # again, before the next request or after it
                time.sleep(after_s)
                conversation.say(answer(link))

    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    (tmp_path / "patients.csv").write_text("MRN\n" + "".join(f"{100_001 + n}\n" for n in range(80)), encoding="utf-8")
    with talking(script) as server:
        monkeypatch.setenv("HEALTHEX_API_URL", server.url)
        ended = command("run", tmp_path / "patients.csv", "--concurrency", "8")

    assert ended.code in (0, 3), ended.err
    rows = results.links(tmp_path / "patients.links.xlsx")
    assert len(rows) > 60
    for row in rows:
        assert made_for[row["link"]] == row["MRN"]


# --- harmless: kept so --------------------------------------------------------------------------------------------


def test_a_late_answer_to_a_call_whose_time_ran_out_reaches_nobody() -> None:
    late = threading.Event()

    def script(conversation: Conversation) -> None:
        external_id = conversation.next_id()
        if conversation.number == 1:
            late.wait(5)
        conversation.say(answer(link_of(external_id)))
        conversation.answer_honestly()

    def between() -> None:
        late.set()

    with talking(script) as server:
        found = ask(server.url, "1", "2", "3", between=between, timeout_s=0.5)

    assert isinstance(found[0], Failed)
    assert found[1:] == own_links("2", "3")


ODD = {
    "a length too short": answer(link_of("1"), "Content-Length: 20"),
    "a length too long": answer(link_of("1"), f"Content-Length: {len(link_of('1')) + 20}"),
    "two lengths": answer(link_of("1"), "Content-Length: 20", "Content-Length: 30"),
    "chunks and a length": answer(link_of("1"), "Transfer-Encoding: chunked", "Content-Length: 20"),
    "chunks, then something": in_chunks(link_of("1")) + b"HTTP/1.1 200 OK\r\nX: ",
    "a wrong chunk": in_chunks(link_of("1")).replace(b"\r\n0\r\n", b"\r\nZZ\r\n"),
    "103 first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(link_of("1")),
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(link_of("1")),
    "204 with a body": b"HTTP/1.1 204 No Content\r\n\r\n" + link_of("9").encode(),
    "204 with an answer": b"HTTP/1.1 204 No Content\r\n\r\n" + answer(link_of("9")),
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\n\r\n" + link_of("9").encode(),
    "no length": b"HTTP/1.0 200 OK\r\n\r\n" + link_of("1").encode(),
    "cut short": answer(link_of("1"))[:-5],
    "line feeds only": answer(link_of("1")).replace(b"\r\n", b"\n"),
    "nothing": b"",
}


@pytest.mark.parametrize("ends", [True, False], ids=["closed", "kept"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_answer_that_is_no_whole_one_harms_nobody_after_it(odd: bytes, ends: bool) -> None:
    def script(conversation: Conversation) -> None:
        external_id = conversation.next_id()
        conversation.say(odd if external_id == "1" else answer(link_of(external_id)))
        if external_id == "1" and ends:
            return
        conversation.answer_honestly()

    with talking(script) as server:
        found = ask(server.url, "1", "2", "3", timeout_s=0.5)

    assert found[0] == Issued(link_of("1")) or not isinstance(found[0], Issued)
    assert found[1:] == own_links("2", "3")


def test_answers_on_each_others_connection_put_nobody_in_anothers_row(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[tuple[Conversation, str]] = []
    lock = threading.Lock()

    def script(conversation: Conversation) -> None:
        while True:
            external_id = conversation.next_id()
            with lock:
                waiting.append((conversation, external_id))
                if len(waiting) == 2 and conversation.number < 8:
                    (one, one_id), (two, two_id) = waiting
                    waiting.clear()
                    one.say(answer(link_of(two_id)))
                    two.say(answer(link_of(one_id)))
                elif conversation.number == 1 or conversation.number >= 8:
                    waiting.clear()
                    conversation.say(answer(link_of(external_id)))

    monkeypatch.setenv("HEALTHEX_TOKEN", healthex.issue_token())
    (tmp_path / "patients.csv").write_text("MRN\n" + "".join(f"{100_001 + n}\n" for n in range(12)), encoding="utf-8")
    with talking(script) as server:
        monkeypatch.setenv("HEALTHEX_API_URL", server.url)
        command("run", tmp_path / "patients.csv", "--concurrency", "4", "--timeout", "0.5", "--patience", "3")

    for row in results.links(tmp_path / "patients.links.xlsx"):
        assert f"xid={row['MRN']}." in row["link"]


# --- given up on purpose, and when aiohttp changes ----------------------------------------------------------------


def test_connections_that_are_distrusted_are_closed_and_not_used_again() -> None:
    closed = threading.Event()

    def script(conversation: Conversation) -> None:
        try:
            conversation.answer_honestly()
        finally:
            closed.set()

    async def scene(url: str) -> list[Answer]:
        async with HealthExApi(Endpoint(url, "app.healthex.invalid", PROJECT), timeout_s=5) as api:
            api.distrust_connections()  # there is none yet
            first = await api.ask_link("1", "token")
            api.distrust_connections()
            assert await asyncio.to_thread(closed.wait, 5)
            under_way = asyncio.create_task(api.ask_link("2", "token"))
            await asyncio.sleep(0)
            api.distrust_connections()
            return [first, await under_way, await api.ask_link("3", "token")]

    with talking(script) as server:
        assert asyncio.run(scene(server.url)) == own_links("1", "2", "3")

    assert len(server.conversations) >= 2


def test_connections_that_cannot_be_watched_are_not_used_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwatched(_self: WatchedConnector) -> ResponseHandler:
        return ResponseHandler(asyncio.get_running_loop())

    monkeypatch.setattr(WatchedConnector, "_new_protocol", unwatched)
    with talking(Conversation.answer_honestly) as server, pytest.raises(RuntimeError, match="aiohttp"):
        ask(server.url, "1")


@pytest.mark.parametrize("renamed", ["data_received", "should_close"])
def test_a_later_aiohttp_that_calls_these_no_more_gets_new_connections(
    monkeypatch: pytest.MonkeyPatch, renamed: str
) -> None:
    monkeypatch.delattr(WatchedProtocol, renamed)

    def script(conversation: Conversation) -> None:
        conversation.say(answer(link_of(conversation.next_id())) + answer(link_of("9")))
        conversation.answer_honestly()

    with talking(script) as server:
        assert ask(server.url, "1", "2") == own_links("1", "2")


# --- one answer, and nothing else ---------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=40), st.booleans())
def test_an_answer_is_one_from_its_first_byte_to_its_last(body: bytes, more: bytes, chunked: bool) -> None:
    chunks = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    whole = answer(body) if not chunked else b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n" + chunks

    assert is_one_answer(whole)
    assert not any(is_one_answer(whole[:end]) for end in range(len(whole)))
    assert not is_one_answer(whole + more)


# --- answers that name nobody -------------------------------------------------------------------------------------

EMPTY = answer("[]", "Content-Type: application/json", status="HTTP/1.1 200 OK")
CONSENT = (
    '[{"healthcareOrganizationId":"o","patientId":"p-%s","consents":[{"consentType":"FUTURE_DATA_USE","studyId":"",'
    '"hasPatientConsented":true,"consentRecordId":"1","expirationTimestamp":null}]}]'
)


def consents_of(external_id: str) -> bytes:
    return answer(CONSENT % external_id, "Content-Type: application/json", status="HTTP/1.1 200 OK")


def ask_consents(url: str, *ids: str) -> list[str]:
    """Whose consents came for each of these IDs, asked for all at once; "" for nobody's."""

    async def scene() -> list[Answer]:
        endpoint = Endpoint(url, "app.healthex.invalid", PROJECT)
        async with HealthExApi(endpoint, timeout_s=5, keep_connections=False) as api:
            return await asyncio.gather(*(api.ask_consents(one, "token", ["FUTURE_DATA_USE"]) for one in ids))

    return [
        "".join(patient.patient_id for patient in found.patients)
        if isinstance(found, ConsentsShown)
        else type(found).__name__
        for found in asyncio.run(scene())
    ]


def test_each_question_about_consents_has_a_connection_of_its_own() -> None:
    def script(conversation: Conversation) -> None:
        conversation.say(consents_of(conversation.next_id()))
        with pytest.raises(ConnectionError):
            conversation.next_id()

    with talking(script) as server:
        assert ask_consents(server.url, *"123456") == [f"p-{one}" for one in "123456"]

    assert len(server.conversations) == 6


def test_answers_that_come_late_or_out_of_order_stay_with_their_questions() -> None:
    def script(conversation: Conversation) -> None:
        external_id = conversation.next_id()
        time.sleep(0.05 * (6 - int(external_id)))  # the last that was asked is answered first
        conversation.say(consents_of(external_id))
        time.sleep(0.05)
        conversation.say(consents_of("99"))  # and again, to nobody

    with talking(script) as server:
        assert ask_consents(server.url, *"12345") == [f"p-{one}" for one in "12345"]


@pytest.mark.parametrize("more", [EMPTY, consents_of("9"), b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_after_which_more_came_is_not_believed(more: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.say((consents_of if conversation.next_id() == "1" else lambda _: EMPTY)("1") + more)

    with talking(script) as server:
        assert ask_consents(server.url, "1", "2") == ["BadAnswer", "BadAnswer"]


def test_a_connection_that_is_kept_is_never_asked_about_consents() -> None:
    async def scene() -> None:
        async with HealthExApi(Endpoint("http://127.0.0.1:9", "h", PROJECT), timeout_s=1) as api:
            await api.ask_consents("1", "token", ["FUTURE_DATA_USE"])

    with pytest.raises(ValueError, match="connection of its own"):
        asyncio.run(scene())
