"""Lists for screening: patients of every kind, and what stands between them in reports. All of it is invented."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import numpy as np
import pyarrow as pa

from batchlinks.columns.id_column import IdColumn
from batchlinks.table import CellKind, Table

LAST = "Smith Jones Brown Garcia Lopez Nguyen Patel Kim Müller Dubois Rossi Janssen Okafor Page Count Total Sum".split()
FIRST = "Ann Bo Cleo Dev Eve Finn Gia Hal Ida Jon Kai Liv Mia Noa Ola Pia".split()


@dataclass(frozen=True)
class Layout:
    """A list's headers, and what stands under each: a word that `cell` knows."""

    headers: tuple[str, ...]
    holds: tuple[str, ...]

    @property
    def id_at(self) -> int:
        return self.holds.index("id")


LAYOUTS = (
    Layout(
        ("MRN", "Last Name", "First Name", "DOB", "Phone", "Clinic"), ("id", "last", "first", "born", "phone", "group")
    ),
    Layout(("Patient Name", "MRN", "DOB", "Phone", "Clinic"), ("name", "id", "born", "phone", "group")),
    Layout(("Clinic", "Member ID", "First Name", "Last Name", "Birth Date"), ("group", "id", "first", "last", "born")),
    Layout(("MRN", "Phone", "City", "Clinic", "Plan"), ("id", "phone", "city", "group", "plan")),
    Layout(
        ("Station", "Patienten-ID", "Nachname", "Vorname", "Geburtsdatum"), ("group", "id", "last", "first", "born")
    ),
)

MAKERS: dict[str, Callable[[Random, int], str]] = {
    "eight digits": lambda _, at: f"{10_234 + 7 * at:08}",
    "a letter and digits": lambda _, at: f"A{10_234 + 7 * at}",
    "a site and digits": lambda _, at: f"MGH:{12_345 + at:07}",
    "pairs of digits": lambda _, at: "-".join(f"{123_456 + 11 * at}"[pair : pair + 2] for pair in (0, 2, 4)),
    "a letter behind": lambda _, at: f"{400_100 + 3 * at}B",
    "one after the other": lambda _, at: str(at + 1),
    "from four to seven digits": lambda chance, at: (
        f"{chance.choice([1, 10, 100, 1000])}{at:03}"[-7:].lstrip("0") or "1"
    ),
    "random letters and digits": lambda chance, _: str(UUID(int=chance.getrandbits(128), version=4)),
}
FIXED = ("eight digits", "a letter and digits", "a site and digits", "pairs of digits", "a letter behind")
"""Those that all have one shape."""


@dataclass
class MixedList:
    """Rows under a layout, of which some are no patients'."""

    layout: Layout
    rows: list[list[str]] = field(default_factory=list)
    strays: set[int] = field(default_factory=set)
    """Positions of the rows that may not be sent."""

    aggregates: set[int] = field(default_factory=set)
    """Positions of the rows whose ID cell is a formula that counts."""

    def patient(self, chance: Random, identifier: str, at: int, group: str = "North", only: Sequence[str] = ()) -> None:
        """Add a patient; with `only`, of whom nothing else is known."""
        first, last = FIRST[at % len(FIRST)], LAST[at // len(FIRST) % len(LAST)]
        cells = {
            "id": identifier, "last": last, "first": first, "name": f"{last}, {first}", "group": group, "city": "Boston",
            "born": f"19{30 + at % 60}-{1 + at % 12:02}-{1 + at % 28:02}", "phone": f"617555{at:04}", "plan": "PPO",
        }  # fmt: skip
        self.rows.append([cells[held] if not only or held in ("id", *only) else "" for held in self.layout.holds])
        chance.random()

    def stray(
        self, identifier: str, beside: Sequence[str] = (), at: Sequence[str] = (), *, formula: bool = False
    ) -> None:
        """Add a row with this in the ID cell, and `beside` in the cells that hold what `at` says (the first that there are)."""
        row = [""] * len(self.layout.holds)
        row[self.layout.id_at] = identifier
        places = [self.layout.holds.index(held) for held in at if held in self.layout.holds]
        for place, text in zip(places, beside, strict=False):
            row[place] = text
        self.strays.add(len(self.rows))
        if formula:
            self.aggregates.add(len(self.rows))
        self.rows.append(row)

    @property
    def table(self) -> Table:
        columns = list(zip(*self.rows, strict=True))
        kinds = np.zeros(len(self.rows), dtype=np.int8)
        kinds[list(self.aggregates)] = CellKind.AGGREGATE
        return Table(
            self.layout.headers,
            pa.table({str(at): pa.array(column, pa.string()) for at, column in enumerate(columns)}),
            np.arange(2, len(self.rows) + 2, dtype=np.int32),
            kinds={self.layout.id_at: kinds},
        )

    @property
    def column(self) -> IdColumn:
        return IdColumn((self.layout.id_at,), self.layout.headers[self.layout.id_at])


# --- what stands between patients ---------------------------------------------------------------------------------

SUBTOTALS = (
    "{} Count", "{} Total", "Total {}", "Subtotal", "Total for {}", "{} Anzahl", "{} Ergebnis", "Summe {}", "Zwischensumme",
    "Nombre {}", "Sous-total", "Total {}", "Recuento {}", "Subtotal {}", "Totale {}", "Conteggio {}", "Aantal {}", "Subtotaal",
)  # fmt: skip
TOTALS = (
    "Grand Count", "Grand Total", "Total", "TOTALS", "Total patients", "Gesamtergebnis", "Gesamt", "Total général",
    "Total general", "Totale complessivo", "Eindtotaal",
)  # fmt: skip
HEADINGS = (
    "Unit {}B", "Ward {}", "PCP 100{}", "Clinic {}", "Station {}", "Etage {}", "Sala {}", "Team {}", "Room 1{}0", "Panel {}",
    "Zone {}", "Abteilung {}",
)  # fmt: skip
LINES = (
    "Page {} of 9",
    "Seite {} von 9",
    "Page {} sur 9",
    "Página {} de 9",
    "Total: {}",
    "Run date: 11/0{}/2026",
    "{} records",
)
TRAILERS = ("TRL{:06}", "TRAILER{}", "T{:05}", "EOF|{}", "{}")
MORE = (
    "{} Smith",
    "{} - Smith John",
    "{} and {}",
    "{}/{}",
    "{} {}",
    "MRN: {}",
    "MRN {}",
    "{} old",
    "ID# {}",
    "{} deceased",
)

KINDS = ("subtotals", "formulas", "headings", "lines", "trailer", "two lines", "more", "header")


def with_strays(kind: str, seed: int) -> MixedList:
    """Patients in groups, and between them what reports put there."""
    chance = Random(seed)
    make = MAKERS[chance.choice(FIXED)]
    found = MixedList(chance.choice(LAYOUTS))
    size = chance.choice([4, 5, 8, 9, 12])
    groups = chance.sample(["North", "South", "East", "West", "Harbor", "Lake"], chance.choice([3, 4, 5]))
    label, heading, line = chance.choice(SUBTOTALS), chance.choice(HEADINGS), chance.choice(LINES)
    where = ("group", "phone") if kind in ("subtotals", "formulas") else ("last", "phone", "name")
    at = 0
    for number, group in enumerate(groups, start=1):
        if kind == "headings":
            found.stray(
                heading.format(number), chance.choice([(), ("12 patients",), ("Hart, Jane",)]), ("last", "city")
            )
        for _ in range(size):
            found.patient(chance, make(chance, at), at, group)
            if kind == "two lines":
                found.stray(f"V{88_000 + at:09}", ("12 Elm St",), where)
            at += 1
        if kind in ("subtotals", "formulas"):
            found.stray(str(size), (label.format(group),), where, formula=kind == "formulas")
        if kind == "lines":
            found.stray(line.format(number))
        if kind == "header":
            found.stray("")
            found.rows[-1] = list(found.layout.headers)
    if kind in ("subtotals", "formulas"):
        found.stray(str(at), (chance.choice(TOTALS),), where, formula=kind == "formulas")
    if kind == "trailer":
        found.stray(chance.choice(TRAILERS).format(at))
    if kind == "more":
        for text in chance.sample(MORE, 3):
            one, other = make(chance, at + 500), make(chance, at + 501)
            found.patient(chance, text.format(one, other), at)
            found.strays.add(len(found.rows) - 1)
            at += 1
    return found


# --- patients of several kinds --------------------------------------------------------------------------------

MIXES = (
    "one typed by hand", "an acquired clinic", "two hospitals", "an emptier hospital", "lone surnames",
    "nothing but IDs for some", "one after the other", "from four to seven digits", "random letters and digits",
    "names like a total's",
)  # fmt: skip


def of_patients(mix: str, seed: int) -> MixedList:
    """A list in which everybody is a patient, though not all are alike."""
    chance = Random(seed)
    found = MixedList(chance.choice(LAYOUTS))
    usual, other = (MAKERS[name] for name in chance.sample(FIXED, 2))
    size = chance.choice([24, 40, 80, 150])
    match mix:
        case "one typed by hand":
            for at in range(chance.choice([4, 5, 9])):
                found.patient(chance, usual(chance, at), at)
            found.patient(chance, f"N-{chance.randrange(10, 99)}", 30)
        case "an acquired clinic":
            for at in range(100):
                found.patient(chance, f"E{1_234_567 + at}" if at % 25 == 3 else MAKERS["eight digits"](chance, at), at)
        case "two hospitals" | "an emptier hospital":
            share, only = chance.choice([0.1, 0.3, 0.5]), ("last", "first", "name", "group") if "emptier" in mix else ()
            of_other = [chance.random() < share for _ in range(size)]
            for at in chance.sample(range(size), 3):  # fewer than three of a kind are a question
                of_other[at] = True
            if chance.random() < 0.5:
                of_other.sort()
            for at, is_other in enumerate(of_other):
                found.patient(chance, (other if is_other else usual)(chance, at), at, only=only if is_other else ())
        case "lone surnames":
            found.layout = LAYOUTS[0]
            for at in range(size):
                found.patient(chance, usual(chance, at), 16 * at, only=("last",))
        case "nothing but IDs for some":
            for at in range(size):
                found.patient(chance, usual(chance, at), at, only=("id",) if at % 9 == 4 else ())
        case "names like a total's":
            found.layout = LAYOUTS[0]
            for at in range(size):
                found.patient(chance, usual(chance, at), 16 * (13 + at % 4), only=("last",) if at % 7 == 2 else ())
        case _:
            for at in range(size):
                found.patient(chance, MAKERS[mix](chance, at), at)
    return found
