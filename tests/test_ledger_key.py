"""The key beside a ledger: private, made once, never taken for another file, and nothing of it in what is kept."""

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchlinks.errors import SettingsError
from batchlinks.ledger.key import LedgerKey, key_path


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    ledger = tmp_path / "data" / "ledger.sqlite3"
    assert LedgerKey.find(ledger) is None

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: LedgerKey.load(ledger), range(16)))

    assert len({key.fingerprint for key in keys}) == 1
    assert [file.name for file in ledger.parent.iterdir()] == ["ledger.sqlite3.key"]
    if sys.platform != "win32":
        assert stat.S_IMODE(key_path(ledger).stat().st_mode) == 0o600
    assert keys[0].digest("00417") == LedgerKey.load(ledger).digest("00417") != keys[0].digest("417")
    assert keys[0].digest("00417") != keys[0].digest("00417", kind="patient")
    assert LedgerKey.load(tmp_path / "other").digest("00417") != keys[0].digest("00417")
    secret = key_path(ledger).read_text("ascii").split()[-1]
    assert secret not in f"{keys[0]!r} {keys[0].fingerprint}"


def test_a_tag_is_shared_by_many_texts(tmp_path: Path) -> None:
    key = LedgerKey.load(tmp_path / "ledger")
    tags = [key.tag("year", str(year), 8) for year in range(1900, 2400)]
    assert all(0 <= tag < 256 for tag in tags)
    assert 150 < len(set(tags)) <= 256


@pytest.mark.parametrize("left", ["", "batchlinks ledger key 1\n", "batchlinks ledger key 1\n12ab", "\0\0\0\0"])
def test_a_damaged_key_is_replaced(tmp_path: Path, left: str) -> None:
    key_path(tmp_path / "ledger").write_text(left)
    assert LedgerKey.find(tmp_path / "ledger") is None
    made = LedgerKey.load(tmp_path / "ledger")
    assert LedgerKey.load(tmp_path / "ledger").fingerprint == made.fingerprint


def test_a_file_that_is_no_key_is_left_alone(tmp_path: Path) -> None:
    path = key_path(tmp_path / "server")
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(SettingsError, match="holds something else"):
        LedgerKey.load(tmp_path / "server")
    assert path.read_text() == "-----BEGIN PRIVATE KEY-----\n"
