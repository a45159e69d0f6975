"""Which column of the list each field of a template takes. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from batchlinks.columns.header_words import is_plain, key
from batchlinks.columns.id_column import IdColumn, display_names
from batchlinks.errors import SettingsError
from batchlinks.patients.people import identity_columns
from batchlinks.table import Table


class Source(Enum):
    """Where the value of a field comes from that is no plain column."""

    LINK = auto()
    CODE = auto()
    IDENTIFIER = auto()
    FIRST_NAME = auto()
    LAST_NAME = auto()
    STREET = auto()
    """With the second line of the address, where the list has one and the template does not ask for it."""


class AddressPart(Enum):
    """What a header says of an address."""

    STREET = "address address1 addressline1 addressline street street1 streetaddress streetaddress1 addr addr1 line1"
    SECOND_LINE = "address2 addressline2 street2 streetaddress2 addr2 line2 apt apartment unit suite aptunit"
    CITY = "city town cityname"
    STATE = "state st province stateprovince statecode"
    ZIP = "zip zipcode zip5 postalcode postcode zippostalcode"

    @classmethod
    def of(cls, header: str) -> "AddressPart | None":
        """By its words, whoever's it is said to be: `Home Address`, `patient_zip`, `Mailing City`."""
        plain = _OWNERS.sub("", key(header))
        return next((part for part in cls if plain in part.value.split()), None)


_OWNERS = re.compile(
    r"^(?:patients?|pt|members?|mbr|home|mailing|mail|residential|residence|primary|current|perm(?:anent)?)+"
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a list that a letter asks for by what they mean; positions in the table."""

    first_name: int | None
    last_name: int | None
    full_name: int | None
    address: dict[AddressPart, int]


@dataclass(frozen=True, slots=True)
class FieldSource:
    """What a field of this name takes."""

    name: str
    source: Source | int
    """A source, or the position of a column."""

    address: AddressPart | None


def find_columns(table: Table, column: IdColumn) -> Columns:
    """The names and the parts of the address, by their headers; the first of each kind."""
    names = identity_columns(table.headers, column.parts)
    address: dict[AddressPart, int] = {}
    for position, header in enumerate(table.headers):
        part = AddressPart.of(header)
        if part is not None and position not in column.parts:
            address.setdefault(part, position)
    return Columns(names.first_name, names.last_name, names.full_name, address)


def match_fields(
    template: str, names: Sequence[str], table: Table, column: IdColumn, *, link_column: str, code_field: str
) -> dict[str, FieldSource]:
    """For each field name of the template what it takes: the column of that header, else the one that means the same.

    Raises SettingsError, naming the fields that the list lacks and its columns, where these are certainly headers.
    """
    columns = find_columns(table, column)
    headers = display_names(table.headers)
    asked = {AddressPart.of(name) for name in names}
    found, missing = {}, []
    for name in dict.fromkeys(names):
        source = _source_of(name, headers, columns, column, link_column=link_column, code_field=code_field)
        if source is None:
            missing.append(name)
            continue
        part = AddressPart.of(name)
        if part is AddressPart.STREET and isinstance(source, int) and AddressPart.SECOND_LINE not in asked:
            source = Source.STREET
        found[name] = FieldSource(name, source, part)
    if missing:
        raise _lacking(template, missing, table.headers)
    return found


def _source_of(
    name: str, headers: Sequence[str], columns: Columns, column: IdColumn, *, link_column: str, code_field: str
) -> Source | int | None:
    plain = key(name)
    if plain == key(code_field):
        return Source.CODE
    if plain in (key(link_column), "link"):
        return Source.LINK
    for position, header in enumerate(headers):
        if plain and (key(header) == plain or (len(name) >= _CUT and key(header).startswith(plain))):
            return Source.IDENTIFIER if position in column.parts and len(column.parts) == 1 else position
    if plain == key(column.name):
        return Source.IDENTIFIER
    return _by_meaning(name, columns)


_CUT = 38
"""Characters after which Word may have cut a header to make a field's name."""


def _by_meaning(name: str, columns: Columns) -> Source | int | None:
    meant = identity_columns([name])
    has_names = columns.first_name is not None or columns.full_name is not None
    if meant.first_name == 0 and has_names:
        return Source.FIRST_NAME
    if meant.last_name == 0 and (columns.last_name is not None or columns.full_name is not None):
        return Source.LAST_NAME
    part = AddressPart.of(name)
    return None if part is None else columns.address.get(part)


def _lacking(template: str, missing: Sequence[str], headers: Sequence[str]) -> SettingsError:
    shown = [header for header in headers if header and is_plain(header)]
    there = f" Its columns: {', '.join(shown[:_SHOWN])}{' …' if len(shown) > _SHOWN else ''}." if shown else ""
    asked = ", ".join(f"«{name}»" for name in missing[:_SHOWN])
    fields = "a field" if len(missing) == 1 else "fields"
    return SettingsError(
        f"{template} asks for {fields} that the list doesn't have: {asked}.{there} Put a column of the list in its place, "
        "or add the column to the list."
    )


_SHOWN = 12


def split_name(full: str) -> tuple[str, str]:
    """First and last name from one cell: `Garcia, Maria` is ("Maria", "Garcia"), `Maria Garcia` stays one piece."""
    last, comma, first = full.partition(",")
    return (first.strip(), last.strip()) if comma else (full.strip(), "")
