"""Composition of `tinymlaas store`: the farm's bucket if there is a farm, else the own folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from storage.directory import DirectoryStore
from storage.retention import Swept, sweep
from tinymlaas.contract.store_report import StoreReport
from tinymlaas.farm_settings import BUCKET_VARIABLE, ENDPOINT_VARIABLE
from tinymlaas.settings import from_environment


def collect(
    older_than: timedelta,
    *,
    dry_run: bool = False,
    local: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> StoreReport:
    """Remove what is older than `older_than` and needed by nothing that is kept.

    The store is the S3 bucket that `environment` names, or, if it names none or with `local`, the
    laptop's folder.

    Raises:
        UsageError: `older_than` is too short.
        StoreError: the store cannot be read or written.
    """
    now = datetime.now(UTC)
    bucket = environment.get(BUCKET_VARIABLE)
    if local or not bucket:
        folder = from_environment(environment).store
        found = sweep(DirectoryStore(folder), older_than, now, dry_run=dry_run)
        return _report(str(folder), found, dry_run, 0)
    from storage.s3 import reopen_s3

    store = reopen_s3(bucket, endpoint=environment.get(ENDPOINT_VARIABLE) or None)
    found = sweep(store, older_than, now, dry_run=dry_run)
    aborted = 0 if dry_run else store.abort_uploads(now - older_than)
    return _report(f"s3://{bucket}", found, dry_run, aborted)


def _report(name: str, found: Swept, dry_run: bool, aborted: int) -> StoreReport:
    return StoreReport(
        store=name,
        dry_run=dry_run,
        removed=len(found.removed),
        removed_bytes=found.removed_bytes,
        kept=found.kept,
        kept_bytes=found.kept_bytes,
        aborted_uploads=aborted,
        keys=tuple(key.path for key in found.removed),
    )
