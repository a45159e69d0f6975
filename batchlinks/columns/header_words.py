"""What the words of a column header say: whose identifier it announces, or that it announces something else.

Knows words, not headers: `Pt MRN`, `patient.mrn`, `PATMRN` and `MRN (patient)` say the same. The lexicon was
drawn from public file layouts of EHRs, health plans, registries and ministries, in English, German, French and
Spanish. Pure, and light to import.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from functools import lru_cache
from typing import NamedTuple


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
    TAX_ID = auto()
    MEDICARE_CLAIM = auto()  # HICN: a Social Security number with a letter


_LEXICON: dict[Sense, str] = {
    Sense.NEUTRAL: """
        of the for a an de del des du la le les l d der die das von zu el los y et und and or in on at to
        primary main own unique current crnt active assigned permanent local universal national full whole
        only government govt identity identite identitat info data value val my this our care health medical
        med optional required mandatory new""",
    Sense.IDENTIFIER: """
        id ident identifier identification identificacion identifiant identificador identificativo kennung
        identifikator uid uuid guid # no nbr num number nmbr numb numero nummer nr nro nbre numer""",
    Sense.REFERENCE: "ref reference referenz key urn",
    Sense.CODE: "code cd codigo codice",
    Sense.RECORD_NUMBER: "mrn cmrn emrn pmrn mrns empi mpi eupi epi uhid ipp nhc hrn pubpid prontuario",
    Sense.NATIONAL_NUMBER: """
        nhs nhi ihi phn hcn kvnr chi egk nuhsa cip ramq ohip krankenversicherungs krankenversicherten
        versichertenkarte""",
    Sense.PUBLIC_PAYER: "medicaid medicare mbi mdcr mdcd mcare mcaid",
    Sense.PATIENT: """
        patient patients pat pt ptnt pnt paciente pacientes patienten patientin paziente person persona
        personne individual""",
    Sense.WEAK_PATIENT: """
        participant subject subj resident consumer recipient athlete survivor pid usubjid subjid personal
        people""",
    Sense.MEMBER: """
        member members mbr mbrs mem memb membership enrollee enrolee enrol beneficiary beneficiaries bene
        benef beneficiario afiliado mitglied mitglieds versicherten versicherter assure adherent""",
    Sense.HOLDER: """
        subscriber subscribers subscrib subscr sub subs sbr sbscr insured insureds policyholder cardholder
        certholder holder titular""",
    Sense.EMPLOYEE: "employee employees emp ee empl worker personnel staff payroll mitarbeiter",
    Sense.CLIENT: "client clients customer cust",
    Sense.CHART: "chart charts cartella",
    Sense.EXTERNAL: "external ext extern externe externo",
    Sense.ENTERPRISE: "enterprise master global corporate",
    Sense.PROVIDER: """
        provider prov prv pcp npi physician phys doctor dr md clinician practitioner prescriber surgeon nurse
        therapist referring referrer attending atnd ordering rendering supervising gp arzt hausarzt medecin
        medico user username login manager coordinator navigator agent broker owner author creator operator
        interpreter by counselor counsellor""",
    Sense.RELATIVE: """
        mother mothers mom mum maternal mutter mere madre father fathers dad vater pere padre parent parents
        guardian guardians spouse husband wife partner child children sibling brother sister newborn baby
        infant twin fetus guarantor guar grntr contact contacts emergency kin nok donor caregiver carer proxy
        related dependent dependents dep dependant responsible rp""",
    Sense.INSURER: "payer payor payers payors carrier insurer kasse krankenkasse kostentrager mutuelle bin pcn",
    Sense.INSURANCE: """
        insurance insur ins policy coverage cvg cov certificate cert assurance versicherung versicherungs
        seguro poliza""",
    Sense.PLAN: "plan plans pln pbp hplan",
    Sense.PLACE: """
        hospital hosp facility facilities fac clinic clinics practice prac site office organization
        organisation org tenant healthsystem place center centre campus etablissement klinik krankenhaus
        clinica""",
    Sense.EVENT: """
        encounter encounters enc visit visits vst appointment appointments appt apt admission admissions admit
        admitted adm hadm discharge disch episode stay icustay csn fin har accession acsn order orders ord
        claim claims clm specimen sample referral authorization auth prescription prescriptions rx script fill
        procedure procedures proc surgery surgical booking session event transaction trans txn invoice inv
        bill billing statement test tests result results lab laboratory exam study enrollment enrolment
        enrolled message msg inpatient outpatient ip op opd ipd er ed fall aufnahme sejour venue nda iep
        visita episodio ingreso consulta cita schedule scheduled condition diagnosis dx observation allergy
        medication drug immunization vaccine vaccination dose lot incident accident service svc screening call
        survey response submission radiology imaging dispense dispensing pickup trip hearing covid""",
    Sense.THING: """
        group grp subgroup employer company department dept division location loc unit ward room bed floor
        pharmacy vendor contract product program programme project line row seq sequence serial sl sr sno
        index item batch file document doc note notes form import export list roster registry device equipment
        imei asset license licence lic passport drivers driver driving vehicle household hh family house
        address addr home work cell cellphone mobile phone telephone tel fax pager email mail telecom lead
        campaign ticket task measure gap tag trial protocol cohort ndc dea icd cpt loinc snomed town pool
        panel team region district network contractor market segment class concept""",
    Sense.ACCOUNT: "account accounts acct acc konto cuenta compte",
    Sense.FOLDER: """
        case cases caso record records rec registration reg internal dossier akte ficha folder card karte
        carte tarjeta emr ehr aadhaar abha dni nie cpf curp emirates civil bsn citizen alien visa""",
    Sense.SYSTEM: "system sys source src origin portal app platform application mychart myhealth",
    Sense.ANOTHER: """
        previous prev prior former old older other others alternate alternative alt secondary second third
        merged merge historical history legacy temp temporary duplicate dup expired inactive linked retired
        obsolete original orig ancien anterior alte""",
    Sense.ATTRIBUTE: """
        type typ types kind date dates dt datetime time timestamp tm status stus count counts cnt total flag
        flg ind indicator authority assigning assigner issuer issuing issued issue namespace oid qualifier
        description desc year yr month months day days age sex gender race ethnicity ethnoracial ethnic
        language lang nationality religion marital use rank format label length expiry expiration effective
        eff start end begin bgn valid verified confidence score level category rate amount amt balance comment
        comments reason rsn title prefix state city zip postal postcode plz country cntry county street line1
        line2 url link image photo picture text string hash frequency deceased death vip height weight blood
        bmi ids identifiers numbers numeros codes indicatif occupation job employment wages salary income
        housing comment remarks remark remarque bemerkung sexe geschlecht genero adresse strasse ville ort
        stadt pays land telefon telefono phones disposition specialty priority tier term termination gone
        consent preferred preference education lat lon latitude longitude fips dual esrd dod cob percent high
        low risk pregnant tobacco smoker""",
    Sense.FIRST_NAME: "first firstname fname fst frst given gvn forename vorname prenom prenoms nombre",
    Sense.NAME: """
        name names nm last lastname lname lst surname srnm middle mname mi midl mdl maiden nachname nom
        apellido apellidos familienname nickname fullname initial initials""",
    Sense.BIRTH: "birth birthdate birthday dob bday born brth geburts geburtsdatum geb naissance nacimiento",
    Sense.PERSON_CODE: "personcode",
    Sense.SUFFIX: "suffix suffixes sfx suff",
    Sense.RELATIONSHIP: "relationship relationships relation reln relat rel relcode verwandtschaft",
    Sense.SOCIAL_SECURITY: """
        ssn ssns socialsecurity nir ssnr svnr ahv nss sozialversicherungs sozialversicherungsnummer""",
    Sense.TAX_ID: "tin itin taxid ein nif steuer fiscale fiscal",
    Sense.MEDICARE_CLAIM: "hic hicn hicno hicnumber",
}

_SENSES: dict[str, Sense] = {word: sense for sense, words in _LEXICON.items() for word in words.split()}

_NUMBER = r"(?:id|ident|identifier|identification|no|nbr|num|number|nummer|numero|nr|#)"

# Words that only mean something together. Applied in this order to the words of a header, joined with spaces.
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?<!\S){pattern}(?!\S)"), word)
    for pattern, word in (
        # not by itself: social history, social worker
        (rf"(?:social|soc) (?:security|sec|insurance|ins|{_NUMBER})", "ssn"),
        (r"^(?:social|soc)$", "ssn"),
        (r"(?:securite|seguridad|seguro) (?:de )?(?:sociale?|social)", "ssn"),
        (r"national insurance", "ssn"),
        (r"^n (?:de|del|du|des|d)", "numero"),
        (r"s s n", "ssn"),
        (rf"(?:ss|sv|ahv|ni) {_NUMBER}", "ssn"),
        (rf"(?:tax|taxpayer) {_NUMBER}", "taxid"),
        (r"(?:hic|health insurance claim)(?: (?:no|nbr|num|number|#))?", "hic"),
        (r"m r n", "mrn"),
        (rf"(?:m r|mr|ur) {_NUMBER}", "mrn"),
        (r"(?:medical|med|health|hlth|clinical) (?:record|records|rec|rcd|file)", "mrn"),
        (r"(?:historia|historial) (?:clinica|clinico|medica|medico)", "mrn"),
        (r"expediente(?: clinico| medico)?", "mrn"),
        (r"master (?:patient|person|member) index", "empi"),
        (r"person source value", "patient id"),
        (r"(?:personal )?health(?: care)?(?: card)? (?:no|nbr|num|number|#)", "phn"),
        (r"(?:hospital|hosp) (?:no|nbr|num|number|#)", "hospitalno"),
        # CommCare calls its patients cases, and writes their ID in this one way
        (r"info case id", "patient id"),
        # of HL7's PID segment the third field is the patient's; others are accounts, names, dates
        (r"pid 3(?: \d)*", "pid"),
        (r"pid \d+(?: \d+)*", "account"),
        (r"(?:health ?care|health) system", "healthsystem"),
        (r"primary care(?: physician| provider| practitioner| doctor)?", "pcp"),
        (r"care (?:manager|coordinator|team|provider|giver|navigator)", "pcp"),
        (r"(?:policy|card|contract|certificate|cert|account) holder", "policyholder"),
        (r"(?:contract|head) of (?:household|family)", "household"),
        (
            r"(?:dependents?|dependant|dep) (?:id|no|nbr|num|number|code|cd|seq|sequence|suffix|sfx|#)"
            r"(?: (?:no|nbr|num|number|#))?",
            "personcode",
        ),
        (r"(?:person|pers|family|relationship) (?:code|cd|seq|sequence)(?: (?:no|nbr|num|number|#))?", "personcode"),
        (
            r"(?:member|mbr|mem|subscriber|subscr|sub|sbr|insured|cardholder|policyholder|patient|pat|pt|person|id)"
            r"(?: (?:id|no|nbr|num|number|#))? (?:suffix|sfx|suff|seq|sequence)(?: (?:no|nbr|num|number|#))?",
            "personcode",
        ),
    )
)
_SENSES["hospitalno"] = Sense.CLIENT  # the patient's in Britain, the hospital's own in an American file
_SENSES["ss"] = Sense.SOCIAL_SECURITY
_SENSES["mr"] = Sense.NEUTRAL
_SENSES["ur"] = Sense.UNKNOWN

# The parts of the phrases above that mean nothing alone, so that run-together headers can be taken apart.
_LOOSE_PARTS = frozenset(
    "social soc security sec insurance securite seguridad sociale sv ni tax taxpayer historia historial clinica "
    "clinico medica medico expediente index head mr ur rcd pers clinical hlth giver healthcare".split()
)
_WORDS_TO_FIND = frozenset(word for word in _SENSES if len(word) > 2) | _LOOSE_PARTS | {"id", "no", "pt", "nr", "of"}

# What only a header says. "Spouse", "Medicaid" or "Bill Ward" may stand in a patient's row as well.
_VOUCHING_SENSES = frozenset({
    Sense.RECORD_NUMBER, Sense.NAME, Sense.FIRST_NAME, Sense.BIRTH, Sense.RELATIONSHIP, Sense.SUFFIX,
    Sense.PERSON_CODE, Sense.SOCIAL_SECURITY, Sense.TAX_ID, Sense.MEDICARE_CLAIM,
})  # fmt: skip
_VOUCHING_WORDS = frozenset(
    """
    id ident identifier identification nbr num number nummer numero uid code type date status gender
    address phone telephone email city state zip postal postcode country county language ethnicity comment comments
    """.split()
)

_LONGEST_HEADER = 100


def fold(text: str) -> str:
    """Text without accents and compatibility forms (full-width letters, `№`); case is kept."""
    decomposed = unicodedata.normalize("NFKD", text.replace("°", "o"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def key(header: str) -> str:
    """What is left of a header when case, accents, spaces and punctuation do not count."""
    return "".join(char for char in fold(header).casefold() if char.isalnum())


def sense_of(word: str) -> Sense:
    if word.isdigit():
        return Sense.NEUTRAL
    return _SENSES.get(word, Sense.UNKNOWN)


def _known(word: str) -> bool:
    return word in _SENSES or word in _LOOSE_PARTS or word.isdigit()


@lru_cache(maxsize=4096)
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


@lru_cache(maxsize=4096)
def words_of(header: str) -> tuple[str, ...]:
    """The words of a header in lower case, without accents, phrases drawn together.

    `patientMRN`, `PATIENT_MRN` and `patientmrn` are ("patient", "mrn"); `Med. Rec. #` is ("mrn", "#"). What is too
    long to be a header has no words.
    """
    if len(header) > _LONGEST_HEADER:
        return ()
    plain = re.sub(r"['’`´]s?\b", lambda match: "" if match[0][1:] else " ", fold(header))
    joined = " ".join(word for chunk in _CHUNK.findall(plain) for word in _chunk_words(chunk))
    for pattern, word in _PHRASES:
        joined = pattern.sub(word, joined)
    return tuple(joined.split())


def senses_of(header: str) -> tuple[Sense, ...]:
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


class Kind(Enum):
    """Whose identifier a header announces."""

    RECORD = "medical record number"
    PATIENT = "patient identifier"
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


class Standing(IntEnum):
    """How plainly a header says that it is an external ID's."""

    NONE = 0
    DOUBTFUL = 1  # worth naming when asking, never taken unasked
    LIKELY = 2  # taken where nothing else could be it and the values bear it out
    CLEAR = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    standing: Standing
    kind: Kind


NOT_AN_ID = Meaning(Standing.NONE, Kind.OTHER)

# Columns that batchlinks itself writes; an error report is a roster again.
_OURS = frozenset(
    "errorrow errorcode erroraction errormessage keptrow link healthexlink linkissuedon linkisnew".split()
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
    Sense.WEAK_PATIENT: Meaning(Standing.LIKELY, Kind.PATIENT),
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
_SECOND_TO_AN_ID = frozenset("code cd codigo codice key ref reference referenz urn".split())


def id_meaning(header: str) -> Meaning:
    """What a header says about being the external ID's column; `NOT_AN_ID` where it says something else."""
    words = words_of(header)
    if not words or re.search(r"\d{3}", header) or key(header) in _OURS:
        return NOT_AN_ID
    senses = tuple(sense_of(word) for word in words)
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
    """Positions of the words that announce an identifier. A code does only right behind a patient or member."""
    return [
        at
        for at, sense in enumerate(senses)
        if sense in (Sense.IDENTIFIER, Sense.REFERENCE)
        or (
            sense is Sense.CODE
            and at > 0
            and senses[at - 1] in (Sense.PATIENT, Sense.MEMBER, Sense.CLIENT, Sense.IDENTIFIER)
            and words[at - 1] not in _NUMBER_WORDS
        )
    ]


def _of_nobody(words: tuple[str, ...], senses: tuple[Sense, ...]) -> _Anchor | None:
    """For an identifier without an owner."""
    if Sense.UNKNOWN in senses:
        return None
    if Sense.EXTERNAL in senses:
        meaning = Meaning(Standing.CLEAR, Kind.EXTERNAL)
    elif Sense.ENTERPRISE in senses:
        meaning = Meaning(Standing.LIKELY, Kind.ENTERPRISE)
    elif _ID_WORDS.intersection(words):
        meaning = Meaning(Standing.LIKELY, Kind.BARE)
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


_SOMEBODY_ELSE = frozenset({
    Sense.PROVIDER, Sense.RELATIVE, Sense.HOLDER, Sense.EMPLOYEE, Sense.INSURER, Sense.INSURANCE, Sense.PLACE,
    Sense.THING, Sense.PLAN,
})  # fmt: skip


def says_name(header: str) -> bool:
    """Whether a column holds a name, or a part of one, of the row's own person."""
    senses = senses_of(header)
    return bool({Sense.NAME, Sense.FIRST_NAME}.intersection(senses)) and not _SOMEBODY_ELSE.intersection(senses)


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


def says_relationship(header: str) -> bool:
    """Whether a column says how the row's person is related to the holder of an insurance."""
    senses = senses_of(header)
    return Sense.RELATIONSHIP in senses and not {Sense.PROVIDER, Sense.RELATIVE}.intersection(senses)
