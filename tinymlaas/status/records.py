"""What has ended, from the store: records, logs, modules; a few reads at a time."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from pydantic import ValidationError

from storage import dsse, keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.messages import JobEnd, JobEnded
from tinymlaas.status.http import Busy

READS, DOWNLOADS = 6, 4  # at a time
_REMEMBERED = 64
_WAIT_SECONDS = 2.0
_MOST_LOG = 8 << 20
_TAIL = 16_000  # bytes of a log that a page shows
_MODULE = re.compile(r"tenants/[a-z0-9-]+/modules/([0-9a-f]{64})/module\.zip")
_BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


K = TypeVar("K")
V = TypeVar("V")


class Storage(ObjectStore, Protocol):
    """An object store that also gives an object piece by piece."""

    def pieces(self, key: keys.Key) -> tuple[int, Iterator[bytes]]:
        """Return the object's size and its bytes in pieces.

        Raises:
            ObjectNotFound: there is none.
        """
        ...


@dataclass(frozen=True)
class Download:
    """A file on its way: its plain `filename`, its size in bytes, and its pieces."""

    filename: str
    length: int
    pieces: Iterator[bytes]


class Pieces(Iterator[bytes]):
    """Pieces whose place among the downloads is given back once, by `close`, sent or not."""

    def __init__(self, inner: Iterator[bytes], done: Callable[[], None]) -> None:
        """Give what `inner` gives; call `done` at the end of it."""
        self._inner = inner
        self._done: Callable[[], None] | None = done

    def __next__(self) -> bytes:
        return next(self._inner)

    def close(self) -> None:
        """Send no more."""
        done, self._done = self._done, None
        if done is not None:
            done()


class Records:
    """Reads `store`, which must be thread-safe; remembers what will not change any more."""

    def __init__(self, store: Storage) -> None:
        """Read nothing yet."""
        self._store = store
        self._guard = threading.Lock()
        self._ends: OrderedDict[tuple[str, str], JobEnded] = OrderedDict()
        self._tails: OrderedDict[str, str] = OrderedDict()
        self._reading = threading.Semaphore(READS)
        self._sending = threading.Semaphore(DOWNLOADS)

    def known(self, tenant: str, job_id: str) -> JobEnded | None:
        """Return how a job has ended if that was read before."""
        with self._guard:
            return self._ends.get((tenant, job_id))

    def end(self, tenant: str, job_id: str) -> JobEnded | None:
        """Return how a job has ended, None if nothing is known of that.

        Raises:
            Busy: too much is being read.
            StoreError: the store cannot be read.
        """
        if (known := self.known(tenant, job_id)) is not None:
            return known
        try:
            with self._place():
                data = self._store.get(keys.job_result(tenant, job_id))
            found = JobEnded.model_validate_json(data)
        except (ObjectNotFound, ValidationError):
            return None
        _remember(self._guard, self._ends, (tenant, job_id), found)
        return found

    def tail(self, end: JobEnd) -> str | None:
        """Return the end of the log of what ended a job badly, None if there is none (any more).

        Raises:
            Busy, StoreError: see `end`.
        """
        if end.log is None:
            return None
        with self._guard:
            known = self._tails.get(end.log)
        if known is not None:
            return known
        key = keys.tenant_log(end.tenant, end.log)
        try:
            with self._place():
                found = self._store.head(key)
                if found is None or found.size > _MOST_LOG:
                    return None
                data = self._store.get(key)
        except ObjectNotFound:
            return None
        text = data[-_TAIL:].decode(errors="replace")
        cut = text.partition("\n")[2] if len(data) > _TAIL else text
        _remember(self._guard, self._tails, end.log, cut)
        return cut

    def module(self, end: JobEnd) -> Download | None:
        """Return a job's module archive, None if it has none (any more).

        The bytes are hashed on the way: the last piece is held back until they prove to be those
        that the key names, so what is damaged never arrives whole.

        Raises:
            Busy: too many downloads are under way.
            StoreError: the store cannot be read, or, from the pieces, they are damaged.
        """
        digest = _digest(end)
        if digest is None:
            return None
        key = keys.given(end.tenant, keys.module_archive(digest))
        if not self._sending.acquire(blocking=False):
            raise Busy
        try:
            length, pieces = self._store.pieces(key)
        except ObjectNotFound:
            self._sending.release()
            return None
        except BaseException:
            self._sending.release()
            raise
        sent = Pieces(_proven(pieces, digest), self._sending.release)
        return Download(f"{_filename(end)}.zip", length, sent)

    def provenance(self, end: JobEnd) -> Download | None:
        """Return the module's signed provenance by all who have signed it, None if there is none.

        Raises:
            Busy, StoreError: see `end`.
        """
        digest = _digest(end)
        if digest is None:
            return None
        found = []
        with self._place():
            for info in islice(self._store.list(keys.envelopes(digest)), dsse.MAX_ENVELOPES):
                with contextlib.suppress(ObjectNotFound):
                    if info.size <= dsse.MAX_ENVELOPE_BYTES:
                        found.append(self._store.get(keys.given(end.tenant, info.key)))
        if not found:
            return None
        data = dsse.join(found)
        return Download(f"{_filename(end)}.zip.intoto.jsonl", len(data), iter((data,)))

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if not self._reading.acquire(timeout=_WAIT_SECONDS):
            raise Busy
        try:
            yield
        finally:
            self._reading.release()


def _remember(guard: threading.Lock, known: OrderedDict[K, V], key: K, value: V) -> None:
    with guard:
        known[key] = value
        while len(known) > _REMEMBERED:
            known.popitem(last=False)


def _proven(pieces: Iterator[bytes], digest: str) -> Iterator[bytes]:
    """Yield the pieces, the last one only if all of them have this SHA-256."""
    hashed, last = hashlib.sha256(), b""
    for piece in pieces:
        if last:
            yield last
        hashed.update(piece)
        last = piece
    if hashed.hexdigest() != digest:
        raise ObjectDamaged(f"module {digest[:12]}… is damaged in the store: its end is not sent")
    yield last


def _digest(end: JobEnd) -> str | None:
    found = _MODULE.fullmatch(end.result.module or "") if end.result else None
    return found.group(1) if found else None


def _filename(end: JobEnd) -> str:
    """Return the name of the file without its ending; a record may say anything."""
    name = end.order.name if end.order and _NAME.fullmatch(end.order.name) else "module"
    return f"{name}-{end.board}" if end.board and _BOARD.fullmatch(end.board) else name
