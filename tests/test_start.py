"""What a command imports: starting up is most of what a short list costs."""

import subprocess
import sys
from pathlib import Path

HEAVY = (
    "aiohttp",
    "httpx",
    "numpy",
    "pandas",
    "pyarrow",
    "structlog",
    "uvloop",
    "xlsxwriter",
    "keyring",
    "distributed",
)


def after(program: str, *arguments: object) -> str:
    """Standard output of a program in a Python of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_help_imports_nothing_heavy() -> None:
    loaded = after("import sys; from batchlinks.cli.main import main; main(['--help']); print(*sys.modules)")

    assert "Get a HealthEx link" in loaded
    assert set(HEAVY).isdisjoint(loaded.splitlines()[-1].split())


def test_a_check_imports_no_http_client_and_dataframes_are_there_when_asked_for(
    tmp_path: Path,
) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_text("MRN\n10000001\n10000002\nnone\n")
    program = """
import sys
import batchlinks
from batchlinks.cli.main import main

main(["check", sys.argv[1]])
print(*sys.modules)
print(batchlinks.check(sys.argv[1]).frame("errors").loc[0, "error_code"])
"""

    *_, loaded, code = after(program, roster).splitlines()

    assert {"aiohttp", "httpx"}.isdisjoint(loaded.split())
    assert {"pyarrow", "pandas"} <= set(loaded.split())
    assert code == "placeholder_id"


def test_the_process_that_reads_the_roster_imports_no_pandas() -> None:
    program = """
import io, json, sys
from batchlinks.roster import child

request = json.dumps({"name": "p.csv", "options": {}, "length": 13}).encode()
sys.stdin = io.TextIOWrapper(io.BytesIO(request + b"\\nMRN\\n10000001\\n"))
answer, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
child.main()
print(*sys.modules, file=answer)
"""

    loaded = after(program).split()

    assert "pyarrow" in loaded
    assert {"pandas.core", "aiohttp", "httpx", "pyarrow.compute"}.isdisjoint(loaded)
