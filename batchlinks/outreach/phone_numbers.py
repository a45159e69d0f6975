"""Telephone numbers as texting services take them (E.164: `+16175550101`), and which several patients share."""

from collections import defaultdict
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.errors import SettingsError
from batchlinks.next_steps import Setting


def check_region(region: str) -> str:
    """The region in capitals. Raises SettingsError for one that has no telephone numbers."""
    import phonenumbers

    if region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError(Setting("phone_region"), " takes a country by its two letters, such as US or MX.")
    return region.upper()


def in_e164(texts: pa.Array | pa.ChunkedArray, region: str) -> pa.Array:
    """Each number in E.164, "" where there is none that is valid. Landlines cannot be told from mobiles in the US."""
    coded = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    coded = coded.dictionary_encode()
    numbers = pa.array([one_in_e164(text, region) for text in coded.dictionary.to_pylist()], pa.string())
    return numbers.take(coded.indices)


@lru_cache(maxsize=65_536)
def one_in_e164(text: str, region: str) -> str:
    """The number in E.164, or "" for what is no valid number; an extension cannot be texted."""
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    if number.extension or not phonenumbers.is_valid_number(number):
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def shared_by_several(numbers: pa.Array, external_ids: pa.Array, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of these rows have a number that another ID has too."""
    positions = np.flatnonzero(rows).tolist()
    whose: defaultdict[str, set[str]] = defaultdict(set)
    here = [(at, numbers[at].as_py(), external_ids[at].as_py()) for at in positions]
    for _, number, external_id in here:
        if number:
            whose[number].add(external_id)
    shared = np.zeros(len(rows), dtype=bool)
    shared[[at for at, number, _ in here if len(whose.get(number, ())) > 1]] = True
    return shared
