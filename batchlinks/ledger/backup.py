"""A backup of all that must not be lost, in one private file, made while runs are at work.

A tar archive, compressed, as every system unpacks it: the ledger (copied by SQLite, so that it is whole), its key, and the list
of people not to contact, each under its own name and its owner's alone.
"""

import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger.do_not_contact import DoNotContact
from batchlinks.ledger.key import key_path
from batchlinks.ledger.maintenance import Records
from batchlinks.storage.private_files import fsync_folder, private

LIST_NAME = "do-not-contact.csv"


def write_backup(target: Path, records: Records, do_not_contact: DoNotContact) -> list[str]:
    """Write the archive, which must not be there yet, and return the names of what is in it.

    Raises SettingsError for a target that is there already or cannot be made, BatchlinksError where it could not be finished:
    then nothing of it is left.
    """
    with _explain_errors(target):
        folder = target.absolute().parent
        with tempfile.TemporaryDirectory(dir=folder, prefix=".batchlinks-") as workspace:
            copy = Path(workspace) / records.path.name
            records.copy_to(copy)
            # The list last: whoever says no while the ledger is copied is in it.
            key, listed = key_path(records.path), do_not_contact.path
            members = [
                (path, name)
                for path, name in ((copy, copy.name), (key, key.name), (listed, LIST_NAME))
                if path.exists()
            ]
            archive = Path(workspace) / "archive"
            with open(archive, "xb", opener=private) as file:
                with tarfile.open(fileobj=file, mode="w:gz") as packed:
                    for path, name in members:
                        packed.add(path, name, recursive=False, filter=_as_private)
                file.flush()
                os.fsync(file.fileno())
            _place(archive, target)
            fsync_folder(folder)
    return [name for _, name in members]


def _as_private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Its owner's alone, and without that one's name."""
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def _place(archive: Path, target: Path) -> None:
    """Give it its name, and never another file's."""
    try:
        target.hardlink_to(archive)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError from None
        archive.rename(target)


@contextmanager
def _explain_errors(target: Path) -> Iterator[None]:
    if target.exists():
        raise SettingsError(f"{target} is there already, and is left as it is. Give another name.")
    try:
        yield
    except FileExistsError as error:
        raise SettingsError(f"{target} is there already, and is left as it is. Give another name.") from error
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise SettingsError(f"{target} cannot be written ({error.strerror}). Give another name.") from error
    except OSError as error:
        raise BatchlinksError(f"{target} could not be written ({error.strerror}), and is gone again.") from error
