"""`batchlinks serve`: everything put together, until it is told to stop."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import uvicorn
from fastapi import FastAPI
from starlette.types import Scope

from batchlinks.config.paths import data_folder
from batchlinks.config.secrets import read_secret
from batchlinks.config.settings import Config, RunSettings, ServeSettings
from batchlinks.errors import SettingsError
from batchlinks.logs import logger
from batchlinks.storage.private_files import make_folder
from batchlinks.version import __version__
from batchlinks.web import endpoints, pages, patient_calls
from batchlinks.web.access import AccessPolicy, Guard, own_names
from batchlinks.web.connection_limits import Connections, most_connections
from batchlinks.web.known_patients import KnownPatients
from batchlinks.web.refusals import explain, refusal
from batchlinks.web.runs import Runs, UploadRules
from batchlinks.web.serve_options import networks, origin_of, shows_patients, tls

TOKEN_VARIABLE = "BATCHLINKS_WEB_TOKEN"  # noqa: S105 the name of it

_MEGABYTE = 1_000_000
_SHORT_TOKEN = 16
_FORM_AROUND_A_FILE = 200_000
_LARGEST_JSON = 1_000_000
_LAST_ANSWERS_S = 3


def application(runs: Runs, patients: KnownPatients | None, closing: Callable[[], bool]) -> FastAPI:
    """The page and its API, not yet behind their guard. `closing`: whether streams are to end.

    `patients`: None where nobody may look them up.
    """
    app = FastAPI(
        title="batchlinks",
        version=__version__,
        summary="From a patient list to a workbook with every patient's own HealthEx link.",
        docs_url=None,  # theirs comes from elsewhere; ours is a page of this package
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # nobody is told
    )
    app.state.runs, app.state.patients, app.state.closing = runs, patients, closing
    app.include_router(endpoints.router)
    app.include_router(endpoints.templates_router)
    app.include_router(patient_calls.router)
    app.include_router(pages.router, include_in_schema=False)
    app.mount("/static", pages.static)
    explain(app)
    return app


def guarded(app: FastAPI, policy: AccessPolicy, max_upload_bytes: int) -> Guard:
    """The whole application."""

    def max_body(scope: Scope) -> int:
        is_upload = scope["method"] == "POST" and scope["path"] == "/api/runs"
        return max_upload_bytes + _FORM_AROUND_A_FILE if is_upload else _LARGEST_JSON

    return Guard(app, policy, max_body, refusal)


def serve_until_interrupted(
    serving: ServeSettings,
    base: RunSettings,
    config: Config,
    *,
    say: Callable[[str], object],
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Serve until Ctrl-C or SIGTERM. `base` and `config`: what IT has set up for all runs.

    Raises SettingsError where the address is taken or the data folder cannot be used.
    """
    folder = data_folder(environment)
    _keep_temporary_files_private(folder)
    max_bytes = serving.max_upload * _MEGABYTE
    runs = Runs(
        UploadRules(base, config, serving.keep_days, serving.runs_at_once, max_bytes, folder, serving.allow_new_ledger)
    )
    patients = KnownPatients(base, config, folder, environment) if shows_patients(serving) else None
    listener = _listener(serving.host, serving.port)
    policy = _access_policy(serving, environment)
    address = _address(serving, listener)

    server = _Server(_uvicorn_config(serving), lambda: say(_greeting(address, policy)))
    server.config.app = guarded(application(runs, patients, lambda: server.should_exit), policy, max_bytes)

    async def serve() -> None:
        async with runs.open():
            await server.serve(sockets=[listener])

    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve())
    except KeyboardInterrupt:  # pressed twice
        pass
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Says when it can be used, and ends in good order: what is at work is told after the last answer."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._say_ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._say_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's own, but without raising them again once the server has ended."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _uvicorn_config(serving: ServeSettings) -> uvicorn.Config:
    for name in ("uvicorn.error", "asyncio"):  # what they say of a broken request could quote it
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    connections = Connections(most_connections())
    config = uvicorn.Config(
        "",
        access_log=False,  # addresses are nobody's business, and the first holds the token
        log_config=None,
        lifespan="off",
        proxy_headers=False,  # who calls is who is connected, whatever a header says
        server_header=False,
        ws="none",
        http=connections.protocol(),
        backlog=connections.most,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    if serving.certfile:
        context = tls(serving.certfile, serving.keyfile)
        config.ssl_certfile = str(serving.certfile)
        config.ssl_context_factory = lambda _config, _default: context
    return config


def _access_policy(serving: ServeSettings, environment: Mapping[str, str]) -> AccessPolicy:
    origin = origin_of(serving.public_url) if serving.public_url else None
    names = own_names(serving.host) | ({str(urlsplit(origin).hostname)} if origin else set())
    return AccessPolicy(
        token=_token(environment) if serving.user_header is None else None,
        user_header=serving.user_header,
        trusted_proxies=networks(serving.trusted_proxy),
        host_names=names,
        public_origin=origin,
        behind_proxy=serving.behind_proxy,
    )


def _token(environment: Mapping[str, str]) -> str:
    fixed = read_secret(TOKEN_VARIABLE, environment, in_keyring=False)
    if fixed and len(fixed) < _SHORT_TOKEN:
        logger().warning(f"{TOKEN_VARIABLE} is short and may be guessed: 32 random characters are a good one.")
    return fixed or secrets.token_urlsafe(32)


def _greeting(address: str, policy: AccessPolicy) -> str:
    """With the token in the address, also where it is fixed: whoever starts the server may read it, and opens the page."""
    shown = policy.public_origin or address
    where = f" It listens on {address}/ behind the proxy." if policy.public_origin else ""
    if policy.token is None:
        return f"The upload page is at {shown}/ for those whom the proxy signs in.{where} Ctrl-C ends it."
    token = quote(policy.token, safe="")
    return f"The upload page is at {shown}/?token={token} (keep this address to yourself).{where} Ctrl-C ends it."


def _listener(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family))
            if sys.platform != "win32":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            stack.pop_all()
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have that name
        why = error.strerror if isinstance(error, OSError) else None
        raise SettingsError(
            f"The page cannot be served on {host}, port {port} ({why or 'in use?'}). Another --port may do."
        ) from error
    return listener


def _address(serving: ServeSettings, listener: socket.socket) -> str:
    host = serving.host if serving.host not in ("", "0.0.0.0", "::") else socket.gethostname()  # noqa: S104 compared
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if serving.certfile else 'http'}://{host}:{listener.getsockname()[1]}"


def _keep_temporary_files_private(folder: Path) -> None:
    """An upload on its way in never rests where others may look. They have no name there and are gone with the process."""
    arriving = folder / "uploads" / "arriving"
    try:
        make_folder(arriving, 0o700)
    except OSError as error:
        raise SettingsError(f"The data folder {folder} cannot be used ({error.strerror}).") from error
    tempfile.tempdir = str(arriving)
