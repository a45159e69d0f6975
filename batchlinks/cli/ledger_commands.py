"""`batchlinks ledger` and what it does: show, withdraw, restore, confirm, incident, accept-unnamed, forget, export, backup."""

import csv
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import cloup
from click.core import ParameterSource

from batchlinks.cli.options import SPEECH, AnyPath, config_of, variable
from batchlinks.cli.terminal import print_output, read_standard_input, require_output, say, somebody_watches, speak
from batchlinks.errors import BatchlinksError, ExitCode, SettingsError
from batchlinks.plural import counted
from batchlinks.streams import is_terminal

if TYPE_CHECKING:
    from batchlinks.ledger import (
        DoNotContact,
        Known,
        Project,
        Records,
        ReminderRecord,
        ResponseRecord,
        Withdrawal,
    )
    from batchlinks.ledger.do_not_contact import OptOut
    from batchlinks.pipeline.known_people import EarlierPerson
    from batchlinks.pipeline.stop_list import PhoneMatches

    Answers = tuple[Sequence[ResponseRecord], ReminderRecord | None]
    """What HealthEx showed of a patient last, and the reminders."""

_NO_ARGUMENT = (
    "A patient ID is never part of a command, since every program on this computer can read it there and the shell keeps it. "
    "Leave it out: it is asked for, or read from standard input or --ids FILE."
)

_EXIT_CODES = (
    "Exit codes: 0 done; 1 batchlinks or this computer failed; 2 the command, the ledger or a list cannot be used, and nothing "
    "was changed; 3 done, and some IDs are not known (show) or were not withdrawn (restore)."
)


# --- options --------------------------------------------------------------------------------------------------

_LEDGER = cloup.option(
    "--ledger",
    type=AnyPath(path_type=Path),
    envvar=variable("ledger"),
    metavar="PATH",
    help="Where the links already made are recorded.",
)
_DO_NOT_CONTACT = cloup.option(
    "--do-not-contact",
    type=AnyPath(path_type=Path),
    envvar=variable("do_not_contact"),
    metavar="PATH",
    help="List of people who are left alone; else the one in the data folder.",
)
_PHONES = [
    cloup.option(
        "--phones",
        type=AnyPath(path_type=Path),
        metavar="FILE",
        help="Withdraw the patients of --list whose telephone number is in this file, as a texting service lists who said STOP.",
    ),
    cloup.option(
        "--list",
        "roster",
        type=AnyPath(path_type=Path),
        metavar="ROSTER",
        help="The patient list that tells whose they are.",
    ),
    cloup.option("--id-column", metavar="NAME", help="Header of the column with the patient ID."),
    cloup.option(
        "--phone-region",
        default="US",
        show_default=True,
        metavar="CC",
        help="Country of numbers without a country code.",
    ),
]
_REASON = cloup.option(
    "--reason",
    type=click.Choice(
        ("asked us not to", "deceased", "mail returned", "consented on paper", "link went to somebody else")
    ),
    default="asked us not to",
    show_default=True,
    help="Why, for whoever reads the list of people not to contact.",
)
_ONE_PROJECT = [
    # Not read from the environment or batchlinks.toml: what is meant for runs must not narrow a withdrawal unseen.
    cloup.option("--project-id", "only_id", metavar="ID", help="This project only; else all of them."),
    cloup.option(
        "--project",
        "only_named",
        metavar="NAME",
        help="The same by a name from a [[project]] table in batchlinks.toml.",
    ),
]
_IDS = cloup.option(
    "--ids",
    type=AnyPath(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="List with the patient IDs; else from standard input, or asked for.",
)
_RUN = cloup.option(
    "--run",
    "run_id",
    metavar="RUN",
    help="Everybody whom this run handed out first, instead of a list of IDs. Its ID stands in its summary.",
)
_YES = cloup.option("--yes", is_flag=True, help="Do not ask before forgetting or confirming.")


def _refuse(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> None:
    if given:
        raise SettingsError(_NO_ARGUMENT)


_NO_IDS_HERE = click.argument(
    "external_ids", nargs=-1, expose_value=False, callback=_refuse, metavar="", type=click.UNPROCESSED
)


def _options(*more: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed([*more, _LEDGER, *SPEECH]):
            function = option(function)
        return function

    return decorate


class _LedgerGroup(cloup.Group):
    """Whatever stands in a command's place and is none may be an ID: it is not repeated."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(context, args[0]) is None:
            raise SettingsError(f"`batchlinks ledger` knows {', '.join(self.commands)}. {_NO_ARGUMENT}")
        return super().resolve_command(context, args)


def _place(context: click.Context, ledger: Path | None) -> Path:
    """Where the ledger is: as the command says, or what stands before it (`batchlinks ledger --ledger PATH show`)."""
    from batchlinks.config.paths import find_ledger

    outer = context.parent.params.get("ledger") if context.parent is not None else None
    if outer is not None and context.get_parameter_source("ledger") is not ParameterSource.COMMANDLINE:
        ledger = outer
    return find_ledger(ledger, os.environ)


def _speak(log_format: Any, *, quiet: bool, verbose: bool) -> None:
    speak(log_format, quiet=quiet, verbose=verbose)


# --- the commands ---------------------------------------------------------------------------------------------


@cloup.group(cls=_LedgerGroup, invoke_without_command=True, epilog=_EXIT_CODES)
@_options(_DO_NOT_CONTACT)
@cloup.pass_context
def ledger(
    context: click.Context,
    /,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int | None:
    """See and change which links were made already.

    Alone it counts them, by project and day. Patient IDs are asked for, read from standard input or from a file; they
    are never part of a command.
    """
    if context.invoked_subcommand is not None:
        return None
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records

    with Records(_place(context, ledger)) as records:
        for line in _counts(records, _opted_out(do_not_contact), _names(context)):
            print_output(line)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(_IDS, *_ONE_PROJECT, _DO_NOT_CONTACT)
@cloup.pass_context
def show(
    context: click.Context,
    /,
    ids: Path | None,
    only_id: str | None,
    only_named: str | None,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Show the link of a patient.

    With it: since when, handed out or not, withdrawn or not.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records

    wanted = _wanted(ids, otherwise="so its link cannot be looked up")
    opted_out = _opted_out(do_not_contact)
    listed = {external_id: entries for external_id in wanted if (entries := opted_out.find(external_id))}
    found: dict[str, list[Any]] = {}
    withdrawn: dict[str, list[Any]] = {}
    alike: Sequence[str] = ()
    answers: dict[tuple[int, str], Answers] = {}
    missing = list(wanted)
    place = _place(context, ledger)
    if place.exists() or not listed:
        with Records(place) as records:
            project, known_project = _chosen(context, records, only_id, only_named)
            found = _by_id(records.links(project, wanted)) if known_project else {}
            answers = {
                (known.project.number, one): records.responses(known.project, one)
                for one, several in found.items()
                for known in several
            }
            withdrawn = _by_id(records.withdrawals(project, wanted, alike=True))
            missing = [one for one in wanted if one not in found]
            alike = records.alike(project, missing) if missing and known_project else []
    names = _names(context)
    for external_id in wanted:
        for line in _shown(external_id, found.get(external_id, []), answers, withdrawn, listed, alike, names):
            print_output(line)
    _note(context, "show", ledger, _project_word(only_id, only_named), count=len(wanted), whom=wanted)
    return ExitCode.DONE_WITH_ERRORS if missing else ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(_IDS, _RUN, *_PHONES, _REASON, *_ONE_PROJECT, _DO_NOT_CONTACT)
@cloup.pass_context
def withdraw(
    context: click.Context,
    /,
    ids: Path | None,
    run_id: str | None,
    phones: Path | None,
    roster: Path | None,
    id_column: str | None,
    phone_region: str,
    reason: str,
    only_id: str | None,
    only_named: str | None,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Block patients: never request or deliver their links.

    Without a project they go onto the list of people not to contact, do-not-contact.csv, which holds in every project, also
    those to come, and with every ledger. It holds for IDs too that differ only in capital letters, zeros or separators.
    With --run, everybody whom a run handed out first is withdrawn in its project.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records
    from batchlinks.pipeline.audit import user_name

    if run_id is not None:
        _refuse_beside_run(ids or phones or roster, only_id, only_named)
        return _withdraw_run(context, run_id, ledger, quiet=quiet)
    matches = None
    if phones is not None or roster is not None:
        matches = _with_phones(ids, phones, roster, id_column, phone_region)
        wanted = matches.wanted
    else:
        wanted = _wanted(ids, otherwise="so somebody who is to be left alone might not be; nobody was withdrawn")
    opted_out = _opted_out(do_not_contact)
    everywhere = not (only_id or only_named)
    new = opted_out.add(wanted, by=user_name(), reason=reason) if everywhere else 0
    unknown, place = len(wanted), _place(context, ledger)
    still_in: list[str] = []
    if not everywhere or place.exists():
        _refuse_lost(place)
        with Records(place, make=True) as records:
            project, _ = _chosen(context, records, only_id, only_named, make=True)
            if not everywhere:
                new = records.withdraw(project, wanted)
            unknown -= len(_by_id(records.links(project, wanted)))
            still_in = _files_with(records, project, wanted)
    where = _project_word(only_id, only_named)
    _note(context, "withdraw", ledger, where, count=new, whom=wanted, reason=reason)
    said = [f"Withdrawn in {where}: {counted(new, 'patient')}."]
    if matches is not None:
        said.append(
            f"{matches.unmatched:,} of {counted(matches.numbers, 'number')} in the file belong to nobody on the list."
        )
    if new < len(wanted):
        said.append(f"{counted(len(wanted) - new, 'patient')} had been withdrawn before.")
    if unknown:
        said.append(f"{counted(unknown, 'of these IDs has', 'of these IDs have')} no link so far, and will get none.")
    if unknown < len(wanted):
        said.append("A link that was sent still works: only HealthEx may be able to turn it off.")
    if still_in:
        said.append(
            f"Files that still hold these patients: {', '.join(still_in)}. Run their lists again, or delete them."
        )
    _tell(" ".join(said), quiet=quiet)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(_IDS, _RUN, *_ONE_PROJECT, _DO_NOT_CONTACT)
@cloup.pass_context
def restore(
    context: click.Context,
    /,
    ids: Path | None,
    run_id: str | None,
    only_id: str | None,
    only_named: str | None,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Undo a withdrawal, in every project unless one is named.

    With --run only what `withdraw --run` did: whoever was withdrawn for a reason of their own stays so.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records
    from batchlinks.logs import logger
    from batchlinks.screening.result import in_words

    if run_id is not None:
        _refuse_beside_run(ids, only_id, only_named)
        return _restore_run(context, run_id, ledger, do_not_contact, quiet=quiet)
    wanted = _wanted(ids, otherwise="so nobody was restored")
    opted_out = _opted_out(do_not_contact)
    everywhere = not (only_id or only_named)
    restored = opted_out.remove(wanted) if everywhere else set()
    held = {external_id for external_id in wanted if opted_out.holds(external_id)}
    place = _place(context, ledger)
    if place.exists() or not restored:
        with Records(place) as records:
            project, _ = _chosen(context, records, only_id, only_named)
            restored |= records.restore(project, wanted) if project or everywhere else set()
            held |= {each.external_id for each in records.withdrawals(project, wanted, alike=True)}
    where = _project_word(only_id, only_named)
    _note(context, "restore", ledger, where, count=len(restored), whom=restored)
    left = [row for one, row in wanted.items() if one not in restored]
    if left:
        logger().warning(f"Not withdrawn in {where} under this very ID: row {in_words(left, most=20)}.", rows=left)
    if held:
        logger().warning(
            f"Still held back: {counted(len(held), 'withdrawal')} in every project, or of an ID that differs only in capital "
            "letters, zeros or separators. `batchlinks ledger show` tells which."
        )
    _tell(f"Restored in {where}: {counted(len(restored), 'patient')}.", quiet=quiet)
    return ExitCode.DONE_WITH_ERRORS if left else ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(
    cloup.option(
        "--older-than",
        "days",
        type=click.IntRange(0, 36_500),
        metavar="DAYS",
        help="Links issued at least so long ago.",
    ),
    _IDS,
    *_ONE_PROJECT,
    _YES,
)
@cloup.pass_context
def forget(
    context: click.Context,
    /,
    days: int | None,
    ids: Path | None,
    only_id: str | None,
    only_named: str | None,
    yes: bool,
    ledger: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Delete links for good.

    By age, by project, or by a list; what is said together has to hold together. Who was withdrawn stays withdrawn.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    if days is None and ids is None and not (only_id or only_named):
        raise SettingsError(
            "What is to be forgotten? Say --older-than DAYS, --project-id ID, --project NAME or --ids FILE."
        )
    from batchlinks.ledger import Records

    wanted = None if ids is None else _wanted(ids, otherwise="so nothing was forgotten")
    where = _project_word(only_id, only_named)
    with Records(_place(context, ledger)) as records:
        project, known_project = _chosen(context, records, only_id, only_named)
        number = records.count(project, older_than_days=days, external_ids=wanted) if known_project else 0
        if number:
            _agree(
                f"Forget {counted(number, 'link')} of {where} for good? HealthEx is asked again for patients who come again.",
                yes,
            )
            number = records.forget(project, older_than_days=days, external_ids=wanted)
    _note(context, "forget", ledger, where, count=number, whom=wanted or (), older_than_days=days)
    _tell(f"Forgotten in {where}: {counted(number, 'link')}.", quiet=quiet)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@click.argument("file", type=AnyPath(path_type=Path, allow_dash=True), default=Path("-"), metavar="[FILE]")
@_options(*_ONE_PROJECT, _DO_NOT_CONTACT)
@cloup.pass_context
def export(
    context: click.Context,
    /,
    file: Path,
    only_id: str | None,
    only_named: str | None,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Write the ledger as CSV.

    All links and withdrawals, to a new file or to standard output.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records

    with Records(_place(context, ledger)) as records:
        project, known_project = _chosen(context, records, only_id, only_named)
        if not known_project:
            raise SettingsError("The ledger has no such project.")
        with _new_file(file) as stream:
            number = _export(records, _opted_out(do_not_contact), project, stream)
    _note(context, "export", ledger, _project_word(only_id, only_named), count=number)
    if file != Path("-"):
        _tell(f"Exported {counted(number, 'row')} to {file}. They hold patient IDs and links.", quiet=quiet)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@click.argument("file", type=AnyPath(path_type=Path), metavar="FILE")
@_options(
    cloup.option("--id-column", metavar="NAME", help="Header of the column with the patient ID."),
    cloup.option("--sheet", metavar="NAME", help="Sheet that holds the patient list."),
    *_ONE_PROJECT,
    _YES,
)
@cloup.pass_context
def confirm(
    context: click.Context,
    /,
    file: Path,
    id_column: str | None,
    sheet: str | None,
    only_id: str | None,
    only_named: str | None,
    yes: bool,
    ledger: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Say that patients are those whose IDs they have.

    FILE is an error report, whose rows with known_as_other are meant, or a patient list. What an earlier list said of these
    IDs doesn't count any more. Without --project-id or --project, the project is that of `run`.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.config.settings import RunSettings, choose_project
    from batchlinks.ledger import Records
    from batchlinks.pipeline.confirmation import confirm_people
    from batchlinks.pipeline.context import RunContext

    if not file.is_file():
        raise SettingsError("There is no such list or error report.")  # it may be an ID: it is not repeated
    if not (only_id or only_named):
        only_id = choose_project(RunSettings(), config_of(context), os.environ)
    if not (only_id or only_named):
        raise SettingsError("Which project? Give --project-id ID or --project NAME.")
    where = _project_word(only_id, only_named)
    with Records(_place(context, ledger)) as records:
        project, _ = _chosen(context, records, only_id, only_named)
        if project is None:
            raise SettingsError("The ledger has no such project.")

        def agree(others: "Sequence[EarlierPerson]") -> bool:
            for line in _earlier_people(others, quiet=quiet):
                print_output(line)
            _agree(
                f"Is it certain that {counted(len(others), 'ID is this patient', 'IDs are these patients')}'?",
                yes,
                done="confirmed",
            )
            return True

        settings = RunSettings(id_column=id_column, sheet=sheet)
        number = confirm_people(file, settings, RunContext(config_of(context)), records.people(project), agree=agree)
    _note(context, "confirm", ledger, where, count=number)
    _tell(f"Confirmed in {where}: {counted(number, 'patient')}.", quiet=quiet)
    return ExitCode.DONE


@cloup.command("accept-unnamed", epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(
    *_ONE_PROJECT,
    cloup.option("--undo", is_flag=True, help="Refuse such links again."),
)
@cloup.pass_context
def accept_unnamed(
    context: click.Context,
    /,
    only_id: str | None,
    only_named: str | None,
    undo: bool,
    ledger: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Use links that name no patient, in one project.

    Only after HealthEx has confirmed that its links no longer name their patients: nothing but the connection ties such
    a link to its patient. Without --project-id or --project, the project is that of `run`.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.config.settings import RunSettings, choose_project
    from batchlinks.ledger import Records

    if not (only_id or only_named):
        only_id = choose_project(RunSettings(), config_of(context), os.environ)
    if not (only_id or only_named):
        raise SettingsError("Which project? Give --project-id ID or --project NAME.")
    place = _place(context, ledger)
    _refuse_lost(place)
    with Records(place, make=True) as records:
        project, _ = _chosen(context, records, only_id, only_named, make=True)
        assert project is not None  # noqa: S101 it is made where there is none
        is_new = records.accept_unnamed(project, accepted=not undo)
    where = _project_word(only_id, only_named)
    _note(context, "accept_unnamed", ledger, where, count=int(is_new), accepted=not undo)
    if undo:
        said = f"Links that name no patient are refused again in {where}, if others in it name theirs."
    else:
        said = (
            f"Links that name no patient are used from now on in {where}, with a warning: nothing but the connection ties "
            "them to their patients. Links that name another patient are still refused."
        )
    _tell(said if is_new else f"It was so before. {said}", quiet=quiet)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@click.argument("file", type=AnyPath(path_type=Path), metavar="FILE")
@_options(_DO_NOT_CONTACT)
@cloup.pass_context
def backup(
    context: click.Context,
    /,
    file: Path,
    ledger: Path | None,
    do_not_contact: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Back up the ledger, its key, and the list of people not to contact.

    Into one new file that only its owner can read; runs may be at work meanwhile.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.ledger import Records
    from batchlinks.ledger.backup import write_backup

    with Records(_place(context, ledger)) as records:
        names = write_backup(file, records, _opted_out(do_not_contact))
        links = sum(day.links for day in records.days())
    _note(context, "backup", ledger, "every project", count=links)
    _tell(f"Backed up {', '.join(names)} ({counted(links, 'link')}) to {file}. It is patient data.", quiet=quiet)
    return ExitCode.DONE


@cloup.command(epilog=_EXIT_CODES)
@_NO_IDS_HERE
@_options(
    cloup.option(
        "--others",
        type=AnyPath(path_type=Path),
        metavar="FILE",
        help="New file for the IDs of everybody else in the same files.",
    ),
)
@cloup.pass_context
def incident(
    context: click.Context,
    /,
    others: Path | None,
    ledger: Path | None,
    log_format: Any,
    quiet: bool,
    verbose: bool,
) -> int:
    """Say where a link went that reached the wrong person, and what to do.

    Asks for the link, or for the ID of its patient (or reads it from standard input). It marks the link as exposed, so that
    it is never handed out again.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.cli.incident_words import lines_of
    from batchlinks.config.paths import data_folder
    from batchlinks.config.settings import deployment
    from batchlinks.ledger import Records
    from batchlinks.pipeline.incident import links_meant, report_incident

    text = _one_text("Link, or patient ID")
    with Records(_place(context, ledger)) as records:
        meant = links_meant(records, text, deployment(os.environ).link_host)
        if not meant:
            raise SettingsError("The ledger knows no such link, and no link of such a patient. Nothing was changed.")
        found = [report_incident(records, known, data_folder(os.environ)) for known in meant]
    names = _names(context)
    if others is not None:
        listed = list(dict.fromkeys(one for each in found for one in each.others))
        with _new_file(others) as stream:
            writer = csv.writer(stream, lineterminator="\r\n")
            writer.writerow(["external_id"])
            writer.writerows([one] for one in listed)
    for each in found:
        for line in lines_of(each, _project(each.known.project, names), others):
            print_output(line)
    whom = [each.known.external_id for each in found]
    _note(context, "incident", ledger, "every project", count=len(found), whom=whom)
    return ExitCode.DONE


for _command in (show, withdraw, restore, confirm, incident, accept_unnamed, forget, export, backup):
    ledger.add_command(_command)


# --- a whole run ----------------------------------------------------------------------------------------------


def _refuse_beside_run(ids: Path | None, only_id: str | None, only_named: str | None) -> None:
    if ids is not None or only_id or only_named:
        raise SettingsError("--run says whom and in which project. Leave out --ids, --project-id and the like.")


def _withdraw_run(context: click.Context, run_id: str, ledger: Path | None, *, quiet: bool) -> int:
    from batchlinks.ledger import Records

    with Records(_place(context, ledger)) as records:
        run = records.run(run_id)
        first = len(records.handed_out_by(run))
        new = records.withdraw_run(run)
    where = _project(run.project, _names(context))
    _note(context, "withdraw", ledger, f"project {run.project.project_id}", count=new, of_run=run_id)
    said = [
        f"Withdrawn: {counted(new, 'patient')} whom run {run_id} handed out first, in {_lower(where)}.",
        "Links that were sent already may go on working.",
        f"To undo it: batchlinks ledger restore --run {run_id}",
    ]
    if new < first:
        said.insert(1, f"{counted(first - new, 'patient')} had been withdrawn with it before.")
    _tell(" ".join(said), quiet=quiet)
    return ExitCode.DONE


def _restore_run(
    context: click.Context, run_id: str, ledger: Path | None, do_not_contact: Path | None, *, quiet: bool
) -> int:
    from batchlinks.ledger import Records

    opted_out = _opted_out(do_not_contact)
    with Records(_place(context, ledger)) as records:
        run = records.run(run_id)
        restored = records.restore_run(run)
        held = {each.external_id for each in records.withdrawals(run.project, restored, alike=True)}
    held |= {external_id for external_id in restored if opted_out.holds(external_id)}
    _note(context, "restore", ledger, f"project {run.project.project_id}", count=len(restored), of_run=run_id)
    said = [f"Restored, of those withdrawn with run {run_id}: {counted(len(restored), 'patient')}."]
    if held:
        said.append(f"{counted(len(held), 'of them stays', 'of them stay')} withdrawn for a reason of their own.")
    _tell(" ".join(said), quiet=quiet)
    return ExitCode.DONE


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _one_text(question: str) -> str:
    """A line from standard input, or what a person types."""
    if is_terminal(sys.stdin):
        text = str(click.prompt(question, err=True, type=str))
    else:
        text = read_standard_input(100_000).decode("utf-8-sig", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise SettingsError(f"Give one at a time: {_lower(question)}. Nothing was changed.")
    return lines[0]


# --- what they are told ---------------------------------------------------------------------------------------


def _with_phones(
    ids: Path | None, phones: Path | None, roster: Path | None, id_column: str | None, region: str
) -> "PhoneMatches":
    """The patients with these telephone numbers. Raises SettingsError or RosterError."""
    from batchlinks.pipeline.stop_list import match_phones

    if phones is None or roster is None or ids is not None:
        raise SettingsError("--phones FILE and --list ROSTER go together, and without --ids.")
    matches = match_phones(phones, roster, id_column=id_column, region=region)
    if not matches.wanted:
        raise SettingsError("None of these telephone numbers is on the list, so nobody was withdrawn.")
    return matches


def _files_with(records: "Records", project: "Project | None", external_ids: Mapping[str, int]) -> list[str]:
    """The files that hold one of these patients, as far as they are still where they were written."""
    found = {
        Path(row.file.folder) / row.file.name
        for each in ([project] if project is not None else records.projects())
        for row in records.rows_in_files(each, external_ids)
        if row.file.replaced_at is None
    }
    return [str(path) for path in sorted(found) if path.exists()]


def _wanted(ids: Path | None, *, otherwise: str) -> Mapping[str, int]:
    """The IDs that are meant, cleaned as in screening, each with its row in the list. Raises SettingsError or RosterError."""
    from batchlinks.pipeline.intake import read_ids
    from batchlinks.roster.read import MAX_FILE_BYTES
    from batchlinks.roster.source import RosterBytes

    if ids is not None and ids != Path("-"):
        if not ids.is_file():
            raise SettingsError("--ids does not name a file that is there.")  # it may be an ID: it is not repeated
        wanted = read_ids(ids, otherwise=otherwise)
    else:
        if ids is None and is_terminal(sys.stdin):
            typed = click.prompt("Patient ID", err=True, type=str).encode()
        else:
            typed = read_standard_input(MAX_FILE_BYTES)
        wanted = read_ids(RosterBytes("standard input", typed), otherwise=otherwise) if typed.strip() else {}
    if not wanted:
        raise SettingsError(
            "No patient ID was given, so nothing was done. Pipe the IDs in, one a line, or use --ids FILE."
        )
    return wanted


def _refuse_lost(ledger: Path) -> None:
    """Raise SettingsError where a new ledger would be made in place of one that is gone."""
    from batchlinks.config.installation import Installation
    from batchlinks.pipeline.run_ledger import refuse_lost_ledger

    refuse_lost_ledger(ledger, Installation.of(os.environ))


def _opted_out(path: Path | None) -> "DoNotContact":
    """The list of people not to contact. Raises SettingsError where it cannot be used."""
    from batchlinks.ledger import DoNotContact

    return DoNotContact.open(path, os.environ)


def _chosen(
    context: click.Context, records: "Records", only_id: str | None, only_named: str | None, *, make: bool = False
) -> "tuple[Project | None, bool]":
    """The project that the command names, None for all of them; and whether the ledger knows it."""
    from batchlinks.config.settings import RunSettings, choose_project, deployment

    if only_id and only_named:
        raise SettingsError("--project and --project-id contradict each other. Give one of them.")
    if not only_id and not only_named:
        return None, True
    project_id = str(choose_project(RunSettings(project_id=only_id, project=only_named), config_of(context), {}))
    api = deployment(os.environ).api_url
    project = records.new_project(api, project_id) if make else records.project(api, project_id)
    return project, project is not None


def _project_word(only_id: str | None, only_named: str | None) -> str:
    named = only_named or only_id
    return f"project {named}" if named else "every project"


def _names(context: click.Context) -> Mapping[str, str]:
    """Project ID -> the name that batchlinks.toml gives it."""
    return {project_id: name for name, project_id in config_of(context).projects.items()}


def _agree(question: str, yes: bool, *, done: str = "forgotten") -> None:
    if yes:
        return
    if not somebody_watches():
        raise SettingsError(f"Nothing was {done}: nobody is there to be asked. Say --yes if it is meant.")
    if not click.confirm(question, err=True, default=False):
        raise SettingsError(f"Nothing was {done}, as you wished.")


# --- what they say --------------------------------------------------------------------------------------------


def _tell(line: str, *, quiet: bool) -> None:
    if not quiet:
        say(line)


def _earlier_people(others: "Sequence[EarlierPerson]", *, quiet: bool, most: int = 20) -> Iterator[str]:
    """A line for each of the first rows whose patient is another one than before."""
    if quiet:
        return
    for each in others[:most]:
        at = "" if each.list_row is None else f", row {each.list_row}"
        yield f"Row {each.row}: before, in {each.list_name}{at} ({each.seen_on}). The {each.difference} differ."
    if len(others) > most:
        yield f"… and {len(others) - most:,} more."


def _note(
    context: click.Context,
    event: str,
    ledger: Path | None,
    project: str,
    *,
    count: int,
    whom: Collection[str] = (),
    **more: Any,
) -> None:
    """For the audit log: who did it, when, to how many; and to `whom`, by keyed hashes instead of IDs."""
    from batchlinks.config.paths import data_folder
    from batchlinks.pipeline import audit

    place = _place(context, ledger)
    facts = {"ledger": str(place), "scope": project, "count": count, **more}
    try:
        if whom:
            facts["patient_hashes"] = audit.patient_hashes(whom, place)
        audit.note(data_folder(os.environ), event, command="ledger", **facts)
    except BatchlinksError as error:
        raise BatchlinksError(f"It was done ({event}: {count:,}). {error}") from error


def _counts(records: "Records", opted_out: "DoNotContact", names: Mapping[str, str]) -> Iterator[str]:
    days = records.days()
    withdrawn = {each.external_id for each in records.withdrawals(None)} | opted_out.ids()
    for project in dict.fromkeys(day.project for day in days):
        its_own = [day for day in days if day.project == project]
        yield f"{_project(project, names)}: {counted(sum(day.links for day in its_own), 'link')}"
        for day in its_own:
            yield f"  {day.day}  {day.links:>9,} issued  {day.handed_out:>9,} of them handed out"
    yield (
        f"{counted(sum(day.links for day in days), 'link')} in {counted(len({day.project for day in days}), 'project')}; "
        f"{counted(len(withdrawn), 'patient')} withdrawn. Days are those of UTC."
    )


def _project(project: "Project", names: Mapping[str, str]) -> str:
    from batchlinks.config.settings import DEFAULT_API_URL

    name = names.get(project.project_id)
    where = "" if project.api == DEFAULT_API_URL else f" at {project.api}"
    return f"Project {project.project_id}{f' ({name})' if name else ''}{where}"


def _shown(
    external_id: str,
    links: "Sequence[Known]",
    answers: "Mapping[tuple[int, str], Answers]",
    withdrawn: "Mapping[str, Sequence[Withdrawal]]",
    listed: "Mapping[str, Sequence[OptOut]]",
    alike: Sequence[str],
    names: Mapping[str, str],
) -> Iterator[str]:
    from batchlinks.patients.identifier import fold

    held = [each for one, several in withdrawn.items() if fold(one) == fold(external_id) for each in several]
    opt_outs = listed.get(external_id, ())
    yield external_id
    for known in links:
        yield f"  {_project(known.project, names)}"
        yield f"    link        {known.link}"
        yield f"    issued      {_when(known.issued_at, known.issued_by)}"
        yield f"    handed out  {_when(known.handed_out_at, known.handed_out_by)}"
        here = [each for each in held if each.project in (None, known.project)]
        yield f"    withdrawn   {_held(here, opt_outs, external_id, names)}"
        yield from _answered(*answers.get((known.project.number, external_id), ((), None)))
    if not links:
        yield "  no link"
        others = [one for one in alike if fold(one) == fold(external_id)]
        if others:
            yield f"  but there is one that differs only in capital letters or leading zeros: {', '.join(others)}"
        if held or opt_outs:
            yield f"  withdrawn   {_held(held, opt_outs, external_id, names)}"


def _answered(responses: "Sequence[ResponseRecord]", reminder: "ReminderRecord | None") -> Iterator[str]:
    """What HealthEx showed when it was asked last, and the reminders; nothing where nobody asked."""
    for each in responses:
        kind = f" ({each.consent_type})" if len(responses) > 1 else ""
        yield f"    response    {each.response}{kind}, on {_when(each.asked_at, None)}"
    if reminder is not None:
        yield f"    reminded    {counted(reminder.times, 'time')}, last {_when(reminder.last_at, None)}"


def _when(moment: str | None, run_id: str | None) -> str:
    if moment is None:
        return "not yet"
    return f"{moment[:10]} {moment[11:16]} UTC{f', run {run_id}' if run_id else ''}"


def _held(
    withdrawals: "Sequence[Withdrawal]", opt_outs: "Sequence[OptOut]", external_id: str, names: Mapping[str, str]
) -> str:
    said = []
    for entry in opt_outs:
        under = "" if entry.external_id == external_id else f", as {entry.external_id}"
        by = f", by {entry.by}" if entry.by else ""
        said.append(
            f"{entry.since or 'on a day unknown'}, in every project{under}: {entry.reason or 'no reason given'}{by}"
        )
    for each in withdrawals:
        where = "in every project" if each.project is None else f"in {_project(each.project, names)}"
        under = "" if each.external_id == external_id else f", as {each.external_id}"
        under += f", with all of run {each.run_id}" if each.run_id else ""
        said.append(f"{_when(each.withdrawn_at, None)}, {where}{under}")
    return "; ".join(said) or "no"


def _by_id(records: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for record in records:
        found.setdefault(record.external_id, []).append(record)
    return found


# --- export ---------------------------------------------------------------------------------------------------

_COLUMNS = ("external_id", "project_id", "api", "link", "issued_at", "handed_out_at", "withdrawn_at")


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that was not there, its owner's alone, gone again if it cannot be finished; or standard output."""
    if path == Path("-"):
        yield sys.stdout
        sys.stdout.flush()
        require_output()
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SettingsError(f"{path} is there already, and is left as it is. Give another name.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}). Give another name.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BatchlinksError(f"{path} could not be written ({error.strerror}), and is gone again.") from error
        raise


def _export(records: "Records", opted_out: "DoNotContact", project: "Project | None", stream: TextIO) -> int:
    """A row for each link, and for each withdrawal of an ID without one. Returns how many."""
    from batchlinks.ledger import Withdrawal

    withdrawals = _by_id(records.withdrawals(project))
    for entry in opted_out.entries():
        withdrawals.setdefault(entry.external_id, []).append(Withdrawal(entry.external_id, None, entry.since))
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    number = 0
    seen: set[tuple[str, str | None]] = set()
    for known in records.links(project):
        here = [each for each in withdrawals.get(known.external_id, ()) if each.project in (None, known.project)]
        seen.update((each.external_id, each.project and each.project.project_id) for each in here)
        withdrawn_at = min((each.withdrawn_at for each in here), default="")
        whose = (known.external_id, known.project.project_id, known.project.api)
        writer.writerow((*whose, known.link, known.issued_at, known.handed_out_at or "", withdrawn_at))
        number += 1
    for withdrawal in (each for several in withdrawals.values() for each in several):
        place = withdrawal.project
        if (withdrawal.external_id, place and place.project_id) not in seen:
            whose = (withdrawal.external_id, place.project_id if place else "", place.api if place else "")
            writer.writerow((*whose, "", "", "", withdrawal.withdrawn_at))
            number += 1
    return number
