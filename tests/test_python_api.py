"""`import batchlinks`: what callers in Python may rely on."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import batchlinks
from batchlinks import RunOptions, RunSettings
from batchlinks.simulator import RunningSimulator


def test_the_keyword_arguments_are_the_options_of_a_run() -> None:
    assert list(RunOptions.__annotations__) == [entry.name for entry in fields(RunSettings)]


@pytest.mark.parametrize("name", [entry.name for entry in fields(RunSettings)])
def test_a_keyword_argument_takes_whatever_its_setting_takes(name: str) -> None:
    """Paths may be texts too, and several columns any sequence."""
    taken, set_to = str(get_type_hints(RunOptions)[name]), str(get_type_hints(RunSettings)[name])

    assert taken in (
        set_to,
        "str | collections.abc.Sequence[str] | None" if name == "columns" else set_to,
        set_to.replace("pathlib.Path", "str | pathlib.Path"),
        set_to.replace("tuple[str, ...]", "collections.abc.Sequence[str]"),
    )


CALLS = {
    "batchlinks.run(frame, output_dir=None, columns=['MRN'], on_progress=lambda p: print(p.done / p.total)).frame('links')": None,
    'batchlinks.check(b"MRN", name="p.csv", on_warning=lambda w: print(w.code, w.rows))': None,
    'batchlinks.check(pyarrow.table({"MRN": ["1"]}))': None,
    "batchlinks.run(frame, confirm=lambda preview: preview.to_send < 100)": None,
    "batchlinks.run(frame, confirm=lambda preview: preview.too_send < 100)": 'has no attribute "too_send"',
    'batchlinks.run(["1001"])': 'Argument 1 to "run" has incompatible type "list[str]"',
    'batchlinks.run("p.csv", id_column="MRN", only_new=True)': None,
    'batchlinks.check("p.csv", settings=batchlinks.RunSettings(id_width=8))': None,
    'batchlinks.run("p.csv", id_colum="MRN")': 'Unexpected keyword argument "id_colum"',
    'batchlinks.run("p.csv", limit="five")': 'has incompatible type "str"; expected "int | None"',
    'batchlinks.run("p.csv", "MRN")': "Too many positional arguments",
    'batchlinks.run("p.csv").exit_kode': 'has no attribute "exit_kode"',
}
"""What a caller writes, and what mypy says of it."""


def test_a_type_checker_finds_a_misspelt_option(tmp_path: Path) -> None:
    script = tmp_path / "nightly_job.py"
    opening = ["import batchlinks", "import pandas", "import pyarrow", "frame = pandas.DataFrame({'MRN': ['1001']})"]
    script.write_text("\n".join([*opening, *CALLS]))
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir"]

    ended = subprocess.run(
        [*command, str(tmp_path / "cache"), str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(batchlinks.__file__).parents[1],
    )

    for line, (call, complaint) in enumerate(CALLS.items(), len(opening) + 1):
        said = [each for each in ended.stdout.splitlines() if f"nightly_job.py:{line}:" in each]
        assert bool(said) == bool(complaint), call
        assert complaint is None or complaint in said[0], call


def test_everything_that_is_exported_is_there_and_documented() -> None:
    for name in batchlinks.__all__:
        exported = getattr(batchlinks, name)
        assert name == "__version__" or exported.__doc__, name


def test_patients_can_be_withdrawn(healthex: RunningSimulator, private_home: Path) -> None:
    assert batchlinks.withdraw(["1002", " 01003 "], reason="deceased") == 2
    assert batchlinks.withdraw(["1002"]) == 0

    report = batchlinks.run(b"MRN\n1001\n1002\n1003\n", name="a.csv", output_dir=private_home / "out")

    assert report.summary.errors == {"withdrawn": 2}
    assert list(healthex.links) == ["1001"]
    first = (private_home / "data" / "audit.jsonl").read_text().splitlines()[0]
    assert '"command":"python"' in first
    assert "1002" not in first


@pytest.mark.parametrize("ids", [[], "1001", [1001], ["1001", "…"], ["Jane Doe"]])
def test_nobody_is_withdrawn_where_an_id_can_be_none(private_home: Path, ids: Any) -> None:
    with pytest.raises(batchlinks.SettingsError, match=r"^ids.* Nobody was withdrawn\.$"):
        batchlinks.withdraw(ids)

    assert not (private_home / "data" / "do-not-contact.csv").exists()
