"""A store whose requests somebody is told of: how long each took, and whether it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from storage.keys import Key
from storage.port import (
    ObjectDamaged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    StoreUnavailable,
)

# (operation, fault or None, seconds); a fault is "unavailable", "damaged" or "refused".
Observe = Callable[[str, str | None, float], None]


@dataclass(frozen=True)
class ObservedStore:
    """An `ObjectStore` that tells `observe` of each request to `inner`."""

    inner: ObjectStore
    observe: Observe

    def put(self, key: Key, data: bytes) -> None:
        """See `ObjectStore.put`."""
        with _Request(self.observe, "put"):
            self.inner.put(key, data)

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        with _Request(self.observe, "put_if_absent"):
            return self.inner.put_if_absent(key, data)

    def get(self, key: Key) -> bytes:
        """See `ObjectStore.get`."""
        with _Request(self.observe, "get"):
            return self.inner.get(key)

    def head(self, key: Key) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        with _Request(self.observe, "head"):
            return self.inner.head(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; its time lasts until whoever asked has all, or enough."""
        with _Request(self.observe, "list"):
            yield from self.inner.list(prefix)

    def delete(self, key: Key) -> bool:
        """See `ObjectStore.delete`."""
        with _Request(self.observe, "delete"):
            return self.inner.delete(key)


class _Request:
    """One request: tells of it when it is over."""

    def __init__(self, observe: Observe, operation: str) -> None:
        self._observe = observe
        self._operation = operation

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._observe(self._operation, _fault(error), time.monotonic() - self._began)


def _fault(error: BaseException | None) -> str | None:
    """Return what kind of failure `error` is; that something is not there is an answer."""
    if error is None or isinstance(error, ObjectNotFound) or not isinstance(error, Exception):
        return None
    if isinstance(error, StoreUnavailable):
        return "unavailable"
    return "damaged" if isinstance(error, ObjectDamaged) else "refused"
