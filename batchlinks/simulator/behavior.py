"""What the stand-in can be told: each option with its default, its unit and the sentence that explains it."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from batchlinks.errors import SettingsError

SHARE_SUFFIX = "_share"


def _option(default: object, sentence: str, unit: str = "", *, private: bool = False) -> Any:
    """A field whose metadata holds `help`, `unit` and `private`, so that a command line can be made from it.

    What is `private` must not be an argument, where every process of the machine can read it, and is not
    printed either. Returns Any, as `dataclasses.field` does: the annotation beside it says the type.
    """
    return field(default=default, repr=not private, metadata={"help": sentence, "unit": unit, "private": private})


def _share(sentence: str) -> Any:
    """A fault: its name is the option's without `_share`."""
    return _option(0.0, f"{sentence}, as a share of all calls", "0 to 1")


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How the stand-in answers. The defaults are a HealthEx without faults or limits, as it was seen to answer.

    The fault shares exclude one another: a call meets at most one fault, so together they are at most 1.
    Which one is decided by `seed`, the external ID and the number of the attempt, so a run can be repeated
    exactly, and an ID that failed may succeed when it is sent again. Raises `SettingsError` for values
    without sense.
    """

    seed: int = _option(0, "decides which calls meet a fault, and signs links")

    # Who may ask, and for what.
    api_key: str = _option("simulator-key", "API key that is accepted")
    api_secret: str = _option("simulator-secret", "API secret that is accepted", private=True)
    projects: tuple[str, ...] = _option(("demo-project",), "active projects")
    inactive_projects: tuple[str, ...] = _option(("inactive-project",), "projects that are known but not active")
    inactive_status: int = _option(403, "answer to a link call for an inactive project", "HTTP status")

    # What a link and its answer look like: as they were seen, since the documentation leaves most of it open. It shows the
    # external ID in xid as it stands: hence "raw".
    link_host: str = _option("app.healthex.invalid", "host that links lead to")
    success_status: int = _option(201, "answer that carries a link", "HTTP status")
    body_format: Literal["json", "text"] = _option("text", "link as a quoted JSON string or as bare text")
    content_type: str | None = _option(
        None, "Content-Type of a link (default: text/html for bare text, application/json for JSON)"
    )
    xid_encoding: Literal["raw", "space", "percent", "percent-twice", "plus"] = _option(
        "raw",
        "special characters in xid: as they stand, %20 for a space, all percent-encoded, percent-encoded twice, or once with "
        "+ for a space",
    )
    xid_spelling: Literal["exact", "lower", "upper", "no-zeros", "no-separators"] = _option(
        "exact", "how links, right and wrong, spell an ID"
    )
    xid_spelled: float = _option(1.0, "links that spell it so, the others exactly, as a share of all links", "0 to 1")
    fresh_links: bool = _option(
        True, "a second call for the same ID gets a link with another signature, or the same link"
    )

    # How long it takes, and how much it takes.
    latency_ms: float = _option(0.0, "wait before the answer to a link call that is within the limits", "milliseconds")
    jitter_ms: float = _option(0.0, "further wait, evenly spread between 0 and this", "milliseconds")
    rate: float | None = _option(None, "link calls that are let through in the long run", "calls a second")
    burst: int = _option(50, "link calls that are let through at once after a pause, where there is a rate", "calls")
    in_flight_limit: int | None = _option(None, "calls at the same time, beyond which one is refused", "calls")
    refusal_status: int = _option(429, "answer to a call over the limit, 429 or 503", "HTTP status")
    retry_after: Literal["seconds", "date", "none"] = _option("seconds", "form of Retry-After in a refusal")
    retry_after_s: float | None = _option(
        None, "what Retry-After says (default: the whole seconds until a call is let through)", "seconds"
    )
    retry_after_share: float = _option(1.0, "refusals that carry Retry-After, as a share of all refusals", "0 to 1")

    # Faults of the connection.
    drop_share: float = _share("connections closed instead of an answer")
    hang_share: float = _share("calls never answered")
    truncate_share: float = _share("answers that break off before their Content-Length")

    # Answers that are not a link.
    server_error_share: float = _share("500, 502, 503 (without Retry-After) and 504 in turn")
    request_timeout_share: float = _share("408")
    too_early_share: float = _share("425")
    proxy_auth_share: float = _share("407, as a proxy in between would answer")
    redirect_share: float = _share("302 to another path of this server")
    html_share: float = _share("a web page with status 200, as a login page in between would be")
    empty_share: float = _share("an empty body with the success status")

    # Links that must not be used.
    foreign_host_share: float = _share("a link on another host")
    http_link_share: float = _share("a link with http: instead of https:")
    no_xid_share: float = _share("a link without xid")
    other_patient_share: float = _share("the link of the ID asked for before (once there is one)")
    same_link_share: float = _share("one and the same link, which names nobody")
    unnamed_share: float = _share("a link of its own whose xid does not name the ID")
    short_xid_share: float = _share("a link whose xid lacks the last character of the ID")
    stranger_share: float = _share("the link of an ID of the same form for which nobody asked")
    listed_share: float = _share("the link of one of the listed IDs")
    listed_ids: frozenset[str] = _option(frozenset(), "external IDs whose links are answered to others", private=True)
    swapped_share: float = _share("two calls of these at the same time get each other's link")
    swap_wait_s: float = _option(1.0, "how long the first of two such calls waits for the second", "seconds")

    # More than one answer, or a late one.
    repeat_share: float = _share("the answer, and once more the same on the same connection")
    repeat_after_ms: float = _option(
        0.0, "how long after the answer it comes again; 0: in one piece with it", "milliseconds"
    )
    late_share: float = _share("an answer that comes late")
    late_s: float = _option(60.0, "how late a late answer comes", "seconds")

    # Answers that no client should take for what they seem.
    no_link_share: float = _share("text that is no link, with the success status")
    no_link_type: str = _option("text/html", "Content-Type of text that is no link")
    no_link_length: int = _option(512, "length of text that is no link", "bytes")
    encoded_share: float = _share("a link in the encoding that content-encoding names")
    content_encoding: Literal["gzip", "deflate", "raw-deflate", "gzip, gzip", "br", "zstd"] = _option(
        "gzip", "encoding of encoded answers; br and zstd are only said"
    )
    bomb_share: float = _share("a small answer, compressed twice, that would fill the memory")
    bomb_mb: int = _option(1024, "what such an answer would inflate to", "megabytes")
    endless_share: float = _share("an answer without end")
    garbage_share: float = _share("bytes that are no HTTP, then the end of the connection")
    short_length_share: float = _share("a Content-Length that is less than the body's, on a connection that is kept")
    long_length_share: float = _share("a Content-Length that is more than the body's, on a connection that is kept")
    chunk_garbage_share: float = _share("an answer in chunks with bytes behind its end")
    early_hints_share: float = _share("103 before the answer")
    no_content_share: float = _share("204 with a body")
    http10_share: float = _share("an answer of HTTP/1.0, whose end is that of the connection")

    # One fault again and again, whatever the seed.
    nth_call: int | None = _option(None, "every so many-th link call meets nth-fault", "calls")
    nth_fault: str = _option("stranger", "the fault of every nth-call: a share's name without -share")

    # IDs that are refused, whatever the attempt.
    reject_ids: frozenset[str] = _option(frozenset(), "external IDs that are refused", private=True)
    reject_pattern: str | None = _option(None, "regular expression; a whole external ID that matches is refused")
    reject_status: int = _option(422, "answer to an ID that is refused", "HTTP status")
    every_status: int | None = _option(None, "answer to every link call that is well formed", "HTTP status")

    # Who has consented, and how that is shown: as it was seen, where it was seen.
    consenting: float = _option(0.0, "patients who have consented, as a share of all patients", "0 to 1")
    declining: float = _option(0.0, "patients who have said no, as a share of all patients", "0 to 1")
    expiring: float = _option(0.0, "patients whose consent has expired, as a share of all patients", "0 to 1")
    undecided: float = _option(
        0.0,
        "patients who are known and have not decided, as a share of all patients; nobody knows the others",
        "0 to 1",
    )
    consented_ids: frozenset[str] = _option(frozenset(), "external IDs that have consented", private=True)
    declined_ids: frozenset[str] = _option(frozenset(), "external IDs that have said no", private=True)
    expired_ids: frozenset[str] = _option(frozenset(), "external IDs whose consent has expired", private=True)
    undecided_ids: frozenset[str] = _option(frozenset(), "external IDs that are known and undecided", private=True)
    same_patient_ids: frozenset[str] = _option(
        frozenset(), "external IDs that are all one patient to HealthEx", private=True
    )
    two_patients_ids: frozenset[str] = _option(
        frozenset(), "external IDs that are two patients of one organization", private=True
    )
    organizations: int = _option(2, "organizations that have a record of each patient", "1 or 2")
    unknown_patient: Literal["400", "404", "empty"] = _option(
        "400", "answer about a patient whom nobody knows: a status with the words Patient not found, or an empty list"
    )
    consent_days: float | None = _option(365.0, "how long a consent holds; 0: it never expires", "days")
    consent_lag_s: float = _option(30.0, "how long after a patient's decision it is shown", "seconds")
    consents_status: int | None = _option(None, "answer to every well-formed call for consents", "HTTP status")

    # What is said of a project. It was seen to be nothing.
    study: Literal["empty", "full"] = _option(
        "empty", "answer about a project: 200 without a body, or what is documented"
    )
    study_title: str = _option("Demo project", "title of every project")
    study_status: Literal["DRAFT", "ACTIVE", "COMPLETED", "WITHDRAWN"] = _option("ACTIVE", "status of active projects")
    study_paused: bool = _option(False, "active projects are paused")

    # Tokens.
    token_success_status: int = _option(201, "answer that carries a token", "HTTP status")
    token_expiration: bool = _option(True, "an answer with a token says when it expires, or not")
    token_lifetime_s: float = _option(86_400.0, "time until a token's exp", "seconds")
    token_dies_after_calls: int | None = _option(None, "a token is refused after so many calls about patients", "calls")
    token_dies_after_s: float | None = _option(None, "a token is refused after so long, whatever its exp", "seconds")
    revoke_tokens_at_call: int | None = _option(
        None, "at this call about a patient (1 is the first) all tokens issued so far are refused from then on", "calls"
    )
    token_status: int | None = _option(None, "answer to every call for a token", "HTTP status")
    token_latency_ms: float = _option(0.0, "wait before every answer to a call for a token", "milliseconds")

    # The end.
    die_after: int | None = _option(
        None, "calls about patients answered before it dies; 0: it is dead from the start", "calls"
    )
    die_by: Literal["refuse", "error", "hang"] = _option(
        "refuse", "what being dead is: connections are refused, every answer is 503, or nothing is answered"
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            if get_origin(option.type) is Literal and getattr(self, option.name) not in get_args(option.type):
                raise SettingsError(f"{option.name} must be one of {', '.join(get_args(option.type))}.")
        for name in ("inactive_status", "success_status", "refusal_status", "reject_status"):
            _check_status(name, getattr(self, name))
        for name in ("token_status", "every_status", "consents_status"):
            if getattr(self, name) is not None:
                _check_status(name, getattr(self, name))
        for name in ("success_status", "token_success_status"):
            if not 200 <= getattr(self, name) <= 299:
                raise SettingsError(f"{name} must be between 200 and 299.")
        for name in _AT_LEAST_0:
            _check_at_least(name, getattr(self, name), 0)
        for name in _AT_LEAST_1:
            _check_at_least(name, getattr(self, name), 1)
        for name in ("projects", "inactive_projects"):
            _check_projects(name, getattr(self, name))
        if self.rate is not None and not self.rate > 0:
            raise SettingsError("rate must be more than 0 calls a second.")
        for name in ("retry_after_share", "xid_spelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} must be between 0 and 1.")
        if not 1 <= self.organizations <= 2:
            raise SettingsError("organizations must be 1 or 2.")
        decided = [getattr(self, name) for name in ("consenting", "declining", "expiring", "undecided")]
        if not all(0 <= share <= 1 for share in decided) or sum(decided) > 1 + 1e-9:
            raise SettingsError(
                "consenting, declining, expiring and undecided must be between 0 and 1, and so must their sum."
            )
        if (self.listed_share or (self.nth_call and self.nth_fault == "listed")) and not self.listed_ids:
            raise SettingsError("listed_share and nth_fault listed need listed_ids.")
        shares = self.fault_shares()
        if self.nth_fault not in shares:
            raise SettingsError(f"nth_fault must be one of {', '.join(shares)}.")
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise SettingsError(f"{name}{SHARE_SUFFIX} must be between 0 and 1.")
        # Ten shares of 0.1 add up to a little more or less than 1.
        if sum(shares.values()) > 1 + 1e-9:
            raise SettingsError("The fault shares add up to more than 1.")
        if self.reject_pattern is not None:
            from batchlinks.config.id_pattern import IdPattern  # Arrow takes its time, and help has no use for it

            IdPattern(self.reject_pattern, "reject_pattern")

    def fault_shares(self) -> dict[str, float]:
        """The share of each fault by its name, which is the option's without `_share`."""
        return {
            option.name.removesuffix(SHARE_SUFFIX): getattr(self, option.name)
            for option in fields(self)
            if option.name.endswith(SHARE_SUFFIX) and option.name != "retry_after_share"
        }


_AT_LEAST_0 = (
    "latency_ms", "jitter_ms", "token_latency_ms", "retry_after_s", "token_dies_after_s", "swap_wait_s", "repeat_after_ms",
    "late_s", "no_link_length", "die_after", "token_dies_after_calls", "consent_days", "consent_lag_s",
)  # fmt: skip
_AT_LEAST_1 = ("burst", "in_flight_limit", "revoke_tokens_at_call", "bomb_mb", "nth_call")


def _check_projects(name: str, projects: tuple[str, ...]) -> None:
    if any("," in project for project in projects):
        raise SettingsError(f"{name} takes one project each time: give the option once for each, without commas.")


def _check_status(name: str, status: int) -> None:
    if not 200 <= status <= 599:
        raise SettingsError(f"{name} must be an HTTP status between 200 and 599.")


def _check_at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and not value >= least:
        raise SettingsError(f"{name} must be at least {least}.")
