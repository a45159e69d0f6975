"""Whether a folder lies on a network share.

SQLite's WAL needs memory that all users of a file share, which only one computer's own disks give; on a share two computers
would not see each other's changes and could destroy the file.
"""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

_SHARES = re.compile(
    r"9p|acfs|afpfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|fhgfs|glusterfs|gpfs|lustre|ncpfs|nfs\d?|ocfs2|panfs|prl_fs|smb\w*|"
    r"vboxsf|virtiofs|vmhgfs|webdav|"
    r"fuse\.(?!gocryptfs|ecryptfs|encfs|cryfs|securefs|ntfs|exfat|fuseblk|bindfs|mergerfs|fuse-overlayfs).*"
)
"""Kinds of file systems that more than one computer, or a virtual machine and its host, may have open at once. What a
user's own program mounts (fuse) is one unless it is known to lie on a disk."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_DRIVE_REMOTE = 4
_MOUNT_LINE = re.compile(r".+? on (?P<point>/.*?) \((?P<kind>[^,)]+)")


def network_share(folder: Path) -> str | None:
    """The kind of network file system that `folder` lies on, such as `nfs4`; None for a disk of this computer."""
    if sys.platform == "win32":
        return _on_windows(folder)
    kind = kind_of_mount(folder.resolve(), mounts())
    return kind if kind and _SHARES.fullmatch(kind) else None


def mounts() -> list[tuple[str, str]]:
    """Mount point and kind of each file system that is mounted, in the order in which that was done."""
    try:
        if _MOUNTINFO.exists():
            return in_mountinfo(_MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape"))
        return in_mount_table(subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout)
    except OSError:  # a locked-down computer does not tell; its disks are taken for its own
        return []


def in_mount_table(text: str) -> list[tuple[str, str]]:
    """As `mounts`, from what `mount` says on macOS."""
    return [(match["point"], match["kind"]) for match in map(_MOUNT_LINE.match, text.splitlines()) if match]


def in_mountinfo(text: str) -> list[tuple[str, str]]:
    """As `mounts`, from what Linux says (`man 5 proc_pid_mountinfo`)."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        found.append((point, after.split(" ")[0]))
    return found


def kind_of_mount(folder: Path, mounted: list[tuple[str, str]]) -> str | None:
    """The kind of the file system that holds `folder`: that of the deepest mount point above it, and the last there."""
    above = {str(folder), *map(str, folder.parents)}
    best: tuple[str, str] | None = None
    for point, kind in mounted:
        if point in above and (best is None or len(point) >= len(best[0])):
            best = point, kind
    return best[1] if best else None


def _on_windows(folder: Path) -> str | None:  # pragma: no cover
    drive = str(folder.resolve().anchor)
    if drive.startswith("\\\\"):
        return "smb"
    is_remote = ctypes.windll.kernel32.GetDriveTypeW(drive) == _DRIVE_REMOTE  # type: ignore[attr-defined,unused-ignore]
    return "network drive" if is_remote else None
