"""What was found as tables, as a picture, and in the documentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[1] / "docs"
PAGE = _DOCS / "performance.md"
PICTURE = _DOCS / "pictures" / "performance.svg"
_BEGIN, _END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"

Results = dict[str, Any]


def tables(results: Results) -> str:
    """Every part that was measured, with what was aimed at beside it."""
    makers = {"start": _start, "cost": _cost, "latency": _latency, "pace": _pace, "files": _files, "cluster": _cluster}
    made = results.get("made", {})
    said = [f"batchlinks {made.get('version')}, {made.get('on')}, {made.get('computer')}."]
    said += [maker(results[part]) for part, maker in makers.items() if part in results]
    return "\n\n".join(said)


def write_into_page(results: Results) -> None:
    """Between the two marks of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{tables(results)}\n\n{_END}{after}", encoding="utf-8")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(headers), "|".join(["---", *["---:"] * (len(headers) - 1)]), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def _start(found: Results) -> str:
    rows = [
        ("`batchlinks --help`, processor time", f"{found['help_cpu_s']:.2f} s", "0.5 s"),
        ("`run` on ten rows, from start to end", f"{found['ten_rows_wall_s']:.2f} s", "1 s more than its calls"),
        ("`run` on ten rows, processor time", f"{found['ten_rows_cpu_s']:.2f} s", ""),
    ]
    return f"**Start**\n\n{_table(('', 'measured', 'at most'), rows)}"


def _cost(found: Results) -> str:
    names = [name for name in ("batchlinks", "usual script", "csv2http", "aiohttp alone") if name in found]
    ours = found["batchlinks"]["cpu_us_a_row"]
    rows = [
        (
            name,
            f"{found[name]['cpu_us_a_row']:,.0f} µs",
            f"{found[name]['cpu_us_a_row'] / ours:.1f}",
            f"{found[name]['rows_a_second']:,.0f}",
            f"{found[name]['peak_mb']:,.0f} MB",
        )
        for name in names
    ]
    said = f"**Cost of a row**, {found['rows']:,} rows, 64 calls in flight, reading and writing included"
    table = _table(("", "processor time a row", "times batchlinks'", "rows a second", "memory"), rows)
    ceiling = found.get("server_ceiling")
    note = f"\n\nThe stand-in itself answers {ceiling:,.0f} calls a second at most (wrk)." if ceiling else ""
    return f"{said}\n\n{table}{note}"


def _latency(found: Results) -> str:
    rows = [
        (
            in_flight,
            f"{each['ideal']:,.0f}/s",
            f"{each['batchlinks']:,.0f}/s",
            f"{each['batchlinks'] / each['ideal']:.0%}",
            f"{each['aiohttp alone'] / each['ideal']:.0%}",
            f"{each['cores_busy']:.2f}",
        )
        for in_flight, each in found.items()
    ]
    headers = ("calls in flight", "possible", "batchlinks", "of it", "aiohttp alone", "cores busy")
    return f"**A server that takes 100 ms**\n\n{_table(headers, rows)}"


def _pace(found: Results) -> str:
    rows = [
        (f"constant, {name}, first 40 s", f"{each['share']:.1%}", f"{each['refused']:.2%}", "95 %, 1 %")
        for name, each in found["constant"].items()
    ]
    rows += [
        (f"{name} in mid-run, 45 s later", f"{each['share']:.1%}", f"{each['refused']:.2%}", "90 %")
        for name, each in found["changed"].items()
    ]
    shares = " and ".join(f"{share:.0%}" for share in found["shared"]["shares"])
    told = found["retry_after_30"]
    rows += [
        (f"two runs share {found['shared']['limit']}/s", shares, "", "25 % each"),
        (
            f"`--rate {found['ceiling']['rate']}`: most in a second",
            f"{found['ceiling']['most_in_a_second']}",
            "",
            "a ceiling",
        ),
        ("`Retry-After: 30`: shortest wait", f"{told['shortest_wait_s']:.1f} s", "", "30 s"),
    ]
    return f"**Pace**\n\n{_table(('limit', 'of the limit', 'calls refused', 'aim'), rows)}"


def _files(found: Results) -> str:
    rows = [
        (
            f"batchlinks, {name}",
            f"{each['wall_s']:.1f} s",
            f"{each['wall_s'] / each['rows'] * 1e6:.1f} µs",
            f"{each['peak_mb']:,.0f} MB",
        )
        for name, each in found["known"].items()
    ]
    peer = found["pandas and openpyxl"]
    rows.append(
        (
            "pandas and openpyxl, 100,000 xlsx",
            f"{peer['wall_s']:.1f} s",
            f"{peer['wall_s'] * 10:.1f} µs",
            f"{peer['peak_mb']:,.0f} MB",
        )
    )
    table = _table(("links all known, ten columns", "time", "a row", "memory, all processes"), rows)
    return (
        f"**Files**\n\n{table}\n\n100,000 rows: {found['times_as_fast']:.1f} times as fast as pandas with openpyxl, in "
        f"{found['share_of_memory']:.2f} of its memory."
    )


def _cluster(found: Results) -> str:
    rows = []
    for name, words in (
        ("workers_0", "one process"),
        ("workers_1", "`--workers 1`"),
        ("workers_2", "`--workers 2`"),
        ("workers_4", "`--workers 4`"),
        ("command_alone", "workers that answer without a call"),
    ):
        one = found[name]
        rows.append((words, f"{one['rows_a_second']:,}", f"{one['command_us']:,} µs", f"{one['workers_us']:,} µs"))
    said = "**Cluster**, the stand-in, the command and all workers on the same cores, 2,048 calls in flight"
    return f"{said}\n\n{_table(('', 'rows a second', 'command, a row', 'workers, a row'), rows)}"


def draw(results: Results) -> None:
    """Bars for the README: what a row costs, and what of a server's limit is used."""
    if "cost" not in results or "files" not in results:
        return
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "batchlinks", "font.family": "sans-serif"})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
    cost = results["cost"]
    names = [name for name in ("csv2http", "usual script", "batchlinks") if name in cost]
    _bars(left, names, [cost[name]["cpu_us_a_row"] / 1000 for name in names], "ms of processor time a row", "{:,.2f}")
    ours, peer = results["files"]["known"]["100,000 xlsx"], results["files"]["pandas and openpyxl"]
    _bars(
        right,
        ["pandas and openpyxl", "batchlinks"],
        [peer["wall_s"], ours["wall_s"]],
        "seconds for a workbook of 100,000 rows, links known",
        "{:,.1f}",
    )
    figure.savefig(PICTURE, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axes: Any, names: Sequence[str], values: Sequence[float], label: str, form: str) -> None:
    colours = ["#2f6f8f" if name == "batchlinks" else "#c4ccd2" for name in names]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, labels=[form.format(value) for value in values], padding=4)
    axes.set_xlabel(label)
    axes.set_xlim(0, max(values) * 1.15)
    axes.spines[["top", "right"]].set_visible(False)
