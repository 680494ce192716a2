"""An object store in memory: the supported fake, and a store for runs that keep nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from storage import port
from storage.keys import Key, checked_prefix
from storage.port import ObjectInfo, ObjectNotFound


class MemoryStore:
    """`ObjectStore` in a dictionary; safe to share between threads."""

    def __init__(self) -> None:
        self._objects: dict[Key, bytes] = {}
        self._written: dict[Key, datetime] = {}
        self._lock = threading.Lock()

    def put(self, key: Key, data: bytes) -> None:
        """See `ObjectStore.put`."""
        port.check_addressed(key, data)
        with self._lock:
            self._keep(key, data)

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        port.check_content(key, data)
        with self._lock:
            if key in self._objects:
                return False
            self._keep(key, data)
            return True

    def get(self, key: Key) -> bytes:
        """See `ObjectStore.get`."""
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise ObjectNotFound(f"the store has no object {key.path}")
        return port.checked_read(key, data)

    def head(self, key: Key) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        with self._lock:
            data = self._objects.get(key)
        return None if data is None else ObjectInfo(key, len(data))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        checked_prefix(prefix)
        with self._lock:
            found = [ObjectInfo(key, len(data)) for key, data in self._objects.items()]
        found.sort(key=lambda info: info.key)
        return iter([info for info in found if info.key.path.startswith(prefix)])

    def written(self, key: Key) -> datetime | None:
        """See `AgedStore.written`."""
        with self._lock:
            return self._written[key] if key in self._objects else None

    def aged(self, prefix: str = "") -> Iterator[tuple[ObjectInfo, datetime]]:
        """See `AgedStore.aged`."""
        for info in self.list(prefix):
            written = self.written(info.key)
            if written is not None:
                yield info, written

    def _keep(self, key: Key, data: bytes) -> None:
        self._objects[key] = bytes(data)
        self._written[key] = datetime.now(UTC)

    def delete(self, key: Key) -> bool:
        """See `ObjectStore.delete`."""
        with self._lock:
            return self._objects.pop(key, None) is not None
