"""Do two rows with the same ID speak of the same person? First names and birth dates tell.

The rules compare what two people typed: `05-Jan-1980` is `1/5/1980`, `A.` and `ANN M.` are `Ann`, and a blank
never differs.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

from batchlinks.patients.identifier import is_placeholder

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# Somebody else's name or birth date on the patient's row says nothing about who the patient is.
_OTHERS = frozenset(
    """
    guarantor subscriber insured policyholder holder mother father parent guardian spouse partner dependent
    emergency contact provider physician doctor dr pcp referring attending caregiver carer manager employer
    facility clinic hospital plan payer payor group user practice location department coverage family household
    maiden middle preferred nick nickname alias previous former other suffix prefix second file print display
    city street drug medication program test list next kin relative responsible party
    """.split()
)
_BIRTH = (
    {"dob"}, {"do", "b"}, {"birth", "date"}, {"birthdate"}, {"birthday"}, {"dateofbirth"}, {"birth", "dt"}, {"birth", "dte"},
    {"bdate"}, {"born"}, {"geburtsdatum"}, {"date", "naissance"}, {"fecha", "nacimiento"}, {"d", "o", "b"},
)  # fmt: skip
_FIRST = (
    {"first", "name"}, {"firstname"}, {"fname"}, {"f", "name"}, {"first"}, {"given", "name"}, {"givenname"}, {"given"},
    {"forename"}, {"gvn", "name"}, {"1", "st", "name"}, {"first", "nm"}, {"prenom"}, {"vorname"}, {"nombre"}, {"namefirst"},
)  # fmt: skip
_LAST = (
    {"last", "name"}, {"lastname"}, {"lname"}, {"l", "name"}, {"last"}, {"family", "name"}, {"surname"}, {"srnm", "name"},
    {"last", "nm"}, {"nom"}, {"nachname"}, {"apellido"}, {"apellidos"}, {"namelast"},
)  # fmt: skip
_FULL = ({"name"}, {"patient", "name"}, {"full", "name"}, {"fullname"}, {"member", "name"}, {"pt", "name"},
         {"pat", "name"}, {"patientname"}, {"person", "name"}, {"client", "name"}, {"beneficiary", "name"},
         {"patient"}, {"member"}, {"client"}, {"last", "first"}, {"last", "first", "name"},
         {"last", "first", "mi"}, {"last", "first", "mi", "name"})  # fmt: skip
_OWN = frozenset("patient pt pat member mbr person bene beneficiary client enrollee participant legal".split())
_TITLES = frozenset("mr mrs ms miss mx dr prof rev sir madam".split())
_MONTHS = {
    name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}


class Difference(StrEnum):
    """In what people differ. Formatted into a sentence it is words; in a file it is its value."""

    BIRTH_DATES = "birth_dates"
    BIRTH_YEARS = "birth_years"
    FIRST_NAMES = "first_names"
    ANY = "first_names_or_birth_dates"
    """One of these: a report that was changed does not tell which."""

    def __format__(self, spec: str) -> str:
        return format(self.value.replace("_", " "), spec)


@dataclass(frozen=True, slots=True)
class IdentityColumns:
    """Positions of the columns that tell people apart; None where the roster has none."""

    birth_date: int | None = None
    first_name: int | None = None
    last_name: int | None = None
    full_name: int | None = None

    def __bool__(self) -> bool:
        return any(column is not None for column in (self.birth_date, self.first_name, self.full_name))

    @property
    def positions(self) -> tuple[int, ...]:
        """Of those that there are."""
        columns = (self.birth_date, self.first_name, self.last_name, self.full_name)
        return tuple(column for column in columns if column is not None)

    def that_tell(self, difference: Difference) -> tuple[int, ...]:
        """Of those in which two rows differ, by what `Person.differs_from` says."""
        told_by = {
            Difference.BIRTH_DATES: (self.birth_date,),
            Difference.BIRTH_YEARS: (self.birth_date,),
            Difference.FIRST_NAMES: (self.first_name, self.full_name),
            Difference.ANY: (self.birth_date, self.first_name, self.full_name),
        }[difference]
        return tuple(column for column in told_by if column is not None)


def identity_columns(headers: Sequence[str], besides: Collection[int] = ()) -> IdentityColumns:
    """The patient's own birth date and names, by their headers; the first column of each kind.

    `besides`: the columns of the ID, which are neither.
    """

    def first(forms: Iterable[set[str]], *, amid_others: bool = False) -> int | None:
        for position, words in enumerate(own):
            if position not in besides and any(form == words or (amid_others and form <= words) for form in forms):
                return position
        return None

    own = [_own_words(header) for header in headers]
    first_name = first(_FIRST)
    return IdentityColumns(
        birth_date=first(_BIRTH, amid_others=True),
        first_name=first_name,
        last_name=first(_LAST),
        full_name=first(_FULL) if first_name is None else None,
    )


def _own_words(header: str) -> frozenset[str]:
    """The header's words without the patient's own title ("Patient First Name" is {first, name})."""
    plain = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode()
    words = [word.lower() for word in _WORDS.findall(plain)]
    if any(word in _OTHERS for word in words):
        return frozenset()
    bare = frozenset(word for word in words if word not in _OWN | {"of", "de", "du", "s", "legal"})
    return bare or frozenset(words)


@dataclass(frozen=True, slots=True)
class Person:
    """What one row tells of its patient: "" or an empty set where it tells nothing."""

    first: str
    last: str
    born: "Readings"
    born_text: str

    def differs_from(self, other: "Person") -> Difference | None:
        """In which respect the two are certainly not one person; else None."""
        if self.born_text and other.born_text and self.born_text != other.born_text:
            readable = any(self.born) and any(other.born)
            if not readable or not any(ours & theirs for ours, theirs in zip(self.born, other.born, strict=True)):
                return Difference.BIRTH_DATES
        if self.first and other.first and not _same_first(self.first, other.first):
            return Difference.FIRST_NAMES
        return None

    def says_the_same_as(self, other: "Person") -> bool:
        """Whether first name and birth date are read as the same, so that nothing new comes from comparing it."""
        return (self.first, self.born, self.born_text) == (other.first, other.born, other.born_text)

    def has_other_last_name(self, other: "Person") -> bool:
        return bool(self.last) and bool(other.last) and self.last != other.last


def person(birth_date: str, first_name: str, last_name: str, full_name: str) -> Person:
    """A row's cells as typed -> what can be compared."""
    first, last = first_word(first_name), letters(last_name)
    if full_name:
        family, comma, given = full_name.partition(",")
        if comma:
            first, last = first or first_word(given), last or letters(family)
        else:
            first = first or first_word(full_name)
            last = last or letters(full_name.rpartition(" ")[2])
    born = dates(birth_date.strip())
    born_text = "" if not any(born) and is_placeholder(birth_date) else birth_date.strip()
    return Person(first, last, born, born_text)


def _same_first(one: str, two: str) -> bool:
    if len(one) == 1 or len(two) == 1:
        return one[0] == two[0]
    return one == two


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=65536)
def letters(text: str) -> str:
    """A name without case, accents, spaces and punctuation."""
    return "".join(character for character in _plain(text) if character.isalpha())


@lru_cache(maxsize=65536)
def first_word(text: str) -> str:
    """The first word of a name that is no title, as `letters` has it."""
    for word in re.split(r"[\s.,\-]+", _plain(text)):
        letters = "".join(character for character in word if character.isalpha())
        if letters and letters not in _TITLES:
            return letters
    return ""


Readings = tuple[frozenset[date], frozenset[date]]
"""The days that a text may mean where the month comes first, and where the day does. A roster keeps to one of
the two, so 1/5/1980 and 5/1/1980 are two days, and each of them may be 1980-01-05."""

_NOTHING: Readings = (frozenset(), frozenset())


@lru_cache(maxsize=65536)
def dates(text: str) -> Readings:
    """What a birth date as typed may mean; both sets are empty where it is no date.

    A two-digit year is read in both centuries. A time of day behind the date is passed over.
    """
    words = re.findall(r"\d+|[a-z]+", _CLOCK.sub("", text.lower()))
    if len(words) == 1 and words[0].isdigit() and len(words[0]) == 8:
        return _eight_digits(words[0])
    if len(words) != 3:
        return _NOTHING
    one, two, three = (str(_MONTHS.get(word[:3], "")) if word.isalpha() else word for word in words)
    if not (one and two and three):
        return _NOTHING
    if len(one) == 4 and words[0].isdigit():
        return _either_way(_days(one, two, three))
    if words[0].isalpha():
        return _either_way(_days(three, one, two))
    if words[1].isalpha():
        return _either_way(_days(three, two, one))
    return _days(three, one, two), _days(three, two, one)


_CLOCK = re.compile(r"[t ]+\d{1,2}:\d\d.*$")


def _eight_digits(digits: str) -> Readings:
    year_first = _days(digits[:4], digits[4:6], digits[6:])
    if year_first and digits[:2] in ("18", "19", "20"):
        return _either_way(year_first)
    return _days(digits[4:], digits[:2], digits[2:4]), _days(digits[4:], digits[2:4], digits[:2])


def _either_way(days: frozenset[date]) -> Readings:
    return days, days


def _days(year: str, month: str, day: str) -> frozenset[date]:
    """The days of the calendar that these numbers name: none, one, or with a two-digit year two."""
    years = (int(year),) if len(year) == 4 else (1900 + int(year) % 100, 2000 + int(year) % 100)
    days = set()
    for full_year in years:
        with suppress(ValueError):  # no such day in the calendar
            days.add(date(full_year, int(month), int(day)))
    return frozenset(days)
