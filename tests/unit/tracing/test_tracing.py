"""Spans are exported when OpenTelemetry's variables say so; no trouble with that is a job's."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.services.collector import Collector
from tests.unit.scaffold.project import ROOT
from tinymlaas.client import Client
from tinymlaas.client.tracing import current_traceparent, sound
from tinymlaas.contract.errors import UsageError
from tinymlaas.farm.spans import open_tracing
from tinymlaas.farm_settings import FarmSettings
from tinymlaas.otlp import OtlpTracing
from tinymlaas.tracing import NO_SPAN, Context, Kind, NoTracing, traces_wanted

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
SAMPLED = Context(f"00-{'1' * 32}-{'2' * 16}-01", "vendor=1")
LEFT_OUT = Context(f"00-{'3' * 32}-{'4' * 16}-00")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)


class Exporter(InMemorySpanExporter):
    """Keeps what several have exported."""

    def shutdown(self) -> None:
        """Go on."""

    def names(self) -> list[str]:
        return [span.name for span in self.get_finished_spans()]


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


def made(exporter: SpanExporter, *, follow_links: bool = False) -> OtlpTracing:
    return OtlpTracing(
        "ours", {"tinymlaas.pool": "tvm"}, follow_links=follow_links, exporter=exporter
    )


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        (ON, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, True),
        (ON | {"OTEL_SDK_DISABLED": "True"}, False),
        (ON | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (
            ON | {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            True,
        ),
        (ON | {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, True),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        (
            ON | {"OTEL_BSP_MAX_QUEUE_SIZE": "256", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0256"},
            True,
        ),
    ],
)
def test_it_is_wanted_with_an_endpoint(variables: dict[str, str], wanted: bool) -> None:
    assert traces_wanted(variables) is wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2.5"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),  # less than go at once
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
    ],
)
def test_what_cannot_be_heeded_is_told(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        traces_wanted(ON | {name: text})
    (reason,) = caught.value.reasons
    assert name in reason


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}
    with pytest.raises(UsageError) as caught:
        traces_wanted(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_EXPORTER_OTLP_TIMEOUT": "x"} | wrong
        )
    assert len(caught.value.reasons) == 3


def test_what_only_the_sdk_reads_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(UsageError, match="one of OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT cannot"):
        open_tracing(True, "ours", {})


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification has it so, and whoever deploys by templates writes such; the SDK breaks."""
    for name in ("OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TIMEOUT"):
        monkeypatch.setenv(name, " ")
    for name, text in ON.items():
        monkeypatch.setenv(name, text)
    assert traces_wanted(os.environ)
    open_tracing(True, "ours", {}).close(0)


def test_without_an_endpoint_there_is_nothing() -> None:
    tracing = open_tracing(False, "ours", {})
    assert isinstance(tracing, NoTracing)
    span = tracing.begin("x", links=[SAMPLED])
    assert span is NO_SPAN
    assert span.context is None
    tracing.close()


def test_a_span_tells_what_it_was_told(exporter: Exporter) -> None:
    tracing = made(exporter)
    above = tracing.begin("request", kind=Kind.CONSUMER, links=[SAMPLED], facts={"job": "j"})
    below = tracing.begin("stage", parent=above, ago=2.0)
    below.event("sent", {"task": "t"})
    below.link(LEFT_OUT)
    below.set({"cached": True})
    below.end("it broke")
    above.end()
    tracing.close()
    stage, request = exporter.get_finished_spans()
    assert stage.parent is not None
    assert stage.parent.span_id == request.context.span_id
    assert stage.context.trace_id == request.context.trace_id
    assert stage.end_time is not None
    assert stage.start_time is not None
    assert 1.9e9 < stage.end_time - stage.start_time < 60e9
    assert (stage.status.description, stage.attributes) == ("it broke", {"cached": True})
    assert f"{stage.links[0].context.trace_id:032x}" == "3" * 32
    assert request.links[0].context.trace_state == {"vendor": "1"}
    context = above.context
    assert context is not None
    assert context.ids["trace_id"] == f"{request.context.trace_id:032x}"
    assert request.parent is None


def test_names_are_ours_unless_the_operator_says_otherwise(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = made(exporter)
    tracing.begin("x").end()
    tracing.close()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,tinymlaas.pool=own")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "theirs")
    tracing = made(exporter)
    tracing.begin("y").end()
    tracing.close()
    ours, theirs = (dict(span.resource.attributes) for span in exporter.get_finished_spans())
    assert (ours["service.name"], ours["tinymlaas.pool"]) == ("ours", "tvm")
    assert (theirs["service.name"], theirs["tinymlaas.pool"]) == ("theirs", "own")
    assert theirs["deployment.environment"] == "test"


def test_a_job_is_sampled_whole_or_not_at_all(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides is who began it: a worker follows, whatever its own variables say."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    worker = made(exporter, follow_links=True)
    task = worker.begin("kept", links=[LEFT_OUT, SAMPLED])
    worker.begin("kept too", parent=task).end()
    task.end()
    left_out = worker.begin("left out", links=[LEFT_OUT])
    worker.begin("left out too", parent=left_out).end()
    left_out.end()
    worker.begin("by its own variables").end()
    worker.close()
    scheduler = made(exporter)
    request = scheduler.begin("a sender does not decide", links=[SAMPLED])
    assert request.context is not None
    assert request.context.traceparent.endswith("-00")
    request.end()
    scheduler.close()
    assert exporter.names() == ["kept too", "kept"]


class Broken(SpanExporter):
    """Fails in one way or another."""

    def __init__(self) -> None:
        self.tries = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.tries += 1
        if self.tries % 2:
            raise OSError("nobody listens")
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        return


def test_trouble_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    broken = Broken()
    tracing = made(broken)
    for _ in range(6):
        tracing.begin("lost").end()
    tracing.close()
    assert broken.tries == 6
    (record,) = [each for each in caplog.records if each.name == "tinymlaas.otlp"]
    assert record.levelno == logging.WARNING
    assert record.__dict__["reason"] == "OSError: nobody listens"


class Stuck(SpanExporter):
    """Takes spans and never returns."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.release.wait()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return


def test_whatever_the_collector_does_the_end_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    stuck = Stuck()
    tracing = made(stuck)
    for _ in range(100):  # neither does what ends spans ever wait
        tracing.begin("lost").end()
    tracing.close(0.2)
    assert "the last spans are not exported" in caplog.text
    stuck.release.set()


SILENT = """
import sys
from tinymlaas.farm.spans import open_tracing
from tinymlaas.farm_settings import FarmSettings
tracing = open_tracing(True, "x", {})
tracing.begin("lost").end()
tracing.close(0.5)
"""


def test_a_process_ends_though_the_collector_is_silent() -> None:
    """It accepts the connection, and never answers: no thread of the SDK's may hold us."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        command = [sys.executable, "-c", SILENT]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)


FORK = """
import os, sys
from tinymlaas.farm.spans import open_tracing
from tinymlaas.farm_settings import FarmSettings
tracing = open_tracing(True, "x", {})
tracing.begin("before").end()
pid = os.fork()
if pid == 0:
    tracing.begin("in the child").end()
    tracing.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
tracing.begin("after").end()
tracing.close()
"""


def test_spans_survive_a_fork_and_are_exported_once() -> None:
    """The farm forks nothing that makes spans; if anything ever did, nothing hangs or doubles."""
    collector = Collector()
    try:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        command = [sys.executable, "-c", FORK]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)
        names = [span.name for span in collector.until(lambda spans: len(spans) >= 3)]
        assert sorted(names) == ["after", "before", "in the child"]
    finally:
        collector.close()


def test_a_client_sends_the_callers_context_or_makes_one() -> None:
    first, second = current_traceparent(), current_traceparent()
    assert first != second
    assert first.endswith("-00"), "nobody has recorded it"
    from opentelemetry import trace

    tracing = made(Exporter())
    span = tracing.begin("caller")
    assert hasattr(span, "inner")
    with trace.use_span(span.inner):
        assert span.context is not None
        assert current_traceparent() == span.context.traceparent
    tracing.close()


@pytest.mark.parametrize(
    "said", ["garbage", "", f"01-{'1' * 32}-{'2' * 16}-01", f"00-{'A' * 32}-{'2' * 16}-01"]
)
def test_what_is_no_trace_context_is_told_before_anything_is_sent(said: str) -> None:
    settings = FarmSettings(amqp_url="amqp://nowhere.invalid", bucket="none")
    with Client(settings) as client, pytest.raises(UsageError, match="traceparent"):
        client.submit(b"model", "host", traceparent=said)
    assert not sound(said)
    assert sound(SAMPLED.traceparent)
