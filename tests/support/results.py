"""What a run wrote, as a person reads it."""

import csv
import json
from pathlib import Path
from typing import Any

import openpyxl


def sheet(path: Path, name: str) -> list[dict[str, str]]:
    """The rows of one sheet, by header; a blank cell is ""."""
    workbook = openpyxl.load_workbook(path)
    rows = [["" if cell is None else str(cell) for cell in row] for row in workbook[name].iter_rows(values_only=True)]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def links(path: Path) -> list[dict[str, str]]:
    """`NAME.links.xlsx`."""
    return sheet(path, "Links")


def errors(path: Path) -> list[dict[str, str]]:
    """`NAME.errors.xlsx`, sheet `Errors`."""
    return sheet(path, "Errors")


def duplicates(path: Path) -> list[dict[str, str]]:
    """`NAME.errors.xlsx`, sheet `Duplicates`."""
    return sheet(path, "Duplicates")


def codes(path: Path) -> dict[int, str]:
    """Row number -> error code, from `NAME.errors.xlsx` or `NAME.check.xlsx`."""
    return {int(row["error_row"]): row["error_code"] for row in errors(path)}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """A CSV that a run wrote."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def summary(path: Path) -> dict[str, Any]:
    """`NAME.summary.json`."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
