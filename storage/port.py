"""The object store port: what tinymlaas needs of a directory, of S3, of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from storage.keys import Key
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError


class ObjectNotFound(StoreError):
    """The store has no object under this key."""


class ObjectDamaged(StoreError):
    """An object's bytes are not those its content-addressed key promises."""


class StoreUnavailable(StoreError):
    """The store does not answer, or not now; the same call may succeed later."""

    retryable = True


@dataclass(frozen=True)
class ObjectInfo:
    """What `head` and `list` tell: the key and the size in bytes."""

    key: Key
    size: int


class ObjectStore(Protocol):
    """Immutable objects under typed keys. Objects are whole or absent, never partly visible.

    All methods raise StoreError when the store itself cannot be read or written.
    """

    def put(self, key: Key, data: bytes) -> None:
        """Store `data` under a content-addressed `key`; repeating it changes nothing.

        A damaged object under `key` is replaced.

        Raises:
            StoreError: `key` is not content-addressed, or `data` has another digest.
        """
        ...

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """Store `data` unless `key` exists; True for exactly one of any concurrent callers.

        Raises:
            StoreError: `key` is content-addressed and `data` has another digest.
        """
        ...

    def get(self, key: Key) -> bytes:
        """Return the whole object, its SHA-256 checked where `key` is content-addressed.

        Raises:
            ObjectNotFound: there is none.
            ObjectDamaged: the bytes are not those the key names.
        """
        ...

    def head(self, key: Key) -> ObjectInfo | None:
        """Return the object's size without reading it, or None if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix`, in the order of their paths."""
        ...

    def delete(self, key: Key) -> bool:
        """Remove the object; False if there was none."""
        ...


class AgedStore(ObjectStore, Protocol):
    """A store that knows when its objects were written; all of ours do. `put` of the same bytes
    again makes an object young again.
    """

    def written(self, key: Key) -> datetime | None:
        """Return when the object was last written (with a time zone), or None if there is none."""
        ...

    def aged(self, prefix: str = "") -> Iterator[tuple[ObjectInfo, datetime]]:
        """Yield what `list` does, each with when it was last written."""
        ...


def check_content(key: Key, data: bytes) -> None:
    """Refuse `data` that a content-addressed `key` does not name, before it is stored.

    Raises:
        StoreError: the digests differ.
    """
    if key.sha256 is not None and sha256(data) != key.sha256:
        raise StoreError(f"{key.path} cannot hold these bytes: their SHA-256 is {sha256(data)}")


def check_addressed(key: Key, data: bytes) -> None:
    """As `check_content`, and refuse keys that are not content-addressed.

    Raises:
        StoreError: `put` may not write under this key, or the digests differ.
    """
    if key.sha256 is None:
        raise StoreError(f"{key.path} is not content-addressed: write it with put_if_absent")
    check_content(key, data)


def checked_read(key: Key, data: bytes) -> bytes:
    """Return `data` as read from under `key`.

    Raises:
        ObjectDamaged: the key is content-addressed and the digests differ.
    """
    if key.sha256 is not None and sha256(data) != key.sha256:
        raise ObjectDamaged(f"{key.path} is damaged (SHA-256 {sha256(data)}): delete or rebuild it")
    return data
