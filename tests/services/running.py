"""One RabbitMQ and one S3 server for all tests of a process, started when the first asks.

`TINYMLAAS_TEST_AMQP_URL` and `TINYMLAAS_TEST_S3_ENDPOINT` name existing ones instead (with the
usual AWS variables). What cannot start fails the test: it does not skip.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
from pathlib import Path

from storage.s3 import S3Store, open_s3
from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS
from workers import guardian

AMQP_URL = os.environ.get("TINYMLAAS_TEST_AMQP_URL")
S3_ENDPOINT = os.environ.get("TINYMLAAS_TEST_S3_ENDPOINT")


@functools.cache
def rabbitmq() -> RabbitMQ:
    """The private broker, which a test may kill or restart if it leaves it running."""
    return _until_exit().enter_context(RabbitMQ(_folder("mq")))


@functools.cache
def seaweedfs() -> SeaweedFS:
    """The private S3 server, which a test may kill or restart if it leaves it running."""
    return _until_exit().enter_context(SeaweedFS(_folder("s3")))


def amqp_url() -> str:
    """URL of the broker that tests use."""
    return AMQP_URL or rabbitmq().url


def s3_variables() -> dict[str, str]:
    """The environment variables that point at the S3 server that tests use."""
    if S3_ENDPOINT:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        given = {name: os.environ[name] for name in names if name in os.environ}
        return {"TINYMLAAS_S3_ENDPOINT": S3_ENDPOINT, **given}
    return seaweedfs().environment


@functools.cache
def s3_store() -> S3Store:
    """A store in a bucket that is new for this process: a new one for each test takes seconds.

    The environment must point at its server (`s3_variables`).
    """
    variables = s3_variables()
    bucket = f"test-{secrets.token_hex(8)}"
    store = open_s3(bucket, endpoint=variables["TINYMLAAS_S3_ENDPOINT"])
    _until_exit().callback(_remove_bucket, store)
    return store


def empty(store: S3Store) -> None:
    """Remove all objects of the store's bucket, those outside the layout too."""
    bucket = store.bucket
    for page in store.client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        found = [{"Key": each["Key"]} for each in page.get("Contents", ())]
        if found:
            store.client.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})


def _remove_bucket(store: S3Store) -> None:
    empty(store)
    store.client.delete_bucket(Bucket=store.bucket)


@functools.cache
def _until_exit() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack


def _folder(name: str) -> Path:
    return _until_exit().enter_context(guardian.scratch(f"test-{name}"))
