"""Paths to pages. Only looks: nothing here changes anything of the farm."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

from storage.port import StoreUnavailable
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.messages import JobChanged, JobEnded
from tinymlaas.contract.queue_messages import QueueTold
from tinymlaas.status import access, views
from tinymlaas.status.asking import Asking, Seen
from tinymlaas.status.http import HTML, Answer, Busy, Request, elsewhere, said
from tinymlaas.status.records import Download, Records
from tinymlaas.status.templating import FOLDER, Templates, iso

STATIC = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
MOST_FORM_BYTES = 4096
_MOST_FIELDS = 8
_TENANT = "[a-z0-9][a-z0-9-]{0,31}"
_JOB = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_PAGE = re.compile(rf"/|/tenants/{_TENANT}|/jobs/{_TENANT}/{_JOB}")
_KEPT = 32  # pages as they were last rendered
_CALM = 3  # looks a second by pages that keep themselves up to date; above it they slow down
_FASTEST_SECONDS, _SLOWEST_SECONDS = 2, 30
_WINDOW_SECONDS = 10.0
_MOST_LOOKS = 4096

Facts = dict[str, Any]


class Site:
    """The status page; `answer` may be called by many threads."""

    def __init__(self, guard: access.Guard, name: str, reads: Callable[[], Records | None]) -> None:
        """Show to whom `guard` lets in; `name` is this process's. Without `reads` (yet), and until
        `asks` is called, there is nothing to be shown.
        """
        self._guard = guard
        self._name = name
        self._records = reads
        self._asking: Asking | None = None
        self._templates = Templates()
        self._static = {name: (FOLDER / "static" / name).read_bytes() for name in STATIC}
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._looks: deque[float] = deque(maxlen=_MOST_LOOKS)

    def asks(self, asking: Asking) -> None:
        """Have questions asked from now on."""
        self._asking = asking

    def answer(self, request: Request) -> Answer:
        """Return the answer to `request`, with the headers of every page."""
        try:
            return self._answer(request).secured()
        except Busy:
            busy = said(HTTPStatus.SERVICE_UNAVAILABLE, "too many look now", Retry_After="2")
            return busy.secured()
        except StoreUnavailable as error:
            return said(HTTPStatus.SERVICE_UNAVAILABLE, str(error), Retry_After="10").secured()
        except StoreError as error:
            return said(HTTPStatus.BAD_GATEWAY, str(error)).secured()

    def _answer(self, request: Request) -> Answer:
        path = request.path
        if request.method == "POST" and path in {"/login", "/logout"}:
            return self._form(request)
        if request.method not in {"GET", "HEAD"}:
            return said(HTTPStatus.METHOD_NOT_ALLOWED, "the page only shows", Allow="GET, HEAD")
        if path.startswith("/static/"):
            return self._file(request, path.removeprefix("/static/"))
        visitor = self._guard.visitor(request)
        if path == "/login":
            wanted = _next(request.query)
            return elsewhere(wanted) if visitor else self._login(wanted)
        if visitor is None:
            return self._stranger(request)
        return self._page(request, visitor)

    # Who may look

    def _stranger(self, request: Request) -> Answer:
        if not self._guard.has_token:
            line = "sign in at the proxy: this page is opened by the header that it sets"
            return said(HTTPStatus.FORBIDDEN, line)
        if "text/html" in request.headers.get("accept", ""):
            return elsewhere(
                f"/login?next={request.path}" if _PAGE.fullmatch(request.path) else "/login"
            )
        line = "the status page's token is needed: Authorization: Bearer …"
        return said(HTTPStatus.UNAUTHORIZED, line, WWW_Authenticate='Bearer realm="tinymlaas"')

    def _form(self, request: Request) -> Answer:
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            return said(HTTPStatus.FORBIDDEN, "this form is of another site's page")
        return self._sign_in(request) if request.path == "/login" else self._sign_out()

    def _login(self, wanted: str, *, wrong: bool = False) -> Answer:
        if not self._guard.has_token:
            return elsewhere("/")
        status = HTTPStatus.FORBIDDEN if wrong else HTTPStatus.OK
        return Answer(status, HTML, self._render("login.html", None, next=wanted, wrong=wrong))

    def _sign_in(self, request: Request) -> Answer:
        form = _fields(request.body.decode(errors="replace"))
        wanted = _local(form.get("next", [""])[0])
        if not self._guard.opens(form.get("token", [""])[0].strip()):
            return self._login(wanted, wrong=True)
        return elsewhere(wanted, Set_Cookie=self._guard.cookie(request))

    def _sign_out(self) -> Answer:
        return elsewhere("/login", Set_Cookie=self._guard.no_cookie())

    # Pages

    def _page(self, request: Request, visitor: access.Visitor) -> Answer:
        path = request.path
        if path == "/":
            return self._farm(request, visitor, None)
        if found := re.fullmatch(rf"/tenants/({_TENANT})", path):
            return self._farm(request, visitor, found[1])
        if path == "/jobs":
            return self._find(request, visitor)
        if found := re.fullmatch(rf"/jobs/({_TENANT})/({_JOB})(/[a-z.]+)?", path):
            if found[3] is None:
                return self._job(request, visitor, found[1], found[2])
            return self._download(found[1], found[2], found[3])
        return self._missing(visitor, "There is no such page")

    def _farm(self, request: Request, visitor: access.Visitor, tenant: str | None) -> Answer:
        if self._asking is None:
            return self._waiting(visitor)
        seen = self._asking.overview(tenant)
        facts: Facts = {"tenant": tenant, "view": None, "notice": _notice(seen)}
        by = ""
        if isinstance(seen.told, QueueTold):
            facts |= views.farm(seen.told.data)
            by = seen.told.data.scheduler
        return self._live("farm.html", request, visitor, seen, seen_by=by, **facts)

    def _job(self, request: Request, visitor: access.Visitor, tenant: str, job_id: str) -> Answer:
        records = self._records()
        if self._asking is None or records is None:
            return self._waiting(visitor)
        facts: Facts = {"tenant": tenant, "job_id": job_id, "notice": None}
        if (record := records.known(tenant, job_id)) is not None:
            return self._ended(request, visitor, record, records, facts)
        seen = self._asking.job(tenant, job_id)
        told = seen.told if isinstance(seen.told, JobChanged) else None
        unfinished = told is not None and told.data.state is not None
        if not unfinished or seen.stale:
            record = records.end(tenant, job_id)
            if record is not None:
                return self._ended(request, visitor, record, records, facts)
        if told is None or not unfinished:
            if seen.stale:
                return self._problem(
                    visitor, HTTPStatus.SERVICE_UNAVAILABLE, "No scheduler answers", _silent(seen)
                )
            reason = (
                f"Tenant {tenant} has no job {job_id}: it waits in RabbitMQ for a scheduler, its "
                "record is older than the store keeps it, or there never was one."
            )
            return self._problem(visitor, HTTPStatus.NOT_FOUND, "No such job", reason, again=True)
        facts |= views.unfinished(told) | {"notice": _notice(seen)}
        return self._live("job.html", request, visitor, seen, **facts)

    def _ended(
        self,
        request: Request,
        visitor: access.Visitor,
        record: JobEnded,
        records: Records,
        facts: Facts,
    ) -> Answer:
        """Return the page of a job that will not change any more: nothing asks for it again."""

        def render(tag: str) -> bytes:
            shown = views.ended(record, records.tail(record.data))
            return self._render("job.html", visitor, path=request.path, **facts, **shown)

        tag = _tag(f"{visitor} {record.id} {record.time}".encode())
        return self._tagged(request, {"ETag": tag, "X-Poll": "0"}, (request.path, tag, ""), render)

    def _live(
        self, template: str, request: Request, visitor: access.Visitor, seen: Seen, **facts: Any
    ) -> Answer:
        """Return a page that is asked for again and again, or that it has not changed."""
        poll, tag = self._poll(), _tag(f"{visitor} {seen.mark} {facts['notice']}".encode())

        def render(tag: str) -> bytes:
            frame = {"path": request.path, "seen": seen, "poll": poll, "tag": tag}
            return self._render(template, visitor, **frame, **facts)

        headers = {"ETag": tag, "X-Poll": str(poll), "X-Seen": iso(seen.at)}
        return self._tagged(request, headers, (request.path, tag, iso(seen.at)), render)

    def _tagged(
        self,
        request: Request,
        headers: dict[str, str],
        key: tuple[str, str, str],
        render: Callable[[str], bytes],
    ) -> Answer:
        """Return a page as it was rendered before under `key`, or rendered now."""
        tag = headers["ETag"]
        if request.headers.get("if-none-match") == tag:
            return Answer(HTTPStatus.NOT_MODIFIED, HTML, b"", headers)
        with self._lock:
            body = self._kept.get(key)
        if body is None:
            body = render(tag)
            with self._lock:
                self._kept[key] = body
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return Answer(HTTPStatus.OK, HTML, body, headers)

    def _poll(self) -> int:
        """Return after how many seconds a page is to ask again. The more there are the less often
        each does: a hundred every 8 s, a thousand every 26 s.
        """
        now = monotonic()
        with self._lock:
            self._looks.append(now)
            while self._looks[0] < now - _WINDOW_SECONDS:
                self._looks.popleft()
            rate = len(self._looks) / _WINDOW_SECONDS
        wanted = round(_FASTEST_SECONDS * rate / _CALM)
        return max(_FASTEST_SECONDS, min(_SLOWEST_SECONDS, wanted))

    def _find(self, request: Request, visitor: access.Visitor) -> Answer:
        asked = _fields(request.query)
        tenant, job = (asked.get(name, [""])[0].strip() for name in ("tenant", "job"))
        wrong = ""
        if not re.fullmatch(_TENANT, tenant):
            wrong = "A tenant's name has up to 32 of a-z, 0-9 and -, the first no -."
        elif not re.fullmatch(_JOB, job):
            wrong = "A job's id has up to 64 of A-Z, a-z, 0-9, _ and -, the first no _ or -."
        if wrong:
            return self._problem(visitor, HTTPStatus.BAD_REQUEST, "There is no such name", wrong)
        return elsewhere(f"/jobs/{tenant}/{job}")

    def _download(self, tenant: str, job_id: str, what: str) -> Answer:
        records = self._records()
        if records is None:
            return said(HTTPStatus.SERVICE_UNAVAILABLE, "the store is not reached", Retry_After="5")
        record = records.end(tenant, job_id) if what in {"/module.zip", "/provenance"} else None
        found: Download | None = None
        if record is not None:
            whole = what == "/module.zip"
            found = records.module(record.data) if whole else records.provenance(record.data)
        if found is None:
            return said(HTTPStatus.NOT_FOUND, "there is no such file, or no longer")
        headers = {"Content-Disposition": f'attachment; filename="{found.filename}"'}
        return Answer(
            HTTPStatus.OK, "application/octet-stream", found.pieces, headers, found.length
        )

    def _file(self, request: Request, name: str) -> Answer:
        data = self._static.get(name)
        if data is None:
            return said(HTTPStatus.NOT_FOUND, "there is no such file")
        headers = {"ETag": _tag(data), "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Answer(HTTPStatus.NOT_MODIFIED, STATIC[name], b"", headers)
        return Answer(HTTPStatus.OK, f"{STATIC[name]}; charset=utf-8", data, headers)

    # What is no page

    def _missing(self, visitor: access.Visitor, title: str) -> Answer:
        return self._problem(
            visitor, HTTPStatus.NOT_FOUND, title, "Follow a link from the farm's page."
        )

    def _waiting(self, visitor: access.Visitor) -> Answer:
        reason = f"{self._name} waits for RabbitMQ and the store; reload the page in a moment."
        return self._problem(visitor, HTTPStatus.SERVICE_UNAVAILABLE, "Not ready yet", reason)

    def _problem(
        self,
        visitor: access.Visitor,
        status: HTTPStatus,
        title: str,
        reason: str,
        *,
        again: bool = False,
    ) -> Answer:
        """Return a page that says what is wrong; what may pass, or `again`, looks by itself."""
        passes = status is HTTPStatus.SERVICE_UNAVAILABLE
        poll = _FASTEST_SECONDS if passes or again else 0
        body = self._render("problem.html", visitor, title=title, reason=reason, poll=poll)
        retry = {"Retry-After": "5"} if passes else {}
        return Answer(status, HTML, body, retry)

    def _render(self, template: str, visitor: access.Visitor | None, **facts: Any) -> bytes:
        frame = {"path": "", "seen": None, "seen_by": "", "poll": 0, "tag": ""}
        known = frame | {"served_by": self._name, "visitor": visitor} | facts
        return self._templates.page(template, **known)


def _notice(seen: Seen) -> str | None:
    return _silent(seen) if seen.stale else None


def _silent(seen: Seen) -> str:
    if seen.told is None:
        return (
            "No scheduler answers: none is active, or RabbitMQ is away. Unfinished jobs are safe "
            "in RabbitMQ, finished ones in the store."
        )
    return f"No scheduler has answered for {seen.age:.0f} s; what is shown is as old as that."


def _next(query: str) -> str:
    return _local(_fields(query).get("next", [""])[0])


def _fields(text: str) -> dict[str, list[str]]:
    """Return the fields of a form; none of one with more than any of ours has."""
    try:
        return parse_qs(text, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}


def _local(path: str) -> str:
    """Return `path` if it is a page of ours, else the first page: nobody is sent elsewhere."""
    return path if _PAGE.fullmatch(path) else "/"


def _tag(data: bytes) -> str:
    return f'W/"{hashlib.sha256(data).hexdigest()[:32]}"'
