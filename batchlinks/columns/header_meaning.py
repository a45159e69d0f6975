"""What a column header says about being the external ID's: whose identifier it announces, and how plainly.

Goes by the words of `header_words`. A header alone does not decide: `evidence.py` adds what the values and the other
columns say. Pure.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from batchlinks.columns.header_words import Sense, key, name_words, sense_of, senses_of, without_notes, words_of


class Kind(Enum):
    """Whose identifier a header announces."""

    RECORD = "medical record number"
    PATIENT = "patient identifier"
    SUBJECT = "identifier of a participant or subject"
    MEMBER = "member identifier"
    NATIONAL = "national patient number"
    PUBLIC_PAYER = "Medicaid or Medicare number"
    HOLDER = "identifier of a subscriber or employee"
    EXTERNAL = "external identifier"
    ENTERPRISE = "enterprise identifier"
    CLIENT = "client identifier"
    ACCOUNT = "account number"
    INSURANCE = "number of an insurance policy"
    BARE = "identifier of nobody named"
    OTHER = "number that a patient may share or have several of"
    UNKNOWN = "identifier of an owner whom no word list knows"


class Standing(IntEnum):
    """How plainly a header says that it is an external ID's."""

    NONE = 0
    DOUBTFUL = 1  # worth naming when asking, never taken unasked
    LIKELY = 2  # taken where nothing else could be it and the values bear it out
    CLEAR = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a header says: how plainly, and whose number."""

    standing: Standing
    kind: Kind


NOT_AN_ID = Meaning(Standing.NONE, Kind.OTHER)

# Columns that batchlinks itself writes; an error report is a roster again.
_OURS = frozenset(
    """
    errorrow errorcode erroraction errormessage errorcells screenedas keptrow link healthexlink linkissuedon linkisnew
    """.split()
)

_NEVER = frozenset({
    Sense.ATTRIBUTE, Sense.NAME, Sense.FIRST_NAME, Sense.BIRTH, Sense.PERSON_CODE, Sense.SUFFIX,
    Sense.RELATIONSHIP, Sense.SOCIAL_SECURITY, Sense.TAX_ID, Sense.RELATIVE,
})  # fmt: skip

_WHOLE = {
    Sense.RECORD_NUMBER: Meaning(Standing.CLEAR, Kind.RECORD),
    Sense.NATIONAL_NUMBER: Meaning(Standing.CLEAR, Kind.NATIONAL),
    Sense.PUBLIC_PAYER: Meaning(Standing.LIKELY, Kind.PUBLIC_PAYER),
    Sense.MEDICARE_CLAIM: Meaning(Standing.DOUBTFUL, Kind.PUBLIC_PAYER),
}

_OWNERS = {
    Sense.PATIENT: Meaning(Standing.CLEAR, Kind.PATIENT),
    Sense.WEAK_PATIENT: Meaning(Standing.LIKELY, Kind.SUBJECT),
    Sense.MEMBER: Meaning(Standing.CLEAR, Kind.MEMBER),
    Sense.HOLDER: Meaning(Standing.LIKELY, Kind.HOLDER),
    Sense.EMPLOYEE: Meaning(Standing.DOUBTFUL, Kind.HOLDER),
    Sense.CLIENT: Meaning(Standing.LIKELY, Kind.CLIENT),
    Sense.CHART: Meaning(Standing.CLEAR, Kind.RECORD),
    Sense.ACCOUNT: Meaning(Standing.DOUBTFUL, Kind.ACCOUNT),
    Sense.FOLDER: Meaning(Standing.DOUBTFUL, Kind.OTHER),
    Sense.INSURANCE: Meaning(Standing.DOUBTFUL, Kind.INSURANCE),
    Sense.SYSTEM: Meaning(Standing.DOUBTFUL, Kind.OTHER),
    Sense.PROVIDER: NOT_AN_ID,
    Sense.INSURER: NOT_AN_ID,
    Sense.PLAN: NOT_AN_ID,
    Sense.PLACE: NOT_AN_ID,
    Sense.EVENT: NOT_AN_ID,
    Sense.THING: NOT_AN_ID,
}

_NUMBER_WORDS = frozenset({"number", "num", "no", "nbr", "#", "nmbr", "numb"})
_ID_WORDS = frozenset("id ident identifier identification uid uuid guid identifiant identificador kennung".split())
_WHOLE_WITHOUT_NUMBER = frozenset("pid usubjid subjid hospitalno mbi kvnr phn hcn nhi ihi nuhsa cip".split())
_ROMANCE_CODES = frozenset("code codigo codice".split())
_SECOND_TO_AN_ID = frozenset("code cd codigo codice key".split())


def id_meaning(header: str, people: Collection[str] = ()) -> Meaning:
    """What a header says about being the external ID's column; `NOT_AN_ID` where it says something else.

    `people`: words for whoever the list's rows are (`people_words`), which mean the patient here.
    """
    words = words_of(header)
    if not words or re.search(r"\d{3}", without_notes(header)) or key(header) in _OURS:
        return NOT_AN_ID
    senses = tuple(Sense.PATIENT if word in people else sense_of(word) for word in words)
    if _NEVER.intersection(senses) or _is_a_count(words, senses):
        return NOT_AN_ID
    anchor = _anchor(words, senses)
    if anchor is None or anchor.meaning.standing is Standing.NONE:
        return NOT_AN_ID
    return _qualified(anchor, words, senses)


def _is_a_count(words: tuple[str, ...], senses: tuple[Sense, ...]) -> bool:
    """`Number of patients`, `# of Children`, `num_members`."""
    if words[0] not in _NUMBER_WORDS or len(words) == 1:
        return False
    return words[1] == "of" or (senses[1] in _OWNERS and words[1].endswith("s"))


class _Anchor(NamedTuple):
    """The identifier that a header is about, and what stands around it."""

    meaning: Meaning
    before: tuple[Sense, ...]
    within: tuple[Sense, ...]
    """Between the owner and the identifier's last word: `MyChart` in `Patient MyChart ID`."""
    after: tuple[Sense, ...]


def _anchor(words: tuple[str, ...], senses: tuple[Sense, ...]) -> _Anchor | None:
    """What a header is about; None if about no identifier.

    In `Hospital patient ID` and in `Numéro du patient` it is the patient's: the owner nearest to the left of
    the last identifier word, or else the first to the right of it.
    """
    numbers = _numbers(words, senses)
    for sense, meaning in _WHOLE.items():
        if sense not in senses:
            continue
        at = len(senses) - 1 - senses[::-1].index(sense)
        # "Medicare" alone is a yes or no, "NHS" a trust; "MRN" is a number without a further word
        if sense in (Sense.RECORD_NUMBER, Sense.MEDICARE_CLAIM) or words[at] in _WHOLE_WITHOUT_NUMBER or numbers:
            return _Anchor(meaning, senses[:at], (), senses[at + 1 :])
    for at, word in enumerate(words):
        if word in _WHOLE_WITHOUT_NUMBER:
            return _Anchor(_OWNERS[senses[at]], senses[:at], (), senses[at + 1 :])
    if not numbers:
        return None
    owners = [at for at, sense in enumerate(senses) if sense in _OWNERS]
    if not owners:
        return _of_nobody(words, senses)
    last = numbers[-1]
    left = [at for at in owners if at < last]
    if not left:
        return _Anchor(_OWNERS[senses[owners[0]]], (), (), senses[owners[0] + 1 :])
    return _Anchor(_OWNERS[senses[left[-1]]], senses[: left[-1]], senses[left[-1] + 1 : last], senses[last + 1 :])


def _numbers(words: tuple[str, ...], senses: tuple[Sense, ...]) -> list[int]:
    """Positions of the words that announce an identifier. A code does only beside a patient or member."""
    return [
        at
        for at, sense in enumerate(senses)
        if sense in (Sense.IDENTIFIER, Sense.REFERENCE) or (sense is Sense.CODE and _is_persons_code(at, words, senses))
    ]


def _is_persons_code(at: int, words: tuple[str, ...], senses: tuple[Sense, ...]) -> bool:
    """`Patient Code`, and in the order of Romance languages `codice paziente`, `código del paciente`."""
    before = senses[at - 1] if at and words[at - 1] not in _NUMBER_WORDS else None
    after = next((sense for sense in senses[at + 1 :] if sense is not Sense.NEUTRAL), None)
    owned = before in (Sense.PATIENT, Sense.MEMBER, Sense.CLIENT, Sense.IDENTIFIER)
    return owned or (after is Sense.PATIENT and words[at] in _ROMANCE_CODES)


def _of_nobody(words: tuple[str, ...], senses: tuple[Sense, ...]) -> _Anchor | None:
    """For an identifier without an owner, or with one whom the lexicon does not know."""
    if Sense.UNKNOWN in senses:
        meaning = Meaning(Standing.DOUBTFUL, Kind.UNKNOWN)
    elif Sense.EXTERNAL in senses:
        meaning = Meaning(Standing.CLEAR, Kind.EXTERNAL)
    elif Sense.ENTERPRISE in senses:
        meaning = Meaning(Standing.LIKELY, Kind.ENTERPRISE)
    elif _ID_WORDS.intersection(words):
        meaning = Meaning(Standing.LIKELY, Kind.BARE)
    elif Sense.REFERENCE in senses:
        meaning = Meaning(Standing.DOUBTFUL, Kind.UNKNOWN)
    else:
        return None
    return _Anchor(meaning, (), (), senses)


_DISOWNS_BEFORE = frozenset({Sense.PROVIDER, Sense.THING, Sense.SYSTEM, Sense.INSURER, Sense.INSURANCE})
_DISOWNS_AFTER = frozenset({Sense.EVENT, Sense.THING, Sense.PLACE, Sense.PROVIDER, Sense.SYSTEM, Sense.PLAN})
_DOUBTS_AFTER = frozenset({Sense.ACCOUNT, Sense.FOLDER, Sense.INSURANCE, Sense.INSURER})


def _qualified(anchor: _Anchor, words: tuple[str, ...], senses: tuple[Sense, ...]) -> Meaning:
    """The meaning of an identifier's own words, lessened by the words around them."""
    meaning = anchor.meaning
    around = {*anchor.before, *anchor.within, *anchor.after}
    if _DISOWNS_AFTER.intersection(anchor.after):
        return NOT_AN_ID
    if meaning.kind is Kind.PUBLIC_PAYER and Sense.PROVIDER in around:
        return NOT_AN_ID
    if _DISOWNS_BEFORE.intersection(anchor.before) or _DOUBTS_AFTER.intersection(anchor.after):
        return Meaning(Standing.DOUBTFUL, Kind.OTHER)
    if meaning.kind is Kind.UNKNOWN:
        return meaning
    if Sense.ANOTHER in senses or _is_second_to_an_id(words, senses):
        return Meaning(Standing.DOUBTFUL, Kind.OTHER)
    if Sense.EMPLOYEE in around:
        return Meaning(Standing.DOUBTFUL, Kind.HOLDER)
    if Sense.HOLDER in around:
        return Meaning(min(meaning.standing, Standing.LIKELY), Kind.HOLDER)
    if Sense.UNKNOWN in (*anchor.within, *anchor.after):
        # "MRN updated", "Member ID expires": whatever the word is, the column may be about the ID and not hold it
        return Meaning(Standing.DOUBTFUL, meaning.kind)
    if {Sense.UNKNOWN, Sense.EVENT}.intersection(around):
        return Meaning(min(meaning.standing, Standing.LIKELY), meaning.kind)
    return meaning


def _is_second_to_an_id(words: tuple[str, ...], senses: tuple[Sense, ...]) -> bool:
    """A code or key of the practice's own or of its database, or what a state issues, such as a passport office."""
    if {"national", "government", "govt"}.intersection(words) and Sense.NATIONAL_NUMBER not in senses:
        return True
    announcing = {words[at] for at in _numbers(words, senses)}
    return bool(announcing) and announcing <= _SECOND_TO_AN_ID


_ISSUERS = frozenset({Sense.PLAN, Sense.INSURER, Sense.PLACE, Sense.SYSTEM})


def says_issuers_number(header: str) -> bool:
    """Whether a header announces the number of a plan, payer, hospital or system: `Health Plan ID`, `Clinic No`.

    Where each row has another, it cannot be that of the plan itself, and is the patient's with it.
    """
    senses = {sense for sense in senses_of(header) if sense is not Sense.NEUTRAL}
    return Sense.IDENTIFIER in senses and bool(_ISSUERS & senses) and senses <= {*_ISSUERS, Sense.IDENTIFIER}


# --- who the rows are -----------------------------------------------------------------------------------------

_MAY_BE_PEOPLE = frozenset({Sense.UNKNOWN, Sense.WEAK_PATIENT, Sense.CLIENT, Sense.RELATIVE})
_OTHER_PEOPLE = frozenset({
    Sense.PROVIDER, Sense.HOLDER, Sense.EMPLOYEE, Sense.INSURER, Sense.INSURANCE, Sense.PLACE, Sense.THING,
    Sense.PLAN, Sense.SYSTEM,
})  # fmt: skip
_WHOLE_NAME = frozenset("name names nm fullname".split())


def people_words(headers: Sequence[str]) -> frozenset[str]:
    """The word for whoever the rows are, where it is none that the lexicon takes for the patient: student, camper.

    It stands on every birth date of the list, or on all its first and last names, or on its only names beside a
    birth date. A relative's word counts only where no name is anybody else's, as in a list of children. Empty where
    there is no such word.
    """
    of_each = [_Named.of(header) for header in headers]
    rows = [named for named in of_each if named is not None and not named.is_relatives]
    if not rows:
        rows = [named for named in of_each if named is not None]
    births = [named.owners for named in rows if named.is_birth]
    parts = [named.owners for named in rows if not named.is_birth and not named.is_whole_name]
    wholes = [named.owners for named in rows if named.is_whole_name]
    return _shared(births) or _shared(parts) or (_shared(wholes) if births and not parts else frozenset())


def _shared(owners: Sequence[frozenset[str]]) -> frozenset[str]:
    """The one word that stands on all of them, if there is exactly one."""
    shared: frozenset[str] = owners[0].intersection(*owners[1:]) if owners else frozenset()
    return shared if len(shared) == 1 else frozenset()


class _Named(NamedTuple):
    """A column of names or birth dates, and the words for whose they are."""

    owners: frozenset[str]
    is_birth: bool
    is_whole_name: bool
    is_relatives: bool

    @classmethod
    def of(cls, header: str) -> "_Named | None":
        words = words_of(header)
        sense = {word: sense_of(word) for word in words}
        senses = set(sense.values())
        is_birth, names = Sense.BIRTH in senses, name_words(header)
        if not (is_birth or names) or senses & _OTHER_PEOPLE:
            return None
        owners = frozenset(word for word in words if sense[word] in _MAY_BE_PEOPLE)
        return cls(owners, is_birth, names <= _WHOLE_NAME and not is_birth, Sense.RELATIVE in senses)
