"""A HealthEx that answers whatever a test wants, and remembers for whom it made each link: which only it can know."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from batchlinks.ledger.schema import link_check_value

HOST = "app.healthex.invalid"


def link_to(name: str, signature: str = "c2ln") -> str:
    return f"https://{HOST}/#/patient-consent/p/enrollment/link?xid={name}.{signature}"


@dataclass(frozen=True, slots=True)
class Lie:
    """The link that was made for `for_id`, and says so in its own way; None: it names nobody."""

    for_id: str
    says: str | None
    lasting: bool


@dataclass(slots=True)
class LyingServer:
    """Honest, but for what it is told."""

    ledger: Path
    url: str = ""
    names: bool = True
    """Whether its honest links name their patients."""

    same_for_all: bool = False
    """Whether everybody gets one link, which names nobody and was made for nobody."""

    answers: dict[str, Lie] = field(default_factory=dict)
    made_for: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def always(self, external_id: str, *, for_id: str, says: str | None) -> None:
        self.answers[external_id] = Lie(for_id, says, lasting=True)

    def once(self, external_id: str, *, for_id: str, says: str | None) -> None:
        self.answers[external_id] = Lie(for_id, says, lasting=False)

    def make(self, for_id: str, *, says: str | None) -> str:
        """A link that was made for this ID; another at every call."""
        number = f"{len(self.made_for):06x}"
        link = link_to(f"q{number}Zq" if says is None else says, signature=f"s{number}")
        self.made_for[link] = for_id
        return link

    def put_into_ledger(self, external_id: str, link: str) -> None:
        """As an earlier version might have."""
        with closing(sqlite3.connect(self.ledger)) as ledger, ledger:
            query = "SELECT project, issued_at FROM link WHERE external_id = ?"
            ((project, issued_at),) = ledger.execute(query, (external_id,)).fetchall()
            ledger.execute(
                "UPDATE link SET link = ?, check_value = ? WHERE external_id = ?",
                (link, link_check_value(project, external_id, link, issued_at), external_id),
            )

    def forget_naming(self) -> None:
        """As a ledger that was just brought up to date."""
        with closing(sqlite3.connect(self.ledger)) as ledger, ledger:
            ledger.execute("DELETE FROM naming")

    async def answer(self, request: web.Request) -> web.Response:
        external_id = (await request.json())["externalId"]
        self.asked.append(external_id)
        if self.same_for_all:
            return web.Response(status=201, text=link_to("q1Zq"), content_type="text/html")
        lie = self.answers.get(external_id)
        if lie is None:
            link = self.make(external_id, says=external_id if self.names else None)
        else:
            link = self.make(lie.for_id, says=lie.says)
            if not lie.lasting:
                del self.answers[external_id]
        return web.Response(status=201, text=link, content_type="text/html")


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch, private_home: Path) -> Iterator[LyingServer]:
    """The liar, on a socket, with the command pointed at it."""
    server = LyingServer(private_home / "data" / "ledger.sqlite3")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_post("/v1/projects/{project}/link", server.answer)
        application.router.add_post("/v1/auth/token", _token)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = "http://{}:{}".format(*runner.addresses[0][:2])
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    monkeypatch.setenv("HEALTHEX_API_URL", server.url)
    monkeypatch.setenv("HEALTHEX_LINK_HOST", HOST)
    monkeypatch.setenv("HEALTHEX_API_KEY", "key")
    monkeypatch.setenv("HEALTHEX_API_SECRET", "secret")
    monkeypatch.setenv("HEALTHEX_PROJECT_ID", "demo-project")
    yield server
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _token(_request: web.Request) -> web.Response:
    return web.json_response({"token": "t"})
