"""What stops a run: a small tree of exceptions, each with the exit code that a script sees.

What happened to one row is a value (`batchlinks.row_codes`), never an exception. Every message here is shown to
the user as it is: what is wrong, where, what to do next. It never holds an external ID, a patient's data, a
link, a token or a secret.
"""

import traceback
from enum import IntEnum
from pathlib import Path

from batchlinks.next_steps import COMMAND, PYTHON, Door


class ExitCode(IntEnum):
    """How the command ended; the table in the README explains each to an operator."""

    DONE = 0
    BROKEN = 1
    UNUSABLE = 2
    DONE_WITH_ERRORS = 3
    REFUSED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class BatchlinksError(Exception):
    """Shown to the user. Raised in place of every failure that has an explanation.

    Its arguments are the parts of one sentence or more: text that holds true at every door, and values (`Setting`,
    `Advice`) for what each door says in words of its own. `str` gives the command's words, or those for callers in Python.
    """

    exit_code = ExitCode.BROKEN
    run_id: str | None = None
    """Of the run or check that it ended, if it ended one."""

    in_python = False
    """Whether a caller in Python reads it, who sets keyword arguments and no options."""

    def __str__(self) -> str:
        return self.said_at(PYTHON if self.in_python else COMMAND)

    def said_at(self, door: Door) -> str:
        """The message in the words of a door."""
        return door.say(self.args)


class SettingsError(BatchlinksError):
    """The command or a setting cannot be used; no link was asked for."""

    exit_code = ExitCode.UNUSABLE


class RosterError(BatchlinksError):
    """The roster as a whole cannot be used; no link was asked for."""

    exit_code = ExitCode.UNUSABLE


class FolderError(BatchlinksError):
    """A folder, here or elsewhere, is not there, does not let us in, or cannot be used."""

    exit_code = ExitCode.UNUSABLE


class FolderLost(FolderError):
    """A folder failed in the middle of the work: its disk is full, or the connection to it broke."""

    exit_code = ExitCode.BROKEN


class Refused(BatchlinksError):
    """HealthEx refused the credentials or the project: every further call would fail too."""

    exit_code = ExitCode.REFUSED


class Unreachable(BatchlinksError):
    """HealthEx could not be reached, kept failing, or said to come back later."""

    exit_code = ExitCode.UNREACHABLE


class Interrupted(BatchlinksError):
    """Ctrl-C or SIGTERM."""

    exit_code = ExitCode.INTERRUPTED


def exit_code_of(error: BaseException) -> ExitCode:
    """With which a command ends that this has ended."""
    if isinstance(error, BatchlinksError):
        return error.exit_code
    return ExitCode.BROKEN if isinstance(error, Exception) else ExitCode.INTERRUPTED


def defect(error: Exception) -> str:
    """Where batchlinks broke, and as what; never the values that it held, as a traceback or a message might."""
    from batchlinks.version import __version__

    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "batchlinks" in Path(frame.filename).parts
    ]
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "an unknown place"
    return (
        f"This is a defect in batchlinks {__version__} ({type(error).__name__} at {place}). Answers that had arrived are kept "
        "in the ledger. Please report it with this line."
    )
