"""The measurements: each makes its scene, and gives what it found as plain numbers."""

import json
import re
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batchlinks.simulator import Simulator, SimulatorOptions
from benchmarks import scene
from benchmarks.cluster import cluster
from benchmarks.measuring import Cost, batchlinks, cost_of, started

Found = dict[str, Any]
PEERS = Path(__file__).parent / "peers"


def _run(
    folder: Path, roster: Path, environment: Mapping[str, str], *options: object, name: str = "results"
) -> tuple[Cost, Path, Path]:
    """`batchlinks run` with a ledger of its own: what it took, its results' folder, its ledger."""
    results, ledger = folder / name, folder / f"{name}.sqlite3"
    arguments = ["run", roster, "--quiet", "--output-dir", results, "--ledger", ledger, *options]
    cost = cost_of(batchlinks(*arguments), environment={**environment, "BATCHLINKS_DATA_DIR": str(folder / "data")})
    if cost.code:
        raise RuntimeError(f"batchlinks ended with exit code {cost.code}")
    return cost, results, ledger


# --- start ----------------------------------------------------------------------------------------------------


def start(folder: Path) -> Found:
    """Help, and a list of ten. The best of five: what disturbs can only add."""
    roster = scene.roster(folder, 10, "csv")
    helps = [cost_of(batchlinks("--help")) for _ in range(5)]
    with scene.stand_in() as environment:
        runs = [_run(folder, roster, environment, name=f"start{number}")[0] for number in range(5)]
    return {
        "help_cpu_s": min(cost.cpu_s for cost in helps),
        "ten_rows_wall_s": min(cost.wall_s for cost in runs),
        "ten_rows_cpu_s": min(cost.cpu_s for cost in runs),
    }


# --- cost -----------------------------------------------------------------------------------------------------

ROWS = 20_000
IN_FLIGHT = 64


def cost(folder: Path) -> Found:
    """Processor time for each row of the whole command, 64 in flight, and of its peers in the same minutes."""
    workbook, text = scene.roster(folder, ROWS, "xlsx"), scene.roster(folder, 2_000, "csv", ids_only=True)
    with scene.stand_in() as environment:
        ours = [_run(folder, workbook, environment, name=f"cost{number}")[0] for number in range(3)]
        usual = cost_of(
            [sys.executable, PEERS / "usual_script.py", workbook, folder / "usual.xlsx", IN_FLIGHT],
            environment=environment,
        )
        bare = cost_of([sys.executable, PEERS / "bare_aiohttp.py", ROWS, IN_FLIGHT], environment=environment)
        other = _csv2http(folder, text, environment)
        ceiling = _wrk(environment)
    best = min(ours, key=lambda cost: cost.cpu_s)
    found: Found = {
        "rows": ROWS,
        "batchlinks": _a_row(best, ROWS),
        "usual script": _a_row(usual, ROWS),
        "aiohttp alone": _a_row(bare, ROWS),
        "share_of_usual": best.cpu_s / usual.cpu_s,
    }
    if other is not None:
        found["csv2http"] = _a_row(other, 2_000)
    if ceiling is not None:
        found["server_ceiling"] = ceiling
    return found


def _a_row(cost: Cost, rows: int) -> Found:
    return {
        "cpu_us_a_row": cost.cpu_s / rows * 1e6,
        "rows_a_second": rows / cost.wall_s,
        "peak_mb": cost.peak_mb,
        "code": cost.code,
    }


def _csv2http(folder: Path, roster: Path, environment: Mapping[str, str]) -> Cost | None:
    """csv2http, from the registry, in an environment of its own; None where it cannot be had."""
    home = folder / "csv2http"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    got = subprocess.run([python, "-m", "pip", "install", "-q", "csv2http==0.0.3a1"], capture_output=True)
    if got.returncode:
        return None
    body = roster.read_text(encoding="utf-8").replace("MRN", "externalId", 1)
    theirs = folder / "csv2http.csv"
    theirs.write_text(body, encoding="utf-8")
    token = _token(environment)
    url = f"{environment['HEALTHEX_API_URL']}/v1/projects/{environment['HEALTHEX_PROJECT_ID']}/link"
    command = [home / "bin" / "csv2http", theirs, url, "-c", IN_FLIGHT]
    # In a folder that goes away: it writes all that it sent and received into a file of its own.
    return cost_of([*command, "-H", f"Authorization:Bearer {token}", "-H", "Accept:application/json"], folder=folder)


def _token(environment: Mapping[str, str]) -> str:
    from urllib.request import Request, urlopen

    keys = {"apiKey": environment["HEALTHEX_API_KEY"], "apiSecret": environment["HEALTHEX_API_SECRET"]}
    request = Request(f"{environment['HEALTHEX_API_URL']}/v1/auth/token", json.dumps(keys).encode())
    request.add_header("Content-Type", "application/json")
    with urlopen(request) as answer:
        return str(json.load(answer)["token"])


def _wrk(environment: Mapping[str, str]) -> float | None:
    """Calls a second that the stand-in answers at most; None where wrk is not installed."""
    script = Path(__file__).parent / "peers" / "link.lua"
    url = f"{environment['HEALTHEX_API_URL']}/v1/projects/{environment['HEALTHEX_PROJECT_ID']}/link"
    command = ["wrk", "-t1", f"-c{IN_FLIGHT}", "-d5s", "-s", script, url]
    try:
        said = subprocess.run([*map(str, command), "--", _token(environment)], capture_output=True, text=True).stdout
    except FileNotFoundError:
        return None
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    return float(found[1]) if found else None


# --- latency --------------------------------------------------------------------------------------------------

LATENCY_S = 0.1
_SECONDS = 36
_IN_FLIGHTS = (64, 200, 1000)


def latency(folder: Path) -> Found:
    """Of what is possible (in flight ÷ latency) at steady state: seconds 5 to 35 of a run."""
    found: Found = {}
    with scene.stand_in(latency_ms=1000 * LATENCY_S) as environment:
        for in_flight in _IN_FLIGHTS:
            ideal = in_flight / LATENCY_S
            roster = scene.roster(folder, int(min(ideal, 4_000) * _SECONDS), "csv", ids_only=True)
            cost, _, ledger = _run(folder, roster, environment, "--concurrency", in_flight, name=f"latency{in_flight}")
            reached = scene.answers(ledger).rate(5, 35)
            command = [sys.executable, str(PEERS / "bare_aiohttp.py"), str(int(min(ideal, 6_000) * 10)), str(in_flight)]
            bare = subprocess.run(command, env={**environment}, capture_output=True, text=True, check=True)
            found[str(in_flight)] = {
                "ideal": ideal,
                "batchlinks": reached,
                "aiohttp alone": float(bare.stdout),
                "cores_busy": cost.cpu_s / cost.wall_s,
            }
    return found


# --- pace -----------------------------------------------------------------------------------------------------


def pace(folder: Path) -> Found:
    """Limits that nobody told: constant, halved and doubled in mid-run, shared, and with a long Retry-After."""
    found: Found = {"constant": {}, "changed": {}}
    for limit, burst in ((20, 50), (20, 20), (20, 5), (100, 10), (500, 50), (2000, 200)):
        with scene.stand_in(rate=limit, burst=burst) as environment:
            roster = scene.roster(folder, limit * 44, "csv", ids_only=True)
            name = f"pace{limit}-{burst}"
            _, results, ledger = _run(folder, roster, environment, name=name)
        said = scene.summary(results)
        found["constant"][f"{limit}/s, stock of {burst}"] = {
            "limit": limit,
            "share": scene.answers(ledger).rate(0, 40) / limit,
            "refused": (said["calls"] - said["linked"]) / said["calls"],
            "lost": said["rows"] - said["linked"],
        }
    for before, after in ((500, 250), (250, 500)):
        found["changed"][f"{before} to {after}/s"] = _changed(folder, before, after)
    found["shared"] = _shared(folder, 200)
    found["ceiling"] = _ceiling(folder, 50)
    found["retry_after_30"] = _told_to_wait(folder)
    return found


def _changed(folder: Path, before: int, after: int) -> Found:
    at_s, rows = 20, before * 20 + after * 70
    roster = scene.roster(folder, rows, "csv", ids_only=True)
    with Simulator(SimulatorOptions(rate=before, burst=50)).running(record=False) as server:
        timer = threading.Timer(at_s, lambda: server.change(rate=after))
        timer.start()
        name = f"changed{before}"
        _, results, ledger = _run(folder, roster, scene.settings_of(server.url), name=name)
        timer.cancel()
    said = scene.summary(results)
    return {
        "limit": after,
        "share": scene.answers(ledger).rate(at_s + 45, at_s + 60) / after,
        "refused": (said["calls"] - said["linked"]) / said["calls"],
    }


def _shared(folder: Path, limit: int) -> Found:
    roster = scene.roster(folder, limit * 60, "csv", ids_only=True)
    with scene.stand_in(rate=limit) as environment:
        runs = [
            started(
                batchlinks(
                    "run", roster, "--quiet", "--output-dir", folder / name, "--ledger", folder / f"{name}.sqlite3"
                ),
                environment={**environment, "BATCHLINKS_DATA_DIR": str(folder / f"{name}-data")},
            )
            for name in ("first", "second")
        ]
        time.sleep(50)
        for each in runs:
            each.process.terminate()
        for each in runs:
            each.ended()
    return {
        "limit": limit,
        "shares": [scene.answers(folder / f"{name}.sqlite3").rate(0, 40) / limit for name in ("first", "second")],
    }


def _ceiling(folder: Path, rate: int) -> Found:
    roster = scene.roster(folder, rate * 20, "csv", ids_only=True)
    with scene.stand_in() as environment:
        _, _, ledger = _run(folder, roster, environment, "--rate", rate, name="ceiling")
    return {"rate": rate, "most_in_a_second": max(scene.answers(ledger).a_second)}


def _told_to_wait(folder: Path) -> Found:
    """One refusal in the middle that says half a minute: nothing else waits, and that call comes back after it."""
    options = SimulatorOptions(rate=100, burst=5, retry_after_s=30)
    roster = scene.roster(folder, 3_000, "csv", ids_only=True)
    with Simulator(options).running() as server:
        _, results, _ = _run(folder, roster, scene.settings_of(server.url), name="told")
        refused: dict[str | None, float] = {}
        waits = []
        for call in server.calls:
            if call.external_id in refused:
                waits.append(call.time - refused.pop(call.external_id))
            if call.status == 429:
                refused[call.external_id] = call.time
    said = scene.summary(results)
    return {"shortest_wait_s": min(waits), "refused": len(waits), "lost": said["rows"] - said["linked"]}


# --- files ----------------------------------------------------------------------------------------------------


def files(folder: Path) -> Found:
    """Rosters whose links are all known: reading, screening, looking up and writing, and nothing else."""
    url = "http://127.0.0.1:9"  # nobody is there, and nobody is asked
    found: Found = {"known": {}}
    environment = scene.settings_of(url)
    for rows, kind in ((10_000, "xlsx"), (100_000, "xlsx"), (1_000_000, "xlsx"), (1_000_000, "csv")):
        roster = scene.roster(folder, rows, kind)
        name = f"files{rows}{kind}"
        scene.know_all(folder / f"{name}.sqlite3", url, rows)
        cost, results, _ = _run(folder, roster, environment, "--format", kind, name=name)
        said = scene.summary(results)
        if said["written"] != rows or said["calls"]:
            raise RuntimeError(f"{said['written']} of {rows} rows were written with {said['calls']} calls")
        found["known"][f"{rows:,} {kind}"] = {"rows": rows, **_took(cost)}
        roster.unlink()
        for path in results.iterdir():
            path.unlink()
    peer = cost_of(
        [sys.executable, PEERS / "pandas_openpyxl.py", scene.roster(folder, 100_000, "xlsx"), folder / "pandas.xlsx"]
    )
    ours = found["known"]["100,000 xlsx"]
    found["pandas and openpyxl"] = _took(peer)
    found["times_as_fast"] = peer.wall_s / ours["wall_s"]
    found["share_of_memory"] = ours["peak_mb"] / peer.peak_mb
    return found


def _took(cost: Cost) -> Found:
    return {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}


PARTS: dict[str, Callable[[Path], Found]] = {
    "start": start,
    "cost": cost,
    "latency": latency,
    "files": files,
    "pace": pace,
    "cluster": cluster,
}
