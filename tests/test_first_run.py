"""The main job, start to finish."""

from collections.abc import Callable
from pathlib import Path

import results
from conftest import Ended

from batchlinks.simulator import RunningSimulator


def test_every_patient_gets_the_link_that_was_issued_for_their_own_id(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_text("MRN,Name\n00417,Ann Lee\n00418,Bob Ray\n", encoding="utf-8")

    ended = command("run", roster)

    assert ended.code == 0
    assert results.links(tmp_path / "patients.links.xlsx") == [
        {"MRN": "00417", "Name": "Ann Lee", "link": healthex.links["00417"]},
        {"MRN": "00418", "Name": "Bob Ray", "link": healthex.links["00418"]},
    ]
    assert "2 of 2 patients have a link" in ended.last_line
    assert "patients.links.xlsx" in ended.last_line
