"""A service that knows nothing of tinymlaas: an AMQP client, JSON, and the published schemas.

No message here is made or read by code of ours. What README shows in another language is this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import boto3
import jsonschema
import pika
import pytest
import yaml

from tests.integration.client.farms import Place
from tests.services.stub_compiler import FAST, model
from tests.unit.scaffold.project import ROOT

SECONDS = 90.0
API = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
TENANT = "elsewhere"


def check(name: str, message: Any) -> None:
    schema = ROOT / API["components"]["messages"][name]["payload"]["$ref"]
    jsonschema.validate(message, json.loads(schema.read_text()))


class Service:
    """Another service, with pika for its AMQP client."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.reply = f"reply.{secrets.token_hex(8)}"
        self.channel.queue_declare(self.reply, exclusive=True)
        self.exchange = prefix + channel("requests")["bindings"]["amqp"]["exchange"]["name"]

    def send(self, address: str, body: bytes, **properties: Any) -> None:
        self.channel.basic_publish(
            self.exchange,
            channel(address)["address"].format(tenant=TENANT),
            body,
            pika.BasicProperties(content_type=API["defaultContentType"], **properties),
            mandatory=True,
        )

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next message of the type of `kind`; each that comes fits its schema."""
        names = {m["name"]: name for name, m in API["components"]["messages"].items()}
        deadline = time.monotonic() + SECONDS
        for _, _, body in self.channel.consume(self.reply, auto_ack=True, inactivity_timeout=1.0):
            assert time.monotonic() < deadline, f"no {kind} came"
            if body is None:
                continue
            message = json.loads(body)
            check(names[message["type"]], message)
            if names[message["type"]] == kind:
                return dict(message)
        raise AssertionError

    def close(self) -> None:
        self.connection.close()


def channel(name: str) -> dict[str, Any]:
    return dict(API["channels"][name])


@pytest.fixture
def service(place: Place) -> Iterator[Service]:
    environment = place.running.environment
    found = Service(place.running.amqp_url, environment["TINYMLAAS_QUEUE_PREFIX"])
    yield found
    found.close()


def request(job: str, data: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "tinymlaas.compile.request.v1",
        "source": "/elsewhere",
        "id": job,
        "data": {
            "tenant": TENANT,
            "name": "plain",
            "board": FAST,
            "compiler": "stub",
            "model": {
                "digest": hashlib.sha256(data).hexdigest(),
                "inline": base64.b64encode(data).decode(),
            },
        }
        | changes,
    }


def test_a_job_from_its_request_to_the_module_in_the_bucket(service: Service, place: Place) -> None:
    events = service.channel.queue_declare("", exclusive=True).method.queue
    exchange = service.prefix + channel("results")["bindings"]["amqp"]["exchange"]["name"]
    service.channel.queue_bind(events, exchange, f"{TENANT}.plain-1.*")
    message = request("plain-1", model())
    check("compile", message)
    service.send("requests", json.dumps(message).encode(), reply_to=service.reply)
    ended = service.hear("job-ended")
    assert ended["data"]["state"] == "done", ended["data"]["reasons"]
    assert ended["data"]["job_id"] == "plain-1"
    states = [method.routing_key for method, body in drained(service, events)]
    assert states[-1] == f"{TENANT}.plain-1.done"
    environment = place.running.environment
    bucket = boto3.client("s3", endpoint_url=environment["TINYMLAAS_S3_ENDPOINT"])
    key = ended["data"]["result"]["module"]
    found = bucket.get_object(Bucket=environment["TINYMLAAS_S3_BUCKET"], Key=key)
    assert hashlib.sha256(found["Body"].read()).hexdigest() == key.split("/")[3]


def drained(service: Service, queue: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    names = {m["name"]: name for name, m in API["components"]["messages"].items()}
    while True:
        method, _, body = service.channel.basic_get(queue, auto_ack=True)
        if method is None:
            return
        message = json.loads(body)
        check(names[message["type"]], message)
        yield method, message


def test_a_model_by_reference_is_uploaded_first(service: Service, place: Place) -> None:
    data = model(32)
    digest = hashlib.sha256(data).hexdigest()
    by_reference = {"digest": digest, "reference": f"tenants/{TENANT}/blobs/{digest}"}
    missing = request("plain-2", data, model=by_reference)
    check("compile", missing)
    service.send("requests", json.dumps(missing).encode(), reply_to=service.reply)
    ended = service.hear("job-ended")
    assert ended["data"]["state"] == "rejected"
    assert "upload it first" in ended["data"]["reasons"][0]
    environment = place.running.environment
    bucket = boto3.client("s3", endpoint_url=environment["TINYMLAAS_S3_ENDPOINT"])
    bucket.put_object(
        Bucket=environment["TINYMLAAS_S3_BUCKET"], Key=by_reference["reference"], Body=data
    )
    service.send(
        "requests", json.dumps(missing | {"id": "plain-3"}).encode(), reply_to=service.reply
    )
    assert service.hear("job-ended")["data"]["state"] == "done"


def test_asked_cancelled_and_refused(service: Service) -> None:
    slow = request("plain-4", model(), name="slow", options={"milliseconds": "60000"})
    service.send("requests", json.dumps(slow).encode(), reply_to=service.reply)
    question = {
        "specversion": "1.0",
        "type": "tinymlaas.job.query.v1",
        "source": "/elsewhere",
        "id": "q1",
        "data": {"tenant": TENANT, "job_id": "plain-4", "reply": service.reply},
    }
    check("status", question)
    state = None
    while state != "compiling":
        service.send("questions", json.dumps(question).encode())
        state = service.hear("job-state")["data"]["state"]
        assert state in {None, "queued", "planning", "compiling"}
        time.sleep(0.05)
    cancel = question | {"type": "tinymlaas.job.cancel.v1", "id": "c1"}
    check("cancel", cancel)
    service.send("cancels", json.dumps(cancel).encode())
    assert service.hear("job-ended")["data"]["state"] == "cancelled"
    for body in (b"{", json.dumps(request("plain-5", model(), priority="9")).encode()):
        service.send("requests", body, reply_to=service.reply)
        refused = service.hear("job-ended")
        assert refused["data"]["state"] == "rejected"
        assert refused["data"]["reasons"]
