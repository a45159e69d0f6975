"""What the words of a column header mean, one by one and in phrases.

Knows words, not headers: `Pt MRN`, `patient.mrn`, `PATMRN` and `MRN (patient)` say the same. The words stand in
`lexicon.toml`; what they come to, as an identifier's header, `meaning.py` says. Pure, and light to import.
"""

import re
import tomllib
import unicodedata
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path


class Sense(Enum):
    """What one word of a header contributes."""

    UNKNOWN = auto()
    NEUTRAL = auto()  # says nothing of its own: of, the, primary, unique, local
    IDENTIFIER = auto()  # ID, number, #
    REFERENCE = auto()  # an identifier only beside its owner: reference, key
    CODE = auto()  # the same, and otherwise a code list: state code
    RECORD_NUMBER = auto()  # a whole identifier in itself: MRN, EMPI, IPP
    NATIONAL_NUMBER = auto()  # a patient number that a health service issues: NHS, KVNR
    PUBLIC_PAYER = auto()  # Medicaid, Medicare
    PATIENT = auto()
    WEAK_PATIENT = auto()  # a patient in some files, somebody else in others: subject, resident
    MEMBER = auto()
    HOLDER = auto()  # one person for a whole family: subscriber, insured
    EMPLOYEE = auto()
    CLIENT = auto()  # a patient in behavioural health, an employer in an eligibility file
    CHART = auto()
    EXTERNAL = auto()
    ENTERPRISE = auto()
    PROVIDER = auto()
    RELATIVE = auto()  # mother, guarantor, newborn, emergency contact
    INSURER = auto()  # payer, carrier: `Payer ID` is the payer's own
    INSURANCE = auto()  # insurance, policy: `Insurance ID` is the patient's number with somebody else
    PLAN = auto()
    PLACE = auto()
    EVENT = auto()  # visit, order, claim: one patient has many
    THING = auto()
    ACCOUNT = auto()  # a patient's in some systems, a guarantor's or a visit's in others
    FOLDER = auto()  # case, record, folder: the same
    SYSTEM = auto()
    ANOTHER = auto()  # previous, alternate, merged: not the one in use
    ATTRIBUTE = auto()  # type, name, date, status: about something, never its identifier
    FIRST_NAME = auto()
    NAME = auto()
    BIRTH = auto()
    PERSON_CODE = auto()  # tells the members of one family apart
    SUFFIX = auto()  # a person code, or the Jr. of a name
    RELATIONSHIP = auto()
    SOCIAL_SECURITY = auto()
    TAX_ID = auto()  # of a person
    MEDICARE_CLAIM = auto()  # HICN: a Social Security number with a letter
    NOTE = auto()  # how the identifier is written: ten digits, with leading zeros


LEXICON = tomllib.loads(Path(__file__).with_name("lexicon.toml").read_text(encoding="utf-8"))

_SENSES: dict[str, Sense] = {
    word: Sense[sense.upper()] for sense, words in LEXICON["senses"].items() for word in words.split()
}
_NUMBER = "(?:" + "|".join(LEXICON["numbering"].split()) + ")"
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?<!\S){pattern.replace('{number}', _NUMBER)}(?!\S)"), word) for word, pattern in LEXICON["phrases"]
)
_LOOSE_PARTS = frozenset(LEXICON["loose_parts"].split())
_WORDS_TO_FIND = frozenset(word for word in _SENSES if len(word) > 2) | _LOOSE_PARTS | {"id", "no", "pt", "nr", "of"}

_VOUCHING_SENSES = frozenset({
    Sense.RECORD_NUMBER, Sense.NAME, Sense.FIRST_NAME, Sense.BIRTH, Sense.RELATIONSHIP, Sense.SUFFIX,
    Sense.PERSON_CODE, Sense.SOCIAL_SECURITY, Sense.TAX_ID, Sense.MEDICARE_CLAIM,
})  # fmt: skip
_VOUCHING_WORDS = frozenset(LEXICON["only_in_headers"].split())

_LONGEST_HEADER = 100

REMEMBERED = 65_536
"""Headers and words of them whose meaning is kept in memory: several rules ask for each, and a list has up to 20,000 columns."""


def fold(text: str) -> str:
    """Text without accents and compatibility forms (full-width letters, `№`); case is kept."""
    decomposed = unicodedata.normalize("NFKD", text.replace("°", "o"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def key(header: str) -> str:
    """What is left of a header when case, accents, spaces and punctuation do not count."""
    return "".join(char for char in fold(header).casefold() if char.isalnum())


def sense_of(word: str) -> Sense:
    """What a word of a header speaks of."""
    if word.isdigit():
        return Sense.NEUTRAL
    return _SENSES.get(word, Sense.UNKNOWN)


def _known(word: str) -> bool:
    return word in _SENSES or word in _LOOSE_PARTS or word.isdigit()


@lru_cache(maxsize=REMEMBERED)
def _taken_apart(run: str) -> tuple[str, ...] | None:
    """The fewest known words that make up a run of letters (`medrecno`), None if none do."""
    best: list[tuple[str, ...] | None] = [()]
    for end in range(1, len(run) + 1):
        fits: tuple[str, ...] | None = None
        for start in range(end):
            before = best[start]
            if before is None or run[start:end] not in _WORDS_TO_FIND:
                continue
            if fits is None or len(before) + 1 < len(fits):
                fits = (*before, run[start:end])
        best.append(fits)
    return best[-1]


_CHUNK = re.compile(r"[^\W_]+|#")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\dA-Za-z_]+")


def _chunk_words(chunk: str) -> tuple[str, ...]:
    whole = chunk.casefold()
    if chunk == "#" or _known(whole):
        return (whole,)
    if whole.isalpha() and (apart := _taken_apart(whole)):
        return apart
    words: list[str] = []
    for hump in _HUMP.findall(chunk):
        part = hump.casefold()
        words.extend((part,) if _known(part) else (_taken_apart(part) or (part,)))
    return tuple(words)


@lru_cache(maxsize=REMEMBERED)
def words_of(header: str) -> tuple[str, ...]:
    """The words of a header in lower case, without accents, phrases drawn together.

    `patientMRN`, `PATIENT_MRN` and `patientmrn` are ("patient", "mrn"); `Med. Rec. #` is ("mrn", "#"). What is too
    long to be a header has no words.
    """
    if len(header) > _LONGEST_HEADER:
        return ()
    plain = re.sub(r"['’`´]s?\b", lambda match: "" if match[0][1:] else " ", fold(without_notes(header)))
    joined = " ".join(word for chunk in _CHUNK.findall(plain) for word in _chunk_words(chunk))
    for pattern, word in _PHRASES:
        joined = pattern.sub(word, joined)
    return tuple(joined.split())


def without_notes(header: str) -> str:
    """A header without what it says in brackets of its length or form: `MRN (10 digits)` is `MRN`."""
    return _BRACKETED.sub(lambda found: " " if _is_note(found[0][1:-1]) else found[0], header)


_BRACKETED = re.compile(r"[(\[{][^()\[\]{}]*[)\]}]")
_OPENS_A_NOTE = frozenset(LEXICON["opens_a_note"].split())
_PATIENTS_INSURERS = frozenset(LEXICON["patients_own_insurance"].split())


def _is_note(text: str) -> bool:
    words = words_of(text)
    if not words:
        return True
    return words[0] in _OPENS_A_NOTE or any(sense_of(word) is Sense.NOTE for word in words)


@lru_cache(maxsize=REMEMBERED)
def senses_of(header: str) -> tuple[Sense, ...]:
    """What each word of a header speaks of, in their order."""
    return tuple(sense_of(word) for word in words_of(header))


def is_plain(header: str) -> bool:
    """Whether a header is certainly made of header words, so that it may be shown in a message.

    The "header" of a list without one is a patient: every word must be known, and one must be a header's only.
    """
    words = words_of(header)
    senses = {sense_of(word) for word in words}
    if key(header) in {"age", "sex", "race"}:  # not as parts of words: Middlesex
        return True
    return (
        not re.search(r"\d{3}", header)
        and Sense.UNKNOWN not in senses
        and bool(_VOUCHING_SENSES.intersection(senses) or _VOUCHING_WORDS.intersection(words))
    )


# --- what a column says of the list ---------------------------------------------------------------------------

_SOMEBODY_ELSE = frozenset({
    Sense.PROVIDER, Sense.RELATIVE, Sense.HOLDER, Sense.EMPLOYEE, Sense.INSURER, Sense.INSURANCE, Sense.PLACE,
    Sense.THING, Sense.PLAN,
})  # fmt: skip


def says_name(header: str) -> bool:
    """Whether a column holds a name, or a part of one, of the row's own person."""
    return bool(name_words(header)) and not _SOMEBODY_ELSE.intersection(senses_of(header))


_NAMES = frozenset({Sense.NAME, Sense.FIRST_NAME})
_GOES_WITH_A_NAME = frozenset({*_NAMES, Sense.NEUTRAL})
_FIRST_OR_LAST = frozenset("first last fst lst frst".split())


def name_words(header: str) -> frozenset[str]:
    """The words of a header that speak of a name; none where the first or last of something else is meant: `Last Visit`."""
    words = words_of(header)
    return frozenset(
        word
        for at, word in enumerate(words)
        if sense_of(word) in _NAMES
        and not (word in _FIRST_OR_LAST and at + 1 < len(words) and sense_of(words[at + 1]) not in _GOES_WITH_A_NAME)
    )


def says_birth_date(header: str) -> bool:
    """Whether a column holds the birth date of the row's own person."""
    senses = senses_of(header)
    return Sense.BIRTH in senses and not {*_SOMEBODY_ELSE, Sense.NAME}.intersection(senses)


def says_event(header: str) -> bool:
    """Whether a column speaks of a visit, an order, a claim: then a row may be one of these, not a patient."""
    return Sense.EVENT in senses_of(header)


def says_physician(header: str) -> bool:
    """Whether a column holds the NPI of the row itself, so that a row is a physician: `NPI`, not `PCP NPI`."""
    return {"npi"} <= set(words_of(header)) <= {"npi", "id", "number", "no", "#", "individual", "type"}


def says_insurance(header: str) -> bool:
    """Whether a column names the insurance, as a clinic's list does; a health plan's own says nothing of it."""
    senses = senses_of(header)
    return Sense.INSURANCE in senses and not {"coverage", "cvg", "cov"}.intersection(words_of(header))


def notes_an_insurance(header: str) -> bool:
    """Whether a column names the insurance of a patient, or its first or second payer: the list is a clinic's."""
    words = set(words_of(header))
    insurer = Sense.INSURER in senses_of(header)
    return says_insurance(header) or (insurer and bool(words & (_PATIENTS_INSURERS | {"primary", "secondary"})))


def says_relationship(header: str) -> bool:
    """Whether a column says how the row's person is related to the holder of an insurance."""
    senses = senses_of(header)
    return Sense.RELATIONSHIP in senses and not {Sense.PROVIDER, Sense.RELATIVE}.intersection(senses)
