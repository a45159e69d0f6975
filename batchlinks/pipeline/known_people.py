"""Whose ID it is, as the ledger remembers: a list is held against it before anybody is sent, and teaches it what is new."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks, frees_memory, positions_among
from batchlinks.ledger.person_records import PEOPLE, PersonRecords
from batchlinks.ledger.person_tags import Tags, find_difference
from batchlinks.patients.people import Difference, identity_columns
from batchlinks.pipeline.intake import Roster
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.fixed_report import corrected, id_digest, unchanged_with
from batchlinks.screening.result import Mask, Screened

Positions = npt.NDArray[np.int64]

_TAGS = ("first_name", "birth_date")
NOBODY: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EarlierPerson:
    """Where the ID of a row was seen before, and in what its patient differs from the row's."""

    position: int
    row: int
    """As a spreadsheet numbers it."""

    difference: Difference
    list_name: str
    list_row: int | None
    """None where only an error report tells of it."""

    seen_on: str
    """The day, `2026-11-28` (UTC)."""


class KnownPeople:
    """What a list and the ledger say of the people behind one project's IDs."""

    def __init__(
        self,
        roster: Roster,
        screened: Screened,
        records: PersonRecords | None,
        confirmed: Mapping[int, str] = NOBODY,
        *,
        changes_ledger: bool = True,
    ) -> None:
        """`records` is None where there is no ledger; a check does not change it. `confirmed`: as in `RunContext`."""
        self._roster, self._screened, self._records = roster, screened, records
        self._identity = identity_columns(roster.table.headers, roster.id_column.parts)
        self._tagger = records.tagger(make_key=changes_ledger) if records is not None and self._identity else None
        self._typed = corrected(roster.table, roster.id_column)
        """Rows whose ID was typed since the list was screened."""

        self._tags: tuple[pa.DictionaryArray, ...] = ()
        """Of each row of the list: first name, birth date."""

        self._found = PEOPLE.empty_table()
        """Who is known of the list's IDs: all of them while they are compared, then those of whom not all is known."""

        self._known = np.zeros(len(roster.table), dtype=bool)
        """Rows with an ID whose person is known."""

        self._answers = confirmed
        self._confirmed: dict[int, str] = {}
        """Position of each row that somebody has confirmed -> what stands for its ID."""

        self._seen_in: int | None = None
        """The list's number in the ledger, once that has learned from it."""

    @property
    def confirmed(self) -> Mapping[int, str]:
        """Rows that were held back but for somebody's answer, each with what stands for its ID: an answer holds for that one."""
        return {int(self._roster.table.row_numbers[at]): digest for at, digest in self._confirmed.items()}

    @frees_memory
    def hold_back_others(self) -> None:
        """Refuse the IDs that stood for somebody else before, and warn of people who have changed."""
        table, screened = self._roster.table, self._screened
        refused_before = unchanged_with(ErrorCode.KNOWN_AS_OTHER, table, self._roster.id_column) & (screened.codes == 0)
        if self._look_up():
            refused_before[self._compare()] = False
            blank = pc.or_(*(pc.equal(self._found.column(name), "") for name in _TAGS))
            self._found = self._found.filter(blank)  # a million take 100 MB
        for position in np.flatnonzero(refused_before & (screened.codes == 0)).tolist():
            screened.refuse(position, ErrorCode.KNOWN_AS_OTHER, **_as_reported(table.earlier[position].gaps))

    @frees_memory
    def learn(self, known: pa.Table, to_send: pa.Array) -> None:
        """Remember who stands for the IDs that are handed out or sent, before they are. `known`: links that there are."""
        if self._tagger is None or self._records is None:
            return
        with_link = combine_chunks(known.column("external_id"))
        positions = self._screened.positions_of(pa.concat_arrays([with_link, to_send]))
        if self._typed.any():  # whether an ID that somebody has just typed is theirs nobody has said, if it had a link
            told = ~np.isin(positions, list(self._confirmed))
            positions = positions[~(self._typed[positions] & told & (np.arange(len(positions)) < len(with_link)))]
        self._complete(positions)
        answered = positions[np.isin(positions, list(self._confirmed))] if self._confirmed else positions[:0]
        if len(answered):
            self._records.confirm(self._people(answered), self._roster.table.name)
        new = self._people(positions[~self._known[positions]])
        self._found, self._tags = PEOPLE.empty_table(), ()
        if len(new):
            self._seen_in = self._records.learn(new, self._roster.table.name)

    def finish(self, sent: pa.Array, linked: Collection[str]) -> None:
        """All calls are made: who was sent and got no link is not remembered. Raises LedgerError."""
        if self._seen_in is not None and self._records is not None:
            unlinked = sent.filter(pc.invert(pc.is_in(sent, pa.array(linked, pa.string()))))
            self._records.finish(self._seen_in, unlinked.to_pylist())

    # --- confirming --------------------------------------------------------------------------------------------

    def find_others(self) -> Sequence[EarlierPerson]:
        """Rows that could be sent but for who their ID was before; of an error report, those that were refused for that."""
        table, screened = self._roster.table, self._screened
        if not self._look_up():
            return ()
        wanted = screened.sendable
        if table.is_error_report:
            wanted &= unchanged_with(ErrorCode.KNOWN_AS_OTHER, table, self._roster.id_column)
        rows = np.flatnonzero(wanted)
        places = self._places(rows)
        unknown = rows[places.is_null().to_numpy(zero_copy_only=False)] if table.is_error_report else rows[:0]
        rows, places = rows[places.is_valid().to_numpy(zero_copy_only=False)], places.drop_null()
        differences, _ = self._differences(rows, places)
        found = list(self._earlier(rows, places, differences).values())
        for position in unknown.tolist():
            told = _as_reported(table.earlier[position].gaps)
            where = str(told["list"]), None, str(told["date"])
            found.append(
                EarlierPerson(position, int(table.row_numbers[position]), Difference(str(told["difference"])), *where)
            )
        return sorted(found, key=lambda each: each.row)

    def confirm(self, others: Sequence[EarlierPerson]) -> None:
        """The patients in these rows are those whose IDs they are, from now on."""
        assert self._records is not None  # noqa: S101 - for the type checker
        self._records.confirm(
            self._people(np.array([each.position for each in others], np.int64)), self._roster.table.name
        )

    # --- comparing ---------------------------------------------------------------------------------------------

    def _compare(self) -> Positions:
        """Hold every row with a known ID against it. Returns the positions of those that say, in full, who it was before."""
        screened = self._screened
        rows = np.flatnonzero((screened.codes == 0) & screened.with_id) if len(self._found) else np.zeros(0, np.int64)
        places = self._places(rows)
        rows, places = rows[places.is_valid().to_numpy(zero_copy_only=False)], places.drop_null()
        self._known[rows] = True
        differences, says_less = self._differences(rows, places)
        other = {
            at: difference
            for at, difference in differences.items()
            if (difference is not Difference.BIRTH_DATES or self._typed[rows[at]])
            and not self._is_confirmed(int(rows[at]))
        }
        self._refuse(rows, places, other)
        still_open = screened.codes[screened.kept[rows]] == 0
        changed = [
            int(self._roster.table.row_numbers[rows[at]])
            for at in differences
            if still_open[at] and int(rows[at]) not in self._confirmed
        ]
        if changed:
            screened.warnings[WarningCode.PERSON_CHANGED] = sorted(changed)
        says_less[list(other)] = True
        in_full: Positions = rows[~says_less]
        return in_full

    def _is_confirmed(self, position: int) -> bool:
        row = int(self._roster.table.row_numbers[position])
        if row not in self._answers:
            return False
        digest = id_digest(None, self._screened.ids[position].as_py())
        if self._answers[row] in ("", digest):
            self._confirmed[position] = digest
        return position in self._confirmed

    def _differences(self, rows: Positions, places: pa.Array) -> tuple[dict[int, Difference], Mask]:
        """Rows that differ from what is known: index -> in what; and which leave blank what is known."""
        before = [combine_chunks(self._found.column(name)).take(places) for name in _TAGS]
        now = self._tags_of(rows)
        unlike, says_less = np.zeros((2, len(rows)), dtype=bool)
        for known, told in zip(before, now, strict=True):
            unequal = pc.not_equal(known, told).to_numpy(zero_copy_only=False)
            unlike |= unequal
            says_less |= unequal & pc.equal(told, "").to_numpy(zero_copy_only=False)
        at = np.flatnonzero(unlike)
        pairs = zip(*(tags.take(pa.array(at)).to_pylist() for tags in (*before, *now)), strict=True)
        seen: dict[tuple[str, ...], Difference | None] = {}  # a list whose dates are written otherwise has few kinds
        found = {}
        for index, pair in zip(at.tolist(), pairs, strict=True):
            if pair not in seen:
                seen[pair] = find_difference(Tags(*pair[:2]), Tags(*pair[2:]))
            if (difference := seen[pair]) is not None:
                found[index] = difference
        return found, says_less

    def _refuse(self, rows: Positions, places: pa.Array, other: Mapping[int, Difference]) -> None:
        """The row that stands for an ID is refused for all rows of it: which of them is whose nobody knows."""
        if not other:
            return
        for each in self._earlier(rows, places, other).values():
            self._screened.refuse(
                int(self._screened.kept[each.position]),
                ErrorCode.KNOWN_AS_OTHER,
                list=each.list_name,
                row=each.list_row,
                date=each.seen_on,
                difference=each.difference,
            )

    def _earlier(
        self, rows: Positions, places: pa.Array, differences: Mapping[int, Difference]
    ) -> dict[int, EarlierPerson]:
        """Index of each of these rows that differs -> where its ID was seen before."""
        if not differences:
            return {}
        assert self._records is not None  # noqa: S101 - for the type checker
        at = list(differences)
        before = self._found.select(["seen_in", "seen_row"]).take(places.take(pa.array(at))).to_pylist()
        lists = self._records.lists({each["seen_in"] for each in before})
        found = {}
        for index, each in zip(at, before, strict=True):
            seen, position = lists[each["seen_in"]], int(rows[index])
            row = int(self._roster.table.row_numbers[position])
            where = seen.name, each["seen_row"], seen.seen_at[:10]
            found[index] = EarlierPerson(position, row, differences[index], *where)
        return found

    def _look_up(self) -> bool:
        """Read who the list's people are, and who is known; False where there is nothing to compare."""
        if self._tagger is None or self._records is None:
            return False
        self._tags = self._tagger.of_rows(self._roster.table, self._identity)
        self._found = self._records.find(self._screened.ids.filter(pa.array(self._screened.sendable)))
        return True

    # --- learning ----------------------------------------------------------------------------------------------

    def _complete(self, positions: Positions) -> None:
        """What was blank in the list that had an ID first, a later one may tell."""
        assert self._records is not None  # noqa: S101 - for the type checker
        if not len(self._found):
            return
        places = self._places(positions)
        positions, places = positions[places.is_valid().to_numpy(zero_copy_only=False)], places.drop_null()
        before = self._found.take(places)
        now = dict(zip(_TAGS, self._tags_of(positions), strict=True))
        fills = {name: pc.and_(pc.equal(before.column(name), ""), pc.not_equal(now[name], "")) for name in _TAGS}
        columns = {name: before.column(name) for name in PEOPLE.names}
        columns |= {name: pc.if_else(fills[name], now[name], columns[name]) for name in _TAGS}
        more = pa.table(columns, PEOPLE).filter(pc.or_(*fills.values()))
        if len(more):
            self._records.complete(more)

    def _people(self, positions: Positions) -> pa.Table:
        """Those of these rows that say who they are of."""
        names, births = self._tags_of(positions)
        says = pc.or_(pc.not_equal(names, ""), pc.not_equal(births, ""))
        ids = self._screened.ids.take(pa.array(positions))
        rows = pa.array(self._roster.table.row_numbers[positions], pa.int64())
        columns = {"external_id": ids, "first_name": names, "birth_date": births, "seen_row": rows}
        return pa.table(columns).filter(says)

    def _tags_of(self, positions: Positions) -> tuple[pa.Array, ...]:
        return tuple(tags.take(pa.array(positions)).cast(pa.string()) for tags in self._tags)

    def _places(self, positions: Positions) -> pa.Array:
        """Where in `_found` the IDs of these rows stand; null where nobody is known."""
        return positions_among(self._screened.ids.take(pa.array(positions)), self._found.column("external_id"))


def _as_reported(gaps: Mapping[str, object]) -> dict[str, object]:
    """What a report that is handed in again says of it, where somebody has not changed that."""
    try:
        difference = Difference(str(gaps["difference"]))
        return {"list": str(gaps["list"]), "row": gaps["row"], "date": gaps["date"], "difference": difference}
    except (KeyError, ValueError):
        return {"list": "?", "row": "?", "date": "?", "difference": Difference.FIRST_NAMES}
