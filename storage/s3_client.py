"""The S3 driver and its edge: how it is configured, and what its errors are to us."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from storage.port import StoreUnavailable
from tinymlaas.contract.errors import StoreError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

DEFAULT_REGION = "us-east-1"
_ATTEMPTS = 4
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_CONNECTIONS = 32
# Besides every 5xx: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_PASSING = {"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted"}
_PASSING_STATUS = {408, 425, 429}


class Driver:
    """boto3 for one server. Its client, which takes 100 ms to make, is made when it is needed."""

    def __init__(self, endpoint: str | None, region: str | None) -> None:
        """Remember the server; `endpoint` None is AWS itself.

        Raises:
            StoreError: boto3 is missing, or its configuration (AWS_PROFILE …) is malformed.
        """
        try:
            import boto3
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise StoreError("S3 needs boto3: pip install 'tinymlaas[farm]'") from error
        self._lock = threading.Lock()
        self._made: Any = None
        self.endpoint = endpoint
        try:
            self._session = boto3.Session()
            self.region = str(region or self._session.region_name or DEFAULT_REGION)
        except BotoCoreError as error:
            raise _misconfigured(error) from error

    def credentials(self) -> Any:
        """Return what boto3 finds (AWS_ACCESS_KEY_ID and so on) or None; temporary ones renew.

        Raises:
            StoreError: what it finds is malformed.
        """
        from botocore.exceptions import BotoCoreError

        try:
            return self._session.get_credentials()
        except BotoCoreError as error:
            raise _misconfigured(error) from error

    def client(self) -> Any:
        """Return the client, which threads may share.

        Raises:
            StoreError: endpoint or region are malformed.
        """
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            # Servers other than AWS know neither the newer checksums nor buckets as host names;
            # with a signed payload they check what arrives all the same.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": "path" if self.endpoint else "auto",
                "payload_signing_enabled": True,
            },
        )
        try:
            return self._session.client(
                "s3", endpoint_url=self.endpoint, region_name=self.region, config=config
            )
        except (ValueError, BotoCoreError) as error:
            raise StoreError(
                f"no S3 client for endpoint {self.endpoint}, region {self.region}: {error}"
            ) from error


def _misconfigured(error: Exception) -> StoreError:
    return StoreError(f"the AWS configuration cannot be used: {error}; see AWS_* variables")


class LateClient:
    """Passes for the client of a driver, which is made when the first of its calls is wanted."""

    def __init__(self, driver: Driver) -> None:
        """Stand for `driver`'s client."""
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver.client(), name)


@contextlib.contextmanager
def errors(verb: str, what: str) -> Iterator[None]:
    """Turn the driver's errors into ours, here at the edge.

    Raises:
        StoreUnavailable: the server was not reached, broke off, or asks to come back later.
        StoreError: whatever will be the same the next time.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    try:
        yield
    except ClientError as error:
        kind = StoreUnavailable if _passes(error) else StoreError
        raise kind(f"cannot {verb} {what} in the S3 store: {_said(error)}") from error
    except (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
        raise StoreUnavailable(f"cannot {verb} {what} in the S3 store: {error}") from error
    except BotoCoreError as error:
        raise StoreError(f"cannot {verb} {what} in the S3 store: {error}") from error


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer that is an error."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """Return S3's own name of an error, such as ``NoSuchKey``, or a bare status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Return whether the object is not there; a missing bucket is something else."""
    return code_of(error) in {"NoSuchKey", "404", "NotFound"}


def _passes(error: ClientError) -> bool:
    status = status_of(error)
    return status >= 500 or status in _PASSING_STATUS or code_of(error) in _PASSING


def _said(error: ClientError) -> str:
    code, status = code_of(error), status_of(error)
    message = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    said = f"{message or code} ({code}, HTTP {status})"
    if status == 403:
        said += "; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do"
    return said
