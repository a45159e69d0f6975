"""A run that should not have been, and a link that went to somebody else: withdrawn together, lifted together, traced."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from conftest import Ended

from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]


def roster(folder: Path, *ids: str, name: str = "patients.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["MRN", *ids]) + "\n", encoding="utf-8")
    return path


def run_id(folder: Path, name: str = "patients") -> str:
    return str(results.summary(folder / f"{name}.summary.json")["run_id"])


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What comes in on standard input."""

    def put(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))

    return put


@pytest.mark.usefixtures("healthex")
def test_a_run_is_withdrawn_as_a_whole_and_lifted_without_those_who_have_a_reason_of_their_own(
    command: Command, tmp_path: Path, say: Callable[[str], None]
) -> None:
    command("run", roster(tmp_path, "1001", "1002", name="first.csv"))
    command("run", roster(tmp_path, "1002", "1003", "1004"))
    wrong = run_id(tmp_path)
    ids = roster(tmp_path, "1003", name="asked.csv")
    assert command("ledger", "withdraw", "--ids", ids).code == 0

    ended = command("ledger", "withdraw", "--run", wrong)

    assert ended.code == 0
    assert "Withdrawn: 2 patients whom run" in ended.last_line
    assert "may go on working" in ended.last_line
    assert "2 patients had been withdrawn with it before" in command("ledger", "withdraw", "--run", wrong).last_line
    assert command("run", roster(tmp_path, "1001", "1002", "1003", "1004")).code == 3
    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["1001", "1002"]
    assert set(results.codes(tmp_path / "patients.errors.xlsx").values()) == {"withdrawn"}
    say("1004")
    assert f"with all of run {wrong}" in command("ledger", "show").out

    ended = command("ledger", "restore", "--run", wrong)

    assert ended.last_line == (
        f"Restored, of those withdrawn with run {wrong}: 2 patients. 1 of them stays withdrawn for a reason of their own."
    )
    assert command("run", roster(tmp_path, "1001", "1002", "1003", "1004")).code == 3
    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["1001", "1002", "1004"]
    assert "Restored, of those withdrawn" in command("ledger", "restore", "--run", wrong).last_line
    for arguments in (["--run", "no such"], ["--run", wrong, "--ids", ids], ["--run", wrong, "--project-id", "p"]):
        assert command("ledger", "withdraw", *arguments).code == 2


def test_a_link_that_went_to_somebody_else_is_traced_and_never_handed_out_again(
    command: Command, healthex: RunningSimulator, tmp_path: Path, private_home: Path, say: Callable[[str], None]
) -> None:
    patients = roster(tmp_path, "1001", "1002", "1003", "1004")
    command("run", patients)
    first = run_id(tmp_path)
    command("run", roster(tmp_path, *(f"{number}" for number in range(1001, 1007))), "--only-new")
    audit = private_home / "data" / "audit.jsonl"
    line = {"time": "2026-07-29T14:05:00Z", "user": "alice", "event": "downloaded", "file": "links", "run_id": first}
    with audit.open("a", encoding="utf-8") as file:
        file.write(f'no JSON "downloaded"\n{json.dumps(line)}\n')
    link = healthex.links["1002"]
    others = tmp_path / "others.csv"

    say(f"  {link}\n")
    ended = command("ledger", "incident", "--others", others)

    assert ended.code == 0
    assert "This link still works. Only HealthEx may be able to turn it off." in ended.out
    (before,) = tmp_path.glob("patients.links (before *).xlsx")
    assert f"{before}, row 3 of the list (links; " in ended.out
    assert f"run {first})" in ended.out
    assert [line for line in ended.out.splitlines() if "in the row beside it" in line] == [
        f"    in the row beside it, {row}: {one} ({before.name})" for row, one in ((2, "1001"), (4, "1003"))
    ]
    assert "downloaded by alice, 2026-07-29 14:05 UTC: links" in ended.out
    assert "3 other patients are in these files." in ended.out
    assert others.read_text().split() == ["external_id", "1001", "1003", "1004"]
    assert f"batchlinks ledger withdraw --run {first}" in ended.out
    assert link not in audit.read_text()

    assert command("run", patients).code == 3
    assert "1002" not in {row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")}
    assert set(results.codes(tmp_path / "patients.errors.xlsx").values()) == {"withdrawn"}
    command("run", patients, "--refresh")
    assert healthex.requests_for("1002") == 1

    # Forgotten and asked for anew: a new link is another one.
    ids = roster(tmp_path, "1002", name="forget.csv")
    assert command("ledger", "forget", "--ids", ids, "--yes").code == 0
    assert command("run", patients).code == 0
    now = {row["MRN"]: row["link"] for row in results.links(tmp_path / "patients.links.xlsx")}
    assert now["1002"] == healthex.links["1002"] != link

    # The earlier link names its patient still, though the ledger has a newer one.
    say(link)
    ended = command("ledger", "incident")
    assert ended.out.startswith("1002\n")
    for text in ("9999", "", "1001\n1002"):
        say(text)
        assert command("ledger", "incident").code == 2


def test_the_same_link_again_is_not_handed_out_either(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path, say: Callable[[str], None]
) -> None:
    start_healthex(fresh_links=False)
    patients = roster(tmp_path, "1001", "1002")
    command("run", patients)
    say("1001")
    assert command("ledger", "incident").code == 0
    assert command("ledger", "forget", "--ids", roster(tmp_path, "1001", name="forget.csv"), "--yes").code == 0

    assert command("run", patients).code == 3

    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["1002"]
