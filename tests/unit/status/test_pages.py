"""What pages say, and what they do with what others say."""

from __future__ import annotations

import html
import itertools
import re
import threading
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from storage import keys
from storage.port import ObjectDamaged
from tests.unit.status.facts import ARCHIVE, EVIL, TRACE, Farm, record, report, standing, view
from tinymlaas import words
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.queue_messages import QueueTold
from tinymlaas.contract.report import CompileResult, ResultStatus
from tinymlaas.status.asking import Asking
from tinymlaas.status.http import SECURE

PAGES = ["/", "/tenants/acme", "/jobs/acme/job-0", "/jobs/acme/done-1", "/jobs/acme/none"]


def ready() -> Farm:
    farm = Farm()
    log = f"line one\n{EVIL}\nlast".encode()
    farm.store.put(keys.tenant_log("acme", sha256(log)), log)
    farm.keep(record(log=sha256(log)))
    return farm


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


class Outline(HTMLParser):
    """Landmarks, headings, labels and ids, as far as assistive technology is told of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.labelled = 0  # inputs within a label
        self._within = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        self._within |= tag == "label"
        self.labelled += tag == "input" and self._within

    def handle_endtag(self, tag: str) -> None:
        self._within &= tag != "label"

    def of(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_farm_at_a_glance() -> None:
    page = ready().page("/")
    told = " ".join(text_of(page).split())
    for words_ in (
        "2 at work",
        "1 /2 workers busy",
        "1 of 4",
        "2 min",
        "said at",
        "sched-0",
        "sched-1",
    ):
        assert words_ in told, words_
    assert 'href="/jobs/acme/job-1"' in page
    assert 'href="/tenants/acme"' in page


def test_lists_are_capped_and_say_how_much_is_left_out() -> None:
    farm = Farm()
    farm.view = view(jobs=100, ended=100, queued=49_000)
    page = farm.page("/")
    assert "and 49,000 more" in page
    assert page.count('data-key="acme/job-') == 100
    assert len(page) < 250_000


def test_an_unfinished_job() -> None:
    farm = ready()
    told = " ".join(text_of(farm.page("/jobs/acme/job-0")).split())
    for said in (
        "1 of 3 candidates have come to their ends",
        "Waits for pool tvm, whose worker is busy. Jobs before it: 3.",
        "About 4 min left",
        "tvm flash ◐ running",
        "step 1",
        "step 2",
    ):
        assert said in told, said
    farm.standings["job-0"] = standing().model_copy(update={"stage": "linking", "percent": 30})
    farm.asking._known.clear()
    told = " ".join(text_of(farm.page("/jobs/acme/job-0")).split())
    assert "Now: linking" in told
    assert "30 %" in told
    assert "Waits for" not in told


def test_a_finished_job_says_what_the_command_line_says() -> None:
    farm = ready()
    page = farm.page("/jobs/acme/done-1")
    told = text_of(page)
    for number in ("12,345", "678", "2.50 M", "bit-exact", "linked", "524,288", TRACE, "last"):
        assert number in told, number
    result = CompileResult(
        status=ResultStatus.DONE, chosen=0, candidates=(report("tvm", won="fewest instructions"),)
    )
    for line in words.explanations(result)[:2]:
        assert line in told
    assert "/jobs/acme/done-1/module.zip" in page
    assert "live.js" not in page, "it will not change any more"


@pytest.mark.parametrize("state", [state for state in JobState if state.final])
def test_every_end_has_its_page(state: JobState) -> None:
    farm = Farm()
    farm.keep(record(state=state, result=None, reasons=("because " + EVIL,)))
    told = text_of(farm.page("/jobs/acme/done-1"))
    assert state in told
    assert "because <script>" in told
    assert "Download" not in told


@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_are_shown_never_obeyed(path: str) -> None:
    answer = ready().get(path)
    assert isinstance(answer.body, bytes)
    page = answer.body.decode()
    assert "<script>alert" not in page
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page
    )
    if path != "/jobs/acme/none":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202egpj" in page


@pytest.mark.parametrize("path", [*PAGES, "/static/live.js", "/login", "/jobs?tenant=x&job=y"])
def test_every_answer_has_the_headers(path: str) -> None:
    headers = ready().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    for name in SECURE:
        assert name in headers
    if not path.startswith("/static"):
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/login"])
def test_no_page_needs_what_the_policy_forbids(path: str) -> None:
    body = ready().get(path, **({"accept": "text/html"} if path == "/login" else {})).body
    assert isinstance(body, bytes)
    outline = Outline(body.decode())
    assert not outline.of("style", "iframe", "object")
    for tag, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#")) or attributes[name] == ""
    assert all("src" in script for script in outline.of("script"))


@pytest.mark.parametrize("path", [*PAGES, "/login"])
def test_pages_can_be_read_by_ear(path: str) -> None:
    body = ready().get(path, **({"accept": "text/html"} if path == "/login" else {})).body
    assert isinstance(body, bytes)
    outline = Outline(body.decode())
    assert outline.of("html") == [{"lang": "en"}]
    assert [len(outline.of(tag)) for tag in ("main", "h1", "header", "title")] == [1, 1, 1, 1]
    assert outline.of("a")[0] == {"class": "skip", "href": "#main"}
    headings = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings)), headings
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in outline.of("section", "table"):
        assert attributes["aria-labelledby"] in ids
    for attributes in outline.of("th"):
        assert attributes["scope"] in {"col", "row"}
    seen = [each for each in outline.of("input") if "hidden" not in {*each, each.get("type")}]
    named = [each for each in outline.of("label") if each.get("for") in ids]
    assert len(seen) == len(named) + outline.labelled
    for attributes in outline.of("progress"):
        assert attributes["aria-label"]


def test_nothing_new_costs_nothing() -> None:
    farm = ready()
    first = farm.get("/")
    tag = first.headers["ETag"]
    again = farm.get("/", authorization="Bearer correct-horse-battery-staple", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["X-Seen"]
    farm.view = view(jobs=3)
    farm.asking._known.clear()
    assert farm.get("/").headers["ETag"] != tag


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it happens at one moment."""
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr("tinymlaas.status.asking.time", clock)
    monkeypatch.setattr("tinymlaas.status.site.monotonic", lambda: 1000.0)


@pytest.mark.usefixtures("still")
def test_a_thousand_who_look_ask_once() -> None:
    farm = ready()
    for _ in range(1000):
        assert farm.get("/").status == 200
    assert len(farm.questions) == 1


@pytest.mark.usefixtures("still")
def test_the_more_look_the_slower_each_asks_again() -> None:
    farm = Farm()
    first = int(farm.get("/").headers["X-Poll"])
    for _ in range(400):
        farm.get("/")
    assert first == 2
    assert 10 < int(farm.get("/").headers["X-Poll"]) <= 30


@pytest.mark.usefixtures("still")
def test_too_many_different_questions_are_put_off() -> None:
    farm = Farm()
    found = [farm.get(f"/jobs/acme/x{number}").status for number in range(40)]
    assert found == [404] * 20 + [503] * 20
    assert len(farm.questions) == 20


def test_who_is_not_answered_sees_what_was_known_and_how_old_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tinymlaas.status.asking._PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr("tinymlaas.status.asking._FRESH_SECONDS", -0.5)
    farm = ready()
    farm.page("/")
    farm.silent = True
    for question in farm.asking._known.values():
        question.told_at -= 60
        question.asked_at -= 60
    page = farm.page("/")
    assert re.search(r"No scheduler has answered for \d{2,} s", page)
    assert "job-1" in page
    assert farm.get("/jobs/acme/done-1").status == 200, "what has ended is in the store"
    away = farm.get("/jobs/acme/job-0")
    assert away.status == 503
    assert isinstance(away.body, bytes)
    assert b"live.js" in away.body, "it looks again by itself"


def test_a_job_that_nobody_knows_yet_is_looked_for_again() -> None:
    farm = Farm()
    unknown, nothing = farm.get("/jobs/acme/soon").body, farm.get("/nothing").body
    assert isinstance(unknown, bytes)
    assert isinstance(nothing, bytes)
    assert b"No such job" in unknown
    assert b"live.js" in unknown, "its request may be on its way to a scheduler"
    assert b"live.js" not in nothing


def test_who_was_silent_once_is_waited_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinymlaas.status.asking._PATIENCE_SECONDS", 60)

    def send(key: str, body: bytes) -> bool:
        told = QueueTold(id="page-", source="s", data=view()).encoded()
        threading.Timer(0.1, asking.hear, (told, True)).start()
        return True

    asking = Asking(send, "reply.page")
    asking.overview()
    (question,) = asking._known.values()
    question.told_at -= 120
    question.asked_at -= 60  # so that one was not answered
    assert asking.overview().age < 60


def test_downloads_come_in_pieces_under_a_plain_name() -> None:
    farm = ready()
    archive = keys.module_archive(sha256(ARCHIVE))
    farm.store.put(keys.given("acme", archive), ARCHIVE)
    envelope = keys.module_envelope(sha256(ARCHIVE), "f" * 64)
    for place in (envelope, keys.given("acme", envelope)):
        farm.store.put_if_absent(place, b"{}")
    found = farm.get("/jobs/acme/done-1/module.zip")
    assert not isinstance(found.body, bytes)
    pieces = list(found.body)
    assert b"".join(pieces) == ARCHIVE
    assert len(pieces) > 2
    assert found.length == len(ARCHIVE)
    assert found.headers["Content-Disposition"] == 'attachment; filename="kws-host.zip"'
    assert found.kind == "application/octet-stream"
    signed = farm.get("/jobs/acme/done-1/provenance")
    assert signed.headers["Content-Disposition"].endswith('"kws-host.zip.intoto.jsonl"')
    for path in ("/jobs/acme/job-0/module.zip", "/jobs/acme/done-1/else"):
        assert farm.get(path).status == 404


def test_a_board_of_any_name_makes_a_plain_file_name() -> None:
    farm = Farm()
    farm.keep(record(board='x"\r\nSet-Cookie: y=z'))
    farm.store.put(keys.given("acme", keys.module_archive(sha256(ARCHIVE))), ARCHIVE)
    named = farm.get("/jobs/acme/done-1/module.zip").headers["Content-Disposition"]
    assert named == 'attachment; filename="kws.zip"'


def test_only_some_download_at_a_time_and_who_ends_makes_room() -> None:
    farm = ready()
    farm.store.put(keys.given("acme", keys.module_archive(sha256(ARCHIVE))), ARCHIVE)
    begun = [farm.get("/jobs/acme/done-1/module.zip") for _ in range(4)]
    assert [answer.status for answer in begun] == [200] * 4
    assert farm.get("/jobs/acme/done-1/module.zip").status == 503
    for answer in begun:
        assert not isinstance(answer.body, bytes)
        answer.body.close()  # type: ignore[attr-defined]
        answer.body.close()  # type: ignore[attr-defined]
    again = [farm.get("/jobs/acme/done-1/module.zip").status for _ in range(5)]
    assert again == [200] * 4 + [503]


def test_what_is_damaged_never_arrives_whole() -> None:
    farm = ready()
    key = keys.given("acme", keys.module_archive(sha256(ARCHIVE)))
    farm.store._objects[key] = ARCHIVE[:-1] + b"!"
    farm.store.get = farm.store._objects.__getitem__  # type: ignore[method-assign, assignment]
    found = farm.get("/jobs/acme/done-1/module.zip")
    assert not isinstance(found.body, bytes)
    sent: list[bytes] = []
    with pytest.raises(ObjectDamaged):
        sent.extend(found.body)
    assert len(b"".join(sent)) < len(ARCHIVE)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_page_only_shows(method: str) -> None:
    answer = ready().get("/jobs/acme/job-0", method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/static/../access.py",
        "/static/",
        "/jobs/acme",
        "/jobs/A/x",
        "/tenants/",
        "/x",
    ],
)
def test_there_is_nothing_else(path: str) -> None:
    assert ready().get(path).status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [("tenant=acme&job=a1", 303), ("tenant=A&job=a", 400), ("tenant=a&job=../b", 400)],
)
def test_a_job_is_found_by_its_id(query: str, status: int) -> None:
    answer = ready().get(f"/jobs?{query}")
    assert answer.status == status
    if status == 303:
        assert answer.headers["Location"] == "/jobs/acme/a1"
