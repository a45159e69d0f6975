"""What a person sees of a command: standard error, the question before it sends, and the last line."""

import sys
from typing import TYPE_CHECKING, Any

import click

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.plural import counted
from batchlinks.row_codes import ErrorCode, ToDo
from batchlinks.streams import failure_of, forgiving, is_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from batchlinks.columns.cautions import Caution
    from batchlinks.pipeline.preview import Preview
    from batchlinks.pipeline.report import Report
    from batchlinks.pipeline.status_report import StatusReport
    from batchlinks.progress import Progress
    from batchlinks.results.publish.result_files import PublishedFiles

_speaking = False


def speak(log_format: Any, *, quiet: bool, verbose: bool) -> None:
    """Settle how standard error is written."""
    from batchlinks import logs

    global _speaking
    _speaking = True
    logs.configure(log_format, "quiet" if quiet else "verbose" if verbose else "normal")


def is_speaking() -> bool:
    """Whether it is settled how standard error is written."""
    return _speaking


def be_silent() -> None:
    """For the next command in this process, or a program that uses batchlinks beside it."""
    global _speaking
    if _speaking:
        from batchlinks import logs

        logs.forget()
        _speaking = False


def somebody_watches() -> bool:
    """Whether there is a person who can be asked."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def progress(log_format: str, *, quiet: bool, done: str = "linked", failed: str = "refused") -> "Progress":
    """A bar for those who watch, lines for those who do not. `done` and `failed` say what is counted."""
    from batchlinks.logs import logger
    from batchlinks.progress import Bar, Lines, Silent

    if quiet:
        return Silent()
    if is_terminal(sys.stderr) and log_format == "text":
        return Bar(sys.stderr, done=done, failed=failed)
    return Lines(logger().info, done=done, failed=failed)


def ask_person(preview: "Preview") -> bool:
    """Say what will be sent where, and ask whether that is right."""
    lines = [
        "",
        f"  Patient list   {preview.roster}: {preview.rows:,} rows, patient ID in {preview.id_column}",
        f"  Without a link {preview.to_do.in_words()}, {counted(preview.duplicates, 'duplicate')}",
        f"  Links known    {preview.known:,}",
        f"  To be sent     {preview.to_send:,} patient IDs, and nothing else, to {preview.host}",
        f"  Project        {_project_of(preview)}",
        "",
    ]
    if findings := list(preview.findings()):
        lines.insert(-1, f"  Also           {', '.join(findings)}")
    if preview.done_before:
        lines.insert(-1, f"  Done before    this very list, on {preview.done_before:%Y-%m-%d %H:%M}")
    if preview.cluster:
        lines.insert(-1, f"  Calls made by  the workers of {preview.cluster}, which see patient IDs and links")
    if preview.refresh:
        lines.insert(-1, "  --refresh asks again for all: links that patients were sent before may stop working.")
    click.echo("\n".join(lines), err=True)
    return preview.to_send == 0 or click.confirm("Send?", err=True, default=False)


def _project_of(preview: "Preview") -> str:
    name = f"{preview.project} ({preview.project_id})" if preview.project else preview.project_id
    return f"{name}, {preview.place}" if preview.is_production else f"{name}, not production"


class OutputLost(BatchlinksError):
    """What a command was asked to show cannot be shown: its output was all that it is for."""

    def __init__(self, failure: Exception) -> None:
        why = f" ({failure.strerror})" if isinstance(failure, OSError) and failure.strerror else ""
        super().__init__(f"Nothing can be written to standard output{why}.")
        self.reader_left = isinstance(failure, BrokenPipeError)
        """As `head` does once it has enough: nothing to complain about."""


def say(line: str) -> None:
    """A line on standard output beside what a command does. Where it cannot be said it is not said."""
    forgiving(sys.stdout).write(f"{line}\n")
    forgiving(sys.stdout).flush()


def print_output(line: str) -> None:
    """A line of what the command is there to show. Raises OutputLost where nothing can be shown."""
    say(line)
    require_output()


def require_output() -> None:
    """Raises OutputLost where something that was written to standard output did not get there."""
    if (failure := failure_of(sys.stdout)) is not None:
        raise OutputLost(failure)


def read_standard_input(at_most: int) -> bytes:
    """All of it. Raises SettingsError where it cannot be read, or does not end."""
    try:
        content = sys.stdin.buffer.read(at_most + 1)
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError("Standard input cannot be read: it is closed, or is not a file.") from error
    if len(content) > at_most:
        raise SettingsError(f"Standard input holds more than {at_most // 1_000_000:,} MB. Split the list.")
    return content


def ask_to_heed(caution: "Caution") -> bool:
    """Ask whether the patients whom a column marks are left out."""
    from batchlinks.columns.cautions import question

    click.echo(f"\n  {question(caution)}", err=True)
    answer = click.prompt(
        "  Leave these patients out, or send them all the same?", type=click.Choice(["leave out", "send"]), err=True
    )
    option = "heed" if answer == "leave out" else "ignore"
    click.echo(f'  To be asked no more: {option} = ["{caution.name}"] in batchlinks.toml.', err=True)
    return bool(answer == "leave out")


def told(report: "Report", *, quiet: bool) -> int:
    """Say what happened and where the files are: for a person, as the last line."""
    from batchlinks.logs import logger

    if report.stopped_by is not None:
        logger().error(str(report.stopped_by), exit_code=int(report.exit_code))
    if not quiet:
        say(last_line(report))
    return report.exit_code


def told_status(report: "StatusReport", *, quiet: bool) -> int:
    """The same of a status."""
    from batchlinks.logs import logger

    if report.stopped_by is not None:
        logger().error(str(report.stopped_by), exit_code=int(report.exit_code))
    if not quiet:
        say(last_line_of_status(report))
    return report.exit_code


def last_line_of_status(report: "StatusReport") -> str:
    """What HealthEx showed and when, who is reminded, and where the files are, in one line."""
    from batchlinks.results.status_summary import days_in_words

    summary, published = report.summary, report.published
    shown = ", ".join(f"{number:,} {response}" for response, number in summary.responses.items() if number)
    when = f"{days_in_words(summary.responses_from, summary.responses_until)} " if summary.responses_from else ""
    said = (
        f"{'Stopped' if report.stopped_by else 'Done'}: {when}HealthEx showed of "
        f"{counted(summary.linked, 'patient')} with a link: {shown or 'nothing'}."
    )
    if summary.left_for_later:
        said += f" {counted(summary.left_for_later, 'patient')} will be asked about another time."
    if summary.without_link:
        said += f" {counted(summary.without_link, 'patient has', 'patients have')} no link yet."
    if summary.errors:
        said += f" {counted(sum(summary.errors.values()), 'row is', 'rows are')} left out."
    if report.wanted_reminder:
        said += _reminder_in_words(report)
    if published.kept_as:
        said += f" The reminder of before stays, as {', '.join(published.kept_as)}."
    if published.obstacle:
        said += f" They have another name, since {published.obstacle}."
    return f"{said} {_where(published)}".rstrip()


def _reminder_in_words(report: "StatusReport") -> str:
    if report.stopped_by is not None:
        return " No reminder was written, since not everybody was asked about: run the same command again."
    if not report.summary.reminded:
        return " Nobody is to be reminded now."
    return f" {counted(report.summary.reminded, 'patient is', 'patients are')} in the reminder."


def last_line(report: "Report") -> str:
    """What happened and where the files are, in one line."""
    summary, published = report.summary, report.published
    patients = summary.rows - summary.duplicates - summary.errors.get(ErrorCode.NOT_A_PATIENT.value, 0)
    aside = f"{counted(summary.duplicates, 'duplicate')}, {ToDo.of(summary.errors).in_words()}"
    if summary.check:
        said = f"Checked: {summary.linked:,} of {patients:,} patients can be sent ({aside})."
    else:
        word = "Stopped" if report.stopped_by else "Done"
        said = f"{word}: {summary.linked:,} of {patients:,} patients have a link ({aside})."
        if summary.written != summary.linked:
            said += f" {summary.written:,} rows are in the links workbook."
    said = " ".join([said, *report.remarks])
    if published.obstacle:
        said += f" They have another name, since {published.obstacle}."
    return f"{said} {_where(published)}".rstrip()


def _where(published: "PublishedFiles") -> str:
    """Where the files are, as the end of a line; "" where there are none."""
    if published.folder is None:
        return ""
    names = ", ".join(_named(path) for path in published.paths.values())
    return f"Files in {published.folder.resolve()}: {names}"


def _named(path: "Path") -> str:
    if not path.is_dir():
        return path.name
    return f"{path.name} (a folder of {counted(sum(file.is_file() for file in path.rglob('*')), 'file')})"
