"""The command line: a thin door. Settings in, one call, an exit code and one last line out.

Nothing heavy is imported before a command needs it, so that help answers at once.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click
import cloup
from click.core import ParameterSource

from batchlinks.cli.history_command import history
from batchlinks.cli.ledger_commands import ledger
from batchlinks.cli.nightly_command import nightly
from batchlinks.cli.options import takes, variable
from batchlinks.cli.run_commands import check, demo, run, templates
from batchlinks.cli.serve_command import serve
from batchlinks.cli.simulate_command import simulate
from batchlinks.cli.status_command import status
from batchlinks.cli.terminal import OutputLost, be_silent, is_speaking, require_output, speak
from batchlinks.config.settings import is_secret_option
from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.streams import forgiving_streams, open_closed_streams
from batchlinks.version import __version__


def program() -> NoReturn:
    """The command as a program of its own.

    It leaves without the interpreter's tidying up, which can take a tenth of a second: killed in it, a run that has finished
    would look as if it had not.
    """
    open_closed_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, also before a run has begun
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Whatever goes wrong becomes one sentence on standard error."""
    with forgiving_streams():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(given: Sequence[str]) -> int:
    try:
        code = batchlinks.main(args=list(given), prog_name="batchlinks", standalone_mode=False)
        if not is_speaking():  # help or version: what was shown is all that there is
            require_output()
    except OutputLost as lost:
        return lost.exit_code if lost.reader_left else _failed(str(lost), lost.exit_code, given)
    except BatchlinksError as error:
        return _failed(str(error), error.exit_code, given, **({"run_id": error.run_id} if error.run_id else {}))
    except click.UsageError as error:
        return _failed(_usage(error), ExitCode.UNUSABLE, given)
    except (KeyboardInterrupt, click.Abort):
        return _failed("Interrupted. No link was asked for.", ExitCode.INTERRUPTED, given)
    except Exception as error:
        return _failed(defect(error), ExitCode.BROKEN, given)
    finally:
        be_silent()
    return int(code or ExitCode.DONE)


def _failed(sentence: str, code: ExitCode, arguments: Sequence[str], **facts: str) -> int:
    wants_json = "--log-format json" in " ".join(arguments).replace("=", " ")
    wants_json = wants_json or os.environ.get(variable("log_format")) == "json"
    try:
        from batchlinks.logs import logger

        if not is_speaking():  # the command was not understood, or its settings file
            speak("json" if wants_json else "text", quiet=True, verbose=False)
        logger().error(sentence, exit_code=int(code), **facts)
    except Exception:  # interrupted in the middle of an import, which leaves half a module behind
        line = {"message": sentence, "level": "error", "exit_code": int(code), **facts}
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{json.dumps(line) if wants_json else sentence}\n")
    return code


def _usage(error: click.UsageError) -> str:
    """What is wrong with the command; never an argument that somebody typed, which may be an ID or a secret."""
    command = error.ctx.command_path if error.ctx else "batchlinks"
    match error:
        case click.NoSuchOption():
            return f"{_no_such_option(error)} See `{command} --help`."
        case click.MissingParameter():
            said = f"The patient list is missing, as in `{command} patients.xlsx`."
        case click.BadParameter(param=click.Option() as option):
            said = f"{option.opts[0]}{_whence(error.ctx, option)} takes {takes(option)}."
        case click.BadOptionUsage():
            said = error.format_message()
        case click.exceptions.NoArgsIsHelpError():
            said = f"What is to be done? There is {_commands()}."
        case _ if "No such command" in error.message:
            said = f"There is no such command, but {_commands()}."
        case _ if "extra argument" in error.message:
            said = "There is one argument too many."
        case _:
            said = "The command cannot be understood."
    return f"{said} See `{command} --help`."


def _no_such_option(error: click.NoSuchOption) -> str:
    if is_secret_option(error.option_name):
        return (
            "A secret cannot be an option, since every program on this computer can read a command. Set "
            "HEALTHEX_API_KEY and HEALTHEX_API_SECRET, or the same with _FILE, or keep them in the system's keyring."
        )
    near = f" Did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
    return f"There is no such option.{near}"


def _whence(context: click.Context | None, option: click.Option) -> str:
    """Where a value comes from that is not on the command line."""
    source = context.get_parameter_source(option.name) if context and option.name else None
    if source is ParameterSource.ENVIRONMENT:
        return f" (here from the environment, {variable(str(option.name))})"
    return " (here from the settings file)" if source is ParameterSource.DEFAULT_MAP else ""


def _commands() -> str:
    return ", ".join(f"`batchlinks {name}`" for name in batchlinks.commands)


@cloup.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@cloup.version_option(__version__, prog_name="batchlinks")
def batchlinks() -> None:
    """Get a HealthEx link for every patient on a list.

    Takes the patient list you have (Excel or CSV), finds the patient ID, checks every row, asks HealthEx for each
    patient's own link, and writes a workbook with the links and a report of the rows to fix.
    """


for _command in (run, check, status, nightly, serve, history, ledger, templates, simulate, demo):
    batchlinks.add_command(_command)
