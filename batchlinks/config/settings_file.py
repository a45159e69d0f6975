"""Whose settings file is obeyed: what it says decides where results go and who is connected to.

One that was not named but found in the current folder must be the user's own or root's, in every link of its name, and
nobody else may be able to write it. One that was named (`--config`) may be a colleague's, but not everybody's.
"""

import os
import stat
import sys
from pathlib import Path

from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError

_LARGEST = 1_000_000
_OTHERWISE = "Move it into a folder of your own, and name it with --config."


def read_settings_file(path: Path, *, named: bool) -> bytes:
    """Its content. Raises OSError for one that is no file or over 1 MB, SettingsError for one that is not to be obeyed.

    `named`: the user named it, instead of finding it in the current folder.
    """
    if sys.platform == "win32":  # modes there say nothing
        return read_small_file(path, _LARGEST)

    def inspect(descriptor: int, state: os.stat_result) -> None:
        if stat.S_ISREG(state.st_mode):
            _refuse_others(path, descriptor, state, named=named)

    if not named:
        _refuse_foreign_place(path)
    return read_small_file(path, _LARGEST, inspect=inspect)


if sys.platform != "win32":
    import grp
    import pwd

    def _refuse_others(path: Path, descriptor: int, state: os.stat_result, *, named: bool) -> None:
        if state.st_mode & stat.S_IWOTH:
            raise SettingsError(
                f"{path} can be changed by everybody on this computer, so it is not used: chmod o-w makes it yours alone. "
                "Look first at what it says."
            )
        if named:
            return
        if not _is_ours(state.st_uid):
            raise SettingsError(_foreign(path))
        if state.st_mode & stat.S_IWGRP and (_has_list(descriptor) or _others_in(state.st_gid)):
            raise SettingsError(
                f"{path} can be changed by other members of its group, so it is not used: chmod g-w makes it yours alone. "
                "Look first at what it says, or name it with --config."
            )

    def _refuse_foreign_place(path: Path) -> None:
        """A link of somebody else's leads to whatever they like; in an open folder they can put what they like in its place."""
        if not _is_ours(path.lstat().st_uid):
            raise SettingsError(_foreign(path))
        folder = path.absolute().parent.stat()
        if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
            raise SettingsError(
                f"{path} lies in a folder in which everybody on this computer can put another in its place, so it is not used. "
                f"{_OTHERWISE}"
            )

    def _foreign(path: Path) -> str:
        return (
            f"{path} in the current folder belongs to another user, so it is not used. Start batchlinks in a folder of your "
            "own, or name the file with --config if you know it."
        )

    def _is_ours(user: int) -> bool:
        return user in (0, os.geteuid())

    def _others_in(group: int) -> bool:
        """Whether the group has members besides this user and root, as far as this computer knows."""
        ours = {0, os.geteuid()}
        try:
            names = grp.getgrgid(group).gr_mem
        except KeyError:
            names = []
        if any(_number_of(name) not in ours for name in names):
            return True
        return any(entry.pw_gid == group and entry.pw_uid not in ours for entry in pwd.getpwall())

    def _number_of(name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def _has_list(descriptor: int) -> bool:
        """Whether it has an access list of its own, which may let others write: the group's bits then stand for it."""
        try:
            return "system.posix_acl_access" in os.listxattr(descriptor)
        except (AttributeError, OSError):  # not on macOS, not on this file system
            return False
