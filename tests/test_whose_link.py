"""Whose link is it? The rules as a table, and then from the front door: a HealthEx that lies, however it likes.

The table is for everybody who has to answer for these rules. Each line: the IDs that batchlinks knows, the ID that was
sent, what the answered link begins with, what becomes of it, and why.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pytest
import results
from conftest import Ended
from hypothesis import given, settings
from hypothesis import strategies as st
from lying_server import HOST, LyingServer, link_to
from test_links import Ledger, ids

from batchlinks.healthex.known_ids import KnownIds
from batchlinks.healthex.whose_link import AnswerJudge, Leniency, Verdict, whose
from batchlinks.patients.id_spelling import ids_within, likeness_columns, likenesses

Command = Callable[..., Ended]
steadily = settings(derandomize=True, deadline=None)

# --- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """What is known, what was sent, what the link says, and what becomes of it."""

    why: str
    sent: str
    link_says: str
    verdict: Verdict
    also_sent: Sequence[str] = ()
    refused: Sequence[str] = ()
    """IDs of rows that were refused, of the exclude list."""
    in_ledger: Sequence[str] = ()
    """IDs of earlier lists, of other projects, of withdrawn patients."""


OWN, OTHER, IN_DOUBT, NOBODY = Verdict.OWN, Verdict.OTHER, Verdict.IN_DOUBT, Verdict.NOBODY
CASES = [
    Case("it names its patient", "AB-1003", "AB-1003", OWN),
    Case("it names its patient, percent-encoded", "AB 1003", "AB%201003", OWN),
    Case("it names its patient, with a plus for the space", "AB 1003", "AB+1003", OWN),
    Case("it names its patient, percent-encoded twice", "AB/1003", "AB%252F1003", OWN),
    Case("it names its patient in another spelling, and nobody else is like that", "AB-1003", "ab1003", OWN),
    Case("the zeros are gone, and nobody else is like that", "00417", "417", OWN),
    Case("it names the next patient of the list", "AB-1003", "AB-1004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, in lower case", "AB-1003", "ab-1004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, without the dash", "AB-1003", "AB1004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, with a space for the dash", "AB-1003", "AB%201004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, encoded twice", "AB-1003", "AB%252D1004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, encoded thrice", "AB-1003", "AB%25252D1004", OTHER, also_sent=["AB-1004"]),
    Case("it names the next patient, without zeros", "00417", "418", OTHER, also_sent=["00418"]),
    Case("it names the next patient, without zeros inside", "AB-0417", "AB-418", OTHER, also_sent=["AB-0418"]),
    Case(
        "it names the next patient, in full-width digits",
        "417",
        "%EF%BC%94%EF%BC%91%EF%BC%98",
        OTHER,
        also_sent=["418"],
    ),
    Case("the longest known ID counts", "12", "12.3", OTHER, also_sent=["12.3", "12.3.4"]),
    Case("the longest known ID counts, also where two are longer", "12", "12.3.4", OTHER, also_sent=["12.3", "12.3.4"]),
    Case("a shorter ID is not meant", "12.3", "12", OTHER, also_sent=["12"]),
    Case("a longer ID is its own", "12.3.4", "12.3.4", OWN, also_sent=["12", "12.3"]),
    Case("a longer ID in another spelling puts it in doubt", "12", "12.3a", IN_DOUBT, also_sent=["12.3A"]),
    Case("two patients are as much like it", "AB-1", "ab1", IN_DOUBT, also_sent=["A-B1"]),
    Case("two others are as much like it", "77", "ab1", IN_DOUBT, also_sent=["AB-1", "A-B1"]),
    Case("its own spelling counts before all that is alike", "AB-1", "AB-1", OWN, also_sent=["A-B1", "ab1"]),
    Case("it names the row that was refused", "100001", "100002", OTHER, refused=["100002"]),
    Case("it names the row that was refused, in another spelling", "AB-1", "ab2", OTHER, refused=["AB-2"]),
    Case("a refused row that is like it does not make it another's", "AB-1", "ab1", OWN, refused=["AB 1"]),
    Case("it names an earlier patient", "100001", "900001", OTHER, in_ledger=["900001"]),
    Case("it names an earlier patient, in another spelling", "AB-1", "ab9", OTHER, in_ledger=["AB-9"]),
    Case("an earlier patient is as much like it", "AB-1", "ab1", IN_DOUBT, in_ledger=["AB 1"]),
    Case("it is another's ID and nothing else", "100001", "100002 (whole)", OTHER, also_sent=["100002"]),
    Case("it names nobody that is known", "100001", "kTzQ81xY", NOBODY),
    Case("it is its own ID, and no dot follows", "100001", "100001 (whole)", NOBODY),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why.replace(" ", "-"))
def test_the_table_of_cases(case: Case) -> None:
    sent = pa.array([case.sent, *case.also_sent], pa.string())
    known = KnownIds(sent, lambda: [*case.also_sent, *case.refused, case.sent], Ledger(case.in_ledger))
    xid = case.link_says.removesuffix(" (whole)") if "(whole)" in case.link_says else f"{case.link_says}.c2ln"

    assert whose(case.sent, f"https://{HOST}/#/enrollment/link?xid={xid}", HOST, known) is case.verdict


@pytest.mark.parametrize(
    ("strict", "names", "accepted", "used", "asked_again"),
    [
        (False, False, False, True, False),
        (False, True, False, False, True),
        (False, True, True, True, False),
        (True, False, False, False, False),
        (True, True, False, False, True),
        (True, True, True, False, False),
    ],
)
def test_what_becomes_of_a_link_that_names_nobody(
    strict: bool, names: bool, accepted: bool, used: bool, asked_again: bool
) -> None:
    known = KnownIds(pa.array(["1001"]), tuple, Ledger(()))
    judge = AnswerJudge(HOST, known, Leniency(strict, names, accepted), on_named=lambda: None)

    refusal = judge.refusal("1001", link_to("opaque"))

    assert (refusal is None) == used
    assert (refusal is not None and refusal.ask_again) == asked_again


def test_the_first_link_that_names_somebody_ends_the_leniency_and_is_told_once() -> None:
    told: list[bool] = []
    known = KnownIds(pa.array(["1001", "1002"]), tuple, Ledger(()))
    judge = AnswerJudge(HOST, known, Leniency(), on_named=lambda: told.append(True))

    assert judge.refusal("1001", link_to("opaque")) is None
    assert judge.refusal("1001", link_to("1002")) is not None
    assert judge.refusal("1001", link_to("opaque")) is not None
    assert judge.refusal("1001", link_to("1001")) is None
    assert told == [True]


# --- spellings ----------------------------------------------------------------------------------------------------

SPELLINGS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "no dash": lambda name: name.replace("-", ""),
    "no zeros": lambda name: name.lstrip("0"),
    "space": lambda name: name.replace("-", "%20"),
    "once": lambda name: "".join(f"%{ord(each):02X}" for each in name),
    "twice": lambda name: "".join(f"%25{ord(each):02x}" for each in name),
    "quoted": lambda name: quote(quote_plus(name), safe=""),
    "as it is": lambda name: quote(name, safe=""),
}


@steadily
@given(known=st.sets(ids, min_size=2, max_size=6), how=st.sampled_from(sorted(SPELLINGS)), data=st.data())
def test_no_spelling_of_another_id_is_taken_for_ones_own(known: set[str], how: str, data: st.DataObject) -> None:
    own, other = data.draw(st.permutations(sorted(known)))[:2]
    named = SPELLINGS[how](other)

    verdict = whose(own, link_to(named), HOST, KnownIds(pa.array(sorted(known)), tuple, Ledger(())))

    # Two that are alike can be told apart by nothing but their exact spelling.
    misspelled_into_own = how in ("lower", "upper", "no dash", "no zeros") and named == own
    assert verdict is not Verdict.OWN or misspelled_into_own


@steadily
@given(many=st.lists(ids, max_size=8))
def test_many_ids_are_alike_as_each_alone(many: list[str]) -> None:
    columns = zip(*(column.to_pylist() for column in likeness_columns(pa.array(many, pa.string()))), strict=True)

    assert [frozenset(each) - {""} for each in columns] == [likenesses(each) for each in many]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MRN: 123456", {"123456"}),
        ("123456 (old: 998)", {"123456", "998"}),
        ("12345.0", {"12345.0", "12345"}),
        ("1.2E+05", {"120000"}),
        ("AB–1003", {"1003"}),
        ("AB-1003 / 77", {"AB-1003", "77"}),
        ("N/A", set()),
        ("1E+999999999", set()),
    ],
)
def test_what_somebody_may_read_in_a_cell_that_was_refused(text: str, found: set[str]) -> None:
    assert found <= set(ids_within(text))


# --- a HealthEx that lies -----------------------------------------------------------------------------------------

QUICKLY = ("--max-attempts", "2", "--patience", "5")


@dataclass(slots=True)
class Outcome:
    """Of one run: ID -> link, ID -> error code, the exit code, and what was said."""

    ended: Ended
    links: dict[str, str]
    errors: dict[str, str]
    warnings: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def hospital(command: Command, lying: LyingServer, tmp_path: Path) -> Callable[..., Outcome]:
    """Runs a list of IDs against the liar, and checks that nobody got a link that was made for another."""

    def run(external_ids: Iterable[str], *options: object, more: str = "", name: str = "patients") -> Outcome:
        roster = tmp_path / f"{name}.csv"
        rows = "".join(f'"{external_id}",Pat,x\n' for external_id in external_ids)
        roster.write_text(f"MRN,Name,Note\n{rows}{more}", encoding="utf-8")
        ended = command("run", roster, *QUICKLY, *options)
        summary = results.summary(tmp_path / f"{name}.summary.json")
        given_out = {row["MRN"]: row["link"] for row in results.links(tmp_path / f"{name}.links.xlsx")}
        for external_id, link in given_out.items():
            assert lying.made_for[link] == external_id, "a link beside another's ID"
        refused = {row["MRN"]: row["error_code"] for row in results.errors(tmp_path / f"{name}.errors.xlsx")}
        return Outcome(ended, given_out, refused, summary["warnings"])

    return run


def mrns(count: int, first: int = 1001) -> list[str]:
    return [f"AB-{number:04}" for number in range(first, first + count)]


@pytest.mark.parametrize("strangers", [1, 6, 20], ids=lambda number: f"{number}-of-100")
def test_links_of_strangers_are_refused_however_many_there_are(
    hospital: Callable[..., Outcome], lying: LyingServer, strangers: int
) -> None:
    everybody = mrns(100)
    wrong = everybody[:: 100 // strangers][:strangers]
    for number, external_id in enumerate(wrong):
        lying.always(external_id, for_id=f"ZZ-{number}", says=f"ZZ-{number}")

    outcome = hospital(everybody)

    if outcome.ended.code == 5:  # more than four of them came one after the other
        assert outcome.links.keys().isdisjoint(wrong)
    else:
        assert outcome.ended.code == 3
        assert outcome.errors == dict.fromkeys(wrong, "link_mismatch")


def test_one_stranger_among_ten_is_refused(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    everybody = mrns(10)
    lying.always(everybody[0], for_id="ZZ-1", says="ZZ-1")

    outcome = hospital(everybody)

    assert (outcome.ended.code, outcome.errors) == (3, {everybody[0]: "link_mismatch"})


@pytest.mark.parametrize("how", sorted(SPELLINGS))
def test_a_swap_is_seen_in_every_spelling(hospital: Callable[..., Outcome], lying: LyingServer, how: str) -> None:
    everybody = mrns(6)
    for one, other in zip(everybody, [*everybody[1:], everybody[0]], strict=True):
        lying.always(one, for_id=other, says=SPELLINGS[how](other))

    outcome = hospital(everybody)

    assert outcome.ended.code == 3
    assert outcome.errors == dict.fromkeys(everybody, "link_mismatch")


def test_a_server_that_swaps_every_link_is_not_asked_for_everybody(
    hospital: Callable[..., Outcome], lying: LyingServer
) -> None:
    everybody = mrns(100)
    for one, other in zip(everybody, [*everybody[1:], everybody[0]], strict=True):
        lying.always(one, for_id=other, says=other)

    outcome = hospital(everybody)

    assert outcome.ended.code == 5
    assert "other patients' links" in outcome.ended.err
    assert outcome.links == {}
    assert set(outcome.errors.values()) == {"link_mismatch", "not_attempted"}
    assert len(lying.asked) < 200, "not eight calls for each"


def test_one_link_for_everybody_is_given_to_nobody(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    lying.same_for_all = True

    outcome = hospital(mrns(3), "--concurrency", "1")

    assert (outcome.ended.code, outcome.links) == (3, {})
    assert outcome.errors == dict.fromkeys(mrns(3), "link_mismatch")


def test_a_wrong_answer_is_never_recorded_and_asked_for_again(
    hospital: Callable[..., Outcome], lying: LyingServer
) -> None:
    everybody = mrns(6)
    for one, other in zip(everybody, [*everybody[1:], everybody[0]], strict=True):
        lying.once(one, for_id=other, says=other.lower())

    outcome = hospital(everybody)

    assert outcome.ended.code == 0
    assert sorted(lying.asked) == sorted(everybody * 2)
    assert hospital(everybody).ended.code == 0
    assert sorted(lying.asked) == sorted(everybody * 2)


def test_ids_that_begin_alike_keep_their_own(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    everybody = ["A12", "A12.3", "A12.3.4", "A12.3.4.5"]
    for one, other in zip(everybody, everybody[::-1], strict=True):
        lying.once(one, for_id=other, says=other)

    outcome = hospital(everybody)

    assert set(outcome.links) | set(outcome.errors) == set(everybody)


def test_ids_of_refused_excluded_and_withdrawn_rows_are_known(
    hospital: Callable[..., Outcome], lying: LyingServer, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "exclude.csv").write_text("300001\n", encoding="utf-8")
    (tmp_path / "withdrawn.csv").write_text("300002\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", tmp_path / "withdrawn.csv").code == 0
    everybody = [f"{number}" for number in range(100_001, 100_041)]
    refused = "200001,Pat,x,surplus\n200002.0,Pat,x\n2003,Pat,x\nMRN 200004,Pat,x\n"
    named = ["300001", "300002", "200001", "200002", "002003", "2003", "200004"]
    for external_id, other in zip(everybody, named, strict=False):
        lying.always(external_id, for_id=other, says=other)

    outcome = hospital(everybody, "--exclude", tmp_path / "exclude.csv", more=refused)

    assert {each: outcome.errors[each] for each in everybody[: len(named)]} == dict.fromkeys(
        everybody[: len(named)], "link_mismatch"
    )


def test_ids_of_another_project_are_known(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    assert hospital(["900001"], "--project-id", "another", name="others").ended.code == 0
    lying.names = False
    lying.always("100001", for_id="900001", says="900001")

    outcome = hospital(["100001"])

    assert outcome.errors == {"100001": "link_mismatch"}


# --- links that name nobody ---------------------------------------------------------------------------------------


def test_where_no_link_names_anybody_they_are_used_and_that_is_said(
    hospital: Callable[..., Outcome], lying: LyingServer
) -> None:
    lying.names = False

    outcome = hospital(mrns(25))

    assert outcome.ended.code == 0
    assert outcome.warnings == {"unnamed_link": 25}
    assert "connection" in outcome.ended.err
    assert hospital(mrns(26)).ended.code == 0
    assert len(lying.asked) == 26


@pytest.mark.parametrize("first", ["named", "unnamed"])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_one_link_that_names_its_patient_is_enough_whatever_the_order(
    hospital: Callable[..., Outcome], lying: LyingServer, first: str, concurrency: int
) -> None:
    everybody = mrns(30)
    unnamed = everybody[3:7] if first == "named" else everybody[:4]
    for external_id in unnamed:
        lying.always(external_id, for_id=external_id, says=None)

    outcome = hospital(everybody, "--concurrency", concurrency)

    assert outcome.ended.code == 3
    assert outcome.errors == dict.fromkeys(unnamed, "link_mismatch")


def test_early_links_that_name_nobody_are_asked_for_again_once_another_names_its_patient(
    hospital: Callable[..., Outcome], lying: LyingServer
) -> None:
    everybody = mrns(30)
    for external_id in everybody[:25]:
        lying.once(external_id, for_id=external_id, says=None)

    outcome = hospital(everybody, "--concurrency", "1")

    assert outcome.ended.code == 0, outcome.ended.err
    assert "new ones are requested" in outcome.ended.err
    assert all(external_id in link for external_id, link in outcome.links.items())
    assert len(lying.asked) == 55


def test_five_that_name_nobody_in_a_row_end_the_run_and_only_it_can_accept_them(
    hospital: Callable[..., Outcome], lying: LyingServer, command: Command
) -> None:
    assert hospital(mrns(3)).ended.code == 0
    lying.names = False
    everybody = mrns(40, first=2001)

    stopped = hospital(everybody)

    assert stopped.ended.code == 5
    assert "ledger accept-unnamed" in stopped.ended.err
    assert stopped.links == {}
    codes = list(stopped.errors.values())
    assert codes.count("link_mismatch") >= 5
    assert set(codes) == {"link_mismatch", "not_attempted"}
    assert hospital(everybody).ended.code == 5

    accepted = command("ledger", "accept-unnamed", "--project-id", "demo-project")
    assert accepted.code == 0
    assert "nothing but the connection" in accepted.out
    outcome = hospital(everybody)
    assert outcome.ended.code == 0
    assert outcome.warnings == {"unnamed_link": 40}

    assert command("ledger", "accept-unnamed", "--undo").code == 0
    assert hospital(everybody).ended.code == 5


def test_accepting_is_for_one_project_and_for_links_that_name_nobody(
    hospital: Callable[..., Outcome], lying: LyingServer, command: Command
) -> None:
    for project in ("demo-project", "another"):
        assert hospital(mrns(1), "--project-id", project, name=project).ended.code == 0
    assert command("ledger", "accept-unnamed", "--project-id", "another").code == 0
    lying.names = False
    everybody = mrns(4, first=2001)
    lying.always(everybody[0], for_id=everybody[1], says=everybody[1])

    assert set(hospital(everybody).errors) == set(everybody)
    assert hospital(everybody, "--project-id", "another", name="second").errors == {everybody[0]: "link_mismatch"}


# --- what the ledger has ------------------------------------------------------------------------------------------


def test_a_wrong_link_in_the_ledger_is_asked_for_anew_and_never_handed_out(
    hospital: Callable[..., Outcome], lying: LyingServer
) -> None:
    everybody = mrns(4)
    assert hospital(everybody).ended.code == 0
    wrong = lying.make("ZZ-9", says=everybody[1].lower())
    lying.put_into_ledger(everybody[0], wrong)

    lying.always(everybody[0], for_id="ZZ-9", says=everybody[1].lower())
    still = hospital(everybody)
    assert (still.ended.code, still.errors) == (3, {everybody[0]: "link_mismatch"})

    lying.answers.clear()
    healed = hospital(everybody)
    assert healed.ended.code == 0
    assert "1 link may be another patient's" in healed.ended.err
    calls = len(lying.asked)
    assert hospital(everybody).links == healed.links
    assert len(lying.asked) == calls


def test_a_ledger_without_a_mark_is_looked_through(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    assert hospital(mrns(3), name="earlier").ended.code == 0
    lying.forget_naming()
    lying.names = False

    outcome = hospital(mrns(1, first=2001))

    assert outcome.errors == {"AB-2001": "link_mismatch"}


def test_without_a_ledger_each_run_sees_for_itself(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    assert hospital(mrns(3), "--no-ledger").ended.code == 0
    lying.names = False

    assert hospital(mrns(3), "--no-ledger").warnings == {"unnamed_link": 3}


def test_workers_of_a_cluster_are_judged_in_the_same_way(hospital: Callable[..., Outcome], lying: LyingServer) -> None:
    everybody = mrns(6)
    lying.always(everybody[0], for_id=everybody[1], says=everybody[1].lower())
    lying.once(everybody[2], for_id=everybody[3], says=everybody[3])

    outcome = hospital(everybody, "--workers", "1")

    assert (outcome.ended.code, outcome.errors) == (3, {everybody[0]: "link_mismatch"})


# --- at random ----------------------------------------------------------------------------------------------------


def lie_at_random(hospital: Callable[..., Outcome], lying: LyingServer, seed: int) -> None:
    """A small list of odd IDs against a server that lies in every way it can think of."""
    chance = random.Random(seed)
    everybody = some_odd_ids(chance)
    strangers = some_odd_ids(chance)
    lying.answers.clear()
    lying.names = chance.random() < 0.8
    share = chance.choice([0.1, 0.5, 1.0])
    lied_to = {external_id: chance.random() < share for external_id in everybody}
    for external_id in everybody:
        if lied_to[external_id]:
            # A stranger whom nobody here knows, where no link names anybody, is beyond anybody's knowledge.
            others = [each for each in everybody if each != external_id] or everybody
            other = chance.choice([*others, *strangers] if lying.names and not all(lied_to.values()) else others)
            lie = lying.always if chance.random() < 0.5 else lying.once
            lie(external_id, for_id=other, says=SPELLINGS[chance.choice(sorted(SPELLINGS))](other))
    options = ["--any-length", "--no-ledger", "--id-column", "MRN", "--concurrency", chance.choice([1, 8])]
    if chance.random() < 0.2:
        options.append("--strict-links")
    hospital(everybody, *options)


def some_odd_ids(chance: random.Random) -> list[str]:
    """A few that resemble one another, with everything in them that an ID may have."""
    stem = f"{chance.choice(['A', 'ab', '', '00', '7'])}{chance.randint(0, 99)}"
    inner = [f"{chance.choice('-_./:#*~ ')}{chance.choice(['0', '00', ''])}{chance.randint(1, 12)}" for _ in range(4)]
    found = {stem, *(stem + "".join(chance.sample(inner, chance.randint(1, 2))) for _ in range(6))}
    return [*dict.fromkeys(f"{each}" for each in sorted(found) if any(map(str.isdigit, each)))]


@pytest.mark.parametrize("seed", range(10))
def test_nobody_gets_anothers_link_from_a_server_that_lies_at_random(
    hospital: Callable[..., Outcome], lying: LyingServer, seed: int
) -> None:
    lie_at_random(hospital, lying, seed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("hundred", range(10, 20))
def test_nobody_gets_anothers_link_in_a_thousand_runs_against_a_liar(
    hospital: Callable[..., Outcome], lying: LyingServer, hundred: int
) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        lie_at_random(hospital, lying, seed)
