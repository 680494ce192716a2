"""The commands for jobs, as a user types them, against a real farm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pika
import pytest

from tests.integration.cli.runner import Cli, Ran
from tests.integration.client.farms import Place, until
from tests.services.stub_compiler import FAST, model
from tests.unit.scaffold.project import ROOT
from tinymlaas import cli
from tinymlaas.contract.messages import CompileRequested

TENANT = "typist"


class Desk:
    """The command line with a farm's variables, in a folder with a model in it.

    Called, it runs in this process, which takes a tenth of the time; `process` is the real thing.
    """

    def __init__(
        self, place: Place, folder: Path, patch: pytest.MonkeyPatch, said: pytest.CaptureFixture
    ) -> None:
        self.place = place
        self.folder = folder
        self.process = Cli(folder, Path(place.running.environment["XDG_CACHE_HOME"]))
        self.process.environment |= place.running.environment | {"TINYMLAAS_TENANT": TENANT}
        self.model = folder / "My Model.onnx"
        self.model.write_bytes(model())
        self._patch = patch
        self._said = said

    def __call__(self, *arguments: str | Path, **more: str) -> Ran:
        self._said.readouterr()
        with self._patch.context() as patch:
            for name, value in (self.process.environment | more).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["tinymlaas", *map(str, arguments)])
            with pytest.raises(SystemExit) as end:
                cli.main()
        status = end.value.code
        return Ran(status if isinstance(status, int) else 0, *self._said.readouterr())

    def submit(self, name: str, milliseconds: int, *more: str) -> str:
        options = ("--option", f"milliseconds={milliseconds}", "--compiler", "stub")
        named = ("--name", name, "--board", FAST)
        ran = self("submit", self.model, *named, *options, *more, "--json")
        assert ran.status == 0, ran.err
        checked("submitted", ran.json)
        return str(ran.json["job_id"])


def checked(schema: str, value: Any) -> Any:
    path = ROOT / "tinymlaas" / "contract" / "schemas" / f"{schema}.schema.json"
    jsonschema.validate(value, json.loads(path.read_text()))
    return value


@pytest.fixture
def desk(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> Desk:
    return Desk(place, tmp_path, monkeypatch, capsys)


def test_from_submit_to_a_verified_module(desk: Desk) -> None:
    job = desk.submit("typed", 500)
    watched = desk.process("watch", job, "--json")
    assert watched.status == 0, watched.err
    changes = [checked("job-status", json.loads(line)) for line in watched.out.splitlines()]
    assert changes[-1]["status"] == "done"
    status = checked("job-status", desk("status", job, "--json").json)
    assert status == changes[-1]
    compiled = {name: status[name] for name in ("module", "action_digest", "chosen", "candidates")}
    result = {"status": "done", "reasons": [], "quantisation": status["quantisation"]} | compiled
    checked("compile-result", result)
    fetched = desk.process("fetch", job, "-o", desk.folder / "out", "--json")
    found = checked("fetched-module", fetched.json)
    assert desk("verify", found["module"]).status == 0
    text = desk("status", job)
    assert "status      done" in text.out
    assert f"tinymlaas fetch {job} -o DIR" in text.err
    assert "stub: chosen" in text.out


def test_submit_and_wait_ends_as_compile_does(desk: Desk) -> None:
    wish = ("--board", FAST, "--compiler", "stub")
    done = desk("submit", desk.model, *wish, "--wait")
    assert done.status == 0, done.err
    assert "status      done" in done.out
    assert "queued" in done.err.splitlines()
    assert not done.lines
    refused = desk("submit", desk.model, *wish, "--option", "does=refuse", "--wait", "--json")
    assert refused.status == 2
    assert checked("job-status", refused.json)["status"] == "rejected"
    assert refused.lines
    assert refused.lines[0].startswith("rejected: ")
    crashed = desk("submit", desk.model, *wish, "--option", "does=crash", "--wait")
    assert crashed.status == 1
    assert any(line.startswith("failed: ") for line in crashed.lines)
    board = desk("submit", desk.model, "--board", "no-such-board", "--wait")
    assert board.status == 2
    assert "no board is called 'no-such-board'" in board.err
    job = refused.json["job_id"]
    assert desk("watch", job).status == 2
    assert desk("status", job).status == 0, "asking was no failure"
    fetched = desk("fetch", job, "-o", desk.folder)
    assert fetched.status == 2
    assert fetched.lines[0] == f"error: job {job} was rejected: there is no module"


def counted(desk: Desk) -> dict[str, int]:
    """Return how many jobs `tinymlaas queue` says the test's tenant has, by state."""
    tenants = desk("queue", "--json").json["tenants"]
    return next((each["jobs"] for each in tenants if each["tenant"] == TENANT), {})


def test_cancel_queue_and_replay(desk: Desk) -> None:
    running = desk.submit("runs", 60_000)
    until(lambda: "runs" in desk.place.stub.begun())
    waiting = desk.submit("waits", 60_000, "--priority", "9", "--deadline", "1h")
    until(lambda: desk("status", waiting, "--json").json["status"] == "compiling")
    status = checked("job-status", desk("status", waiting, "--json").json)
    assert status["position"] == 0
    assert "worker is busy" in status["waits_for"][0]
    shown = desk("status", waiting)
    assert "waits for   pool stub, whose worker is busy" in shown.out
    assert checked("queue-report", desk("queue", "--json").json)["scheduler"]
    until(lambda: counted(desk) == {"compiling": 2})  # counted once a second, whoever asks
    assert TENANT in desk("queue").out
    for job in (waiting, running):
        ran = desk("cancel", job, "--json")
        assert ran.status == 0, ran.err
        assert checked("job-status", ran.json)["status"] == "cancelled"
    again = desk("replay", waiting, "--json")
    assert checked("submitted", again.json)["replays"] == waiting
    cancelled = desk("cancel", again.json["job_id"])
    assert cancelled.status == 0
    assert "status      cancelled" in cancelled.out


def test_a_dead_letter_is_replayed(desk: Desk) -> None:
    running = desk.place.running
    order = desk.place.stub.order(TENANT, "dead")
    letter = CompileRequested(id="dead-1", source="test", data=order).encoded()
    with pika.BlockingConnection(pika.URLParameters(running.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # they are counted at once
        for body in (b"this is no request", letter, b"{}"):
            channel.basic_publish(running.names.dead, running.names.compile_requests, body)
        before = desk("queue", "--json").json["dead"][running.names.dead_letters]
        ran = desk("replay", "dead-1", "--json")
        assert ran.status == 0, ran.err
        assert desk("watch", ran.json["job_id"]).status == 0
        after = desk("queue", "--json").json["dead"][running.names.dead_letters]
        assert before - after == 1
        channel.queue_purge(running.names.dead_letters)
    assert desk("replay", "dead-1").status == 2


def test_what_is_wrong_is_said_in_one_line(desk: Desk) -> None:
    cases: dict[tuple[str | Path, ...], tuple[int, str]] = {
        ("status", "unknown-job"): (2, "tenant typist has no job unknown-job"),
        ("watch", "unknown-job"): (2, "has no job unknown-job"),
        ("status", "../../secret"): (2, "is no job's id"),
        ("fetch", "x/../../y"): (2, "is no job's id"),
        ("status", "some", "--tenant", "No Such"): (2, "--tenant must be up to 32 of a-z"),
        ("submit", "none.onnx", "--board", FAST): (2, "there is no file none.onnx"),
        ("submit", desk.model, "--board", FAST, "--deadline", "soon"): (
            2,
            "--deadline soon: write",
        ),
        ("submit", desk.model, "--board", FAST, "--int8"): (
            2,
            "--int8 needs samples",
        ),
        ("submit", desk.model, "--board", FAST, "--budget", "soon"): (
            2,
            "--budget soon: write a time",
        ),
        ("submit", desk.model, "--board", "none.toml"): (2, "none.toml"),
        ("submit", desk.model, "--board", FAST, "--job-id", "a b"): (2, "is no job's id"),
        ("store", "gc", "--older-than", "1s"): (2, "at least"),
    }
    for arguments, (status, said) in cases.items():
        ran = desk(*arguments)
        assert (ran.status, len(ran.lines)) == (status, 1), (arguments, ran)
        assert said in ran.lines[0], arguments
    ran = desk("status", "unknown-job", "--json")
    assert checked("error-report", ran.json)["status"] == "rejected"


def test_where_the_farm_is_not_is_said_in_one_line(desk: Desk) -> None:
    host = desk.place.running.amqp_url.rpartition("@")[2]
    cases = {
        (2, "no farm: set TINYMLAAS_AMQP_URL"): {"TINYMLAAS_AMQP_URL": ""},
        (1, "RabbitMQ does not let us in"): {"TINYMLAAS_AMQP_URL": f"amqp://no:no@{host}"},
        (1, "bucket does not exist"): {"TINYMLAAS_S3_BUCKET": "no-such-bucket"},
        (1, "AWS_ACCESS_KEY_ID"): {"AWS_SECRET_ACCESS_KEY": "wrong"},
    }
    for (status, said), variables in cases.items():
        ran = desk("status", "some-job", **variables)
        assert (ran.status, len(ran.lines)) == (status, 1), ran
        assert said in ran.err


def test_retention_of_the_bucket_keeps_what_is_young(desk: Desk) -> None:
    job = desk.submit("kept", 0)
    assert desk("watch", job).status == 0
    report = checked("store-report", desk("store", "gc", "--older-than", "1h", "--json").json)
    assert report["store"] == f"s3://{desk.place.running.store.bucket}"
    assert report["removed"] == 0
    assert report["kept"] > 3
    assert desk("fetch", job, "-o", desk.folder).status == 0
