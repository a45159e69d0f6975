"""The upload page as a process of its own, and a browser-like client for it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from batchlinks.simulator import RunningSimulator

TOKEN = "a-token-that-tests-have-chosen-0001"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Page:
    """A running server."""

    url: str
    process: "subprocess.Popen[str]"
    data: Path
    client: httpx.Client
    """Signed in with the token."""

    def upload(self, content: bytes | Path, name: str | None = None, **options: str) -> httpx.Response:
        """The answer to an uploaded list."""
        given = content.read_bytes() if isinstance(content, Path) else content
        shown = name or (content.name if isinstance(content, Path) else "patients.csv")
        return self.client.post("/api/runs", files={"roster": (shown, given)}, data=options)

    def uploaded(self, content: bytes | Path, name: str | None = None, **options: str) -> str:
        """The ID of an uploaded list."""
        answer = self.upload(content, name, **options)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/runs/{run_id}")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def start(self, run_id: str) -> None:
        assert self.client.post(f"/api/runs/{run_id}/start").status_code == 202

    def wait(self, run_id: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """The run once it has ended, or once it is as wanted."""
        wanted = until or (lambda run: run["state"] in ("done", "stopped"))
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(found := self.run(run_id)):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def finished(self, content: bytes | Path, name: str | None = None, **options: str) -> dict[str, Any]:
        """Upload, start, wait for the end."""
        run_id = self.uploaded(content, name, **options)
        self.start(run_id)
        return self.wait(run_id)

    def download(self, run_id: str, kind: str, to: Path) -> Path:
        """A file of results, kept under the name that it comes with."""
        answer = self.client.get(f"/api/runs/{run_id}/{kind}")
        assert answer.status_code == 200, answer.text
        name = re.search(r'filename="([^"]+)"', answer.headers["content-disposition"])
        assert name
        path = to / name[1]
        path.write_bytes(answer.content)
        return path

    def kill(self) -> None:
        """As `kill -9`: the server alone, not its workers."""
        self.process.kill()
        self.process.wait()

    def end(self) -> tuple[int, str, str]:
        """As Ctrl-C. Exit code, what stood on standard output after the address, and on standard error."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


def environment(data: Path, healthex: RunningSimulator | None = None, **more: str) -> dict[str, str]:
    """For a server that knows this HealthEx and this token, and nothing of the machine it is on."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG", "PYTHONPATH") if name in os.environ}
    own = {
        "BATCHLINKS_DATA_DIR": str(data),
        "BATCHLINKS_WEB_TOKEN": TOKEN,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "HOME": str(data),
    }
    if healthex is not None:
        own |= {
            "HEALTHEX_API_URL": healthex.url,
            "HEALTHEX_LINK_HOST": healthex.options.link_host,
            "HEALTHEX_API_KEY": healthex.options.api_key,
            "HEALTHEX_API_SECRET": healthex.options.api_secret,
            "HEALTHEX_PROJECT_ID": "demo-project",
        }
    return {name: value for name, value in (kept | own | more).items() if value}


@contextmanager
def served(
    data: Path,
    *options: str,
    env: Mapping[str, str],
    scheme: str = "http",
    program: Sequence[str] = ("-m", "batchlinks"),
) -> Iterator[Page]:
    """The server, for as long as the block runs; also when it has been killed and started again."""
    data.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, *program, "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(env),
        cwd=data,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"https?://[^/\s]+:(\d+)/", said)
        assert found, said or process.communicate()[1]
        url = f"{scheme}://127.0.0.1:{found[1]}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            yield Page(url, process, data, client)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE_S)


def csv_of(count: int, first: int = 100_001) -> bytes:
    """A list of so many patients."""
    rows = "".join(f"{first + n},Pat {n},1980-01-01\n" for n in range(count))
    return f"MRN,Name,Date of Birth\n{rows}".encode()
