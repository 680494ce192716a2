"""Have a farm compile a model, with nothing of tinymlaas installed.

    . farm/env
    python publish.py digits.onnx nucleo-l4r5zi digits.zip farm/keys/builder-*.pub

Needs pika, boto3 and cryptography. Ends with 0 for a module, 2 if the request was rejected (stderr
says why), 1 for anything else.
"""

import base64
import hashlib
import json
import os
import pathlib
import sys
import time
import uuid

import boto3
import pika
from botocore.config import Config
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

INLINE = 48 * 1024 - 1  # bytes that may travel inside the message; larger files are uploaded first
TENANT = os.environ.get("TINYMLAAS_TENANT", "default")
PREFIX = os.environ.get("TINYMLAAS_QUEUE_PREFIX", "")
AMQP_URL = os.environ.get("TINYMLAAS_AMQP_URL")
BUCKET = os.environ.get("TINYMLAAS_S3_BUCKET")
S3 = boto3.client(
    "s3",
    endpoint_url=os.environ.get("TINYMLAAS_S3_ENDPOINT"),
    config=Config(
        request_checksum_calculation="when_required",  # servers other than AWS know no others
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    ),
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def payload(data):
    """Return how a request names the model: inline, or by the place where it was uploaded."""
    digest = sha256(data)
    if len(data) <= INLINE:
        return {"digest": digest, "inline": base64.b64encode(data).decode()}
    key = f"tenants/{TENANT}/blobs/{digest}"
    S3.put_object(Bucket=BUCKET, Key=key, Body=data)
    return {"digest": digest, "reference": key}


def request(job, model, board):
    """Return the CloudEvent. Its id is the job's: sent twice it is one job."""
    order = {"tenant": TENANT, "name": "model", "board": board, "model": payload(model)}
    event = {"specversion": "1.0", "type": "tinymlaas.compile.request.v1", "source": "/publish.py"}
    return json.dumps(event | {"id": job, "data": order}).encode()


def ask(job, body):
    """Publish the request and return the job's final event."""
    with pika.BlockingConnection(pika.URLParameters(AMQP_URL)) as farm:
        channel = farm.channel()
        channel.confirm_delivery()  # basic_publish returns when RabbitMQ has it, or raises
        reply = f"reply.{uuid.uuid4()}"
        channel.queue_declare(reply, exclusive=True)
        lasting = pika.BasicProperties(
            content_type="application/cloudevents+json", delivery_mode=2, reply_to=reply
        )
        exchange, key = f"{PREFIX}tinymlaas.requests", f"compile.{TENANT}"
        channel.basic_publish(exchange, key, body, lasting, mandatory=True)
        print(f"sent: job {job}", flush=True)
        for _, _, answer in channel.consume(reply, auto_ack=True):
            event = json.loads(answer)
            if event["type"] == "tinymlaas.job.result.v1" and event["data"]["job_id"] == job:
                return event["data"]


# Trying again would not help: RabbitMQ does not let us in, or has no farm.
REFUSALS = (
    pika.exceptions.ChannelClosedByBroker,
    pika.exceptions.ProbableAccessDeniedError,
    pika.exceptions.ProbableAuthenticationError,
)


def ask_until_answered(job, body):
    """Ask again when the connection is lost: the same request finds its job, or the job's end."""
    while True:
        try:
            return ask(job, body)
        except (pika.exceptions.UnroutableError, pika.exceptions.NackError):
            raise SystemExit("RabbitMQ does not take the request: is a farm there?") from None
        except REFUSALS as error:
            raise SystemExit(f"RabbitMQ refuses: {error}") from None
        except pika.exceptions.AMQPConnectionError as error:
            print(f"connecting again: {error!r}", file=sys.stderr)
            time.sleep(1)


def verified(key, trusted):
    """Return the module at `key`, if one of the keys in the files `trusted` has signed it."""
    module = S3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    folder = key.rpartition("/")[0]
    for file in trusted:
        public = serialization.load_pem_public_key(file.read_bytes())
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            at = f"{folder}/provenance/{sha256(der)}.intoto.jsonl"
            envelope = json.loads(S3.get_object(Bucket=BUCKET, Key=at)["Body"].read())
        except S3.exceptions.NoSuchKey:
            continue  # this key has not signed it
        statement = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"].encode()
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(statement), statement)
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
        try:
            public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            break
        says = json.loads(statement)
        pool = file.stem.removeprefix("builder-")
        builder = says["predicate"]["runDetails"]["builder"]["id"]
        subjects = [subject["digest"]["sha256"] for subject in says["subject"]]
        if sha256(module) in subjects and builder == f"urn:tinymlaas:builder:{pool}:v1":
            return module
    raise SystemExit("the module is not what a trusted key has signed")


def main(model, board, out, *trusted):
    job = f"py-{uuid.uuid4().hex}"
    body = request(job, pathlib.Path(model).read_bytes(), board)
    end = ask_until_answered(job, body)
    if end["state"] != "done":
        print(f"{end['state']}:", *end["reasons"], sep="\n  ", file=sys.stderr)
        return 2 if end["state"] == "rejected" else 1
    module = verified(end["result"]["module"], [pathlib.Path(file) for file in trusted])
    pathlib.Path(out).write_bytes(module)
    print(f"verified: {out}, {len(module)} bytes")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit("usage: publish.py MODEL BOARD OUT.zip KEY.pub…")
    if not AMQP_URL or not BUCKET:
        sys.exit("no farm: . farm/env sets TINYMLAAS_AMQP_URL and TINYMLAAS_S3_BUCKET")
    sys.exit(main(*sys.argv[1:]))
