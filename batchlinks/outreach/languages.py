"""In which language a patient is written to: English, or Spanish where a column of the list says so. Pure."""

import re
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batchlinks.columns.header_words import fold
from batchlinks.table import Table


class Language(StrEnum):
    """The languages in which there are templates; the value stands in their files' names: `letter.es.docx`."""

    ENGLISH = "en"
    SPANISH = "es"


_SPANISH = frozenset("es esp spa sp spanish espanol castellano castilian".split())
_WORDS = re.compile(r"[a-z]+")


def language_of(text: str) -> Language:
    """What a cell says: `es`, `spa`, `Spanish`, `es-MX`, `Español`; English for everything else."""
    words = _WORDS.findall(fold(text).casefold())
    return Language.SPANISH if words and words[0] in _SPANISH else Language.ENGLISH


def find_spanish(table: Table, position: int) -> npt.NDArray[np.bool_]:
    """Which rows are to be written to in Spanish, by the cells of this column."""
    coded = table.column(position).dictionary_encode()
    spanish = np.array([language_of(text) is Language.SPANISH for text in coded.dictionary.to_pylist()], dtype=bool)
    if not len(spanish):
        return np.zeros(len(table), dtype=bool)
    found: npt.NDArray[np.bool_] = spanish[coded.indices.to_numpy(zero_copy_only=False)]
    return found


def path_in(language: Language, template: Path) -> Path:
    """The template of this language beside the English one: `letter.docx` is `letter.es.docx` in Spanish."""
    return (
        template if language is Language.ENGLISH else template.with_name(f"{template.stem}.{language}{template.suffix}")
    )
