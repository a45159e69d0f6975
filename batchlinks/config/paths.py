"""Where this user's data lives, unless told otherwise; and where Python finds batchlinks."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from batchlinks.config.settings import check_path
from batchlinks.next_steps import Variable


def data_folder(environment: Mapping[str, str]) -> Path:
    """The per-user data folder: ledger and audit log. BATCHLINKS_DATA_DIR moves it as a whole.

    Raises SettingsError for one that no folder can be called.
    """
    moved = environment.get("BATCHLINKS_DATA_DIR")
    if moved:
        check_path(Variable("BATCHLINKS_DATA_DIR"), Path(moved))
    return Path(moved) if moved else Path(platformdirs.user_data_dir("batchlinks", appauthor=False))


def find_ledger(path: Path | None, environment: Mapping[str, str]) -> Path:
    """The ledger that was named, or else the one in the data folder."""
    return path or data_folder(environment) / "ledger.sqlite3"


def find_do_not_contact(path: Path | None, environment: Mapping[str, str]) -> Path:
    """The list of people not to contact that was named, or else the one in the data folder."""
    return path or data_folder(environment) / "do-not-contact.csv"


def import_path() -> str:
    """PYTHONPATH for a process of batchlinks' own: the same places to import from, in the same order."""
    places = [place for place in sys.path if place]
    package_home = str(Path(__file__).parents[2])
    if package_home not in places:
        places.insert(0, package_home)
    return os.pathsep.join(places)
