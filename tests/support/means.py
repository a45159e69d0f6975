"""Tests that need a program which not every machine has: left out and named at the end, or failed where all must run.

`@pytest.mark.needs("soffice")` on a test says that it calls this program. With BATCHLINKS_TESTS_COMPLETE set, as on the build
server, a missing program fails the test instead.
"""

import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

COMPLETE = bool(os.environ.get("BATCHLINKS_TESTS_COMPLETE"))
WHAT_FOR = {
    "soffice": "LibreOffice opens what was written, and writes what is read (Debian: libreoffice-calc-nogui)",
    "soffice with Writer and Base": "LibreOffice merges letters (Debian: libreoffice-writer-nogui, libreoffice-base-nogui)",
    "pdftoppm": "what LibreOffice printed is looked at (Debian: poppler-utils)",
    "sshd": "OpenSSH's server takes rosters and results by SFTP (Debian: openssh-server)",
    "systemd-analyze": "systemd verifies the sample units (Debian: systemd)",
    "chromium": "Chromium uses the upload page (Debian: chromium)",
    "promtool": "Prometheus reads the metrics and the alert rules (Debian: prometheus)",
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"  # servers stand where users do not look
_OFFICE_PARTS = {"soffice with Writer and Base": ("libswlo.so", "libdbaxmllo.so")}
"""Libraries beside the program, where only some of its parts are installed."""

_left_out: dict[str, list[str]] = defaultdict(list)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program): calls a program that not every machine has")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since nearly half of the time is spent waiting for servers and other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        program = marker.args[0]
        if _is_here(program):
            continue
        if COMPLETE:
            pytest.fail(f"{program} is not on this machine, and no test may be left out here")
        _left_out[program].append(item.nodeid)
        pytest.skip(f"no {program}")


def _is_here(program: str) -> bool:
    found = shutil.which(program.split()[0], path=_PATH)
    return found is not None and all(
        (Path(found).resolve().parent / library).exists() for library in _OFFICE_PARTS.get(program, ())
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many kilobytes; called again, it has another size, with all that is on it. Only root can make one."""
    disk = tmp_path / "disk"
    mounted = False

    def of_size(kilobytes: int) -> Path:
        nonlocal mounted
        disk.mkdir(exist_ok=True)
        options = f"{'remount,' if mounted else ''}size={kilobytes}k,mode=700"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False)
        if made.returncode and not COMPLETE:
            pytest.skip("no small disk can be made here")
        assert made.returncode == 0, made.stderr
        mounted = True
        return disk

    yield of_size
    if mounted:
        subprocess.run(["umount", "--lazy", disk], check=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for program, tests in _left_out.items():
        terminalreporter.write_line(f"Left out: {len(tests)} tests without {program}. {WHAT_FOR[program]}", yellow=True)
