"""What the page shows of a list and of a run: kinds of problems with their rows, the first rows. Pure; values for JSON.

Both are as small for a million rows as for ten.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from batchlinks.columns.id_column import IdColumn
from batchlinks.columns.sensitive import social_security_columns
from batchlinks.next_steps import Advice
from batchlinks.results.sheets import RefusedRow
from batchlinks.row_codes import WarningCode
from batchlinks.screening.result import in_words
from batchlinks.table import Table
from batchlinks.web.check_result import Problem, SamplePreview
from batchlinks.web.wording import PAGE

_ROWS_SHOWN = 8
_ROWS_NAMED = 30
_SENTENCES_SHOWN = 3
_LONGEST_CELL = 60
_COLUMNS_SHOWN = 40


def problems_of(refused: Sequence[RefusedRow]) -> list[Problem]:
    """By how many rows they concern; `refused` in the order of the error report."""
    found = []
    for code, group in groupby(refused, key=lambda each: each.code):
        rows = list(group)
        sentences = dict.fromkeys(code.said_at(PAGE, each.gaps) for each in rows)
        found.append(
            Problem(
                code=code.value,
                action=code.action,
                count=len(rows),
                sentences=list(sentences)[:_SENTENCES_SHOWN],
                in_rows=in_words([each.row for each in rows], most=_ROWS_NAMED),
            )
        )
    return sorted(found, key=lambda problem: -problem.count)


def warnings_of(counts: Mapping[str, int]) -> list[str]:
    """Sentences on what was noticed, for rows that are used all the same."""
    return [_warning(WarningCode(code), count) for code, count in counts.items()]  # type: ignore[call-arg]


def _warning(code: WarningCode, count: int) -> str:
    advice = PAGE.advise(Advice(code.advice)) if code.advice else ""
    return f"{code.sentence(count if code.concerns_rows else 0)}. {advice}".rstrip()


def preview_of(table: Table, column: IdColumn | None) -> SamplePreview:
    """The ID column is shown whatever it holds: it has to be looked at."""
    hidden = social_security_columns(table, except_for=column.parts if column else ())
    first = table.cells.slice(0, _ROWS_SHOWN)
    cells = [[_shortened(text) for text in first.column(at).to_pylist()] for at in range(len(table.headers))]
    shown = [at for at, header in enumerate(table.headers) if header or any(cells[at])][:_COLUMNS_SHOWN]
    rows = [
        # nobody can tell which column the fields of a misfit belong to
        [None if at in hidden or row in table.ragged_fields else cells[at][row] for at in shown]
        for row in range(first.num_rows)
    ]
    return SamplePreview(table.row_numbers[:_ROWS_SHOWN].tolist(), shown, rows)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
