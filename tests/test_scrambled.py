"""Answers come back in any order: every link ends up in the row of the ID that it was issued for, and in no other."""

import random
from collections.abc import Callable

import pytest
import results
from conftest import Ended
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchlinks.simulator import RunningSimulator

_DIGITS = st.text("0123456789", min_size=4, max_size=9)
_PARTS = st.from_regex(r"[ABCXYZ][ABCXYZ0-9]{0,4}", fullmatch=True)


@st.composite
def confusing_ids(draw: st.DrawFn) -> list[str]:
    """IDs that begin like each other or are each other's beginning, with dots in them, as a link would have it."""
    stems = draw(st.lists(_DIGITS, min_size=3, max_size=8, unique=True))
    ends = draw(st.lists(_PARTS, min_size=2, max_size=5, unique=True))
    ids = [stem.rjust(9, "1") for stem in stems]
    ids += [f"{stem}.{end}" for stem in ids for end in ends]
    ids += [f"{stem}-{end}" for stem in ids for end in ends if "." not in stem]
    return list({external_id.casefold(): external_id for external_id in ids}.values())


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ids=confusing_ids(), seed=st.integers(0, 2**32), concurrency=st.sampled_from([3, 16, 64]))
def test_link_and_id_stay_together_in_whatever_order_the_answers_come(
    command: Callable[..., Ended],
    start_healthex: Callable[..., RunningSimulator],
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    seed: int,
    concurrency: int,
) -> None:
    folder = tmp_path_factory.mktemp("scrambled")  # one for each example
    random.Random(seed).shuffle(ids)
    healthex = start_healthex(seed=seed, jitter_ms=60, server_error_share=0.04, drop_share=0.02)
    roster = folder / "patients.csv"
    roster.write_text("".join(f"{line}\n" for line in ["MRN", *ids]), encoding="utf-8")

    as_they_are = ("--any-length", "--any-shape", "--exact-ids")
    ended = command("run", roster, "--id-column", "MRN", *as_they_are, "--concurrency", concurrency)

    assert ended.code == 0, ended.err
    assert list(healthex.links) != ids  # the order of the answers
    rows = [(row["MRN"], row["link"]) for row in results.links(folder / "patients.links.xlsx")]
    assert rows == [(external_id, healthex.links[external_id]) for external_id in ids]
