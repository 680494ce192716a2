"""The programs of docs/publish.md, run as they are against a farm of real processes."""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from broker.connecting import connect
from tests.integration.client.farms import SECONDS, Losing, Place, through_proxy
from tests.services.stub_compiler import FAST, model
from tests.unit.scaffold.project import ROOT
from tinymlaas.cli import app

EXAMPLES = ROOT / "examples" / "publish"
GO_PACKAGES = ("rabbitmq/amqp091-go", "minio/minio-go")
GO_SOURCES = Path("/usr/share/gocode")  # where Debian's packages put the sources of libraries


@functools.cache
def scratch() -> Path:
    """A folder that goes with this process; what is built in it serves all tests."""
    folder = tempfile.TemporaryDirectory(prefix="tinymlaas-test-publish-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def python() -> list[str]:
    return [sys.executable, str(EXAMPLES / "python" / "publish.py")]


@functools.cache
def go() -> list[str]:
    """Build it with Debian's packages, which need GOPATH in the place of modules."""
    if not shutil.which("go"):
        pytest.skip("there is no go: install golang-go")
    for name in GO_PACKAGES:
        if not (GO_SOURCES / "src" / "github.com" / name).exists():
            pytest.skip(
                "install golang-github-rabbitmq-amqp091-go-dev golang-github-minio-minio-go-v7-dev"
            )
    program = scratch() / "publish"
    built = {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOCACHE": str(scratch() / "cache")}
    subprocess.run(
        ["go", "build", "-o", program, "."],
        cwd=EXAMPLES / "go",
        env=os.environ | built,
        check=True,
        timeout=600,
    )
    return [str(program)]


@functools.cache
def javascript() -> list[str]:
    if not shutil.which("npm"):
        pytest.skip("there are no node and npm: install nodejs and npm")
    folder = scratch() / "javascript"
    shutil.copytree(EXAMPLES / "javascript", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    installed = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    if installed.returncode:
        pytest.skip(f"npm could not install amqplib: {installed.stderr.strip()[-300:]}")
    return ["node", str(folder / "publish.js")]


LANGUAGES = [
    python,
    pytest.param(go, marks=pytest.mark.slow),
    pytest.param(javascript, marks=pytest.mark.slow),
]
Command = Callable[[], Sequence[str]]


def signers(place: Place) -> list[str]:
    keys = Path(place.running.environment["TINYMLAAS_KEYS"])
    return sorted(str(file) for file in keys.glob("builder-*.pub"))


def variables(place: Place, **changes: str) -> dict[str, str]:
    """What the farm's `env` file exports, for the test's own tenant."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TINYMLAAS_")}
    farm = place.running.environment
    farm = {k: v for k, v in farm.items() if k.startswith(("AWS_", "TINYMLAAS_"))}
    return kept | farm | {"TINYMLAAS_TENANT": os.environ["TINYMLAAS_TENANT"]} | changes


def publish(
    command: Command, place: Place, *arguments: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(), *arguments],
        env=variables(place, **changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def large_model(file: Path) -> Path:
    """Write a model of more bytes than travel inside a message."""
    loaded = onnx.load_model_from_string(model())
    loaded.doc_string = "x" * (48 * 1024)
    file.write_bytes(loaded.SerializeToString())
    return file


@pytest.mark.parametrize("command", LANGUAGES)
@pytest.mark.parametrize("large", [False, True], ids=["inline", "uploaded"])
def test_a_model_becomes_a_verified_module(
    command: Command, large: bool, place: Place, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    if large:
        large_model(file)
    else:
        file.write_bytes(model())
    out = tmp_path / "module.zip"
    result = publish(command, place, str(file), FAST, str(out), *signers(place))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("sent: job ")
    assert f"verified: {out}, {out.stat().st_size} bytes" in result.stdout
    job = result.stdout.split()[2]
    again = CliRunner().invoke(app, ["fetch", job, "-o", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    (fetched,) = (tmp_path / "again").glob("*.zip")
    assert fetched.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("command", LANGUAGES)
def test_what_the_farm_refuses_is_said(command: Command, place: Place, tmp_path: Path) -> None:
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model())
    result = publish(command, place, str(file), "no-such-board", str(out), *signers(place))
    assert result.returncode == 2, result.stdout + result.stderr
    assert "rejected:" in result.stderr
    assert "no-such-board" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("command", LANGUAGES)
def test_a_module_that_nobody_trusted_has_signed_is_not_kept(
    command: Command, place: Place, tmp_path: Path
) -> None:
    """Nor is one by a trusted key that may speak for another builder only."""
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model())
    (signer,) = signers(place)
    of_another = tmp_path / "builder-other.pub"
    of_another.write_bytes(Path(signer).read_bytes())
    result = publish(command, place, str(file), FAST, str(out), str(of_another))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "the module is not what a trusted key has signed" in result.stderr
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", LANGUAGES)
@pytest.mark.parametrize("what", ["module.zip", "intoto.jsonl"])
def test_what_was_changed_in_the_bucket_is_not_kept(
    command: Command, what: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYMLAAS_TENANT", f"t-{secrets.token_hex(8)}")  # nobody else's module
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model(5))
    assert publish(command, place, str(file), FAST, str(out), *signers(place)).returncode == 0
    out.unlink()
    changed = changed_in_bucket(place, what)
    result = publish(command, place, str(file), FAST, str(out), *signers(place))
    assert result.returncode == 1, f"{changed}\n{result.stdout}{result.stderr}"
    assert "the module is not what a trusted key has signed" in result.stderr
    assert not out.exists()


def changed_in_bucket(place: Place, ending: str) -> list[str]:
    """Change a byte of what the test's tenant was given: of an archive or of its signature."""
    store = place.running.store
    given = f"tenants/{os.environ['TINYMLAAS_TENANT']}/modules/"
    listed = store.client.list_objects_v2(Bucket=store.bucket, Prefix=given)["Contents"]
    keys = [each["Key"] for each in listed if each["Key"].endswith(ending)]
    for key in keys:
        data = bytearray(store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read())
        if ending == "intoto.jsonl":
            envelope = json.loads(data)
            signature = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
            signature[-1] ^= 1
            envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
            data = bytearray(json.dumps(envelope).encode())
        else:
            data[-1] ^= 1
        store.client.put_object(Bucket=store.bucket, Key=key, Body=bytes(data))
    return keys


@pytest.mark.parametrize("command", LANGUAGES)
def test_nobody_takes_requests(command: Command, place: Place, tmp_path: Path) -> None:
    """The exchange is there and no queue behind it: only `mandatory` tells."""

    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model())
    prefix = "nobody."
    exchange = f"{prefix}tinymlaas.requests"
    with connect(place.running.amqp_url, "test") as connection:
        connection.channel().exchange_declare(exchange, "topic", durable=True)
    arguments = [str(file), FAST, str(out), *signers(place)]
    try:
        result = publish(command, place, *arguments, TINYMLAAS_QUEUE_PREFIX=prefix)
    finally:  # by a connection anew: one that nobody reads from dies of its heartbeat meanwhile
        with connect(place.running.amqp_url, "test") as connection:
            connection.channel().exchange_delete(exchange)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "is a farm there?" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", LANGUAGES)
def test_what_will_not_change_is_told_and_not_tried_again(
    command: Command, place: Place, tmp_path: Path
) -> None:
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model())
    host = place.running.amqp_url.rpartition("@")[2]
    cases = {
        "ACCESS.REFUSED|not allowed": {"TINYMLAAS_AMQP_URL": f"amqp://nobody:wrong@{host}"},
        "NOT.FOUND": {"TINYMLAAS_QUEUE_PREFIX": "nowhere."},
        "farm/env sets TINYMLAAS_AMQP_URL": {"TINYMLAAS_AMQP_URL": ""},
    }
    for said, changes in cases.items():
        result = publish(command, place, str(file), FAST, str(out), *signers(place), **changes)
        assert result.returncode == 1, result.stdout + result.stderr
        assert re.search(said, result.stderr.splitlines()[-1]), result.stderr
        assert "connecting again" not in result.stderr
        assert "Traceback" not in result.stderr
        assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", LANGUAGES)
def test_a_request_that_is_lost_on_its_way_is_sent_again(
    command: Command, place: Place, tmp_path: Path
) -> None:
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model())
    arguments = [str(file), FAST, str(out), *signers(place)]
    with through_proxy(Losing) as (settings, _):
        result = publish(command, place, *arguments, TINYMLAAS_AMQP_URL=settings.amqp_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "connecting again" in result.stderr
    assert result.stdout.count("sent: job ") == 1
    assert out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", LANGUAGES)
def test_a_lost_connection_costs_nothing(command: Command, place: Place, tmp_path: Path) -> None:
    """No worker inspects the model: the end cannot have come before the connection is cut."""
    file, out = tmp_path / "model.onnx", tmp_path / "module.zip"
    file.write_bytes(model(3))
    (worker,) = place.running.workers["prepare"]
    arguments = [str(file), FAST, str(out), *signers(place)]
    with through_proxy() as (settings, proxy):
        worker.terminate()
        worker.await_end(SECONDS)
        try:
            process = subprocess.Popen(
                [*command(), *arguments],
                env=variables(place, TINYMLAAS_AMQP_URL=settings.amqp_url),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("sent: job ")
            proxy.cut()
            proxy.mend()
        finally:
            worker.start()
        try:
            said, complained = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, said + complained
    assert said.startswith(first), "the same job, sent again"
    assert "connecting again" in complained
    assert out.exists()
