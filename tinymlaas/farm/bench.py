"""The workbench of a task's own process; opened there, for stores do not travel.

What is imported here at the top is imported once by the fork server, not by each task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import boto3  # noqa: F401 - loaded here, before the forks

from storage.provenance import LOCAL_BUILDER, pool_builder
from storage.remote_signer import RemoteSigner
from storage.s3 import reopen_s3
from storage.signing import PublicKey
from tinymlaas.contract.errors import Failure
from tinymlaas.contract.progress import Silent
from tinymlaas.settings import Settings
from workers.build import LOCAL_POOL, Workbench
from workers.compilers import registry


@dataclass(frozen=True)
class Place:
    """What it takes to open a bench: compiler (None: none is needed), store, folders, and the
    socket of the signer of the compiler's pool. No key: that is the signer's alone.
    """

    compiler: str | None
    bucket: str
    endpoint: str | None
    own: Settings
    signer: Path | None


class NoSigner:
    """`Signer` of a pool that signs nothing."""

    @property
    def public_key(self) -> PublicKey:
        """See `Signer.public_key`."""
        raise Failure("this pool has no signer: it builds nothing")

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`."""
        raise Failure("this pool has no signer: it builds nothing")


def open_bench(place: Place) -> Workbench:
    """Return the bench. The store was probed when the worker began, and is not again.

    Raises:
        UsageError: the compiler has gone since.
    """
    name = place.compiler
    found = {} if name is None else {name: registry.one(name, place.own.compilers)}
    return Workbench(
        registry.Registry(found, {}),
        reopen_s3(place.bucket, endpoint=place.endpoint),
        NoSigner() if place.signer is None else RemoteSigner(place.signer),
        place.own.toolchain_cache,
        Silent(),
        builder=LOCAL_BUILDER if name is None else pool_builder(name),
        pool=LOCAL_POOL if name is None else name,
    )
