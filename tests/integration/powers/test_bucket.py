"""What each role's credentials can do in the bucket, asked of a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from storage import keys
from storage.s3 import open_s3, reopen_s3
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.services.seaweedfs import SeaweedFS

BUCKET = "tinymlaas"
DATA = b"of acme"
DIGEST = sha256(DATA)
UPLOAD = keys.tenant_blob("acme", DIGEST).path
MODULE = keys.module_archive(DIGEST)
PLACES = {
    "upload": UPLOAD,
    "rival upload": keys.tenant_blob("rival", DIGEST).path,
    "given": keys.given("acme", MODULE).path,
    "given provenance": keys.given("acme", keys.module_envelope(DIGEST, "f" * 64)).path,
    "log": keys.tenant_log("acme", DIGEST).path,
    "record": keys.job_result("acme", "job").path,
    "rival record": keys.job_result("rival", "job").path,
    "blob": keys.blob(DIGEST).path,
    "summary": keys.model_summary(DIGEST, "v1").path,
    "cc reference": keys.model_reference("cc", DIGEST, DIGEST).path,
    "tvm reference": keys.model_reference("tvm", DIGEST, DIGEST).path,
    "quantisation": keys.quantisation_outcome(DIGEST).path,
    "cc accuracy": keys.accuracy("cc", DIGEST).path,
    "tvm accuracy": keys.accuracy("tvm", DIGEST).path,
    "race": keys.race(DIGEST, DIGEST).path,
    "cc outcome": keys.action_outcome("cc", DIGEST).path,
    "tvm outcome": keys.action_outcome("tvm", DIGEST).path,
    "module": MODULE.path,
    "envelope": keys.module_envelope(DIGEST, "f" * 64).path,
    "pool": keys.pool_description("cc").path,
    "probe": ".probe/0123",
}
MAY_READ = {
    "tenant-acme": {"upload", "given", "given provenance", "log", "record"},
    "tenant-rival": {"rival upload", "rival record"},
    "worker-cc": {"blob", "summary", "cc reference", "cc accuracy", "cc outcome", "module",
                  "envelope", "probe"},
    "worker-tvm": {"blob", "summary", "tvm reference", "tvm accuracy", "tvm outcome", "module",
                   "envelope", "probe"},
    "worker-prepare": {"blob", "summary", "quantisation", "probe"},
    "scheduler": set(PLACES),
}  # fmt: skip
MAY_WRITE = {
    "tenant-acme": {"upload"},
    "tenant-rival": {"rival upload"},
    "worker-cc": {"blob", "cc reference", "cc accuracy", "cc outcome", "module", "envelope",
                  "probe"},
    "worker-tvm": {"blob", "tvm reference", "tvm accuracy", "tvm outcome", "module", "envelope",
                   "probe"},
    "worker-prepare": {"blob", "summary", "quantisation", "probe"},
    "scheduler": {"upload", "rival upload", "given", "given provenance", "log", "record",
                  "rival record", "blob", "race", "pool", "probe"},
}  # fmt: skip
CLIENTS = Callable[[str], Any]


def allowed(do: Callable[[], Any]) -> bool:
    try:
        do()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status not in {403, 404}:
            raise
        return status == 404  # nothing is there, and that may be known
    return True


@pytest.fixture(scope="module", autouse=True)
def objects(store: SeaweedFS, operators: Any) -> None:
    """One object in each kind of place."""
    for path in PLACES.values():
        operators.put_object(Bucket=BUCKET, Key=path, Body=DATA)


@pytest.mark.parametrize("role", sorted(MAY_READ))
def test_each_role_reads_what_is_its_own(bucket: CLIENTS, role: str) -> None:
    own = bucket(role)
    read = {
        name
        for name, path in PLACES.items()
        if allowed(lambda path=path: own.get_object(Bucket=BUCKET, Key=path)["Body"].read())  # type: ignore[misc]
    }
    assert read == MAY_READ[role]
    told = {
        name
        for name, path in PLACES.items()
        if allowed(lambda path=path: own.head_object(Bucket=BUCKET, Key=path))  # type: ignore[misc]
    }
    assert told == MAY_READ[role], "and is not told of what else there is"


@pytest.mark.parametrize("role", sorted(MAY_WRITE))
def test_each_role_writes_where_its_results_go(bucket: CLIENTS, role: str) -> None:
    own = bucket(role)
    written = {
        name
        for name, path in PLACES.items()
        if allowed(lambda path=path: own.put_object(Bucket=BUCKET, Key=path, Body=DATA))  # type: ignore[misc]
    }
    assert written == MAY_WRITE[role]


@pytest.mark.parametrize("role", sorted(set(MAY_READ) - {"scheduler"}))
def test_nobody_else_lists(bucket: CLIENTS, role: str) -> None:
    for prefix in ("", "tenants/", "tenants/rival/", "jobs/", "blobs/", "modules/", "actions/"):
        assert not allowed(
            lambda prefix=prefix: bucket(role).list_objects_v2(Bucket=BUCKET, Prefix=prefix)  # type: ignore[misc]
        ), prefix


@pytest.mark.parametrize("role", ["tenant-acme", "worker-cc"])
def test_what_is_not_there_is_not_told_from_what_is_anothers(bucket: CLIENTS, role: str) -> None:
    own = bucket(role)
    for digest in (DIGEST, sha256(b"nobody's")):
        with pytest.raises(ClientError) as refused:
            own.head_object(Bucket=BUCKET, Key=keys.tenant_blob("rival", digest).path)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_worker_can_open_the_store_with_what_it_may(
    store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in store.environment_of("worker-cc").items():
        monkeypatch.setenv(name, value)
    opened = open_s3(BUCKET, endpoint=store.endpoint)
    opened.put(keys.blob_of(DATA), DATA)
    assert opened.get(keys.blob_of(DATA)) == DATA


def test_a_refusal_is_said_in_words(store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment_of("tenant-rival").items():
        monkeypatch.setenv(name, value)
    rival = reopen_s3(BUCKET, endpoint=store.endpoint)
    with pytest.raises(StoreError, match="tenants/acme"):
        rival.get(keys.tenant_blob("acme", DIGEST))
