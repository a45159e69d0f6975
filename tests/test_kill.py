"""`kill -9` at many moments of real runs, and then the same command: nobody is missing, nobody is there twice."""

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import results

from batchlinks.simulator import RunningSimulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

LATER = """
import json, os, signal, sys
from batchlinks.pipeline import run as batch
from batchlinks.cli.main import program

def dies_at(fatal_step, folder):
    step = 0

    def count(event, args):
        nonlocal step
        changes = event in ("os.rename", "os.remove", "os.chmod") or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        )
        if changes and str(args[0]).startswith(folder):
            step += 1
            os.pwrite(steps, str(step).encode(), 0)
            if step == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)

    steps = os.open(os.path.join(os.path.dirname(folder), "steps"), os.O_CREAT | os.O_WRONLY)
    sys.addaudithook(count)

for line in sys.stdin:
    arguments, fatal_step, folder = json.loads(line)
    child = os.fork()
    if not child:
        sys.stdin = open(os.devnull)
        os.dup2(2, 1)
        dies_at(fatal_step, folder)
        sys.argv[1:] = arguments
        program()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs the command again and again, each time in a process of its own that has loaded everything already: starting costs
more than running, and what is to be shown lies behind it."""


@dataclass(frozen=True)
class Moment:
    """When a run is killed: before its n-th change in the results folder, after n calls, or at a share of its time."""

    step: int = 0
    calls: int = 0
    share: float = 0.0


class Runs:
    """Runs of one roster, some of them killed."""

    def __init__(self, process: "subprocess.Popen[str]", healthex: RunningSimulator, folder: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._say, self._hear = process.stdin, process.stdout
        self._healthex = healthex
        self.folder = folder / "results"
        self.roster = self.folder / "patients.csv"
        self.folder.mkdir()
        self.seconds = 0.0
        """That the last run took which was not killed."""

    @property
    def steps(self) -> int:
        """Changes in the results folder that the last run made."""
        return int((self.folder.parent / "steps").read_text())

    def run(self, *options: str, killed: Moment | None = None) -> int:
        """The exit code; -9 where it was killed in time."""
        (self.folder.parent / "steps").unlink(missing_ok=True)
        before, started = self._healthex.link_calls, time.monotonic()
        step = killed.step if killed else 0
        arguments = ["run", str(self.roster), "--format", "csv", "--link-dates", "--quiet", *options]
        print(json.dumps([arguments, step, str(self.folder)]), file=self._say, flush=True)
        child = int(self._hear.readline())
        if killed and killed.share:
            time.sleep(killed.share * self.seconds)
            self._kill(child)
        elif killed and killed.calls:
            while self._healthex.link_calls < before + killed.calls and self._kill(child, 0):
                time.sleep(0.001)
            self._kill(child)
        code = int(self._hear.readline())
        if killed is None:
            self.seconds = time.monotonic() - started
        return code

    @staticmethod
    def _kill(child: int, number: int = signal.SIGKILL) -> bool:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return False
        return True

    def tables(self) -> dict[str, list[dict[str, str]]]:
        """All rows of all files. The day of issue may change while the test runs."""
        return {
            timeless(path.name): [
                {name: cell for name, cell in row.items() if name != "link_issued_on"} for row in results.csv_rows(path)
            ]
            for path in self.folder.iterdir()
            if path != self.roster and path.suffix == ".csv"
        }

    def names(self) -> list[str]:
        return sorted(timeless(path.name) for path in self.folder.iterdir())


def timeless(name: str) -> str:
    """The name of a links workbook of before without the time in it."""
    return re.sub(r"\(before [\d. -]+\)", "(before)", name)


@pytest.fixture
def runs(start_healthex: Callable[..., RunningSimulator], tmp_path: Path) -> Iterator[Runs]:
    healthex = start_healthex(
        seed=7, fresh_links=False, latency_ms=4, reject_pattern=r"100[0-9][0-9]7", drop_share=0.02
    )
    with subprocess.Popen(
        [sys.executable, "-c", LATER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        yield Runs(process, healthex, tmp_path)


def write_roster(path: Path, count: int) -> None:
    rows = [f"{100_001 + number},Pat {number}" for number in range(count)]
    path.write_text("\n".join(["MRN,Name", *rows, rows[3], rows[-1], "N/A,Nobody"]) + "\n", encoding="utf-8")


class Copies:
    """Folders as they were."""

    def __init__(self, *folders: Path) -> None:
        self._kept = {folder: folder.with_name(f"{folder.name} kept") for folder in folders}
        for folder, copy in self._kept.items():
            shutil.copytree(folder, copy)

    def put_back(self) -> None:
        for folder, copy in self._kept.items():
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)


def moments(number: int, steps: int, calls: int, chance: random.Random) -> list[Moment]:
    """So many, spread over a run's changes of files (half of them), its calls and its time (a quarter each), in no order."""
    by_share = by_calls = number // 4
    chosen = [Moment(step=step) for step in chance.sample(range(1, steps + 1), number - by_share - by_calls)]
    chosen += [Moment(calls=each) for each in chance.sample(range(1, calls), by_calls)]
    chosen += [Moment(share=chance.uniform(0.3, 1.0)) for _ in range(by_share)]
    chance.shuffle(chosen)
    return chosen


def in_chains(all_of_them: Sequence[Moment]) -> Iterator[Sequence[Moment]]:
    """Who is killed once may be killed again on the way: one, two, three, four times in a row."""
    rest = list(all_of_them)
    for length in itertools.cycle((1, 2, 3, 4)):
        if not rest:
            return
        yield rest[:length]
        del rest[:length]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [10, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "options", [pytest.param((), marks=pytest.mark.slow), ("--only-new",)], ids=["everybody", "only new"]
)
def test_killed_anywhere_the_same_command_ends_like_an_undisturbed_run(
    runs: Runs, private_home: Path, options: tuple[str, ...], number: int
) -> None:
    chance = random.Random(20_260_301)
    write_roster(runs.roster, 30)
    assert runs.run(*options) == 3
    write_roster(runs.roster, 70)
    copies = Copies(runs.folder, private_home / "data")
    assert runs.run(*options) == 3
    undisturbed, names, steps = runs.tables(), runs.names(), runs.steps
    given = [row["MRN"] for row in undisturbed["patients.links.csv"]]
    assert len(given) == len(set(given)) == (36 if options else 63)
    killed = 0

    for chain in in_chains(moments(number, steps, 40, chance)):
        copies.put_back()
        for moment in chain:
            if runs.run(*options, killed=moment) == -signal.SIGKILL:
                killed += 1
            else:  # it was faster
                copies.put_back()

        assert runs.run(*options) == 3, chain

        assert runs.tables() == undisturbed, chain
        assert runs.names() == names, chain
        if options and len(chain) == 3:
            assert runs.run(*options) == 3
            assert runs.tables() == undisturbed, chain

    assert killed >= 0.6 * number  # a moment near the end, or by the clock, may come too late
