"""Nothing of a patient, no link, no token and no secret where it does not belong, however badly a run goes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sized
from pathlib import Path

import pytest
from conftest import Ended

from batchlinks.config.secrets import Credentials
from batchlinks.healthex import api, request_pool, whose_link
from batchlinks.healthex.concurrency_limiter import FailureCount
from batchlinks.healthex.outcomes import Linked, NotLinked
from batchlinks.healthex.tokens import Token
from batchlinks.row_codes import ErrorCode
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]

IDS = [f"ZQX{number:05}" for number in range(1, 41)]
NAME = "Wolpertinger"
KEY, SECRET = "key-7f3e-visible", "secret-9b1c-visible"
LINKS = ("app.healthex.invalid/#", "xid=")
TOKENS = ("eyJ", "Bearer")
FORBIDDEN = ("ZQX", NAME, KEY, SECRET, "TOKEN-FROM-ELSEWHERE", *LINKS, *TOKENS)


def roster_of(folder: Path) -> Path:
    path = folder / "patients.csv"
    path.write_text("MRN,Last name\n" + "".join(f"{each},{NAME} {each}\n" for each in IDS), encoding="utf-8")
    return path


def assert_clean(where: str, text: str) -> None:
    for secret in FORBIDDEN:
        # The text itself would be a leak of its own in a build log.
        assert secret not in text, f"{where} holds {secret}"


@pytest.fixture
def misbehaving(start_healthex: StartHealthEx) -> RunningSimulator:
    """Every kind of trouble within forty calls."""
    return start_healthex(
        api_key=KEY,
        api_secret=SECRET,
        seed=2,
        server_error_share=0.1,
        drop_share=0.1,
        truncate_share=0.1,
        html_share=0.1,
        foreign_host_share=0.1,
        other_patient_share=0.1,
        unnamed_share=0.05,
        redirect_share=0.05,
        reject_pattern="ZQX000[12]5",
        token_dies_after_calls=25,
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_run_with_every_kind_of_trouble_says_nothing_that_it_should_not(
    command: Command,
    misbehaving: RunningSimulator,
    tmp_path: Path,
    private_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_format: str,
) -> None:
    temporary = private_home / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HEALTHEX_TOKEN", misbehaving.issue_token(lifetime_s=-5))

    ended = command("run", roster_of(tmp_path), "--verbose", "--log-format", log_format, "--max-attempts", "2")

    assert ended.code == 3
    assert_clean("standard error", ended.err)
    assert_clean("standard output", ended.out)
    assert_clean("the summary", (tmp_path / "patients.summary.json").read_text(encoding="utf-8"))
    assert_clean("the audit log", (private_home / "data" / "audit.jsonl").read_text(encoding="utf-8"))
    assert list(temporary.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {
        "patients.csv",
        "patients.links.xlsx",
        "patients.errors.xlsx",
        "patients.summary.json",
    }
    if log_format == "json":
        for line in ended.err.splitlines():
            assert {"time", "level", "message"} <= json.loads(line).keys()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"every_status": 403}, 4),
        ({"token_status": 401}, 4),
        ({"token_dies_after_calls": 0}, 4),
        ({"die_after": 10, "die_by": "refuse"}, 5),
        ({"die_after": 10, "die_by": "error"}, 5),
        ({"die_after": 10, "die_by": "hang"}, 5),
        ({"proxy_auth_share": 1.0}, 5),
        ({"rate": 0.001, "burst": 3, "retry_after_s": 4000}, 5),
    ],
    ids=str,
)
def test_a_run_that_is_stopped_says_nothing_that_it_should_not(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path, options: dict[str, object], code: int
) -> None:
    start_healthex(api_key=KEY, api_secret=SECRET, **options)

    ended = command("run", roster_of(tmp_path), "--verbose", "--patience", "0.4", "--timeout", "0.3")

    assert ended.code == code
    assert_clean("standard error", ended.err)
    assert_clean("standard output", ended.out)


def break_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask_link(_self: object, external_id: str, token: str) -> None:
        raise ValueError(f"{external_id} with {token}")

    monkeypatch.setattr(api.HealthExApi, "ask_link", ask_link)


def break_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_plainly_named(external_ids: Sized, texts: object, _host: str) -> Iterable[None]:
        if len(external_ids):
            raise KeyError(f"{external_ids} {texts}")
        return ()

    monkeypatch.setattr(whose_link, "_not_plainly_named", not_plainly_named)


def break_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(_self: object, external_id: str) -> None:
        raise RuntimeError(external_id)

    monkeypatch.setattr(request_pool._Requests, "_request_one", settle)


@pytest.mark.parametrize("break_it", [break_call, break_judging, break_recording])
def test_a_defect_shows_its_place_and_not_its_values_and_what_was_answered_is_kept(
    command: Command,
    start_healthex: StartHealthEx,
    tmp_path: Path,
    break_it: Callable[[pytest.MonkeyPatch], None],
) -> None:
    healthex = start_healthex(api_key=KEY, api_secret=SECRET)

    with pytest.MonkeyPatch.context() as broken:
        break_it(broken)
        ended = command("run", roster_of(tmp_path), "--verbose")

    assert ended.code == 1
    assert "defect" in ended.err
    assert ".py, line " in ended.err
    assert_clean("standard error", ended.err)
    assert_clean("standard output", ended.out)

    answered = dict(healthex.links)
    assert command("run", roster_of(tmp_path)).code == 0
    assert all(healthex.requests_for(external_id) == 1 for external_id in answered)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc on this system")
def test_no_process_shows_anything_in_its_arguments(start_healthex: StartHealthEx, tmp_path: Path) -> None:
    healthex = start_healthex(api_key=KEY, api_secret=SECRET, latency_ms=20)
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlinks", "run", str(roster_of(tmp_path)), "--verbose", "--rate", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = set()
    while process.poll() is None:
        seen |= set(arguments_of(family_of(process.pid)))
        time.sleep(0.005)
    out, err = process.communicate()

    assert process.returncode == 0, err
    assert healthex.link_calls == len(IDS)
    assert seen
    for where, text in (("an argument", "\n".join(seen)), ("standard error", err), ("standard output", out)):
        assert_clean(where, text)


def family_of(pid: int) -> Iterable[int]:
    """A process and those that it started, as far as they are still there."""
    yield pid
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield from family_of(int(entry.name))
        except OSError:
            continue


def arguments_of(pids: Iterable[int]) -> Iterable[str]:
    for pid in pids:
        try:
            yield Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue


def test_values_that_are_held_in_memory_do_not_print() -> None:
    held = [
        Credentials(KEY, SECRET, "TOKEN-FROM-ELSEWHERE"),
        Token("TOKEN-FROM-ELSEWHERE", fresh=True),
        Linked(IDS[0], "https://app.healthex.invalid/#/x?xid=1.s"),
        NotLinked(IDS[0], ErrorCode.GAVE_UP, {}),
        FailureCount(IDS[0]),
        api.Issued("https://app.healthex.invalid/#/x?xid=1.s"),
    ]

    for value in held:
        assert_clean(type(value).__name__, f"{value} {value!r}")


def test_the_environment_of_the_tests_holds_no_real_secret() -> None:
    assert not any(name.startswith("HEALTHEX_") for name in os.environ)
