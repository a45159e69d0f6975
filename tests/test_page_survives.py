"""Runs of the upload page outlive a killed server, a killed worker and a restart; nobody is asked for twice."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from page import csv_of, environment, served

from batchlinks.simulator import RunningSimulator

StartHealthEx = Callable[..., RunningSimulator]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def calls(healthex: RunningSimulator) -> Counter[str]:
    """How often each patient was asked for."""
    return Counter(call.external_id for call in healthex.calls if call.external_id)


def workers(data: Path) -> set[int]:
    """Processes at work for servers of this folder: those of tests that run at the same time are left alone."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"batchlinks.web.job" in path.read_bytes() and path.with_name("cwd").samefile(data):
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_run_whose_server_is_killed_is_taken_up_by_the_next_and_nobody_is_asked_twice(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=20)
    env = environment(tmp_path, healthex)
    with served(tmp_path, env=env) as page:
        run_id = page.uploaded(csv_of(60), rate="60")
        waiting = page.uploaded(csv_of(3, first=200_001))
        page.start(run_id)
        page.wait(run_id, lambda run: run["done"] > 5)
        page.start(waiting)
        page.kill()

    with served(tmp_path, env=env) as page:
        assert page.run(run_id)["state"] in ("running", "done")
        done = page.wait(run_id)
        assert (done["state"], done["linked"], done["exit_code"]) == ("done", 60, 0)
        assert page.wait(waiting)["linked"] == 3
        assert len(results.links(page.download(run_id, "links", tmp_path))) == 60

    assert max(calls(healthex).values()) == 1
    assert len(calls(healthex)) == 63


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_server_that_is_told_to_end_keeps_every_answer_and_one_that_is_killed_with_its_worker_all_but_the_last(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=20)
    env = environment(tmp_path, healthex)
    with served(tmp_path, env=env) as page:
        run_id = page.uploaded(csv_of(90), only_new="true", rate="60")
        page.start(run_id)
        page.wait(run_id, lambda run: run["done"] > 5)
        code, _, err = page.end()
    assert (code, err) == (0, "")
    asked = len(calls(healthex))
    assert 5 < asked < 90

    with served(tmp_path, env=env) as page:
        page.wait(run_id, lambda run: run["done"] > asked + 5)
        page.process.kill()
        assert max(calls(healthex).values()) == 1
        for worker in workers(tmp_path):
            os.kill(worker, signal.SIGKILL)

    with served(tmp_path, env=env) as page:
        assert page.wait(run_id)["linked"] == 90
        assert len(results.links(page.download(run_id, "links", tmp_path))) == 90

    repeated = [number for number in calls(healthex).values() if number > 1]
    assert len(repeated) <= 12  # the answers of the last tenth of a second, and calls on their way


def test_more_runs_than_may_run_at_once_wait_in_line_can_leave_it_and_be_stopped(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=20)
    with served(tmp_path, "--runs-at-once", "1", env=environment(tmp_path, healthex)) as page:
        runs = [page.uploaded(csv_of(300, first=100_001 + 1_000 * n), rate="60") for n in range(3)]
        for run_id in runs:
            page.start(run_id)
        assert [page.run(run_id)["place"] for run_id in runs] == [None, 1, 2]
        assert [page.run(run_id)["state"] for run_id in runs] == ["running", "waiting", "waiting"]
        assert page.client.patch(f"/api/runs/{runs[1]}", json={"limit": 1}).status_code == 409
        assert page.client.get(f"/api/runs/{runs[1]}/links").status_code == 409

        assert page.client.post(f"/api/runs/{runs[1]}/stop").status_code == 202
        assert (page.run(runs[1])["state"], page.run(runs[2])["place"]) == ("checked", 1)

        page.wait(runs[0], lambda run: run["done"] > 3)
        assert page.client.post(f"/api/runs/{runs[0]}/stop").status_code == 202
        stopped = page.wait(runs[0])
        assert (stopped["state"], stopped["exit_code"]) == ("stopped", 130)
        assert stopped["linked"] == len(results.links(page.download(runs[0], "links", tmp_path))) > 3
        assert stopped["linked"] + stopped["errors"]["not_attempted"] == 300
        assert page.client.post(f"/api/runs/{runs[0]}/stop").status_code == 409

        page.wait(runs[2], lambda run: run["done"] > 0)
        started = time.monotonic()
        assert page.client.delete(f"/api/runs/{runs[2]}").status_code == 204
        assert time.monotonic() - started < 30
        assert not (tmp_path / "uploads" / runs[2]).exists()
        asked = healthex.link_calls
        assert page.client.get("/api/runs").json()[0]["id"] == runs[1]
    assert healthex.link_calls == asked


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_run_whose_process_dies_is_taken_up_again_and_not_for_ever(
    start_healthex: StartHealthEx, tmp_path: Path
) -> None:
    healthex = start_healthex(latency_ms=20)
    killed = set[int]()
    with served(tmp_path, env=environment(tmp_path, healthex)) as page:
        run_id = page.uploaded(csv_of(200), rate="40")
        page.start(run_id)
        page.wait(run_id, lambda run: run["done"] > 2)
        deadline = time.monotonic() + 60
        while len(killed) < 3:
            assert time.monotonic() < deadline
            for worker in workers(tmp_path) - killed:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
            time.sleep(0.05)
        ended = page.wait(run_id)
        assert (ended["state"], ended["exit_code"]) == ("stopped", 1)
        assert "unexpectedly" in ended["message"]
        assert page.client.get(f"/api/runs/{run_id}/links").status_code == 404
        page.client.delete(f"/api/runs/{run_id}")
