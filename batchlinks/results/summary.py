"""What a run came to, in counts: the summary file, and the line in the audit log. No external ID in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchlinks.errors import BatchlinksError, ExitCode


@dataclass(slots=True)
class Summary:
    """Counts of one run or check. `linked` counts rows that have a link; for a check, rows that could be sent."""

    run_id: str
    version: str
    started_at: datetime
    check: bool
    roster: str = ""
    roster_sha256: str = ""
    project_id: str | None = None
    api: str | None = None
    ledger_id: str | None = None
    """None without a ledger, and of versions before 0.3."""

    id_column: str = ""
    rows: int = 0
    linked: int = 0
    duplicates: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    finished_at: datetime | None = None
    written: int = 0
    requested: int = 0
    reused: int = 0
    calls: int = 0
    retries: int = 0
    exit_code: ExitCode = ExitCode.DONE
    outputs: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256 of each file; known once they are in place."""

    audited: bool = False
    """Whether its line is in the audit log."""

    rows_read: int = 0
    """Rows of the list, as soon as it is read; for the audit log, which also knows lists that came to nothing."""

    folder: str | None = None
    """Where the files were put; for the audit log."""

    reason: str | None = None
    """Why it was refused or stopped, in a sentence; for the audit log."""

    @property
    def command(self) -> str:
        """As the audit log calls it."""
        return "check" if self.check else "run"

    def reconcile(self) -> None:
        """Every row is accounted for once, or no file is released. Raises BatchlinksError."""
        if self.rows != self.linked + self.duplicates + sum(self.errors.values()):
            raise BatchlinksError(
                f"The counts do not add up ({self.rows} rows; {self.linked} linked, {self.duplicates} duplicates, "
                f"{sum(self.errors.values())} refused), so no file was written. This is a defect in batchlinks; "
                "answers are kept in the ledger."
            )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Summary":
        """Of a summary file of a run."""
        counted = (
            "rows",
            "linked",
            "written",
            "requested",
            "reused",
            "duplicates",
            "errors",
            "warnings",
            "calls",
            "retries",
        )
        return cls(
            check=False,
            started_at=datetime.fromisoformat(content["started_at"]),
            finished_at=datetime.fromisoformat(content["finished_at"]),
            exit_code=ExitCode(content["exit_code"]),
            **{
                name: content[name]
                for name in ("run_id", "version", "roster", "roster_sha256", "project_id", "id_column")
            },
            api=content.get("api"),
            ledger_id=content.get("ledger_id"),
            **{name: content[name] for name in (*counted, "outputs")},
        )

    def as_json(self) -> dict[str, object]:
        """As the summary file holds it, without `outputs`, which the release adds."""
        return {
            "run_id": self.run_id,
            "version": self.version,
            "roster": self.roster,
            "roster_sha256": self.roster_sha256,
            "project_id": self.project_id,
            "id_column": self.id_column,
            "started_at": _utc(self.started_at),
            "finished_at": _utc(self.finished_at) if self.finished_at else None,
            "rows": self.rows,
            "sendable" if self.check else "linked": self.linked,
            "written": self.written,
            "requested": self.requested,
            "reused": self.reused,
            "duplicates": self.duplicates,
            "errors": dict(self.errors),
            "warnings": dict(self.warnings),
            "calls": self.calls,
            "retries": self.retries,
            "exit_code": int(self.exit_code),
            "api": self.api,
            "ledger_id": self.ledger_id,
        }


def _utc(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")
