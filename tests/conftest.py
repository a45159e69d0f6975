"""What every test of the command has at hand: the command itself, a HealthEx that obeys, and a private home."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchlinks.cli.main import main
from batchlinks.simulator import RunningSimulator, Simulator, SimulatorOptions

pytest_plugins = ["means", "elsewhere", "lying_server", "warm_reading"]

PROJECT = "demo-project"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a person sees of a command that has ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.strip().splitlines()[-1] if self.out.strip() else ""


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or touches this user's ledger, settings, keyring, proxy or secrets."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BATCHLINKS_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("API_KEY", "API_SECRET", "TOKEN", "API_URL", "LINK_HOST", "PROJECT_ID"):
        monkeypatch.delenv(f"HEALTHEX_{name}", raising=False)
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `batchlinks` with these arguments, in this process but through its front door."""

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def start_healthex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunningSimulator]]:
    """Starts a HealthEx that misbehaves as told, and points the command at it."""
    with ExitStack() as stack:

        def start(**options: object) -> RunningSimulator:
            chosen = SimulatorOptions(**options)  # type: ignore[arg-type]
            server = stack.enter_context(Simulator(chosen).running())
            monkeypatch.setenv("HEALTHEX_API_URL", server.url)
            monkeypatch.setenv("HEALTHEX_LINK_HOST", chosen.link_host)
            monkeypatch.setenv("HEALTHEX_API_KEY", chosen.api_key)
            monkeypatch.setenv("HEALTHEX_API_SECRET", chosen.api_secret)
            monkeypatch.setenv("HEALTHEX_PROJECT_ID", PROJECT)
            return server

        yield start


@pytest.fixture
def healthex(start_healthex: Callable[..., RunningSimulator]) -> RunningSimulator:
    """A HealthEx that does what its documentation says."""
    return start_healthex()
