"""What the S3 adapter owes beyond the port, on a real server."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, StoreUnavailable
from storage.s3 import S3Store, open_s3
from storage.s3_probe import check_conditional_writes
from tests.services import running
from tinymlaas.contract.errors import StoreError
from tinymlaas.services.seaweedfs import SeaweedFS

OUTCOME = keys.action_outcome("cc", "1" * 64)
BLOB = keys.blob_of(b"data")


def overwrite(store: S3Store, key: keys.Key, data: bytes) -> None:
    store.client.put_object(Bucket=store.bucket, Key=key.path, Body=data)


class Wrapped:
    """An S3 client of which some calls are ours."""

    def __init__(self, client: Any, **calls: Any) -> None:
        self.__dict__.update(calls)
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_damage_is_noticed_on_read_and_repaired_by_put(s3_store: S3Store) -> None:
    s3_store.put(BLOB, b"data")
    overwrite(s3_store, BLOB, b"dat4")
    with pytest.raises(ObjectDamaged, match=BLOB.path):
        s3_store.get(BLOB)
    s3_store.put(BLOB, b"data")
    assert s3_store.get(BLOB) == b"data"


def test_large_objects_go_up_in_parts_and_come_back_whole(s3_store: S3Store) -> None:
    data = bytes(range(256)) * (12 << 12)  # 12 MiB
    store = S3Store(s3_store.client, s3_store.bucket, part_bytes=5 << 20)
    key = keys.blob_of(data)
    store.put(key, data)
    assert store.get(key) == data
    assert [info.size for info in store.list("blobs/")] == [len(data)]


def test_an_upload_that_fails_leaves_neither_object_nor_parts(s3_store: S3Store) -> None:
    client, bucket = s3_store.client, s3_store.bucket

    def upload_part(**named: Any) -> Any:
        if named["PartNumber"] == 2:
            raise RuntimeError("stopped")
        return client.upload_part(**named)

    data = b"x" * (11 << 20)
    store = S3Store(Wrapped(client, upload_part=upload_part), bucket, part_bytes=5 << 20)
    with pytest.raises(RuntimeError, match="stopped"):
        store.put(keys.blob_of(data), data)
    assert s3_store.head(keys.blob_of(data)) is None
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_uploads_of_killed_writers_are_given_up(s3_store: S3Store) -> None:
    client, bucket = s3_store.client, s3_store.bucket
    client.create_multipart_upload(Bucket=bucket, Key=BLOB.path)
    now = datetime.now(UTC)
    assert s3_store.abort_uploads(now - timedelta(hours=1)) == 0
    assert s3_store.abort_uploads(now + timedelta(hours=1)) == 1
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_write_whose_answer_was_lost_is_still_known_as_ours(s3_store: S3Store) -> None:
    """The driver repeats what got no answer, and is then told that the object is there."""
    client = s3_store.client

    def put_object(**named: Any) -> Any:
        client.put_object(**named)
        try:
            return client.put_object(**named)
        except client.exceptions.ClientError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = 1
            raise

    store = S3Store(Wrapped(client, put_object=put_object), s3_store.bucket)
    assert store.put_if_absent(OUTCOME, b"same") is True
    assert store.put_if_absent(OUTCOME, b"same") is False


def test_foreign_objects_are_passed_over(s3_store: S3Store) -> None:
    s3_store.put(BLOB, b"data")
    for name in ("README", "blobs/notes.txt", ".hidden/x"):
        s3_store.client.put_object(Bucket=s3_store.bucket, Key=name, Body=b"mine")
    assert [info.key for info in s3_store.list()] == [BLOB]


def test_lists_of_more_than_a_page_are_whole(s3_store: S3Store) -> None:
    named = [keys.action_outcome("cc", f"{i:064x}") for i in range(1050)]
    threads = [
        threading.Thread(
            target=lambda part: [s3_store.put_if_absent(k, b"") for k in part], args=[p]
        )
        for p in (named[::4], named[1::4], named[2::4], named[3::4])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [info.key for info in s3_store.list("actions/")] == named


def test_urls_let_anybody_read_and_write_for_a_while(s3_store: S3Store) -> None:
    request = urllib.request.Request(
        s3_store.upload_url(BLOB, 60), data=b"data", method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    assert s3_store.get(BLOB) == b"data"
    with urllib.request.urlopen(s3_store.download_url(BLOB, 60), timeout=10) as answer:
        assert answer.read() == b"data"
    bare = s3_store.download_url(BLOB, 60).split("?", maxsplit=1)[0]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(bare, timeout=10)
    for seconds in (0, 8 * 24 * 3600):
        with pytest.raises(StoreError, match="valid"):
            s3_store.download_url(BLOB, seconds)
    with pytest.raises(StoreError, match="content-addressed"):
        s3_store.upload_url(OUTCOME, 60)


def test_wrong_credentials_are_permanent_and_say_what_to_check(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY") as caught:
        open_s3(s3_store.bucket, endpoint=running.s3_variables()["TINYMLAAS_S3_ENDPOINT"])
    assert not caught.value.retryable


def test_missing_credentials_are_permanent(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StoreError, match="credentials") as caught:
        open_s3("bucket", endpoint=running.s3_variables()["TINYMLAAS_S3_ENDPOINT"])
    assert not caught.value.retryable


def test_a_missing_bucket_is_made_or_named(s3_store: S3Store) -> None:
    endpoint = running.s3_variables()["TINYMLAAS_S3_ENDPOINT"]
    with pytest.raises(StoreError, match="no S3 bucket test-missing"):
        open_s3("test-missing", endpoint=endpoint, create=False)
    assert open_s3(s3_store.bucket, endpoint=endpoint, create=False).head(BLOB) is None


def test_an_endpoint_that_is_none_is_named() -> None:
    with pytest.raises(StoreError, match="not an endpoint"):
        open_s3("bucket", endpoint="not an endpoint")


def test_a_server_with_a_race_is_refused(s3_store: S3Store) -> None:
    """The probe sees a server that ignores If-None-Match, and one that lets late writers in."""

    def ignoring(**named: Any) -> Any:
        named.pop("IfNoneMatch", None)
        return s3_store.client.put_object(**named)

    with pytest.raises(StoreError, match="conditional writes"):
        check_conditional_writes(Wrapped(s3_store.client, put_object=ignoring), s3_store.bucket)
    found = s3_store.client.list_objects_v2(Bucket=s3_store.bucket, Prefix=".probe/")
    assert not found.get("Contents")


def test_a_lost_answer_during_the_probe_is_no_verdict(s3_store: S3Store) -> None:
    """The driver repeats what got no answer, so even the winner is told that it was too late."""

    def losing(**named: Any) -> Any:
        with contextlib.suppress(s3_store.client.exceptions.ClientError):
            s3_store.client.put_object(**named)
        return s3_store.client.put_object(**named)

    with pytest.raises(StoreUnavailable, match="try again"):
        check_conditional_writes(Wrapped(s3_store.client, put_object=losing), s3_store.bucket)


def test_a_server_that_is_away_is_worth_another_try(
    own_seaweedfs: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in own_seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    store = open_s3("tinymlaas", endpoint=own_seaweedfs.endpoint)
    store.put(BLOB, b"data")
    own_seaweedfs.kill()
    for call in (
        lambda: store.get(BLOB),
        lambda: store.put(BLOB, b"data"),
        lambda: store.put_if_absent(OUTCOME, b"{}"),
        lambda: store.head(BLOB),
        lambda: list(store.list()),
        lambda: store.delete(BLOB),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.retryable
    own_seaweedfs.start()
    assert store.get(BLOB) == b"data"  # it survived, and so did our connections
    assert store.delete(BLOB) is True
    with pytest.raises(ObjectNotFound):
        store.get(BLOB)
