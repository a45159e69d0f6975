"""A real Dask cluster for tests: scheduler and workers are processes of their own, with certificates, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed.security import Security

DEADLINE_S = 40.0


def certificates(folder: Path) -> dict[str, str]:
    """Throw-away ones, as Dask's own settings name them: environment variables of the command and of every process."""
    made = Security.temporary()
    paths = {}
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        paths[name] = folder / f"{name}.pem"
        paths[name].write_text(getattr(made, name), encoding="ascii")
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    named = {f"{prefix}CA_FILE": str(paths["tls_ca_file"])}
    for role in ("CLIENT", "SCHEDULER", "WORKER"):
        named[f"{prefix}{role}__CERT"] = str(paths["tls_client_cert"])
        named[f"{prefix}{role}__KEY"] = str(paths["tls_client_key"])
    return named


class Process:
    """A scheduler or a worker. What it says, down to its smallest messages, goes to a file."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=os.environ | {"DASK_LOGGING__DISTRIBUTED": "debug"} | environment,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words: str) -> None:
        """Until it has said so."""
        wait_until(lambda: words in self.said, self)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()


class Cluster:
    """A scheduler, and workers that come and go."""

    def __init__(self, folder: Path, environment: dict[str, str], *, scheme: str = "tls") -> None:
        self.folder = folder
        self._environment = environment
        self.workers: list[Process] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
        self.scheduler = Process(
            ["dask_scheduler", "--host", self.address, "--no-dashboard"], folder / "scheduler.log", environment
        )

    def start(self, count: int = 1, **environment: str) -> list[Process]:
        """So many workers more, once the scheduler knows them."""
        first = len(self.workers)
        started = [
            Process(
                ["dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                 "--local-directory", str(self.folder / f"worker-{number}")],
                self.folder / f"worker-{number}.log",
                self._environment | environment,
            )
            for number in range(first, first + count)
        ]  # fmt: skip
        self.workers += started
        for worker in started:
            worker.wait_for("Registered to:")
        return started

    def logs(self) -> str:
        """What all of its processes have said."""
        return "\n".join(process.said for process in (self.scheduler, *self.workers))


def wait_until(true: Callable[[], bool], alive: "Process | None" = None) -> None:
    """Wait for something that is going to happen; not longer than anybody would."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert alive is None or alive.process.poll() is None, alive.said
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def cluster_in(folder: Path, environment: dict[str, str], *, scheme: str = "tls") -> Iterator[Cluster]:
    """A cluster for as long as the block runs."""
    cluster = Cluster(folder, environment, scheme=scheme)
    try:
        yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            process.send(signal.SIGCONT)
            process.kill()
