"""What patients get besides their row in the links workbook: a letter, a message. Decided before anything is sent."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.columns.id_column import IdColumn
from batchlinks.config.settings import RunSettings
from batchlinks.errors import SettingsError
from batchlinks.logs import logger
from batchlinks.next_steps import Setting
from batchlinks.outreach.languages import Language, find_spanish, path_in
from batchlinks.outreach.letter_fields import (
    AddressPart,
    Columns,
    FieldSource,
    Source,
    find_columns,
    match_fields,
    split_name,
)
from batchlinks.outreach.minors import Ages, find_minors
from batchlinks.outreach.text_message import MessageText, read_message, segments
from batchlinks.plural import counted
from batchlinks.results.date_columns import cells_as_shown
from batchlinks.results.publish.result_files import LettersFile
from batchlinks.results.sheets import MESSAGE_COLUMN, PHONE_COLUMN, find_column
from batchlinks.results.split import split
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.row_codes import WarningCode
from batchlinks.screening.result import Screened, in_words
from batchlinks.table import Table

if TYPE_CHECKING:
    from batchlinks.outreach.letter_merge import Letter
    from batchlinks.outreach.word_template import WordTemplate

Mask = npt.NDArray[np.bool_]
INCLUDE_MINORS = "include"

_ROWS_NAMED = 20
_LEAST_TOP_MM = 95.0
"""Below the upper edge of a page folded in three, where an envelope has its window."""


@dataclass(frozen=True, slots=True)
class OutreachPlan:
    """Who gets a letter or a message, and what is in it."""

    table: Table = field(repr=False)
    column: IdColumn
    names: Columns
    handed_out: Mask = field(repr=False)
    """Rows that are handed out at all."""

    ages: Ages | None = field(default=None, repr=False)
    """None where nobody gets a letter or a message."""

    minors: str | None = None
    """What stands before a minor's name, or `INCLUDE_MINORS`; None: they get neither letter nor message."""

    spanish: Mask | None = field(default=None, repr=False)
    letters: "Mapping[Language, LetterForm]" = field(default_factory=dict)
    messages: "Mapping[Language, MessageForm]" = field(default_factory=dict)
    phones: pa.Array | None = field(default=None, repr=False)
    """In E.164, "" where there is no valid one; None where nobody asked for them."""

    bad_phones: Mask | None = field(default=None, repr=False)
    share_phones: bool = False
    iso_dates: bool = False

    @property
    def adds_columns(self) -> bool:
        """Whether the links workbook gets a message or telephone numbers."""
        return bool(self.messages) or self.phones is not None

    def held_back(self, screened: Screened) -> Mask:
        """Rows without a letter or message since the patient is a minor."""
        if self.ages is None or self.minors is not None:
            return np.zeros(len(self.table), dtype=bool)
        return self.ages.minors & screened.with_id

    def sharing(self, screened: Screened) -> Mask:
        """Rows whose number is another patient's too, and who therefore get no message."""
        nobody = np.zeros(len(self.table), dtype=bool)
        if self.phones is None or self.share_phones:
            return nobody
        from batchlinks.outreach.phone_numbers import shared_by_several

        return shared_by_several(self.phones, screened.ids, screened.codes == 0)

    def warn(self, screened: Screened) -> None:
        """Note who is held back, and what is wrong with the telephone numbers; say what cannot be checked."""
        meant = screened.sendable & self.handed_out
        found = {WarningCode.MINORS: self.held_back(screened), WarningCode.SAME_PHONE: self.sharing(screened)}
        if self.bad_phones is not None:
            found[WarningCode.BAD_PHONE] = self.bad_phones
        for code, rows in found.items():
            if (numbers := self.table.row_numbers[rows & meant].tolist()) != []:
                screened.warnings[code] = numbers
        if self.ages is None or self.minors == INCLUDE_MINORS:
            return
        if not self.ages.has_birth_dates:
            logger().warning("The list has no birth dates, so we can't tell who is under 18.")
        elif unknown := self.table.row_numbers[self.ages.unknown & meant].tolist():
            named = in_words(unknown, most=_ROWS_NAMED)
            logger().warning(
                f"{counted(len(unknown), 'patient has', 'patients have')} no birth date that we can read, so we can't tell "
                f"whether they are under 18: row {named}.",
                rows=unknown,
            )

    # --- the links workbook -------------------------------------------------------------------------------------

    def more_columns(self, screened: Screened, rows: Mask, links: Sequence[str]) -> list[tuple[str, pa.Array]]:
        """Headers and values of the columns that the links workbook gets, for these rows of the table."""
        if not self.adds_columns:
            return []
        silent = (self.held_back(screened) | self.sharing(screened))[rows]
        ids = screened.ids.filter(pa.array(rows)).to_pylist()
        more = []
        if self.messages:
            texts = ["" if hold else text for hold, text in zip(silent, self._messages(rows, links, ids), strict=True)]
            more.append((MESSAGE_COLUMN, pa.array(texts, pa.string())))
        if self.phones is not None:
            numbers = self.phones.filter(pa.array(rows)).to_pylist()
            shown = ["" if hold else number for hold, number in zip(silent, numbers, strict=True)]
            more.append((PHONE_COLUMN, pa.array(shown, pa.string())))
        return more

    def _messages(self, rows: Mask, links: Sequence[str], ids: Sequence[str]) -> list[str]:
        of_row = {language: _values(self, form.sources, rows, links, ids) for language, form in self.messages.items()}
        texts = []
        for at, position in enumerate(np.flatnonzero(rows).tolist()):
            language = self._language(position, self.messages)
            form = self.messages[language]
            text = form.message.filled({name: values[at] for name, values in of_row[language].items()})
            if self._is_guarded(position):
                text = f"{self.minors} {self.name_of(position)}: {text}"
            texts.append(text)
        if texts:
            parts = max(map(segments, texts))
            logger().info(
                f"The longest message has {max(map(len, texts)):,} characters: {counted(parts, 'part')} of a text message."
            )
        return texts

    def _language(self, position: int, forms: "Mapping[Language, object]") -> Language:
        wanted = Language.SPANISH if self.spanish is not None and self.spanish[position] else Language.ENGLISH
        return wanted if wanted in forms else Language.ENGLISH

    def _is_guarded(self, position: int) -> bool:
        """Whether a parent or guardian is written to."""
        return self.minors not in (None, INCLUDE_MINORS) and self.ages is not None and bool(self.ages.minors[position])

    def name_of(self, position: int) -> str:
        """First and last name of a row's patient; "" where the list has neither."""
        first, last = self.names_of(position)
        return " ".join(part for part in (first, last) if part)

    def names_of(self, position: int) -> tuple[str, str]:
        """First and last name of a row's patient, "" where the list does not tell."""

        def cell(at: int | None) -> str:
            text: str = "" if at is None else self.table.column(at)[position].as_py()
            return text.strip()

        if self.names.first_name is None and self.names.full_name is not None:
            return split_name(cell(self.names.full_name))
        return cell(self.names.first_name), cell(self.names.last_name)

    # --- letters ------------------------------------------------------------------------------------------------

    def letter_files(
        self, screened: Screened, rows: Mask, links: Sequence[str], split_values: pa.Array | None
    ) -> dict[str, LettersFile]:
        """The files of the letters, by what their names end in: `letters.docx`, `letters/North.docx`.

        `rows`: those of the links workbook; `links` and `split_values` have one for each. A patient gets one letter.
        """
        from batchlinks.outreach.letter_merge import LETTERS_IN_A_FILE, count_letters, estimate_of, write_letters

        wanted = (screened.sendable & ~self.held_back(screened))[rows]
        positions = np.flatnonzero(rows)
        letters = self._letters(screened, rows, links)
        estimates = {language: estimate_of(form.template) for language, form in self.letters.items()}
        stacks = []
        for name, members in _stacks(len(letters), split_values):
            for language in self.letters:
                chosen = [
                    at for at in members if wanted[at] and self._language(int(positions[at]), self.letters) is language
                ]
                pieces = [
                    chosen[start : start + LETTERS_IN_A_FILE] for start in range(0, len(chosen), LETTERS_IN_A_FILE)
                ]
                stacks += [(name, language, number, len(pieces), piece) for number, piece in enumerate(pieces, start=1)]
        alone = len(stacks) == 1 and split_values is None and stacks[0][1] is Language.ENGLISH
        counts = []
        named: dict[str, LettersFile] = {}
        for name, language, number, of, piece in stacks:
            own = [letters[at] for at in piece]
            count = count_letters(own, estimates[language])
            counts.append(count)
            ending = f"{'' if language is Language.ENGLISH else f'.{language}'}{f' {number}' if of > 1 else ''}"
            suffix = "letters.docx" if alone else f"letters/{_free(f'{name}{ending}', named)}.docx"
            part = f"Part {number} of {of}" if of > 1 else ""
            write = partial(
                write_letters, template=self.letters[language].template, letters=own, count=count, part=part
            )
            named[suffix] = LettersFile(write, np.array(piece, dtype=np.int64))
        self._tell(
            sum(count.letters for count in counts),
            {
                language: sum(len(piece) for _, one, _, _, piece in stacks if one is language)
                for language in self.letters
            },
            [row for count in counts for row in count.rows_without_address],
            [row for count in counts for row in count.long_rows],
        )
        return named

    def _letters(self, screened: Screened, rows: Mask, links: Sequence[str]) -> "list[Letter]":
        from batchlinks.outreach.letter_merge import Letter

        ids = screened.ids.filter(pa.array(rows)).to_pylist()
        of_row = {language: _values(self, form.sources, rows, links, ids) for language, form in self.letters.items()}
        letters = []
        for at, position in enumerate(np.flatnonzero(rows).tolist()):
            language = self._language(position, self.letters)
            form, values = self.letters[language], of_row[language]
            texts = {each.key: each.shown(values[each.name][at]) for each in form.template.fields}
            if self._is_guarded(position) and form.name_key is not None:
                texts[form.name_key] = f"{self.minors} {texts[form.name_key]}"
            letters.append(
                Letter(
                    texts,
                    link=links[at],
                    name=self.name_of(position) or ids[at],
                    row=int(self.table.row_numbers[position]),
                    has_address=all(self.table.column(at)[position].as_py().strip() for at in form.address_columns),
                )
            )
        return letters

    def _tell(
        self, number: int, languages: Mapping[Language, int], without_address: Sequence[int], long_rows: Sequence[int]
    ) -> None:
        spanish = f" ({languages[Language.SPANISH]:,} in Spanish)" if Language.SPANISH in languages else ""
        logger().info(f"{counted(number, 'letter')}{spanish}.")
        if without_address:
            logger().warning(
                f"{counted(len(without_address), 'letter has', 'letters have')} no address: row "
                f"{in_words(sorted(without_address), most=_ROWS_NAMED)}.",
                rows=sorted(without_address),
            )
        if long_rows:
            logger().warning(
                f"{counted(len(long_rows), 'letter', 'letters')} may need more than one sheet: row "
                f"{in_words(sorted(long_rows), most=_ROWS_NAMED)}.",
                rows=sorted(long_rows),
            )


@dataclass(frozen=True, slots=True)
class LetterForm:
    """A template, and where the values of its fields come from."""

    template: "WordTemplate"
    sources: Mapping[str, FieldSource]
    name_key: str | None
    """Of the place where the patient's name stands first."""

    address_columns: tuple[int, ...]
    """Positions of the columns without which a letter has no address."""


@dataclass(frozen=True, slots=True)
class MessageForm:
    """A message, and where the values of its fields come from."""

    message: MessageText
    sources: Mapping[str, FieldSource]


def plan_outreach(
    table: Table, column: IdColumn, settings: RunSettings, *, link_column: str, today: date
) -> OutreachPlan:
    """What the settings ask for, tried on this list. Raises SettingsError for what cannot be done, before a link is asked for.

    `link_column`: what the column of links is called in this run.
    """
    writes = settings.letters is not None or settings.message is not None or settings.phone_column is not None
    if writes:
        require_extra()
    phones, bad = _phones(table, settings)
    spanish = None
    if settings.language_column is not None:
        spanish = find_spanish(table, _needed_column(table, "language_column", settings.language_column))
    languages = [Language.ENGLISH] if spanish is None else list(Language)
    columns = find_columns(table, column)
    return OutreachPlan(
        table=table,
        column=column,
        names=columns,
        handed_out=_handed_out(table, settings.only_where),
        ages=find_minors(table, column, today) if writes else None,
        minors=settings.minors,
        spanish=spanish,
        letters=_letter_forms(table, column, columns, settings, languages, link_column),
        messages=_message_forms(table, column, settings, languages, link_column),
        phones=phones,
        bad_phones=bad,
        share_phones=settings.share_phones,
        iso_dates=settings.iso_dates,
    )


def require_extra() -> None:
    """Raises SettingsError where the libraries for letters and messages are not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("docx", "mailmerge", "phonenumbers")):
        raise SettingsError(
            "batchlinks[letters] is not installed, and letters, messages and telephone numbers need it: "
            'pip install "batchlinks[letters]".'
        )


def _handed_out(table: Table, conditions: Sequence[str]) -> Mask:
    """Rows in which each of these columns says what it is to say: trimmed, in capitals or not. A blank cell says nothing."""
    rows = np.ones(len(table), dtype=bool)
    for condition in conditions:
        name, equals, value = condition.partition("=")
        wanted = value.strip().casefold()
        if not equals or not wanted:
            raise SettingsError(Setting("only_where"), " takes a column and a value, such as OK to text=Y.")
        cells = table.column(_needed_column(table, "only_where", name)).dictionary_encode()
        fits = np.array([text.strip().casefold() == wanted for text in cells.dictionary.to_pylist()], dtype=bool)
        if not fits.any():
            logger().warning(
                "No cell of the column to go by has the value that is wanted, so nobody is handed out. Check both."
            )
        rows &= fits[cells.indices.to_numpy(zero_copy_only=False)]
    return rows


def _needed_column(table: Table, setting: str, wanted: str) -> int:
    position = find_column(table, wanted)
    if position is None:
        raise SettingsError(Setting(setting), " names no column of the list.")
    return position


def _phones(table: Table, settings: RunSettings) -> tuple[pa.Array | None, Mask | None]:
    """The numbers in E.164, and which cells hold something that is none."""
    if settings.phone_column is None:
        return None, None
    from batchlinks.outreach.phone_numbers import check_region, in_e164

    region = check_region(settings.phone_region)
    cells = table.column(_needed_column(table, "phone_column", settings.phone_column))
    numbers = in_e164(cells, region)
    filled = np.array([bool(text.strip()) for text in cells.to_pylist()], dtype=bool)
    valid = np.array([bool(number) for number in numbers.to_pylist()], dtype=bool)
    return numbers, filled & ~valid


def _letter_forms(
    table: Table,
    column: IdColumn,
    columns: Columns,
    settings: RunSettings,
    languages: Sequence[Language],
    link_column: str,
) -> dict[Language, LetterForm]:
    if settings.letters is None:
        return {}
    from batchlinks.outreach.letter_merge import estimate_of
    from batchlinks.outreach.word_template import CODE_FIELD, read_word_template

    forms = {}
    for language in languages:
        template = read_word_template(_path_of(settings.letters, language))
        names = [each.name for each in template.fields]
        sources = match_fields(template.name, names, table, column, link_column=link_column, code_field=CODE_FIELD)
        if template.is_draft:
            logger().warning(
                f"{template.name} is still a draft: it says so, or has brackets to fill in. Have it approved before you mail it."
            )
        estimate = estimate_of(template)
        top = estimate.code_top_mm({})
        if top is not None and top < _LEAST_TOP_MM:
            logger().warning(
                f"In {template.name} the QR code stands in the upper third of the page, where an envelope's window may show it."
            )
        forms[language] = LetterForm(
            template,
            sources,
            name_key=next((each.key for each in template.fields if _says_name(sources[each.name], columns)), None),
            address_columns=tuple(
                columns.address[AddressPart.STREET] if each.source is Source.STREET else each.source
                for each in sources.values()
                if each.address in (AddressPart.STREET, AddressPart.CITY)
                and (isinstance(each.source, int) or each.source is Source.STREET)
            ),
        )
    return forms


def _says_name(source: FieldSource, columns: Columns) -> bool:
    names = {columns.first_name, columns.full_name, columns.last_name} - {None}
    return source.source in (Source.FIRST_NAME, Source.LAST_NAME) or source.source in names


def _message_forms(
    table: Table, column: IdColumn, settings: RunSettings, languages: Sequence[Language], link_column: str
) -> dict[Language, MessageForm]:
    if settings.message is None:
        return {}
    forms = {}
    for language in languages:
        message = read_message(_path_of(settings.message, language))
        sources = match_fields(
            message.name, message.fields, table, column, link_column=link_column, code_field="qr_code"
        )
        if all(each.source is not Source.LINK for each in sources.values()):
            raise SettingsError(f"{message.name} has no place for the link. Write «link» where it goes.")
        if any(each.source is Source.CODE for each in sources.values()):
            raise SettingsError(f"{message.name} asks for a QR code, which no message can hold. Use «link» instead.")
        forms[language] = MessageForm(message, sources)
    return forms


def _path_of(template: Path, language: Language) -> Path:
    path = path_in(language, template)
    if not path.is_file():
        beside = (
            ""
            if language is Language.ENGLISH
            else f" Put it beside {template.name}, or leave out the column of languages."
        )
        raise SettingsError(f"{path.name} is not there.{beside}")
    return path


def _values(
    plan: OutreachPlan, sources: Mapping[str, FieldSource], rows: Mask, links: Sequence[str], ids: Sequence[str]
) -> dict[str, list[str]]:
    """By the name of a field its value in each of these rows."""
    table, positions = plan.table, np.flatnonzero(rows).tolist()

    def cells(at: int) -> list[str]:
        texts: list[str] = cells_as_shown(table, at, rows, iso=plan.iso_dates).to_pylist()
        return texts

    found: dict[str, list[str]] = {}
    for name, each in sources.items():
        match each.source:
            case int(at):
                found[name] = cells(at)
            case Source.LINK:
                found[name] = list(links)
            case Source.CODE:
                found[name] = [""] * len(positions)
            case Source.IDENTIFIER:
                found[name] = list(ids)
            case Source.FIRST_NAME:
                found[name] = [plan.names_of(position)[0] for position in positions]
            case Source.LAST_NAME:
                found[name] = [plan.names_of(position)[1] for position in positions]
            case Source.STREET:
                address = plan.names.address
                lines = [
                    cells(address[part]) for part in (AddressPart.STREET, AddressPart.SECOND_LINE) if part in address
                ]
                found[name] = ["\n".join(line for line in both if line.strip()) for both in zip(*lines, strict=True)]
    return found


def _stacks(letters: int, split_values: pa.Array | None) -> list[tuple[str, list[int]]]:
    """The files' names without ending, and which letters, by position, are in each."""
    if split_values is None:
        return [("letters", list(range(letters)))]
    numbered = Sheet("Letters", ["position"], [pa.array([str(at) for at in range(letters)], pa.string())])
    return [
        (part.name, [int(text) for text in part.sheet.columns[0].to_pylist()]) for part in split(numbered, split_values)
    ]


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, or the name with a number where a clinic is called like another one's letters in Spanish."""
    free, number = name, 1
    while f"letters/{free}.docx" in taken:
        number += 1
        free = f"{name} ({number})"
    return free
