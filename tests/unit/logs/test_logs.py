"""Every line of a log is one event, whoever writes it; no secret and no forged field is in any."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scaffold.project import ROOT
from tinymlaas import log_context, logs
from tinymlaas.farm.member import _from_json
from tinymlaas.log_lines import HIDDEN, Cleaner, LineFormatter, as_json, as_text

SECRETS = {
    "TINYMLAAS_AMQP_URL": "amqp://farm:br0ker-pass@mq:5672/%2F",
    "AWS_SECRET_ACCESS_KEY": "s3cret/with+signs==",
    "AWS_ACCESS_KEY_ID": "worker",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=acme-collector,api-key=0123456789abcdef",
    "TINYMLAAS_STATUS_TOKEN": "let-me-in-please",
}
WHO = {"service": "tinymlaas-worker", "process": "worker tvm", "pool": "tvm"}
HOSTILE = (
    'x" , "level": "critical"}\n{"event": "forged", "job_id": "other"}\x1b[2K\r\u2028\u202e\x85 \n'
)


class Log:
    """What is written between two looks."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    def text(self) -> str:
        found = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return found

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Log]:
    """Write the log as `request.param` says, and put everything back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    stream = io.StringIO()
    logs.configure(logs.Style(logging.INFO, request.param), WHO, SECRETS, stream)
    yield Log(stream)
    root.handlers[:], root.level = before[:2]
    sys.excepthook, threading.excepthook = before[2:]
    logging.captureWarnings(capture=False)


json_log = pytest.mark.parametrize("written", ["json"], indirect=True)
both = pytest.mark.parametrize("written", ["json", "console"], indirect=True)


@json_log
def test_ours_and_a_librarys_come_out_alike(written: Log) -> None:
    with log_context.bound({"job_id": "j1", "trace_id": "a" * 32}):
        logs.get_logger("ours").info("task sent", pool_tasks=3, reasons=("a", "b"))
        logging.getLogger("theirs").warning("lost %d of %d", 1, 2, extra={"task_id": "t1"})
    ours, theirs = written.events()
    for event, logger in ((ours, "ours"), (theirs, "theirs")):
        assert {name: event[name] for name in WHO} == WHO
        assert (event["job_id"], event["trace_id"]) == ("j1", "a" * 32)
        assert event["logger"] == logger
        assert event["timestamp"].endswith("Z")
    assert (ours["level"], ours["event"], ours["reasons"]) == ("info", "task sent", ["a", "b"])
    assert (theirs["level"], theirs["event"], theirs["task_id"]) == ("warning", "lost 1 of 2", "t1")


@json_log
def test_what_is_bound_is_unbound_and_threads_have_their_own(written: Log) -> None:
    with log_context.bound({"job_id": "outer"}):
        with log_context.bound({"task_id": "t"}):
            other = threading.Thread(target=logs.get_logger("x").info, args=["elsewhere"])
            other.start()
            other.join()
            logs.get_logger("x").info("inside")
        logs.get_logger("x").info("between")
    logs.get_logger("x").info("outside")
    found = [(e["event"], e.get("job_id"), e.get("task_id")) for e in written.events()]
    assert found == [
        ("elsewhere", None, None),
        ("inside", "outer", "t"),
        ("between", "outer", None),
        ("outside", None, None),
    ]


@both
def test_no_secret_is_written(written: Log) -> None:
    log = logs.get_logger("x")
    log.warning(
        "cannot reach amqp://farm:br0ker-pass@mq:5672/%2F", url=SECRETS["TINYMLAAS_AMQP_URL"]
    )
    log.warning("x", nested={"deep": ["let-me-in-please"], "password": "abc"}, api_key="k")
    log.warning(
        "sent Authorization: Bearer abcdefghij.klm", where="https://u:p@h/?X-Amz-Signature=ab12"
    )
    logging.getLogger("lib").error("key s3cret/with+signs== and %s", "s3cret%2Fwith%2Bsigns%3D%3D")
    logging.getLogger("lib").error("headers 0123456789abcdef")
    try:
        raise ValueError("amqp://other:pa55word@mq/ and let-me-in-please")
    except ValueError:
        log.exception("broke")
    text = written.text()
    for secret in (
        "br0ker-pass", "s3cret", "let-me-in", "0123456789abcdef", "abcdefghij", "pa55word", "ab12",
        "u:p@", '"abc"', "=abc",
    ):  # fmt: skip
        assert secret not in text
    assert text.count(HIDDEN) >= 9
    assert "farm" in text, "who it was is no secret"


@json_log
def test_what_a_job_brings_can_neither_end_a_line_nor_make_a_field(written: Log) -> None:
    logs.get_logger("x").info("task ended", reasons=(HOSTILE,), candidate=HOSTILE)
    logging.getLogger("lib").warning("said %s", HOSTILE)
    logging.getLogger("lib").warning(
        "x", extra={"level": "critical", "service": "forged", "timestamp": "never", "logger": "y"}
    )
    text = written.text()
    assert text.isascii()
    assert len(text.splitlines()) == 3
    first, second, third = map(json.loads, text.splitlines())
    assert (first["level"], first["event"]) == ("info", "task ended")
    assert first["candidate"] == HOSTILE, "it is kept whole, as data"
    assert "job_id" not in first
    assert "job_id" not in second
    assert (third["level"], third["service"]) == ("warning", "tinymlaas-worker")
    assert third["timestamp"].startswith("20")
    assert third["logger"] == "lib"


@pytest.mark.parametrize("written", ["console"], indirect=True)
def test_a_line_for_people_is_one_line_too(written: Log) -> None:
    logs.get_logger("x").info("task ended", reasons=(HOSTILE,), candidate=HOSTILE, seconds=1.5)
    (line,) = written.text().splitlines()
    assert line[8:].startswith("Z worker tvm INFO task ended reasons=")
    assert line.isprintable()
    assert line.endswith(" seconds=1.5")
    assert ' "job_id"' not in line.replace('\\"', "")


@given(st.text(), st.text())
def test_no_text_forges_a_line(text: str, name: str) -> None:
    event = Cleaner().event({"event": text, "field": text, name: text, "exception": text})
    encoded = as_json(event)
    assert encoded.isascii()
    assert "\n" not in encoded
    assert json.loads(encoded).keys() == event.keys()
    first, *traceback = as_text(event).split("\n")
    assert first.isprintable()
    assert all(line.startswith("  | ") and line.isprintable() for line in traceback)


@json_log
def test_an_exception_is_data_of_the_same_line_without_values(written: Log) -> None:
    hidden = "value of a variable"
    try:
        raise ValueError("why")
    except ValueError:
        logs.get_logger("x").exception("broke", job_id="j")
        logging.getLogger("lib").exception("broke as well")
    assert hidden
    for event in written.events():
        (trace,) = event["exception"]
        assert (trace["exc_type"], trace["exc_value"]) == ("ValueError", "why")
        assert trace["frames"][-1]["name"].startswith("test_an_exception")
        assert "value of a variable" not in json.dumps(event)


@pytest.mark.parametrize("written", ["console"], indirect=True)
def test_the_end_of_a_long_traceback_says_what_went_wrong(written: Log) -> None:
    def there(left: int) -> None:
        back(left)

    def back(left: int) -> None:
        if not left:
            raise ValueError("the reason at last, not s3cret/with+signs==")
        there(left - 1)

    try:
        there(40)
    except ValueError:
        logs.get_logger("x").exception("broke")
    first, *trace = written.text().splitlines()
    assert "broke" in first
    assert trace[-1] == f"  | ValueError: the reason at last, not {HIDDEN}"
    assert len("".join(trace)) > 5000


@json_log
def test_what_ends_a_thread_or_the_process_is_an_event(written: Log) -> None:
    broken = threading.Thread(target=lambda: 1 // 0, name="store")
    broken.start()
    broken.join()
    (event,) = written.events()
    assert (event["level"], event["thread"]) == ("critical", "store")
    assert event["exception"][0]["exc_type"] == "ZeroDivisionError"


@both
def test_lines_of_all_threads_are_whole(written: Log) -> None:
    def write() -> None:
        for number in range(50):
            logs.get_logger("x").info("turn", number=number, much="y" * 500)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    lines = written.text().splitlines()
    assert len(lines) == 200
    assert all("y" * 500 in line for line in lines)


def test_a_short_secret_is_no_part_of_a_word() -> None:
    cleaner = Cleaner(["tinymlaas", "0123456789abcdef"])
    assert cleaner.text("tinymlaas-worker, tinymlaas.farm") == f"tinymlaas-worker, {HIDDEN}.farm"
    assert cleaner.text("x0123456789abcdefx") == f"x{HIDDEN}x"


def test_no_secret_is_left_half_at_the_cut() -> None:
    secret = "0123456789abcdef" * 2
    found = Cleaner([secret]).text("x" * (2048 - 20) + secret + "y" * 5000)
    assert "0123" not in found
    assert "7,060 characters" in found


def test_what_is_hidden_before_the_cut_moves_no_half_of_a_secret_before_it() -> None:
    secret = "0123456789abcdef" * 4
    found = Cleaner([secret]).text(f"{secret} " * 100)
    assert "0123" not in found
    assert "6,500 characters" in found


def test_of_an_endless_traceback_the_end_is_kept() -> None:
    found = Cleaner(["topsecret"]).event({"exception": "x" * 1_000_000 + " topsecret: why"})
    assert str(found["exception"]).endswith(f"x {HIDDEN}: why")
    assert len(str(found["exception"])) < 20_000


def test_endless_values_are_cut() -> None:
    found = Cleaner().event({"line": "x" * 1_000_000, "nan": float("nan"), "in": {"y": {"z": {}}}})
    assert len(as_json(found)) < 10_000
    assert "1,000,000 characters" in str(found["line"])
    assert found["nan"] == "nan", "JSON has no such number"


def test_a_process_without_structlog_writes_the_same_lines() -> None:
    formatter = LineFormatter(
        "json", Cleaner(["topsecret"]), service="tinymlaas-signer", pool="tvm"
    )
    record = logging.LogRecord(
        "a", logging.WARNING, "", 1, "not signed: %s", ("a\nb topsecret",), None
    )
    event = json.loads(formatter.format(record))
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "warning",
        "event": f"not signed: a\nb {HIDDEN}",
        "logger": "a",
        "service": "tinymlaas-signer",
        "pool": "tvm",
    }


CODE = """
import sys, {modules}
print(sorted({{'structlog', 'opentelemetry', 'rich'}} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    "modules",
    [
        "workers.task_process, workers.stages, tinymlaas.farm.bench",
        "workers.pool, scheduler.service, tinymlaas.client",
        "tinymlaas.signer.__main__, workers.guardian, workers.sandbox.inside",
    ],
)
def test_it_is_not_loaded_where_it_is_not_needed(modules: str) -> None:
    """Task processes are forked from what is preloaded; the signer is kept small."""
    code = CODE.format(modules=modules)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_reasons_of_an_end_are_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    logs.tell_reasons(("no farm", "no bucket"), "console")
    assert capsys.readouterr().err == "error: no farm\nerror: no bucket\n"
    logs.tell_reasons(("no farm", "no bucket"), "json")
    line = capsys.readouterr().err
    assert json.loads(line)["reasons"] == ["no farm", "no bucket"]
    assert _from_json(line) == "no farm; no bucket"
    assert _from_json('{"event": "draining"}') == "draining"
    assert _from_json("no JSON") == ""
