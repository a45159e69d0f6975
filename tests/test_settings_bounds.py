"""Settings that make no sense, are not the user's own, or never end: exit 2 with a sentence, before the list is read."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchlinks.config.id_pattern import IdPattern
from batchlinks.config.settings import NightlySettings, RunSettings, ServeSettings, flag
from batchlinks.errors import SettingsError
from batchlinks.web.form_fields import SETTABLE, effective, from_form

Command = Callable[..., Ended]

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to another user")

SOMEBODY = 4242
"""A user whom nobody knows."""

ABSURD = [
    "9" * 400, "9" * 5_000, "-1", "1e400", "nan", "inf", "1e-320", "x" * 100_000, "\udcff", "../" * 2_000, "/dev/zero", "é" * 200,
    "(" * 400, "a{" + "9" * 30 + "}", "(?:(?:a{99}){99}){99}", "tls://[::1", "a\x01b", "\U0001f600", "base64", "undefined",
]  # fmt: skip


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("MRN,Name\n00417,Ann\n", encoding="utf-8")
    return path


# --- whose settings file it is --------------------------------------------------------------------------------


@pytest.fixture
def found(private_home: Path) -> Path:
    """A settings file in the current folder, which sends results elsewhere."""
    path = private_home / "batchlinks.toml"
    path.write_text('output-dir = "theirs"\n', encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_settings_file_of_the_users_own_is_obeyed(command: Command, found: Path, roster: Path) -> None:
    ended = command("check", roster)

    assert ended.code == 0
    assert (found.parent / "theirs" / "patients.check.xlsx").exists()


def by_another_user(path: Path) -> None:
    os.chown(path, SOMEBODY, 0)


def writable_by_all(path: Path) -> None:
    path.chmod(0o646)


def writable_by_a_group_with_members(path: Path) -> None:
    import pwd

    other = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0 and entry.pw_gid != 0)
    os.chown(path, 0, other.pw_gid)
    path.chmod(0o660)


def in_an_open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def link_of_another_user(path: Path) -> None:
    path.rename(path.with_name("kept.toml"))
    path.symlink_to("kept.toml")
    os.chown(path, SOMEBODY, 0, follow_symlinks=False)


def link_to_a_file_of_another_user(path: Path) -> None:
    path.rename(path.with_name("theirs.toml"))
    os.chown(path.with_name("theirs.toml"), SOMEBODY, 0)
    path.symlink_to("theirs.toml")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def too_large(path: Path) -> None:
    path.write_text("#" * 1_000_001, encoding="utf-8")


def too_deep(path: Path) -> None:
    path.write_text("exclude = " + "[" * 20_000, encoding="utf-8")


def a_number_without_end(path: Path) -> None:
    path.write_text("limit = " + "9" * 5_000, encoding="utf-8")


def a_hexadecimal_number_without_end(path: Path) -> None:
    path.write_text("limit = 0x" + "f" * 5_000, encoding="utf-8")


@posix
@as_root
@pytest.mark.parametrize(
    "spoil",
    [
        by_another_user, writable_by_all, writable_by_a_group_with_members, in_an_open_folder, link_of_another_user,
        link_to_a_file_of_another_user, a_pipe, a_folder, a_device, too_large, too_deep, a_number_without_end,
        a_hexadecimal_number_without_end,
    ],
)  # fmt: skip
def test_a_settings_file_that_is_not_to_be_trusted_is_refused(
    command: Command, found: Path, roster: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(found)

    ended = command("check", roster)

    assert (ended.code, ended.out) == (2, "")
    assert "batchlinks.toml" in ended.err
    assert "Traceback" not in ended.err
    assert sorted(path.name for path in roster.parent.iterdir()) == ["patients.csv"]


@posix
@as_root
@pytest.mark.parametrize(
    ("spoil", "code"),
    [(by_another_user, 0), (writable_by_a_group_with_members, 0), (writable_by_all, 2), (a_pipe, 2), (too_large, 2)],
)
def test_a_settings_file_that_somebody_named_may_be_a_colleagues_but_not_everybodys(
    command: Command, found: Path, roster: Path, tmp_path: Path, spoil: Callable[[Path], None], code: int
) -> None:
    named = tmp_path / "named.toml"
    found.rename(named)
    spoil(named)

    assert command("check", roster, "--config", named).code == code


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="only where there is a file without an end")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "patients.csv", "--config", "/dev/zero"],
        ["check", "patients.csv", "--exclude", "/dev/zero"],
        ["check", "/dev/zero"],
        ["serve", "--port", "0", "--certfile", "/dev/zero"],
        ["ledger", "withdraw", "--ids", "/dev/zero"],
    ],
    ids=["settings", "exclude list", "roster", "certificate", "list of IDs"],
)
def test_a_file_without_an_end_is_refused_at_once(command: Command, found: Path, arguments: list[str]) -> None:
    found.unlink()
    Path("patients.csv").write_text("MRN,Name\n00417,Ann\n", encoding="utf-8")
    began = time.monotonic()

    ended = command(*arguments)

    assert ended.code == 2
    assert time.monotonic() - began < 20


@posix
def test_a_secret_comes_from_a_pipe_but_not_from_a_device(
    command: Command, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHLINKS_ROSTER_PASSWORD_FILE", "/dev/zero")
    device = command("check", roster)
    reading, writing = os.pipe()
    os.write(writing, b"a password\n")
    os.close(writing)
    monkeypatch.setenv("BATCHLINKS_ROSTER_PASSWORD_FILE", f"/dev/fd/{reading}")
    pipe = command("check", roster)
    os.close(reading)

    assert (device.code, pipe.code) == (2, 0)
    assert "it is a device or a pipe, not a file" in device.err


# --- values without sense -------------------------------------------------------------------------------------


OPTIONS: list["Field[Any]"] = [
    entry
    for kind in (RunSettings, NightlySettings, ServeSettings)
    for entry in fields(kind)
    if "bool" not in str(entry.type)
]


@pytest.mark.parametrize("entry", OPTIONS, ids=lambda entry: entry.name)
def test_every_number_and_every_text_has_bounds(entry: "Field[Any]") -> None:
    option = entry.metadata["option"]

    if any(kind in str(entry.type) for kind in ("int", "float")):
        assert option.maximum is not None or option.highest is not None
    assert option.longest <= 10_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--project-id", "x" * 100_000], "--project-id is too long: it has 100,000 characters, and 200 is the most"),
        (["--limit", "9" * 400], "--limit takes at most 1,000,000,000"),
        (["--timeout", "1e300"], "--timeout takes at most 86,400"),
        (["--rate", "1e-320"], "--rate takes at least 0.001"),
        (["--id-pattern", "(" * 400], "--id-pattern is not a regular expression"),
        (
            ["--id-pattern", "a{" + "9" * 30 + "}"],
            "--id-pattern: a count in braces is {8}, {6,8} or {6,}, and at most 128",
        ),
        (["--id-pattern", "(?=[0-9]{8}).*"], "lookahead"),
        (["--id-pattern", r"([0-9])\1"], "a reference to an earlier group"),
        (["--output-dir", "x" * 300], "--output-dir is too long for the path of a file"),
        (["--sheet", "\udcff"], "--sheet has a character in it that no text has"),
        (["--config", "x" * 300], "--config is too long for the path of a file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_value_beyond_all_bounds_is_refused_before_the_list_is_read(
    command: Command, tmp_path: Path, flags: list[str], said: str
) -> None:
    ended = command("check", tmp_path / "nosuch.csv", *flags)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


@pytest.mark.parametrize("key", ["exclude", "output-dir", "ledger", "project-id", "sheet", "id-column"])
def test_a_nul_in_the_settings_file_is_refused(command: Command, found: Path, roster: Path, key: str) -> None:
    found.write_text(f'{key} = "a\\u0000b"\n', encoding="utf-8")

    ended = command("check", roster)

    assert ended.code == 2
    assert f"--{key} has a character in it" in ended.err


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entry=st.sampled_from(OPTIONS), value=st.one_of(st.sampled_from(ABSURD), st.text(max_size=30)))
def test_no_value_of_an_option_is_a_defect(command: Command, tmp_path: Path, entry: "Field[Any]", value: str) -> None:
    own = {id(each) for each in fields(RunSettings)}
    arguments = ["nightly"] if id(entry) not in own else ["check", str(tmp_path / "nosuch.csv")]
    if entry in fields(ServeSettings):
        arguments = ["serve", "--certfile", "nosuch.pem"]

    ended = command(*arguments, flag(entry.name), value)

    assert ended.code == 2
    assert "defect" not in ended.err


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    entry=st.sampled_from([entry for entry in OPTIONS if entry in fields(RunSettings)]), value=st.sampled_from(ABSURD)
)
def test_a_check_with_any_value_of_an_option_ends_in_good_order(
    command: Command, roster: Path, entry: "Field[Any]", value: str
) -> None:
    ended = command("check", roster, flag(entry.name), value)

    assert ended.code in (0, 2, 3)
    assert "defect" not in ended.err


@given(st.dictionaries(st.sampled_from(sorted(SETTABLE)), st.one_of(st.sampled_from(ABSURD), st.text(max_size=30))))
def test_no_field_of_the_page_is_a_defect(texts: dict[str, str]) -> None:
    try:
        effective(RunSettings(), from_form(texts))
    except SettingsError as error:
        assert str(error)


# --- patterns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*)(.*)(.*)(.*)(.*)b", "(?:a?){100}a{100}"])
def test_a_pattern_that_would_backtrack_for_ever_takes_no_time(command: Command, tmp_path: Path, pattern: str) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_text("MRN\n" + "".join(f"{'a' * 100}{n}\n" for n in range(2_000)), encoding="utf-8")
    began = time.monotonic()

    ended = command("check", roster, "--id-column", "MRN", "--id-pattern", pattern)

    assert ended.code in (0, 3)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        (r"MRN-\d{6}", "MRN-123456", "xMRN-1234567"),
        (r"(?i)mrn\d+", "MRN7", "MRN"),
        (r"^\d{4,6}$", "12345", "123"),
        (r"a|b", "b", "ab"),
        (r"[A-Z*+]{2}", "*+", "a"),
        (r"\*\+", "*+", "*"),
        (r"(?P<a>x){2}", "xx", "x"),
    ],
)
def test_a_pattern_matches_a_whole_id(pattern: str, fits: str, does_not: str) -> None:
    found = IdPattern(pattern)

    assert found.fits(fits)
    assert not found.fits(does_not)
    assert found.fitting([fits, does_not]) == {fits}


@pytest.mark.parametrize(
    "pattern",
    ["[", "a)|(b", "(?<!a)b", "(?P=a)", "(?>a)", "a++", r"a\Z", r"\d{,3}", "{", "x" * 501, "a\0", r"\pL{99}{99}"],
)
def test_a_pattern_that_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError, match="--id-pattern"):
        IdPattern(pattern)


@settings(max_examples=200)
@given(
    st.recursive(
        st.sampled_from(["a", "B", "7", ".", "[a-c]", "[^7]", r"\d", "-", r"\."]),
        lambda part: st.one_of(
            st.tuples(part, part).map("".join),
            st.tuples(part, part).map("|".join).map("(?:{})".format),
            st.tuples(part, st.sampled_from(["*", "+", "?", "{2}", "{1,3}"])).map(
                lambda both: f"(?:{both[0]}){both[1]}"
            ),
        ),
        max_leaves=6,
    ),
    st.lists(st.text(alphabet="aB7c-.", max_size=8), min_size=1),
)
def test_a_pattern_means_what_it_means_elsewhere(pattern: str, ids: list[str]) -> None:
    import re

    assert IdPattern(pattern).fitting(ids) == {text for text in ids if re.fullmatch(pattern, text)}
