"""The workbench of a task's own process; opened there, for stores and keys do not travel.

What is imported here at the top is imported once by the fork server, not by each task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import boto3  # noqa: F401 - loaded here, before the forks

from storage.s3 import reopen_s3
from tinymlaas.contract.progress import Silent
from tinymlaas.keys import own_key
from tinymlaas.settings import Settings
from workers.build import Workbench
from workers.compilers import registry


@dataclass(frozen=True)
class Place:
    """What it takes to open a bench: compiler (None: none is needed), store, folders."""

    compiler: str | None
    bucket: str
    endpoint: str | None
    own: Settings


def open_bench(place: Place) -> Workbench:
    """Return the bench. The store was probed when the worker began, and is not again.

    Raises:
        StoreError: the signing key cannot be read.
        UsageError: the compiler has gone since.
    """
    name = place.compiler
    found = {} if name is None else {name: registry.one(name, place.own.compilers)}
    store = reopen_s3(place.bucket, endpoint=place.endpoint)
    signer = own_key(place.own).signer
    cache: Path = place.own.toolchain_cache
    return Workbench(registry.Registry(found, {}), store, signer, cache, Silent())
