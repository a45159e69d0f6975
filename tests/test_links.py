"""Whose link is it? The rules, for all kinds of IDs and every way of encoding them."""

import json
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlinks.healthex.known_ids import KnownIds
from batchlinks.healthex.whose_link import (
    Leniency,
    Verdict,
    Verdicts,
    candidates,
    judge,
    read_link,
    whose,
    xid_of,
)

HOST = "app.healthex.io"
steadily = settings(derandomize=True, deadline=None)
PAGE = f"https://{HOST}/#/patient-consent/p-1/enrollment/link"

_ENDS = st.sampled_from("0123456789ABCxyz")
_INNER = st.lists(st.sampled_from([*"0123456789ABCxyz-_./:#*~", " "]), max_size=10).map("".join)
ids = st.one_of(
    _ENDS,
    st.builds(lambda first, inner, last: first + inner + last, _ENDS, _INNER, _ENDS),
).filter(lambda text: "  " not in text)
signatures = st.text("ABCXYZabcxyz0189-_", min_size=1, max_size=12)
encodings = st.sampled_from([str, lambda text: quote(text, safe=""), quote_plus])


def link_of(external_id: str, signature: str = "c2ln", encode: Callable[[str], str] = str) -> str:
    return f"{PAGE}?xid={encode(external_id)}.{signature}"


class Ledger:
    """What the rules ask of one, with these IDs in it."""

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = set(ids)

    def known(self, texts: Collection[str]) -> set[str]:
        return self.ids & set(texts)

    def all_known(self) -> pa.Array:
        return pa.array(sorted(self.ids), pa.string())


def verdicts(
    pairs: Mapping[str, str],
    *,
    strict: bool = False,
    names: bool = False,
    accepted: bool = False,
    in_ledger: Collection[str] = (),
    seen: Collection[str] = (),
    owners: Mapping[str, Collection[str]] | None = None,
) -> Verdicts:
    return judge(
        pa.chunked_array([list(pairs)], pa.string()),
        pa.chunked_array([list(pairs.values())], pa.string()),
        host=HOST,
        known=KnownIds(pa.array(list(pairs), pa.string()), lambda: seen, Ledger(in_ledger)),
        leniency=Leniency(strict=strict, names=names, accepted=accepted),
        other_owners=lambda links: {each: names for each, names in (owners or {}).items() if each in links},
    )


def refused(pairs: Mapping[str, str], found: Verdicts) -> set[str]:
    return {list(pairs)[position] for position in found.mismatched}


@steadily
@given(external_id=ids, signature=signatures, encode=encodings, quoted=st.booleans())
def test_a_link_comes_out_of_an_answer_as_it_went_in_and_names_its_id(
    external_id: str, signature: str, encode: Callable[[str], str], quoted: bool
) -> None:
    link = link_of(external_id, signature, encode)

    read = read_link(f"\n {json.dumps(link) if quoted else link} \r\n", HOST)

    assert read == link
    xid = xid_of(link, HOST)
    assert xid == f"{external_id}.{signature}"
    assert external_id in candidates(xid)


@steadily
@given(pairs=st.dictionaries(ids, st.tuples(signatures, encodings), min_size=1, max_size=8))
def test_links_that_name_their_own_ids_are_all_right_however_the_ids_resemble_one_another(
    pairs: dict[str, tuple[str, Callable[[str], str]]],
) -> None:
    # A signature has no dot in it here: with one, `1` and `1.2` could not be told apart by anybody.
    links = {external_id: link_of(external_id, *how) for external_id, how in pairs.items()}

    found = verdicts(links, strict=True)

    assert found == Verdicts(named=True)


@steadily
@given(
    known=st.sets(ids, min_size=2, max_size=8),
    which=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    signature=signatures,
)
def test_a_link_that_names_another_known_id_is_refused_and_no_other(
    known: set[str], which: tuple[int, int], signature: str
) -> None:
    everybody = sorted(known)
    victim, other = everybody[which[0] % len(everybody)], everybody[which[1] % len(everybody)]
    links = {external_id: link_of(external_id, signature) for external_id in everybody}
    links[victim] = link_of(other, "b3RoZXI")

    found = verdicts(links)

    assert refused(links, found) == ({victim} if victim != other else set())


@steadily
@given(st.text(max_size=300))
def test_no_answer_at_all_is_a_crash(text: str) -> None:
    link = read_link(text, HOST)

    assert link is None or link.startswith("https://")


@pytest.mark.parametrize(
    "link",
    [
        f"http://{HOST}/#/x?xid=1.s",
        f"https://{HOST}.evil.example/#/x?xid=1.s",
        f"https://evil.example/{HOST}/#/x?xid=1.s",
        f"https://{HOST}@evil.example/#/x?xid=1.s",
        f"https://{HOST}\\@evil.example/#/x?xid=1.s",
        f"https://{HOST}:8443/#/x?xid=1.s",
        f"https://{HOST}/x?xid=1.s",
        f"https://{HOST}/?xid=1.s#/x",
        f"https://{HOST}/#/x?xid=",
        f"https://{HOST}/#/x?xid=1.",
        f"https://{HOST}/#/x?yid=1.s",
        f"https://{HOST}/#/x?xid=1.s&xid=2.s",
        f"https://{HOST}/#/x",
        f"https://[{HOST}/#/x?xid=1.s",
        f"https://{HOST}/#/x?xid=1.s\nSet-Cookie: a",
        f"https://{HOST}/#/ü?xid=1.s",
        f"https://{HOST}/#/x?xid={'1' * 5000}.s",
        "",
    ],
)
def test_what_is_no_link_on_the_host_with_one_xid_is_no_link(link: str) -> None:
    assert read_link(link, HOST) is None


@pytest.mark.parametrize(
    "link",
    [
        f"HTTPS://{HOST.upper()}/#/x?xid=1.s",
        f"https://{HOST}:443/#/x?xid=1.s",
        f"https://{HOST}/#/x?lang=en&xid=1.s",
        f"https://{HOST}/app?v=2#/x?xid=1.s&lang=en",
    ],
)
def test_a_link_may_be_written_in_other_ways(link: str) -> None:
    assert xid_of(link, HOST) == "1.s"


@pytest.mark.parametrize(("xid", "names"), [("12.5.s", ["12.5", "12"]), ("s", []), (".s", []), ("1..s", ["1.", "1"])])
def test_an_xid_may_name_whatever_stands_before_one_of_its_dots_the_longest_first(xid: str, names: list[str]) -> None:
    assert list(candidates(xid)) == names


def test_a_signature_with_dots_is_no_matter_as_long_as_no_known_id_is_longer() -> None:
    links = {"12": link_of("12", "a.b.c"), "13": link_of("13", "5.x")}

    assert verdicts(links, strict=True) == Verdicts(named=True)
    assert refused(links, verdicts(links, in_ledger={"13.5"})) == {"13"}


def test_a_link_that_names_an_id_of_the_ledger_is_refused() -> None:
    links = {"12": link_of("99")} | {f"{number}": link_of(f"{number}") for number in range(100, 110)}

    assert refused(links, verdicts(links, in_ledger={"99"})) == {"12"}


@pytest.mark.parametrize(
    ("right", "nameless", "believed"), [(95, 5, False), (94, 6, False), (1, 99, False), (0, 1, True), (0, 100, True)]
)
def test_links_that_name_nobody_are_believed_where_none_names_anybody(
    right: int, nameless: int, believed: bool
) -> None:
    links = {f"1{number:03}": link_of(f"1{number:03}") for number in range(right)}
    links |= {f"2{number:03}": link_of("opaque", f"sig{number}") for number in range(nameless)}

    found = verdicts(links)

    assert len(found.unnamed) == (nameless if believed else 0)
    assert len(found.mismatched) == (0 if believed else nameless)
    assert len(verdicts(links, strict=True).mismatched) == nameless
    assert len(verdicts(links, names=True).mismatched) == nameless
    assert len(verdicts(links, names=True, accepted=True).unnamed) == nameless


def test_one_link_for_two_ids_is_refused_for_both_and_for_one_that_had_it_before() -> None:
    same, own = link_of("opaque", "same"), link_of("opaque", "own")
    links = {"1": same, "2": same, "3": own, "4": link_of("opaque", "old")}

    found = verdicts(links, owners={link_of("opaque", "old"): {"4", "77"}, own: {"3"}})

    assert refused(links, found) == {"1", "2", "4"}
    assert [list(links)[position] for position in found.unnamed] == ["3"]


def test_one_link_for_two_ids_stays_with_the_one_that_it_names() -> None:
    links = {"1": link_of("2"), "2": link_of("2"), "3": link_of("3")}

    assert refused(links, verdicts(links)) == {"1"}


# --- many at once -----------------------------------------------------------------------------------------------

XIDS = st.text(alphabet="01a.%+", max_size=6)
WAYS = st.sampled_from(
    [
        f"https://{HOST}/#/patient-consent/p/enrollment/link?xid={{}}",
        f"https://{HOST}/#/patient-consent/p/enrollment/link?a=1&xid={{}}",
        f"https://{HOST}/#/other?xid={{}}",
        "https://elsewhere.example/#/patient-consent/p/enrollment/link?xid={}",
        "no link {}",
    ]
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    rows=st.lists(
        st.tuples(st.text(alphabet="01a.", min_size=1, max_size=4), WAYS, st.booleans(), XIDS), min_size=1, max_size=8
    )
)
def test_links_looked_at_together_are_judged_like_each_alone(rows: list[tuple[str, str, bool, str]]) -> None:
    many = pa.array([external_id for external_id, _, _, _ in rows])
    links = pa.array([way.format(f"{external_id}.{rest}" if own else rest) for external_id, way, own, rest in rows])

    known = KnownIds(many.unique(), tuple, Ledger(()))
    found = judge(
        pa.chunked_array([many]),
        pa.chunked_array([links]),
        host=HOST,
        known=known,
        leniency=Leniency(strict=True),
        other_owners=lambda _: {},
    )

    pairs = zip(many.to_pylist(), links.to_pylist(), strict=True)
    alone = [whose(external_id, link, HOST, known) for external_id, link in pairs]
    assert {place: refusal.verdict for place, refusal in found.mismatched.items()} == {
        place: verdict for place, verdict in enumerate(alone) if verdict is not Verdict.OWN
    }
    assert found.named == any(verdict.names_somebody for verdict in alone)
