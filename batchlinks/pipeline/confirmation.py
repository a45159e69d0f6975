"""Confirm that people are those whose IDs they have, although an earlier list said otherwise."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from batchlinks.config.settings import RunSettings, validate
from batchlinks.ledger.person_records import PersonRecords
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.intake import Source, apply_screening, load_roster
from batchlinks.pipeline.known_people import EarlierPerson, KnownPeople
from batchlinks.results.summary import Summary


def confirm_people(
    source: Source,
    settings: RunSettings,
    context: RunContext,
    records: PersonRecords,
    *,
    agree: Callable[[Sequence[EarlierPerson]], bool],
) -> int:
    """Take the people in a list, or the refused rows of an error report, for those whose IDs they have from now on.

    `agree` is shown who would be another person than before, and may say no. Returns how many were confirmed. Raises
    RosterError or SettingsError for a list that cannot be read.
    """
    settings = validate(settings)
    unsaid = Summary("", "", datetime.now(UTC), check=True)  # no run, so that nobody reads it
    roster = load_roster(source, settings, context, RunHooks(leave_cautions_open=True), unsaid)
    screened = apply_screening(roster, settings, withdrawn=frozenset())
    people = KnownPeople(roster, screened, records)
    others = people.find_others()
    if not others or not agree(others):
        return 0
    people.confirm(others)
    return len(others)
