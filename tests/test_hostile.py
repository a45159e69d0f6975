"""Files made to harm, through the command: a sentence and exit 2 in bounded memory, and HealthEx hears of nothing."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rosters import raw_workbook, text_cell

from batchlinks.simulator import RunningSimulator

MOST_MEMORY_KIB = 1_200_000

PATIENT_ROWS = f'<row r="1">{text_cell("A1", "MRN")}</row><row r="2">{text_cell("A2", "1001")}</row>'
FAR_CORNER = f'<row r="1048576">{text_cell("XFD1048576", " ")}</row>'
# Written so that the survey does not see it, and the parser asks for more memory than there is.
FAR_CORNER_IN_DISGUISE = '<row r="1048576"><c r = "XFD1048576"><v>1</v></c></row>'
BILLION_LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the memory of a process that has ended")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: raw_workbook([PATIENT_ROWS, *[" " * 1_000_000] * 700]), id="zip bomb"),
        pytest.param(lambda: raw_workbook(PATIENT_ROWS + FAR_CORNER), id="far corner"),
        pytest.param(lambda: raw_workbook(PATIENT_ROWS + FAR_CORNER_IN_DISGUISE), id="far corner in disguise"),
        pytest.param(lambda: raw_workbook(PATIENT_ROWS, before=BILLION_LAUGHS), id="entity bomb"),
        pytest.param(lambda: random.Random(7).randbytes(50_000), id="garbage"),
        pytest.param(lambda: raw_workbook(PATIENT_ROWS)[:-100], id="cut short"),
    ],
)
def test_a_hostile_file_is_a_sentence_in_bounded_memory(
    healthex: RunningSimulator, tmp_path: Path, content: Callable[[], bytes]
) -> None:
    (tmp_path / "patients.xlsx").write_bytes(content())

    command = [sys.executable, "-m", "batchlinks", "run", str(tmp_path / "patients.xlsx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)

    assert process.returncode == 2
    assert out == ""
    assert err.startswith("Error: ")
    assert "patients.xlsx" in err
    assert len(err.strip().splitlines()) == 1
    assert used.ru_maxrss < (MOST_MEMORY_KIB * 1024 if sys.platform == "darwin" else MOST_MEMORY_KIB)
    assert healthex.calls == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["patients.xlsx"]
