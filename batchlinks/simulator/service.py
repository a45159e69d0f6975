"""What the stand-in demands of a call, and what it answers.

Everything that the public documentation of HealthEx asks for is demanded to the letter; what it leaves open
is an option. A call is judged in this order: path (404), method (405), size (413), token (401), Accept (406),
Content-Type (415), project (404, or `inactive_status`), body (400); in a call for consents the project is part of the body.
Only a call that stands up to all this meets the script of its ID, the limits and the faults. What a project is like is asked
for with GET, without an ID.
"""

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from aiohttp import hdrs, web

from batchlinks.config.id_pattern import IdPattern
from batchlinks.simulator import http_answers
from batchlinks.simulator.behavior import SimulatorOptions
from batchlinks.simulator.consent_book import ConsentBook, ConsentQuery, read_query
from batchlinks.simulator.faults import (
    HONEST,
    Answer,
    Fault,
    FaultPlan,
    FixedAnswer,
    Honest,
    LinkOf,
    Slow,
    Status,
    Step,
    TokenBucket,
    carries_link,
    draw,
    retry_after,
    step_of,
)
from batchlinks.simulator.http_answers import HTML, JSON, LOGIN_PAGE, CutOff, answer, problem, truncated
from batchlinks.simulator.link_maker import LinkMaker
from batchlinks.simulator.token_issuer import IssuedToken, TokenIssuer

TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path, not a password
CONSENTS_PATH = "/v1/consents"
MAX_BODY = 16 * 1024
IN_FLIGHT_WAIT_S = 1.0
"""What a call over `in_flight_limit` is told to wait: nobody can know when another one ends."""

_LINK_PATH = re.compile(r"/v1/projects/(?P<project>[^/?#]+)/link")
_STUDY_PATH = re.compile(r"/v1/studies/(?P<project>[^/?#]+)")
_BEARER = "Bearer "
_WWW_AUTHENTICATE = {"WWW-Authenticate": "Bearer"}


@dataclass(slots=True)
class Call:
    """One request as the server saw it."""

    time: float
    """Seconds since the server started, on its clock."""

    path: str
    external_id: str | None
    """None where the body is not that of a call about a patient."""

    status: int | None
    """None while there is no answer, and where there never was one."""

    token_generation: int | None
    """Which token came with it, from 1 in the order of issue; None for none, or one not signed here."""

    attempt: int
    """Which answer of this kind for this ID it is, from 1; 0 without an ID. A call refused for its token or for the pace
    does not count, so that faults do not depend on how fast the calls came."""

    @property
    def asks_consents(self) -> bool:
        """Whether it asks for consents, and not for a link or a token."""
        return self.path == CONSENTS_PATH


class _CallRejected(Exception):
    """An answer to the caller, not a failure of this program."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = headers


@dataclass(frozen=True, slots=True)
class _PatientCall:
    """What a call for a link or for consents brought, right or wrong."""

    request: web.BaseRequest
    project: str
    """"" where a call for consents names none."""

    external_id: str | None
    token: IssuedToken | None
    properties: dict[str, object] | None = None
    """The body of a call for consents."""

    asks_consents: bool = False

    @property
    def counted_as(self) -> tuple[str, str]:
        """Under what its attempts are counted: those for a link and those for consents apart."""
        return f"{self.project} {CONSENTS_PATH if self.asks_consents else ''}", self.external_id or ""


class Service:
    """What one running server knows. It changes on the server's loop only; other threads may read it."""

    def __init__(self, options: SimulatorOptions, *, record: bool, clock: Callable[[], float]) -> None:
        self._record = record
        self._clock = clock
        self._started_at = clock()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._latest_ids: dict[str, tuple[str, str]] = {}
        self._to_swap: tuple[str, asyncio.Future[str]] | None = None
        """Of the first of two calls that get each other's link: its ID, and where it waits for the other's."""
        self._performed = 0
        """Calls about patients so far that met the faults."""
        self.tokens = TokenIssuer(options.api_secret, clock)
        self.scripts: dict[str, deque[Step]] = {}
        self.consent_scripts: dict[str, deque[Step]] = {}
        self.token_script: deque[Step] = deque()
        self.calls: list[Call] = []
        self.links: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.link_calls = 0
        self.consent_calls = 0
        self.token_calls = 0
        self.study_calls = 0
        self.refused = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.defects: list[Exception] = []
        self.stopping = asyncio.Event()
        self.on_death: Callable[[], None] = lambda: None
        self.book = ConsentBook(options, clock)
        self._take(options)
        self._bucket = self._new_bucket()

    def change(self, options: SimulatorOptions) -> None:
        """Answers as these options say from now on; what was counted stays counted."""
        old = self.options
        self._take(options)
        if (old.rate, old.burst) != (options.rate, options.burst):
            self._bucket = self._new_bucket()

    def _take(self, options: SimulatorOptions) -> None:
        self.options = options
        self._plan = FaultPlan(options)
        self._maker = LinkMaker(options)
        self._counts_attempts = self._record or self._plan.depends_on_attempt
        self._rejects = None if options.reject_pattern is None else IdPattern(options.reject_pattern, "reject_pattern")
        self.book.change(options)
        self._is_active = dict.fromkeys(options.inactive_projects, False) | dict.fromkeys(options.projects, True)
        type_of_format = JSON if options.body_format == "json" else "text/html"
        self._link_type = options.content_type or type_of_format

    def _new_bucket(self) -> TokenBucket | None:
        rate = self.options.rate
        return None if rate is None else TokenBucket(rate, self.options.burst, self._clock())

    @property
    def patient_calls(self) -> int:
        """Calls so far for a link or for consents."""
        return self.link_calls + self.consent_calls

    @property
    def is_dead(self) -> bool:
        return self.options.die_after is not None and self.patient_calls >= self.options.die_after

    @property
    def refuses_connections(self) -> bool:
        return self.is_dead and self.options.die_by == "refuse"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; aiohttp calls this."""
        try:
            return await self._handle(request)
        except (ConnectionError, web.RequestPayloadError):  # the caller went away, or broke off its body
            return CutOff()
        except Exception as defect:
            self.defects.append(defect)
            raise

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "The body is too large.")
        path = request.raw_path
        asked = self._patient_call(request, path, body)
        record = self._new_record(path, asked) if self._record else None
        try:
            reply = await self._reply(request, path, body, asked)
        except _CallRejected as rejected:
            reply = problem(rejected.status, rejected.why, rejected.headers)
        if not isinstance(reply, CutOff) or reply.sent:
            self.statuses[reply.status] += 1
            if record is not None:
                record.status = reply.status
        return reply

    def _patient_call(self, request: web.BaseRequest, path: str, body: bytes) -> _PatientCall | None:
        """None for a call that is about no patient."""
        link_path = _LINK_PATH.fullmatch(path)
        if link_path is not None:
            return _PatientCall(request, unquote(link_path["project"]), _external_id(body), self._token_of(request))
        if path != CONSENTS_PATH:
            return None
        properties = _properties(body) or {}
        project, external_id = properties.get("studyId"), properties.get("externalId")
        return _PatientCall(
            request,
            project if isinstance(project, str) else "",
            external_id if isinstance(external_id, str) and external_id.strip() else None,
            self._token_of(request),
            properties,
            asks_consents=True,
        )

    def _new_record(self, path: str, asked: _PatientCall | None) -> Call:
        call = Call(self._clock() - self._started_at, path, None, None, None, 0)
        if asked is not None:
            call.token_generation = None if asked.token is None else asked.token.generation
            if asked.external_id is not None:
                call.external_id = asked.external_id
                call.attempt = self._attempts[asked.counted_as] + 1
        self.calls.append(call)
        return call

    async def _reply(
        self, request: web.BaseRequest, path: str, body: bytes, asked: _PatientCall | None
    ) -> web.Response:
        if self.is_dead:
            return await self._reply_when_dead()
        study = _STUDY_PATH.fullmatch(path)
        if asked is None and study is None and path != TOKEN_PATH:
            raise _CallRejected(404, "There is nothing at this path.")
        method = hdrs.METH_GET if study else hdrs.METH_POST
        if request.method != method:
            raise _CallRejected(405, f"Only {method} is understood here.", {"Allow": method})
        if study is not None:
            return self._reply_to_study_call(request, unquote(study["project"]))
        if len(body) > MAX_BODY:
            raise _CallRejected(413, "The body is too large.")
        if asked is None:
            return await self._reply_to_token_call(request, body)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._reply_to_patient_call(asked)
        finally:
            self.in_flight -= 1

    def _reply_to_study_call(self, request: web.BaseRequest, project: str) -> web.Response:
        options = self.options
        self.study_calls += 1
        self._check_token(self._token_of(request))
        is_active = self._is_active.get(project)
        if is_active is None:
            raise _CallRejected(404, "There is no such project.")
        if options.study == "empty":
            return answer(200, "")
        return answer(
            200,
            json.dumps(
                {
                    "id": project,
                    "title": options.study_title,
                    "status": options.study_status if is_active else "COMPLETED",
                    "paused": options.study_paused and is_active,
                }
            ),
        )

    async def _reply_when_dead(self) -> web.Response:
        match self.options.die_by:
            case "refuse":
                return CutOff()
            case "error":
                return problem(503)
            case "hang":
                return await self._hang()

    async def _reply_to_token_call(self, request: web.BaseRequest, body: bytes) -> web.Response:
        options = self.options
        self.token_calls += 1
        if options.token_latency_ms:
            await asyncio.sleep(options.token_latency_ms / 1000)
        _check_content_type(request)
        properties = _properties(body)
        if properties is None or not properties.keys() <= {"apiKey", "apiSecret"}:
            raise _CallRejected(400, "The body is not a JSON object with apiKey and apiSecret.")
        if properties != {"apiKey": options.api_key, "apiSecret": options.api_secret}:
            raise _CallRejected(401, "The API key or the API secret is wrong.")
        step: Step = HONEST
        if self.token_script:
            step = self.token_script.popleft()
        elif options.token_status is not None:
            step = Status(options.token_status)
        return await self._perform(step, self._token_answer)

    def _token_answer(self, step: Answer) -> web.Response:
        options = self.options
        status = step.status if isinstance(step, Honest) and step.status is not None else options.token_success_status
        content: dict[str, object] = {"token": self.tokens.issue(options.token_lifetime_s)}
        if options.token_expiration:
            content["expiration"] = int(time.time() + options.token_lifetime_s)
        return answer(status, json.dumps(content))

    async def _reply_to_patient_call(self, asked: _PatientCall) -> web.Response:
        if asked.asks_consents:
            self.consent_calls += 1
        else:
            self.link_calls += 1
        if self.is_dead:
            self.on_death()
        if self.patient_calls == self.options.revoke_tokens_at_call:
            self.tokens.revoke_all()
        query = self._check_consent_call(asked) if asked.asks_consents else None
        external_id = self._check_link_call(asked) if query is None else query.external_id
        script = (self.scripts if query is None else self.consent_scripts).get(external_id)
        if script:
            attempt = self._next_attempt(asked)
            return await self._answer_patient(asked.project, external_id, query, attempt, script.popleft())
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        attempt = self._next_attempt(asked)
        step, wait_s = self._step(external_id, attempt, asks_consents=query is not None)
        if wait_s:
            await asyncio.sleep(wait_s)
        return await self._answer_patient(asked.project, external_id, query, attempt, step)

    async def _answer_patient(
        self, project: str, external_id: str, query: ConsentQuery | None, attempt: int, step: Step
    ) -> web.Response:
        if query is None:
            return await self._answer_link(project, external_id, attempt, step)
        # What is wrong with a link says nothing of consents.
        return await self._perform(HONEST if carries_link(step) else step, partial(self._consents_answer, query))

    def _consents_answer(self, query: ConsentQuery, _step: Answer) -> web.Response:
        entries = self.book.answer(query)
        if entries is None:
            if self.options.unknown_patient != "empty":
                return answer(int(self.options.unknown_patient), "Patient not found", http_answers.TEXT)
            entries = []
        return answer(200, json.dumps(entries))

    async def _answer_link(self, project: str, external_id: str, attempt: int, step: Step) -> web.Response:
        if step is HONEST:
            return self._link_answer(project, external_id, attempt, HONEST)
        if step is Fault.SWAPPED:
            step = await self._swap(external_id)
        return await self._perform(step, partial(self._link_answer, project, external_id, attempt))

    async def _swap(self, external_id: str) -> Step:
        """The link of another such call, which gets this one's; the right one where none comes in time."""
        if self._to_swap is not None:
            (other_id, waiting), self._to_swap = self._to_swap, None
            waiting.set_result(external_id)
            return LinkOf(other_id)
        waiting = asyncio.get_running_loop().create_future()
        self._to_swap = mine = external_id, waiting
        try:
            async with asyncio.timeout(self.options.swap_wait_s):
                return LinkOf(await waiting)
        except TimeoutError:
            return HONEST
        finally:
            if self._to_swap is mine:
                self._to_swap = None

    def _check_token(self, token: IssuedToken | None) -> None:
        options = self.options
        if token is None or not self.tokens.is_good(
            token, max_calls=options.token_dies_after_calls, max_age_s=options.token_dies_after_s
        ):
            raise _CallRejected(401, "The token is missing, malformed, invalid or expired.", _WWW_AUTHENTICATE)

    def _check_head(self, asked: _PatientCall) -> None:
        self._check_token(asked.token)
        if asked.token is not None:
            asked.token.calls += 1
        if asked.request.headers.get(hdrs.ACCEPT) != JSON:
            raise _CallRejected(406, f"Accept must be {JSON}.")
        _check_content_type(asked.request)

    def _check_consent_call(self, asked: _PatientCall) -> ConsentQuery:
        """The question of a call that is as the documentation says."""
        self._check_head(asked)
        query = read_query(asked.properties, self._is_active)
        if isinstance(query, str):
            raise _CallRejected(400, query)
        return query

    def _check_link_call(self, asked: _PatientCall) -> str:
        """The external ID of a call that is as the documentation says."""
        self._check_head(asked)
        is_active = self._is_active.get(asked.project)
        if is_active is None:
            raise _CallRejected(404, "There is no such project.")
        if not is_active:
            raise _CallRejected(self.options.inactive_status, "The project is not active.")
        if asked.external_id is None:
            raise _CallRejected(
                400, "The body is not a JSON object with externalId, a text that is not empty, and no more."
            )
        return asked.external_id

    def _refusal(self) -> web.Response | None:
        """The answer to a call over a limit; None where it is within all."""
        options = self.options
        if options.in_flight_limit is not None and self.in_flight > options.in_flight_limit:
            wait_s = IN_FLIGHT_WAIT_S
        elif self._bucket is None:
            return None
        else:
            wait_s = self._bucket.take(self._clock())
        if not wait_s:
            return None
        self.refused += 1
        says_when = draw(options.seed, "refusal", self.refused)[0] < options.retry_after_share
        if options.retry_after_s is not None:
            wait_s = options.retry_after_s
        headers = retry_after(options.retry_after, wait_s, time.time()) if says_when else {}
        return problem(options.refusal_status, "Too many calls.", headers)

    def _step(self, external_id: str, attempt: int, *, asks_consents: bool) -> tuple[Step, float]:
        options = self.options
        step, wait_s = self._plan.step(external_id, attempt)
        self._performed += 1
        if options.nth_call is not None and self._performed % options.nth_call == 0:
            step = step_of(Fault(options.nth_fault))
        if asks_consents:
            if options.consents_status is not None:
                step = Status(options.consents_status)
        elif options.every_status is not None:
            step = Status(options.every_status)
        elif external_id in options.reject_ids or (self._rejects and self._rejects.fits(external_id)):
            step = Status(options.reject_status)
        return step, wait_s

    def _next_attempt(self, asked: _PatientCall) -> int:
        if not self._counts_attempts:
            return 1
        self._attempts[asked.counted_as] += 1
        return self._attempts[asked.counted_as]

    async def _perform(self, step: Step, make: Callable[[Answer], web.Response]) -> web.Response:
        """Does what the step says; `make` makes the answers that hold a link or a token, right or wrong."""
        while isinstance(step, Slow):
            await asyncio.sleep(step.seconds)
            step = step.then
        match step:
            case Status(code, headers):
                return problem(code, headers=headers)
            case FixedAnswer(status, content_type, text):
                return answer(status, text, content_type)
            case Fault.DROP:
                return CutOff()
            case Fault.HANG:
                return await self._hang()
            case Fault.TRUNCATE:
                return truncated(make(step))
            case Fault.HTML:
                return answer(200, LOGIN_PAGE, HTML)
            case Fault.EMPTY:
                return answer(self.options.success_status, "")
            case Fault():
                return await self._perform_oddly(step, make)
            case _:
                return make(step)

    async def _perform_oddly(self, fault: Fault, make: Callable[[Answer], web.Response]) -> web.Response:
        """An answer that is more or less than HTTP wants it to be."""
        options = self.options
        match fault:
            case Fault.REPEAT:
                return http_answers.repeated(make(HONEST), options.repeat_after_ms / 1000)
            case Fault.LATE:
                await asyncio.sleep(options.late_s)
                return make(HONEST)
            case Fault.NO_LINK:
                return answer(options.success_status, "x" * options.no_link_length, options.no_link_type)
            case Fault.ENCODED:
                return http_answers.encoded(make(HONEST), options.content_encoding)
            case Fault.BOMB:
                return http_answers.bomb(options.success_status, options.bomb_mb)
            case Fault.ENDLESS:
                return http_answers.endless(options.success_status)
            case Fault.GARBAGE:
                return http_answers.garbage()
            case Fault.SHORT_LENGTH:
                return http_answers.of_wrong_length(make(Fault.TRUNCATE), -20)
            case Fault.LONG_LENGTH:
                return http_answers.of_wrong_length(make(Fault.TRUNCATE), 20)
            case Fault.CHUNK_GARBAGE:
                return http_answers.in_chunks_with_garbage(make(HONEST))
            case Fault.EARLY_HINTS:
                return http_answers.after_early_hints(make(HONEST))
            case Fault.NO_CONTENT:
                return http_answers.no_content(make(Fault.TRUNCATE))
            case Fault.HTTP10:
                return http_answers.of_http10(make(HONEST))
            case _:
                return make(fault)

    async def _hang(self) -> CutOff:
        """Until the server stops, or aiohttp cancels this because the caller has gone."""
        await self.stopping.wait()
        return CutOff()

    def _link_answer(self, project: str, external_id: str, attempt: int, step: Answer) -> web.Response:
        issue = 1
        if self.options.fresh_links:  # no two calls alike, also where nobody counts the attempts
            issue = attempt if self._counts_attempts else self.link_calls
        link = self._link(project, external_id, issue, step)
        status = self.options.success_status
        if isinstance(step, Honest):
            status = step.status or status
            if self._record:
                self.links[external_id] = link
        self._note_latest(project, external_id)
        text = json.dumps(link, ensure_ascii=False) if self.options.body_format == "json" else link
        return answer(status, text, self._link_type)

    def _link(self, project: str, external_id: str, issue: int, step: Answer) -> str:
        match step:
            case Honest() | Fault.TRUNCATE:
                return self._maker.right(project, external_id, issue)
            case LinkOf(other_id):
                return self._maker.right(project, other_id)
            case Fault.OTHER_PATIENT:
                return self._maker.right(project, self._other_id(project, external_id))
            case Fault.FOREIGN_HOST:
                return self._maker.foreign_host(project, external_id)
            case Fault.HTTP_LINK:
                return self._maker.http(project, external_id)
            case Fault.NO_XID:
                return self._maker.without_xid(project)
            case Fault.SAME_LINK:
                return self._maker.same_for_all(project)
            case Fault.UNNAMED:
                return self._maker.unnamed(project, external_id)
            case Fault.SHORT_XID:
                return self._maker.short_xid(project, external_id)
            case Fault.STRANGER:
                return self._maker.stranger(project, external_id)
            case Fault.LISTED:
                return self._maker.listed(project, external_id)
            case _:
                raise ValueError(f"{step} is not a link")

    def _note_latest(self, project: str, external_id: str) -> None:
        latest, _ = self._latest_ids.get(project, (external_id, external_id))
        if external_id != latest or project not in self._latest_ids:
            self._latest_ids[project] = external_id, latest

    def _other_id(self, project: str, external_id: str) -> str:
        """The latest ID asked for that is not this one; this one while there is no other."""
        latest, before = self._latest_ids.get(project, (external_id, external_id))
        return latest if latest != external_id else before

    def _token_of(self, request: web.BaseRequest) -> IssuedToken | None:
        scheme_and_token = request.headers.get(hdrs.AUTHORIZATION, "")
        if not scheme_and_token.startswith(_BEARER):
            return None
        return self.tokens.find(scheme_and_token[len(_BEARER) :])


def _check_content_type(request: web.BaseRequest) -> None:
    if request.headers.get(hdrs.CONTENT_TYPE) != JSON:
        raise _CallRejected(415, f"Content-Type must be {JSON}.")


def _properties(body: bytes) -> dict[str, object] | None:
    """The properties of a JSON object in UTF-8, none of them twice; None for anything else."""
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):  # an object became a tuple of its properties, an array is a list
        return None
    properties: dict[str, object] = dict(pairs)
    return properties if len(properties) == len(pairs) else None


def _external_id(body: bytes) -> str | None:
    """The external ID of a link call; None where the body is not exactly that of one."""
    properties = _properties(body)
    if properties is None or properties.keys() != {"externalId"}:
        return None
    external_id = properties["externalId"]
    if not isinstance(external_id, str) or not external_id.strip():
        return None
    try:
        external_id.encode()
    except UnicodeEncodeError:  # JSON can hold half a surrogate pair, a link cannot
        return None
    return external_id
