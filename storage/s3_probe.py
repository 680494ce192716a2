"""Does this S3 server keep its word? Conditional writes decide who is first; some servers race.

A server without them, or with a race in them, would let two workers both believe that they stored
an outcome first. So it is tried before the first use, with writers that start together.
"""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from storage.port import StoreUnavailable
from storage.s3_client import errors, status_of
from tinymlaas.contract.errors import StoreError

_WRITERS = 4
_ROUNDS = 2
_FOLDER = ".probe"  # no key of the layout begins with a dot


def check_conditional_writes(client: Any, bucket: str) -> None:
    """Return if of concurrent conditional PUTs exactly one wins, in each of a few rounds.

    Raises:
        StoreError: the server does not do that and must not be used.
        StoreUnavailable: it does not answer.
    """
    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in range(_ROUNDS):
            _round(client, bucket, pool)


def _round(client: Any, bucket: str, pool: ThreadPoolExecutor) -> None:
    key = f"{_FOLDER}/{secrets.token_hex(16)}"
    line = threading.Barrier(_WRITERS)

    def write(number: int) -> bool:
        line.wait()
        return _put(client, bucket, key, b"%d" % number)

    with errors("probe", f"the bucket {bucket}"):
        try:
            won = [number for number, first in enumerate(pool.map(write, range(_WRITERS))) if first]
            held = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            late = _put(client, bucket, key, b"late")
        finally:
            client.delete_object(Bucket=bucket, Key=key)
    if not won and not late:  # the winner's answer was lost, and it was told of its own object
        raise StoreUnavailable("the S3 server loses answers just now; try again")
    if len(won) != 1 or late or held != b"%d" % won[0]:
        raise StoreError(
            f"the S3 server does not keep conditional writes (If-None-Match): of {_WRITERS} "
            f"writers at once {len(won)} won, {'and' if late else 'but not'} one that came later; "
            "use a server that does, such as AWS S3 or SeaweedFS"
        )


def _put(client: Any, bucket: str, key: str, data: bytes) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        if status_of(error) in {409, 412}:
            return False
        raise
    return True
