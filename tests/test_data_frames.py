"""`batchlinks.run` and `check` as a data engineer calls them: a DataFrame in, frames out, in a notebook or beside others."""

import ast
import asyncio
import datetime as dt
import json
import os
import pickle
import re
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import PROJECT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batchlinks
from batchlinks import BatchlinksError, RunProgress, RunWarning, SettingsError
from batchlinks.ledger import Ledger
from batchlinks.roster.source import RosterBytes
from batchlinks.simulator import RunningSimulator

PATIENTS = pd.DataFrame(
    {
        "MRN": [f"0041287{digit}" for digit in range(5)],
        "First Name": ["Ada", "Ben", "Cleo", "Dan", "Eva"],
        "Date of Birth": pd.to_datetime(["1950-03-05", "1961-01-02", "1972-12-31", "", "1990-07-08"]),
        "Clinic": pd.Categorical(["North", "South", "North", "South", None]),
        "ZIP": ["02139", "02140", None, "00501", "10001"],
        "Visits": pd.array([1, 2, None, 4, 5], dtype="Int64"),
        "Score": [1.5, 2.0, np.nan, 4.25, 1e6],
    }
)


def mrns(count: int, start: int = 5_001_000) -> pd.DataFrame:
    return pd.DataFrame({"MRN": [str(start + each) for each in range(count)]})


def data_folder() -> Path:
    return Path(os.environ["BATCHLINKS_DATA_DIR"])


# --- in and out -----------------------------------------------------------------------------------------------


def test_a_frame_comes_back_with_links_and_leaves_no_result_file(healthex: RunningSimulator) -> None:
    before = set(Path.cwd().rglob("*"))

    report = batchlinks.run(PATIENTS, id_column="MRN")

    links = report.frame("links")
    assert list(links["MRN"]) == list(PATIENTS["MRN"])
    for external_id, link in zip(links["MRN"], links["link"], strict=True):
        assert f"xid={external_id}." in link
    assert list(links["Date of Birth"]) == ["1950-03-05", "1961-01-02", "1972-12-31", "", "1990-07-08"]
    assert list(links["Clinic"]) == ["North", "South", "North", "South", ""]
    assert list(links["ZIP"]) == ["02139", "02140", "", "00501", "10001"]
    assert list(links["Visits"]) == ["1", "2", "", "4", "5"]
    assert list(links["Score"]) == ["1.5", "2", "", "4.25", "1000000"]
    assert (report.exit_code, report.summary.linked, report.published.paths) == (0, 5, {})
    assert {path for path in Path.cwd().rglob("*") if data_folder() not in (path, *path.parents)} <= before
    line = json.loads((data_folder() / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["command"], line["roster"], line["linked"], line["outputs"]) == ("run", "roster", 5, {})
    assert len(line["roster_sha256"]) == 64

    again = batchlinks.run(PATIENTS, id_column="MRN")
    assert (again.summary.requested, list(again.frame("links")["link"])) == (0, list(links["link"]))
    assert batchlinks.run(PATIENTS, id_column="MRN", only_new=True).summary.written == 0, "frames count as handed out"
    with Ledger(data_folder() / "ledger.sqlite3", api=healthex.url, project_id=PROJECT) as ledger:
        noted = ledger.rows_in_files(["00412872"])
    assert [(each.file.purpose, each.file.name, each.row) for each in noted] == [("frame", "roster", 4)] * 2


def test_refused_rows_and_duplicates_come_back_too_and_rows_are_counted_as_in_a_spreadsheet() -> None:
    frame = pd.DataFrame(
        {"MRN": ["5001000", "", "5001000", "N/A", None], "First Name": ["Ada", "Ben", "Ada", "Dan", ""]}
    )

    report = batchlinks.check(frame)

    errors = report.frame("errors")
    assert list(zip(errors["error_row"], errors["error_code"], strict=True)) == [
        ("3", "blank_id"),
        ("5", "placeholder_id"),
    ]
    assert list(report.frame("duplicates")["error_row"]) == ["4"]
    assert report.summary.rows == 4, "a row of blanks is none"


@pytest.mark.usefixtures("healthex")
def test_with_a_folder_the_files_are_written_and_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        report = batchlinks.run(mrns(3), output_dir=tmp_path, name="march", columns=["MRN"])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "march.errors.xlsx",
        "march.links.xlsx",
        "march.summary.json",
    ]
    assert report.published.paths["links"] == tmp_path / "march.links.xlsx"


_IDS, _DAY = ["5001000", "5001001"], dt.date(1950, 3, 5)
SAME = pd.DataFrame({"MRN": _IDS, "Born": ["1950-03-05", ""]})
FRAMES = {
    "objects": pd.DataFrame({"MRN": _IDS, "Born": [_DAY, None]}),
    "pandas types": pd.DataFrame({"MRN": _IDS, "Born": [_DAY, None]}).convert_dtypes(),
    "time zone": pd.DataFrame({"MRN": _IDS, "Born": pd.to_datetime(["1950-03-05", ""], utc=True)}),
    "categories": pd.DataFrame({"MRN": pd.Categorical(_IDS), "Born": pd.PeriodIndex(["1950-03-05", "NaT"], freq="D")}),
    "named index": pd.DataFrame({"Born": [pd.Timestamp(_DAY), pd.NaT]}, index=pd.Index(_IDS, name="MRN")),
    "arrow": pa.table({"MRN": _IDS, "Born": pa.array([_DAY, None])}),
    "dictionary": pa.table({"MRN": pa.array(_IDS).dictionary_encode(), "Born": pa.array([_DAY, None], pa.date64())}),
    "large strings": pa.table({"MRN": pa.array(_IDS, pa.large_string()), "Born": pa.array(["1950-03-05", None])}),
    "views": pa.record_batch(
        {"MRN": pa.array(_IDS, pa.string_view()), "Born": pa.array([dt.datetime(1950, 3, 5), None])}
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_is_the_same_list_however_its_columns_are_made(frame: Any) -> None:
    report = batchlinks.check(frame, id_column="MRN")

    assert (report.summary.rows, report.summary.linked) == (2, 2)
    assert report.summary.roster_sha256 == batchlinks.check(SAME).summary.roster_sha256


class Interchanged:
    """A library of which nothing is known but that it speaks the interchange protocol."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return pa.table({"MRN": ["5001000", "5001001"], "Born": ["1950-03-05", ""]}).__dataframe__(
            nan_as_null, allow_copy
        )


def test_any_library_that_speaks_the_interchange_protocol_will_do() -> None:
    assert batchlinks.check(Interchanged()).summary.linked == 2


# --- IDs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        [5001000, 5001001],
        pd.array([5001000, 5001001], dtype="Int64"),
        np.array([5001000, 5001001], dtype="uint32"),
        np.array([5001000, 5001001], dtype=object),
        [Decimal(5001000), Decimal("5001001")],
        pd.Categorical([5001000, 5001001]),
    ],
    ids=["int64", "Int64", "uint32", "objects", "decimals", "categories"],
)
def test_whole_numbers_are_read_as_general_cells_and_it_is_said(ids: Any) -> None:
    heard: list[RunWarning] = []

    report = batchlinks.check(pd.DataFrame({"MRN": ids, "Age": [40, 41]}), on_warning=heard.append)

    assert (report.summary.linked, report.summary.warnings) == (2, {"formats_unknown": 1})
    assert [warning.code for warning in heard] == ["formats_unknown"]


def test_whole_numbers_elsewhere_are_no_reason_to_warn() -> None:
    assert batchlinks.check(pd.DataFrame({"MRN": ["5001000"], "Age": [40]})).summary.warnings == {}


@pytest.mark.parametrize(
    "ids",
    [[5001000.0, None], [5001000.5, 5001001.0], np.array(["5001000", 5001001.0], dtype=object), pd.array([1.5, None], "Float64"),
     [Decimal("5001000.5"), None]],
    ids=["a blank made them floats", "fractions", "one among texts", "Float64", "decimals"],
)  # fmt: skip
@pytest.mark.parametrize("named", ["MRN", None])
def test_floating_point_ids_raise_and_name_the_column(ids: Any, named: str | None) -> None:
    with pytest.raises(BatchlinksError, match=r"The IDs in MRN are floating-point numbers.*dtype=str"):
        batchlinks.check(pd.DataFrame({"MRN": ids}), id_column=named)


def test_what_a_cell_holds_decides_as_in_a_spreadsheet() -> None:
    ids = ["5001000", np.True_, dt.date(2026, 1, 5), 1234567890123456, " 5001001 ", pd.NA, np.nan, pd.NaT]
    report = batchlinks.check(pd.DataFrame({"MRN": ids, "Row": range(8)}), id_column="MRN", any_column=True)

    assert report.summary.errors == {"unreadable_format": 1, "date_in_id": 1, "lost_digits": 1, "blank_id": 3}
    assert report.summary.linked == 2


# --- shapes of a frame ----------------------------------------------------------------------------------------


def test_headers_come_twice_blank_as_numbers_or_in_levels() -> None:
    twice = pd.DataFrame([["5001000", "a", "b", "c"]], columns=["MRN", "Note", "Note", None])
    levels = pd.DataFrame([["5001000", "a"]], columns=pd.MultiIndex.from_tuples([("MRN", ""), ("Visit", "Note")]))
    numbers = pd.DataFrame([["5001000", "a"]])

    assert batchlinks.check(twice).frame("errors").columns.tolist()[-4:] == ["MRN", "Note", "Note (2)", "Column D"]
    assert batchlinks.check(levels).frame("errors").columns.tolist()[-2:] == ["MRN", "Visit Note"]
    assert batchlinks.check(numbers, id_column="0").summary.linked == 1
    with pytest.raises(BatchlinksError, match="several columns are called so"):
        batchlinks.check(twice, id_column="Note")


def test_an_index_without_a_name_is_ignored_and_every_level_with_one_is_a_column() -> None:
    ignored = mrns(2).set_axis(["x", "y"], axis=0)
    levels = pd.DataFrame({"Note": ["a"]}, index=pd.MultiIndex.from_tuples([("5001000", 1)], names=["MRN", "Visit"]))

    assert batchlinks.check(ignored).frame("errors").columns.tolist()[-1] == "MRN"
    assert batchlinks.check(levels).frame("errors").columns.tolist()[-3:] == ["MRN", "Visit", "Note"]


def test_a_frame_without_rows_is_done() -> None:
    assert batchlinks.check(mrns(0)).exit_code == 0


_CELLS = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.dates(), st.datetimes(), st.times(),
    st.timedeltas(max_value=dt.timedelta(days=400)), st.decimals(), st.just(pd.NA), st.just(pd.NaT), st.uuids(),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_CELLS, min_size=1, max_size=6))
def test_whatever_python_values_a_column_holds_every_row_is_accounted_for(values: list[object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' own, about what it is handed
        frame = pd.DataFrame(
            {"MRN": [str(5_001_000 + each) for each in range(len(values))], "Other": pd.Series(values, dtype=object)}
        )
    try:
        report = batchlinks.check(frame, no_ledger=True)
    except BatchlinksError as error:
        assert "Other holds" in str(error)
    else:
        assert report.summary.linked == len(values)


# --- whose thread ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_it_works_in_a_running_event_loop_as_a_notebook_has() -> None:
    async def cell() -> batchlinks.Report:
        return batchlinks.run(mrns(5))

    async def service() -> list[batchlinks.Report]:
        starts = 5_100_000, 5_200_000
        return await asyncio.gather(
            *(asyncio.to_thread(batchlinks.run, mrns(4, start), name=f"list {start}") for start in starts)
        )

    assert asyncio.run(cell()).summary.linked == 5
    assert [report.summary.linked for report in asyncio.run(service())] == [4, 4]


@pytest.mark.usefixtures("healthex")
def test_runs_beside_each_other_hear_of_their_own_alone() -> None:
    def one(number: int) -> tuple[list[RunWarning], dict[str, str]]:
        heard: list[RunWarning] = []
        frame = mrns(6, 5_000_000 + 1_000 * number)
        frame["MRN"] = frame["MRN"].astype(int) if number % 2 else frame["MRN"]
        report = batchlinks.run(frame, name=f"list {number}", on_warning=heard.append)
        return heard, dict(zip(report.frame("links")["MRN"], report.frame("links")["link"], strict=True))

    with ThreadPoolExecutor(4) as threads:
        ended = list(threads.map(one, range(4)))

    for number, (heard, links) in enumerate(ended):
        assert [warning.code for warning in heard] == ["formats_unknown"] * (number % 2)
        assert list(links) == [str(5_000_000 + 1_000 * number + each) for each in range(6)]
        assert all(f"xid={external_id}." in link for external_id, link in links.items())


# --- hooks ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_hooks_are_called_in_the_callers_thread() -> None:
    told: list[RunProgress] = []
    threads = set()

    def confirm(preview: batchlinks.Preview) -> bool:
        threads.add(threading.current_thread())
        return preview.to_send == 5 and preview.known == 0

    def on_progress(progress: RunProgress) -> None:
        threads.add(threading.current_thread())
        told.append(progress)

    report = batchlinks.run(mrns(5), confirm=confirm, on_progress=on_progress)

    assert threads == {threading.current_thread()}
    assert (told[0], told[-1]) == (RunProgress(5), RunProgress(5, linked=5))
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert report.exit_code == 0


def test_a_no_sends_nothing(healthex: RunningSimulator) -> None:
    with pytest.raises(BatchlinksError, match="Nothing was sent"):
        batchlinks.run(mrns(5), confirm=lambda _: False)
    assert healthex.link_calls == 0


@pytest.mark.parametrize("hook", ["confirm", "on_progress"])
def test_what_a_hook_raises_is_raised_and_what_was_answered_is_kept(hook: str, healthex: RunningSimulator) -> None:
    def fail(_: object) -> bool:
        raise LookupError("the caller's own")

    hooks: dict[str, Any] = {hook: fail}
    with pytest.raises(LookupError, match="the caller's own"):
        batchlinks.run(mrns(5), **hooks)

    answered = len(healthex.links)
    assert answered == 0 or hook == "on_progress"
    assert batchlinks.run(mrns(5)).summary.reused == answered


def test_ctrl_c_ends_the_calls_in_good_order(start_healthex: Callable[..., RunningSimulator]) -> None:
    start_healthex(latency_ms=20)

    def press(progress: RunProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    report = batchlinks.run(mrns(200), on_progress=press)

    assert report.exit_code == batchlinks.ExitCode.INTERRUPTED
    assert report.stopped_by is not None
    assert 0 < report.summary.linked < 200 == report.summary.linked + report.summary.errors["not_attempted"]
    assert len(report.frame("links")) == report.summary.linked


# --- what cannot be used --------------------------------------------------------------------------------------

HALF_AN_EMOJI = SAME.assign(Note=pd.Series(["\ud83d", ""], dtype=object))
NOT_USABLE: dict[str, tuple[Callable[[], object], str]] = {
    "no roster": (lambda: batchlinks.run(None), "roster takes a path, bytes or a DataFrame, and this is of the type NoneType"),  # type: ignore[arg-type]
    "a list": (lambda: batchlinks.check([["5001000"]]), "roster takes a path"),  # type: ignore[arg-type]
    "a column alone": (lambda: batchlinks.check(PATIENTS["MRN"]), "roster (cannot be read as a table|takes a path)"),
    "bytes without a name": (lambda: batchlinks.check(b"MRN\n1"), "name is missing"),
    "a name with a folder": (lambda: batchlinks.check(b"MRN\n1", name="a/b.csv"), "name takes a file's name"),
    "a name for a path": (lambda: batchlinks.check("p.csv", name="b.csv"), "name goes with bytes or a DataFrame"),
    "bytes without a folder": (lambda: batchlinks.check(b"MRN\n1", name="p.csv"), "Name one with output_dir"),
    "no such argument": (lambda: batchlinks.check(PATIENTS, id_colum="MRN"), "no argument id_colum. Did you mean id_column?"),  # type: ignore[call-arg]
    "a number for a name": (lambda: batchlinks.check(PATIENTS, id_column=5), "id_column takes text"),  # type: ignore[arg-type]
    "text for a number": (lambda: batchlinks.check(PATIENTS, limit="5"), "limit takes a whole number"),  # type: ignore[arg-type]
    "numbers for columns": (lambda: batchlinks.check(PATIENTS, columns=[1]), "columns takes the names of columns"),  # type: ignore[list-item]
    "a column that is not there": (lambda: batchlinks.check(PATIENTS, id_column="MRM"), "what id_column says"),
    "settings of another kind": (lambda: batchlinks.check(PATIENTS, settings={"limit": 5}), "settings takes"),  # type: ignore[arg-type]
    "two that contradict": (lambda: batchlinks.check(PATIENTS, id_width=8, any_length=True), "id_width and any_length contra"),
    "a sheet of a frame": (lambda: batchlinks.check(PATIENTS, sheet="March"), "sheet is about files"),
    "files without a folder": (lambda: batchlinks.check(PATIENTS, protect=True), "protect is about files.*output_dir"),
    "a column of lists": (lambda: batchlinks.check(pd.DataFrame({"ID": ["1"], "X": [["a"]]})), "X holds values of the type list"),
    "a column of bytes": (lambda: batchlinks.check(pd.DataFrame({"MRN": [b"5001000"]})), "MRN holds values of the type bytes"),
    "half an emoji": (lambda: batchlinks.check(HALF_AN_EMOJI), "Note holds text that is no Unicode"),
    "no columns": (lambda: batchlinks.check(pd.DataFrame()), "has no columns"),
    "no project": (lambda: batchlinks.run(PATIENTS), "give project_id"),
    "no ID column": (lambda: batchlinks.check(PATIENTS[["ZIP", "Visits"]]), "Name it with id_column"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_USABLE)
def test_what_cannot_be_used_is_said_by_the_name_of_its_argument(case: str) -> None:
    call, said = NOT_USABLE[case]
    with pytest.raises(BatchlinksError, match=said) as raised:
        call()

    assert raised.value.exit_code == 2
    assert "--" not in str(raised.value)


def test_numbers_of_numpy_and_paths_as_text_will_do(tmp_path: Path) -> None:
    (tmp_path / "stop.csv").write_text("MRN\n00412870\n")

    numbers: Any = {"limit": np.int64(3), "timeout": np.float64(2), "keep_duplicates": np.bool_(True)}

    report = batchlinks.check(PATIENTS, exclude=str(tmp_path / "stop.csv"), **numbers)

    assert report.summary.errors == {"excluded": 1}


def test_bytes_with_a_name_are_a_roster_in_two_ways(tmp_path: Path) -> None:
    content = b"MRN\n5001000\n"

    for report in (
        batchlinks.check(content, name="p.csv", output_dir=tmp_path / "a"),
        batchlinks.check(RosterBytes("p.csv", content), output_dir=str(tmp_path / "b")),
    ):
        assert report.summary.linked == 1
        assert report.published.paths["errors"].name == "p.check.xlsx"


def test_an_error_can_be_sent_to_another_process() -> None:
    with pytest.raises(SettingsError) as raised:
        batchlinks.check(PATIENTS, id_width=8, any_length=True)

    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


# --- the page about it ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_the_cells_of_the_page_run_as_a_notebook_runs_them(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(batchlinks.__file__).parents[1].joinpath("docs", "python.md").read_text()
    cells = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}

    async def notebook() -> None:
        for cell in cells:
            compiled = compile(cell, "a cell of docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(compiled, names)
            if running is not None:
                await running

    asyncio.run(notebook())

    assert len(cells) > 6
    assert sorted(path.name for path in Path.cwd().glob("*.csv")) == ["North.csv", "South.csv"]
    assert pd.read_csv("North.csv", dtype=str)["link"].str.contains("xid=00412870.").all()
    assert "0 patient IDs would be sent" in capsys.readouterr().out
    assert [each.summary.linked for each in names["reports"]] == [2, 2]
