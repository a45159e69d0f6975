"""The record of links already issued, so that nothing answered is ever asked again. The only package with SQL.

`project_links` is what a run needs of it: one project's links. `maintenance` is what people do with it beside runs: look up,
withdraw, forget, export. `patient_files` tells in which files patients are, `response_records` what HealthEx showed of them
last, `do_not_contact` is the list of people who are left alone, a file of its own. `database` opens the file, `schema` says
what stands in it and brings older ones up to date.
"""

from batchlinks.ledger.database import LedgerError
from batchlinks.ledger.do_not_contact import DoNotContact
from batchlinks.ledger.maintenance import Known, NotedRun, Project, Records, Withdrawal
from batchlinks.ledger.patient_files import FilePurpose, NotedFile, PatientFile, PatientRow, Placement
from batchlinks.ledger.project_links import Ledger
from batchlinks.ledger.response_records import ReminderRecord, ResponseRecord

__all__ = [
    "DoNotContact",
    "FilePurpose",
    "Known",
    "Ledger",
    "LedgerError",
    "NotedFile",
    "NotedRun",
    "PatientFile",
    "PatientRow",
    "Placement",
    "Project",
    "Records",
    "ReminderRecord",
    "ResponseRecord",
    "Withdrawal",
]
