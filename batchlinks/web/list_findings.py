"""What the page shows of a list and of a run: kinds of problems with their rows, the first rows. Pure; values for JSON.

Both are as small for a million rows as for ten.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import groupby

from batchlinks.columns.id_column import IdColumn, display_names
from batchlinks.columns.sensitive import social_security_columns
from batchlinks.next_steps import Advice
from batchlinks.patients.people import identity_columns
from batchlinks.pipeline.preview import Preview
from batchlinks.results.sheets import RefusedRow
from batchlinks.row_codes import Action, ErrorCode, WarningCode
from batchlinks.screening.result import Lengths, Screened, in_words
from batchlinks.table import Table
from batchlinks.web.check_result import Problem, RowValues, RunForecast, SamplePreview
from batchlinks.web.to_do import task_of
from batchlinks.web.wording import PAGE

_ROWS_SHOWN = 8
_ROWS_NAMED = 30
_ROWS_TO_CORRECT = 100
_SENTENCES_SHOWN = 3
_LONGEST_CELL = 60
_COLUMNS_SHOWN = 40
_ORDER = [Action.FIX, Action.ASK_IT, Action.AGAIN, Action.NOTHING]
NO_LENGTHS = Lengths()


def problems_of(refused: Sequence[RefusedRow], table: Table, column: IdColumn) -> list[Problem]:
    """What is to be done first, then by how many rows they concern; `refused` in the order of the error report."""
    found = []
    names = display_names(table.headers)
    hidden = social_security_columns(table, except_for=column.parts)
    identity = [at for at in identity_columns(table.headers, column.parts).positions if at not in hidden]
    shown = [*column.parts, *identity]
    for code, group in groupby(refused, key=lambda each: each.code):
        rows = list(group)
        kept = rows[:_ROWS_TO_CORRECT]
        ragged = code is ErrorCode.WRONG_FIELD_COUNT
        columns = [at for at in range(len(names)) if at not in hidden][:_COLUMNS_SHOWN] if ragged else shown
        sentences = dict.fromkeys(code.said_at(PAGE, each.gaps) for each in rows)
        found.append(
            Problem(
                code=code.value,
                action=code.action,
                count=len(rows),
                sentences=list(sentences)[:_SENTENCES_SHOWN],
                in_rows=in_words([each.row for each in rows], most=_ROWS_NAMED),
                task=task_of(code, len(rows)),
                columns=[names[at] for at in columns],
                to_correct=[names[at] for at in columns] if code.action is not Action.AGAIN else [],
                rows=[RowValues(each.row, _values(table, each.position, columns), _before(each)) for each in kept],
            )
        )
    return sorted(found, key=lambda problem: (_ORDER.index(Action(problem.action)), -problem.count))


def _before(refused: RefusedRow) -> str:
    if refused.code is not ErrorCode.KNOWN_AS_OTHER:
        return ""
    gaps = refused.gaps
    return f"{gaps['list']}, row {gaps['row']}, {gaps['date']}"


def _values(table: Table, position: int, columns: Sequence[int]) -> list[str]:
    fields = table.ragged_fields.get(position)
    if fields is not None:  # as they stand, one after the other: somebody has to put them right
        return [fields[place] if place < len(fields) else "" for place in range(len(columns))]
    return [table.cells.column(at)[position].as_py() for at in columns]


def warnings_of(counts: Mapping[str, int], lengths: Lengths = NO_LENGTHS) -> list[str]:
    """Sentences on what was noticed, for rows that are used all the same."""
    return [_warning(WarningCode(code), count, lengths) for code, count in counts.items()]  # type: ignore[call-arg]


def warning_rows_of(counts: Mapping[str, int], screened: Screened) -> list[str]:
    """For each warning the rows that it is about, in words; "" for none."""
    found = {code.value: rows for code, rows in screened.warnings.items()}
    return [in_words(found.get(code, ()), most=_ROWS_NAMED) for code in counts]


def _warning(code: WarningCode, count: int, lengths: Lengths) -> str:
    advice = PAGE.advise(Advice(code.advice)) if code.advice else ""
    counts = f" ({lengths.in_words()})" if code is WarningCode.MIXED_LENGTHS and lengths.rows else ""
    return f"{code.sentence(count if code.concerns_rows else 0)}{counts}. {advice}".rstrip()


def preview_of(table: Table, column: IdColumn | None, screened: Screened | None = None) -> SamplePreview:
    """The ID column is shown whatever it holds: it has to be looked at. `screened` tells the IDs as they will be sent."""
    hidden = social_security_columns(table, except_for=column.parts if column else ())
    first = table.cells.slice(0, _ROWS_SHOWN)
    cells = [[_shortened(text) for text in first.column(at).to_pylist()] for at in range(len(table.headers))]
    shown = [at for at, header in enumerate(table.headers) if header or any(cells[at])][:_COLUMNS_SHOWN]
    rows = [
        # nobody can tell which column the fields of a misfit belong to
        [None if at in hidden or row in table.ragged_fields else cells[at][row] for at in shown]
        for row in range(first.num_rows)
    ]
    ids: list[str] = []
    if screened is not None:
        used = screened.codes[:_ROWS_SHOWN] == 0
        ids = [
            text if use else "" for text, use in zip(screened.ids.slice(0, _ROWS_SHOWN).to_pylist(), used, strict=True)
        ]
    return SamplePreview(table.row_numbers[:_ROWS_SHOWN].tolist(), shown, rows, ids)


def forecast_of(preview: Preview) -> RunForecast:
    """What would happen now, as it is kept and shown."""
    done_before = preview.done_before
    return RunForecast(
        project=preview.project or preview.project_id,
        place=preview.place,
        new=preview.to_send,
        known=preview.known,
        withdrawn=preview.withdrawn,
        held_back=preview.held_back,
        answered=dict(preview.answered),
        missing=preview.missing,
        done_before=done_before.astimezone(UTC).isoformat(timespec="seconds") if done_before else None,
        in_words=preview.counts_in_words,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
