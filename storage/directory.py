"""The object store in a directory: a laptop's bucket.

Any number of processes may share one directory; each object appears at once and whole. The root
and all folders in it are 0700, the files 0600.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from storage import files, port
from storage.keys import Key, checked_prefix
from storage.port import ObjectInfo, ObjectNotFound
from tinymlaas.contract.errors import StoreError

STALE_SECONDS = 3600.0
_SCRATCH = ".tmp"  # no key begins with a dot, so nothing in it is ever an object


class DirectoryStore:
    """`ObjectStore` under the folder `root`, which is created if it is missing.

    What killed writers have left behind is removed when a store is opened, once it is older than
    `stale_seconds`: no writer needs that long for bytes it already holds in memory.
    """

    def __init__(self, root: Path, *, stale_seconds: float = STALE_SECONDS) -> None:
        """Open the store.

        Raises:
            StoreError: the folder cannot be created or used.
        """
        self._root = root
        self._scratch = root / _SCRATCH
        with self._errors("open", "."):
            files.make_private_folder(self._scratch)
            self._remove_stale(stale_seconds)

    def put(self, key: Key, data: bytes) -> None:
        """See `ObjectStore.put`."""
        port.check_addressed(key, data)
        target = self.path(key)
        with self._errors("write", key.path):
            with contextlib.suppress(FileNotFoundError):
                if files.read(target) == data:
                    os.utime(target)  # young again, as any object that was written
                    return
            files.make_private_folder(target.parent)
            files.replace(target, data, self._scratch)

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        port.check_content(key, data)
        target = self.path(key)
        with self._errors("write", key.path):
            if target.exists():
                return False
            files.make_private_folder(target.parent)
            return files.create(target, data, self._scratch)

    def get(self, key: Key) -> bytes:
        """See `ObjectStore.get`."""
        with self._errors("read", key.path):
            try:
                data = files.read(self.path(key))
            except FileNotFoundError:
                raise ObjectNotFound(f"the store has no object {key.path}") from None
        return port.checked_read(key, data)

    def head(self, key: Key) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        with self._errors("read", key.path):
            size = _size(self.path(key))
        return None if size is None else ObjectInfo(key, size)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`. Files that are no objects of ours are passed over."""
        folder = self._root / checked_prefix(prefix).rpartition("/")[0]
        found = []
        with self._errors("list", prefix or "."):
            for path in _files_below(folder):
                relative = path.relative_to(self._root).as_posix()
                with contextlib.suppress(StoreError):
                    key = Key(relative)
                    size = _size(path)
                    if relative.startswith(prefix) and size is not None:
                        found.append(ObjectInfo(key, size))
        return iter(sorted(found, key=lambda info: info.key))

    def written(self, key: Key) -> datetime | None:
        """See `AgedStore.written`."""
        with self._errors("read", key.path):
            try:
                seconds = self.path(key).stat(follow_symlinks=False).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                return None
        return datetime.fromtimestamp(seconds, UTC)

    def aged(self, prefix: str = "") -> Iterator[tuple[ObjectInfo, datetime]]:
        """See `AgedStore.aged`."""
        for info in self.list(prefix):
            written = self.written(info.key)
            if written is not None:
                yield info, written

    def delete(self, key: Key) -> bool:
        """See `ObjectStore.delete`."""
        with self._errors("delete", key.path):
            try:
                os.unlink(self.path(key))
            except FileNotFoundError:
                return False
        return True

    def path(self, key: Key) -> Path:
        """Return where the object of `key` lies, to be shown to a person or opened for reading."""
        return self._root / key.path

    def _remove_stale(self, stale_seconds: float) -> None:
        oldest = time.time() - stale_seconds
        for path in self._scratch.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if path.stat(follow_symlinks=False).st_mtime < oldest:
                    path.unlink()

    @contextlib.contextmanager
    def _errors(self, verb: str, what: str) -> Iterator[None]:
        """Turn the file system's errors into ours, here at the edge."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            place = "" if what == "." else f"{what} in "
            raise StoreError(f"cannot {verb} {place}the store {self._root}: {reason}") from error


def _size(path: Path) -> int | None:
    """Size of a regular file in bytes, or None if there is none."""
    try:
        status = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _files_below(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # then it holds nothing
            raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            yield Path(parent, name)
