"""Calls made by the workers of a Dask cluster: real schedulers and workers, which are stopped and killed as they come."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
import results
from conftest import Ended
from dask_processes import Cluster, certificates, cluster_in, wait_until
from distributed import Client
from test_leaks import arguments_of, family_of
from test_stopping import running

import batchlinks
from batchlinks.cluster.worker import Caller, Sealed
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
StartHealthEx = Callable[..., RunningSimulator]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither kill -9 nor SIGSTOP")

TROUBLE: dict[str, object] = {
    "seed": 3,
    "fresh_links": False,
    "jitter_ms": 20,
    "server_error_share": 0.02,
    "drop_share": 0.02,
    "truncate_share": 0.01,
    "other_patient_share": 0.03,
    "reject_pattern": r"ZQX000[0-9]7",
    "token_dies_after_calls": 100,
}


def roster_of(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "patients.csv"
    path.write_text("MRN,Name\n" + "".join(f"ZQX{n:05},Pat {n}\n" for n in range(1, count + 1)), encoding="utf-8")
    return path


def given_links(folder: Path) -> dict[str, str]:
    return {row["MRN"]: row["link"] for row in results.links(folder / "patients.links.xlsx")}


def times_asked(healthex: RunningSimulator) -> Counter[str]:
    return Counter(call.external_id for call in healthex.calls if call.external_id)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Certificates, for this process too."""
    named = certificates(tmp_path_factory.mktemp("certificates"))
    with dask.config.set(dask.config.merge(dask.config.config, dask.config.collect_env(env=named))):
        yield named


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Cluster]:
    """Three workers that all tests of this file share; who stops or kills one starts it first."""
    with cluster_in(tmp_path_factory.mktemp("cluster"), environment) as found:
        found.start(3)
        yield found


@contextmanager
def meanwhile(healthex: RunningSimulator, calls: int, act: Callable[[], object]) -> Iterator[None]:
    """Within, `act` is done once HealthEx has been called so often."""

    def wait_and_act() -> None:
        wait_until(lambda: healthex.link_calls >= calls)
        act()

    acting = threading.Thread(target=wait_and_act)
    acting.start()
    yield
    acting.join()


# --- the same as without ----------------------------------------------------------------------------------------


def test_the_files_are_those_of_a_run_without_a_cluster_cell_by_cell(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path
) -> None:
    start_healthex(**TROUBLE)
    assert command("run", roster_of(tmp_path / "alone", 150), "--ledger", tmp_path / "alone.sqlite3").code == 3

    for name, options in (("cluster", ["--cluster", cluster.address]), ("workers", ["--workers", "2"])):
        healthex = start_healthex(**TROUBLE)
        ledger = tmp_path / f"{name}.sqlite3"
        ended = command("run", roster_of(tmp_path / name, 150), "--ledger", ledger, *options)

        assert ended.code == 3, ended.err
        assert "Warning" not in ended.err
        for file, sheets in (("links", ["Links"]), ("errors", ["Errors", "Duplicates"])):
            for sheet in sheets:
                alone, together = (
                    results.sheet(tmp_path / folder / f"patients.{file}.xlsx", sheet) for folder in ("alone", name)
                )
                assert together == alone
        summary = results.summary(tmp_path / name / "patients.summary.json")
        assert set(summary["errors"]) == {"rejected_by_healthex"}  # another patient's link was asked for again
        assert summary["calls"] == healthex.link_calls
        assert healthex.token_calls >= 2


# --- the pace holds for the whole -------------------------------------------------------------------------------


def test_what_the_options_allow_is_shared_by_all_workers(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=60)

    ended = command("run", roster_of(tmp_path, 130), "--cluster", cluster.address, "--concurrency", "7", "--rate", "80")

    assert ended.code == 0, ended.err
    assert healthex.max_in_flight <= 7
    times = sorted(call.time for call in healthex.calls if call.external_id)
    # In any second and in any tenth of one, give or take what a batch is late.
    for seconds in (1.0, 0.1):
        most = max(sum(start <= time < start + seconds for time in times) for start in times)
        assert most <= 80 * seconds + 4


def test_the_pace_that_a_server_allows_is_found_together(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path
) -> None:
    healthex = start_healthex(rate=150, burst=20, retry_after_s=1, latency_ms=10)

    ended = command("run", roster_of(tmp_path, 450), "--cluster", cluster.address)

    assert ended.code == 0, ended.err
    assert healthex.refused <= 0.15 * 450


@pytest.mark.parametrize(
    ("options", "code", "most"),
    [({"every_status": 429}, 5, 10), ({"every_status": 403}, 4, 10), ({"token_dies_after_calls": 0}, 4, 10)],
    ids=["429", "403", "401"],
)
def test_a_run_that_is_refused_from_its_start_makes_no_more_calls_than_without_a_cluster(
    command: Command,
    start_healthex: StartHealthEx,
    cluster: Cluster,
    tmp_path: Path,
    options: dict[str, object],
    code: int,
    most: int,
) -> None:
    healthex = start_healthex(**options)

    ended = command("run", roster_of(tmp_path, 40), "--cluster", cluster.address, "--patience", "3")

    assert ended.code == code
    assert 1 <= healthex.link_calls <= most


def test_all_calls_that_find_the_token_dead_wait_for_one_new_token(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=30, revoke_tokens_at_call=60)

    assert command("run", roster_of(tmp_path, 150), "--cluster", cluster.address).code == 0

    assert healthex.token_calls == 2


# --- what is lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [None, False], ids=["direct", "through the scheduler"])
def test_the_calls_of_a_worker_that_is_killed_are_made_by_the_others(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path, direct: bool | None
) -> None:
    healthex = start_healthex(latency_ms=100)
    (victim,) = cluster.start()

    with dask.config.set({"distributed.client.direct-to-workers": direct}), meanwhile(healthex, 100, victim.kill):
        ended = command("run", roster_of(tmp_path, 300), "--cluster", cluster.address, "--concurrency", "32")

    assert ended.code == 0, ended.err
    assert given_links(tmp_path) == healthex.links
    asked = times_asked(healthex)
    assert len(asked) == 300
    assert 1 <= sum(asked.values()) - 300 <= 32  # a quarter of those under way, most likely
    assert set(asked.values()) == {1, 2}
    # Those that were handed over in its last moment were never made.
    assert results.summary(tmp_path / "patients.summary.json")["calls"] >= healthex.link_calls


def test_a_worker_that_stands_still_holds_up_nobody_for_longer_than_a_call_may_take(
    command: Command, start_healthex: StartHealthEx, cluster: Cluster, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=20)
    (victim,) = cluster.start()

    with meanwhile(healthex, 60, lambda: victim.send(signal.SIGSTOP)):
        ended = command("run", roster_of(tmp_path, 200), "--cluster", cluster.address, "--timeout", "0.5")
    victim.kill()

    assert ended.code == 0, ended.err
    assert given_links(tmp_path) == healthex.links
    assert len(healthex.links) == 200


def test_without_workers_it_waits_as_long_as_patience_and_a_new_worker_goes_on(
    command: Command,
    start_healthex: StartHealthEx,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    healthex = start_healthex(latency_ms=50)
    roster = roster_of(tmp_path / "run", 150)
    with cluster_in(tmp_path, environment) as cluster:
        (only,) = cluster.start()
        options = ("--cluster", cluster.address, "--concurrency", "8")

        with meanwhile(healthex, 50, only.kill):
            ended = command("run", roster, *options, "--patience", "1.5")

        assert ended.code == 5, ended.err
        assert "no worker of the cluster is left" in ended.err
        answered = given_links(tmp_path / "run")
        assert 40 <= len(answered) < 150
        assert answered.items() <= healthex.links.items()
        cluster.start()

        with meanwhile(healthex, healthex.link_calls + 20, cluster.scheduler.kill):
            ended = command("run", roster, *options)

        assert ended.code == 5, ended.err
        assert "scheduler of the Dask cluster is lost" in ended.err
        more = given_links(tmp_path / "run")
        assert answered.items() < more.items() <= healthex.links.items()
        ended = command("run", roster, *options, "--patience", "0.5")
        assert ended.code == 5
        assert "cannot be reached" in ended.err
    assert given_links(tmp_path / "run") == more

    assert command("run", roster).code == 0

    assert max(healthex.requests_for(each) for each in more) <= 2
    assert given_links(tmp_path / "run") == healthex.links


# --- stopping ---------------------------------------------------------------------------------------------------


def worker_of(process: "subprocess.Popen[str]") -> int:
    """The process that makes the calls for a run with `--workers 1`."""
    (worker,) = (
        pid for pid in family_of(process.pid) if any("spawn_main" in arguments for arguments in arguments_of([pid]))
    )
    return worker


def test_a_worker_of_this_computer_is_replaced_when_killed_and_finishes_its_calls_at_ctrl_c(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=150)

    with running(roster_of(tmp_path, 400), "--workers", "1", "--verbose", "--concurrency", "12") as process:
        wait_until(lambda: healthex.link_calls >= 30)
        killed = worker_of(process)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: healthex.link_calls >= 90)
        family = list(family_of(process.pid))
        shown = "\n".join(arguments_of(family))
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Stopped" in out.splitlines()[-1]
    assert given_links(tmp_path) == healthex.links
    asked = times_asked(healthex)
    assert 60 <= len(asked) < 400
    assert sum(asked.values()) - len(asked) <= 12  # those under way when it was killed
    assert killed not in family
    assert "spawn_main" in shown
    assert "ZQX" not in shown
    assert "eyJ" not in shown
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))


def test_workers_of_this_computer_go_when_their_command_is_killed(
    command: Command, start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=50)
    roster = roster_of(tmp_path, 100)

    with running(roster, "--workers", "1", "--concurrency", "8") as process:
        wait_until(lambda: healthex.link_calls >= 40)
        family = list(family_of(process.pid))
        process.kill()
        process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))

    assert command("run", roster).code == 0
    assert sum(times_asked(healthex).values()) - 100 <= 16


def test_an_interruption_while_the_cluster_is_waited_for_ends_at_once(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never answers
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"

        with running(roster_of(tmp_path, 5), "--cluster", address) as process:
            silent.settimeout(30)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=20)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert healthex.link_calls == 0


# --- who may not be used ----------------------------------------------------------------------------------------


def test_a_worker_of_another_version_is_refused_before_any_call(
    command: Command, start_healthex: StartHealthEx, environment: dict[str, str], tmp_path: Path
) -> None:
    healthex = start_healthex()
    other = tmp_path / "other"
    shutil.copytree(
        Path(batchlinks.__file__).parent, other / "batchlinks", ignore=shutil.ignore_patterns("__pycache__")
    )
    module = other / "batchlinks" / "version.py"
    module.write_text(module.read_text(encoding="utf-8").replace(batchlinks.__version__, "0.0.7"), encoding="utf-8")
    with cluster_in(tmp_path, environment) as cluster:
        cluster.start(PYTHONPATH=str(other))
        roster = roster_of(tmp_path / "run", 5)

        ended = command("run", roster, "--cluster", cluster.address)

        assert ended.code == 2
        assert "batchlinks 0.0.7" in ended.err
        assert f"batchlinks {batchlinks.__version__}" in ended.err
        assert healthex.calls == []
        assert [path.name for path in roster.parent.iterdir()] == ["patients.csv"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://scheduler:8786", "in clear"),
        ("tcp://192.0.2.7:8786", "in clear"),
        ("tcp://127.0.0.1.example.org:8786", "in clear"),
        ("ws://127.0.0.1:8786", "address of a Dask scheduler"),
        ("127.0.0.1:8786", "address of a Dask scheduler"),
        ("tls://scheduler", "address of a Dask scheduler"),
        ("tls://scheduler:port", "address of a Dask scheduler"),
        ("tls://name:password@scheduler:8786", "address of a Dask scheduler"),
        ("", "address of a Dask scheduler"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_done(
    command: Command, healthex: RunningSimulator, tmp_path: Path, address: str, said: str
) -> None:
    ended = command("run", roster_of(tmp_path, 1), "--cluster", address)

    assert ended.code == 2
    assert said in ended.err
    assert "password" not in ended.err
    assert healthex.calls == []


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        (None, 2, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        ("missing.pem", 2, "cannot be read"),
        ("other", 5, "cannot be reached"),
    ],
)
def test_without_the_certificates_of_the_cluster_it_makes_no_call(
    command: Command,
    healthex: RunningSimulator,
    cluster: Cluster,
    tmp_path: Path,
    files: str | None,
    code: int,
    said: str,
) -> None:
    paths = dict.fromkeys(("ca-file", "client.cert", "client.key"), files)
    if files == "other":
        made = certificates(tmp_path)
        paths = {
            "ca-file": made["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"],
            "client.cert": made["DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT"],
            "client.key": made["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"],
        }
    with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in paths.items()}):
        ended = command("run", roster_of(tmp_path, 1), "--cluster", cluster.address, "--patience", "0.5")

    assert ended.code == code
    assert said in ended.err
    assert healthex.calls == []


@pytest.mark.parametrize("options", [["--workers", "2"], ["--cluster", "tls://scheduler:8786"]])
def test_a_missing_part_is_named_with_the_way_to_get_it(
    command: Command, healthex: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    ended = command("run", roster_of(tmp_path, 1), *options)

    assert ended.code == 2
    assert 'pip install "batchlinks[cluster]"' in ended.err
    assert healthex.calls == []


# --- what is not to be seen -------------------------------------------------------------------------------------


def test_neither_ids_nor_links_nor_the_token_stand_in_what_dask_says_or_shows(
    start_healthex: StartHealthEx,
    cluster: Cluster,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    healthex = start_healthex(**TROUBLE | {"latency_ms": 50})
    (victim,) = cluster.start()

    with running(roster_of(tmp_path, 2000), "--cluster", cluster.address, "--verbose") as process:
        wait_until(lambda: healthex.link_calls >= 80)
        with Client(cluster.address, set_as_default=False) as client:
            client.dump_cluster_state(str(tmp_path / "state"), format="yaml")
        victim.kill()
        so_far = healthex.link_calls
        wait_until(lambda: healthex.link_calls >= so_far + 100)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "A worker of the cluster was lost" in err
    state = (tmp_path / "state.yaml").read_text(encoding="utf-8")
    logs = cluster.logs()
    assert "actor_execute" in logs  # down to the single message
    assert "batchlinks-" in state
    for where, text in (("the logs", logs), ("the state", state), ("standard error", err)):
        for secret in ("ZQX", "eyJ", "Bearer", "xid=", healthex.options.api_secret):
            assert secret not in text, f"{where} hold {secret}"


def test_a_defect_on_a_worker_tells_its_place_and_no_value() -> None:
    class Broken:
        async def ask_link(self, external_id: str, token: str) -> None:
            raise ValueError(f"{external_id} with {token}")

    async def scene() -> list[tuple[str, object]]:
        caller = Caller(Endpoint("http://127.0.0.1:1", "app.healthex.invalid", "demo-project"), 1.0)
        caller._api = Broken()  # type: ignore[assignment]
        await caller.take(Sealed({"eyJ-token": ["ZQX00001"]}))
        answers: list[tuple[str, object]] = (await caller.answers(0.0)).content
        return answers

    ((external_id, answer),) = asyncio.run(scene())

    assert external_id == "ZQX00001"
    assert "ValueError at" in str(answer)
    assert "ZQX" not in f"{answer!r} {Sealed(answer)!r}"
    assert "eyJ" not in f"{answer!r}"


def test_a_worker_that_nobody_asks_any_more_drops_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlinks.cluster.worker._ABANDONED_S", 0.05)
    monkeypatch.setattr("batchlinks.cluster.worker.HOLD_S", 0.01)

    async def scene() -> None:
        caller = Caller(Endpoint("http://127.0.0.1:1", "app.healthex.invalid", "demo-project"), 1.0)
        assert (await caller.answers(0.0)).content == []
        await asyncio.sleep(0.2)
        with pytest.raises(RuntimeError):
            await caller.take(Sealed({"token": ["00417"]}))
        with pytest.raises(RuntimeError):
            await caller.answers(0.0)

    asyncio.run(scene())
