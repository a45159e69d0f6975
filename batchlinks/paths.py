"""Where this user's data lives, unless told otherwise."""

from collections.abc import Mapping
from pathlib import Path

import platformdirs


def data_folder(environment: Mapping[str, str]) -> Path:
    """The per-user data folder: ledger and audit log. BATCHLINKS_DATA_DIR moves it as a whole."""
    moved = environment.get("BATCHLINKS_DATA_DIR")
    return Path(moved) if moved else Path(platformdirs.user_data_dir("batchlinks", appauthor=False))


def default_ledger(environment: Mapping[str, str]) -> Path:
    """The ledger in it."""
    return data_folder(environment) / "ledger.sqlite3"
