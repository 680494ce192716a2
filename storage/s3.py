"""The object store in an S3 bucket: the farm's. By boto3; small requests go past it (`s3_direct`).

Writes whose key names their content are plain PUTs, for it does not matter who is first; all
others are conditional (If-None-Match). The SHA-256 is checked on every read of a content-addressed
key, and the server checks that of every upload, which is part of the request's signature.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from storage import port
from storage.keys import Key, checked_prefix
from storage.port import ObjectInfo, ObjectNotFound, StoreUnavailable
from storage.s3_client import Driver, LateClient, code_of, errors, is_missing, status_of
from storage.s3_direct import DirectS3, direct_for
from storage.s3_probe import check_conditional_writes
from tinymlaas.contract.errors import StoreError

PART_BYTES = 16 << 20  # S3 asks for 5 MiB at least in all parts but the last
_PARTS_AT_ONCE = 4
_PIECE_BYTES = 64 << 10
_CONFLICT_TRIES = 8
_CONFLICT_SECONDS = 0.05
_READ_TRIES = 3
_URL_SECONDS = range(1, 7 * 24 * 3600 + 1)  # what signature version 4 allows
_WRITER = "writer"


def open_s3(
    bucket: str, *, endpoint: str | None = None, region: str | None = None, create: bool = True
) -> S3Store:
    """Return the store in `bucket`, made if it is missing, on a server found to keep its word.

    `endpoint` None is AWS; credentials are boto3's affair (AWS_ACCESS_KEY_ID and so on).

    Raises:
        StoreUnavailable: the server does not answer.
        StoreError: it refuses us, has no such bucket, or does not do conditional writes.
    """
    driver = Driver(endpoint, region)
    client = driver.client()
    _open_bucket(client, bucket, create=create)
    check_conditional_writes(client, bucket)
    return S3Store(client, bucket, direct=direct_for(driver, bucket))


def reopen_s3(bucket: str, *, endpoint: str | None = None, region: str | None = None) -> S3Store:
    """Return the store that `open_s3` has opened before on this server: nothing is asked of it.

    A process that lives for one task has it within 10 ms: boto3's client is made when it is needed.

    Raises:
        StoreError: boto3 is missing.
    """
    driver = Driver(endpoint, region)
    return S3Store(LateClient(driver), bucket, direct=direct_for(driver, bucket))


class S3Store:
    """`ObjectStore` in a bucket; safe to share between threads. Made by `open_s3`."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        part_bytes: int = PART_BYTES,
        direct: DirectS3 | None = None,
    ) -> None:
        """Use `client`, a boto3 S3 client; larger objects than `part_bytes` go up in parts.

        What `direct` can do is not asked of `client`, which is slower.
        """
        self.client = client
        self.bucket = bucket
        self._part_bytes = part_bytes
        self._direct = direct

    def put(self, key: Key, data: bytes) -> None:
        """See `ObjectStore.put`. Repeating it makes the object young again for `gc`."""
        port.check_addressed(key, data)
        with errors("write", key.path):
            if len(data) > self._part_bytes:
                self._put_in_parts(key, bytes(data))
            elif not self._put_directly(key, bytes(data)):
                self.client.put_object(Bucket=self.bucket, Key=key.path, Body=bytes(data))

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        port.check_content(key, data)
        writer = secrets.token_hex(16)
        for number in range(_CONFLICT_TRIES):
            with errors("write", key.path):
                answer = self._put_conditionally(key, bytes(data), writer, repeated=number > 0)
            if answer is not None:
                return answer
            time.sleep(_CONFLICT_SECONDS * (number + 1))
        raise StoreUnavailable(f"{key.path} is being written by others without end; try again")

    def get(self, key: Key) -> bytes:
        """See `ObjectStore.get`."""
        for left in reversed(range(_READ_TRIES)):
            try:
                return port.checked_read(key, self._read(key))
            except (StoreUnavailable, port.ObjectDamaged):  # broken off, or damaged on the way
                if not left:
                    raise
        raise AssertionError  # pragma: no cover

    def pieces(self, key: Key) -> tuple[int, Iterator[bytes]]:
        """Return the object's size and its bytes in pieces, which nobody has checked.

        Raises:
            ObjectNotFound: there is none.
        """
        from botocore.exceptions import ClientError

        with errors("read", key.path):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=key.path)
            except ClientError as error:
                if is_missing(error):
                    raise ObjectNotFound(f"the store has no object {key.path}") from None
                raise

        def read() -> Iterator[bytes]:
            with errors("read", key.path), contextlib.closing(answer["Body"]) as body:
                yield from body.iter_chunks(_PIECE_BYTES)

        return int(answer["ContentLength"]), read()

    def head(self, key: Key) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        known = self._direct.head(key.path) if self._direct else None
        if known is not None:
            return ObjectInfo(key, known.length) if known.status == 200 else None
        answer = self._head(key)
        return None if answer is None else ObjectInfo(key, int(answer["ContentLength"]))

    def written(self, key: Key) -> datetime | None:
        """See `AgedStore.written`."""
        answer = self._head(key)
        return None if answer is None else answer["LastModified"]

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`. Objects that are none of ours are passed over."""
        return (info for info, _ in self._list(checked_prefix(prefix)))

    def aged(self, prefix: str = "") -> Iterator[tuple[ObjectInfo, datetime]]:
        """See `AgedStore.aged`."""
        return self._list(checked_prefix(prefix))

    def abort_uploads(self, before: datetime) -> int:
        """Give up uploads in parts begun earlier than `before`; return how many there were.

        Their writers were killed: what they have sent takes room and is seen by nobody.
        """
        pages = self.client.get_paginator("list_multipart_uploads")
        count = 0
        with errors("tidy", f"the bucket {self.bucket}"):
            for page in pages.paginate(Bucket=self.bucket):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before:
                        place = {"Bucket": self.bucket, "Key": upload["Key"]}
                        self._abort(place, upload["UploadId"])
                        count += 1
        return count

    def delete(self, key: Key) -> bool:
        """See `ObjectStore.delete`. Of callers at the same moment several may be told True."""
        if self._head(key) is None:
            return False
        with errors("delete", key.path):
            self.client.delete_object(Bucket=self.bucket, Key=key.path)
        return True

    def download_url(self, key: Key, seconds: int) -> str:
        """Return a URL by which anybody may read the object for `seconds` (at most a week).

        Raises:
            StoreError: `seconds` is out of range, or there are no credentials to sign with.
        """
        return self._url("get_object", key, seconds)

    def upload_url(self, key: Key, seconds: int) -> str:
        """Return a URL to which anybody may PUT the object of a content-addressed key.

        What arrives is not checked then, but on every read; a wrong object is never used.

        Raises:
            StoreError: the key is not content-addressed, or as `download_url`.
        """
        if key.sha256 is None:
            raise StoreError(f"{key.path} is not content-addressed: nobody else may write it")
        return self._url("put_object", key, seconds)

    def _url(self, method: str, key: Key, seconds: int) -> str:
        if seconds not in _URL_SECONDS:
            raise StoreError(f"a URL may be valid for 1 to {_URL_SECONDS[-1]} s, not {seconds}")
        named = {"Bucket": self.bucket, "Key": key.path}
        with errors("sign a URL for", key.path):
            return str(self.client.generate_presigned_url(method, named, ExpiresIn=seconds))

    def _head(self, key: Key) -> Any:
        from botocore.exceptions import ClientError

        with errors("read", key.path):
            try:
                return self.client.head_object(Bucket=self.bucket, Key=key.path)
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def _read(self, key: Key) -> bytes:
        from botocore.exceptions import ClientError

        missing = f"the store has no object {key.path}"
        known = self._direct.get(key.path) if self._direct else None
        if known is not None and known.status == 200:
            return known.body
        if known is not None and known.status == 404:
            raise ObjectNotFound(missing)
        with errors("read", key.path):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=key.path)
                return bytes(answer["Body"].read())
            except ClientError as error:
                if is_missing(error):
                    raise ObjectNotFound(missing) from None
                raise

    def _put_directly(self, key: Key, data: bytes) -> bool:
        answer = self._direct.put(key.path, data) if self._direct else None
        return answer is not None and answer.status == 200

    def _list(self, prefix: str) -> Iterator[tuple[ObjectInfo, datetime]]:
        pages = self.client.get_paginator("list_objects_v2")
        with errors("list", prefix or "the objects"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    key = _key_or_none(found["Key"])
                    if key is not None:
                        yield ObjectInfo(key, int(found["Size"])), found["LastModified"]

    def _put_conditionally(
        self, key: Key, data: bytes, writer: str, *, repeated: bool
    ) -> bool | None:
        """Return True if we wrote it, False if it was there, None if we should try again."""
        from botocore.exceptions import ClientError

        if self._direct is not None:
            headers = {"if-none-match": "*", f"x-amz-meta-{_WRITER}": writer}
            known = self._direct.put(key.path, data, headers)
            if known is not None and known.status == 412:
                return repeated and self._is_ours(key, writer)
            if known is not None:
                return True if known.status == 200 else None
            repeated = True  # it may have been written all the same
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=key.path,
                Body=data,
                IfNoneMatch="*",
                Metadata={_WRITER: writer},
            )
        except ClientError as error:
            if status_of(error) == 409:
                return None
            if status_of(error) != 412:
                raise
            retried = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
            return (repeated or retried) and self._is_ours(key, writer)
        return True

    def _is_ours(self, key: Key, writer: str) -> bool:
        """Whether a write of ours, whose answer was lost, is what is in our way now."""
        answer = self._head(key)
        return answer is not None and answer.get("Metadata", {}).get(_WRITER) == writer

    def _put_in_parts(self, key: Key, data: bytes) -> None:
        """Upload in parts, several at once; the object appears whole with the last call."""
        place = {"Bucket": self.bucket, "Key": key.path}
        upload = self.client.create_multipart_upload(**place)["UploadId"]
        view = memoryview(data)

        def send(number: int) -> dict[str, Any]:
            begin = (number - 1) * self._part_bytes
            part = bytes(view[begin : begin + self._part_bytes])
            sent = self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        try:
            count = -(-len(data) // self._part_bytes)
            with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
                parts = list(pool.map(send, range(1, count + 1)))
            self.client.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self._abort(place, upload)
            raise

    def _abort(self, place: dict[str, str], upload: str) -> None:
        """Give the parts' room back; whether that works or not, the first error is what counts."""
        from botocore.exceptions import BotoCoreError, ClientError

        with contextlib.suppress(BotoCoreError, ClientError):
            self.client.abort_multipart_upload(**place, UploadId=upload)


def _key_or_none(path: str) -> Key | None:
    try:
        return Key(path)
    except StoreError:
        return None


def _open_bucket(client: Any, bucket: str, *, create: bool) -> None:
    from botocore.exceptions import ClientError

    with errors("open", f"the bucket {bucket}"):
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if status_of(error) == 403:  # who may not list may write all the same: it is tried next
                return
            if status_of(error) != 404:
                raise
            if not create:
                raise StoreError(f"there is no S3 bucket {bucket}: create it") from error
            _create_bucket(client, bucket)


def _create_bucket(client: Any, bucket: str) -> None:
    from botocore.exceptions import ClientError

    region = client.meta.region_name
    named: dict[str, Any] = {"Bucket": bucket}
    if region != "us-east-1":  # the one region that S3 does not want to be named
        named["CreateBucketConfiguration"] = {"LocationConstraint": region}
    try:
        client.create_bucket(**named)
    except ClientError as error:  # another process was faster
        if code_of(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise
