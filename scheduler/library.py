"""The object store as the scheduler uses it; what it has read lately is not read again."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from scheduler.past_races import keep_race, past_races
from scheduler.planning import inspection_facts
from scheduler.ports import Facts, NotRemembered
from storage import keys
from storage.dsse import MAX_ENVELOPE_BYTES
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from storage.stored_zip import MAX_ARCHIVE_BYTES
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import MAX_FILE_BYTES, CompileOrder, JobEnded, Payload
from tinymlaas.contract.pool_messages import PoolDescription
from tinymlaas.contract.report import CompileResult
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES

_INSPECTIONS, _OUTCOMES, _FILES, _CORES = 256, 2048, 8192, 16
_FILES_AT_ONCE = 4  # that are read whole: uploads up to `MAX_FILE_BYTES`, archives
_ENVELOPES = 64  # of a module that are given to a tenant where nobody knows who signs
# Retention may remove what we remember; it leaves alone what was used within far longer than this.
_REMEMBERED_SECONDS = 60.0

T = TypeVar("T")


class _Recent(Generic[T]):
    """The latest values by name, each for a while; safe to share between threads."""

    def __init__(self, size: int, now: Callable[[], float]) -> None:
        self._size = size
        self._now = now
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, name: str) -> T | None:
        with self._lock:
            at, value = self._values.get(name, (0.0, None))
        return value if value is not None and self._now() - at < _REMEMBERED_SECONDS else None

    def put(self, name: str, value: T) -> None:
        with self._lock:
            self._values.pop(name, None)
            self._values[name] = (self._now(), value)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


class _Unasked:
    """An `ObjectStore` that is not asked anything."""

    def __getattr__(self, name: str) -> Any:
        raise NotRemembered


class StoreLibrary:
    """`scheduler.ports.Library` over an object store."""

    def __init__(
        self,
        store: ObjectStore,
        now: Callable[[], float] = time.monotonic,
        signers: Callable[[str], Collection[str]] | None = None,
    ) -> None:
        """Read and write `store`, which must be thread-safe.

        `signers` gives the fingerprints of the keys by which a pool signs now: a module that none
        of them has signed is no answer, for a worker of that pool has to sign it anew. Without it,
        or for a pool of which it knows no key, any module is one.
        """
        self._store = store
        self._signers = signers
        self._files: _Recent[bool] = _Recent(_FILES, now)
        self._shared: _Recent[bool] = _Recent(_FILES, now)
        self._given: _Recent[int] = _Recent(_FILES, now)
        self._rotations = 1
        self._reading: AbstractContextManager[object] = threading.Semaphore(_FILES_AT_ONCE)
        self._inspections: _Recent[Inspection] = _Recent(_INSPECTIONS, now)
        self._outcomes: _Recent[Outcome] = _Recent(_OUTCOMES, now)
        self._races: _Recent[list[RaceRecord]] = _Recent(_CORES, now)

    def remembered(self) -> StoreLibrary:
        """Return the same, but that it raises `NotRemembered` where it would have to ask the store:
        what is read lately is then known without waiting.
        """
        found = copy.copy(self)
        found._store = _Unasked()
        found._reading = contextlib.nullcontext()
        return found

    def keep(self, tenant: str, files: Sequence[bytes]) -> None:
        """See `Library.keep`."""
        for data in files:
            key = keys.tenant_blob(tenant, sha256(data))
            if self._files.get(key.path) is None:
                self._store.put(key, data)
                self._files.put(key.path, True)

    def look(self, tenant: str, job_id: str, order: CompileOrder, service: str) -> Facts:
        """See `Library.look`."""
        lacking = [each for each in order.payloads() if not self._has(tenant, each)]
        if lacking:
            missing = tuple(f"{each.filename} {each.digest[:12]}…" for each in lacking)
            return Facts(missing=missing)
        inspection = None
        if order.float_races:
            inspection = self._inspection(order.model.digest, inspection_facts(order, service))
        for each in _worked_on(order, inspected=inspection is not None):
            self._share(tenant, each)
        if inspection is not None and order.calibration is None:  # nothing has to be prepared
            return Facts(inspection=inspection)
        return Facts(record=self.record(tenant, job_id), inspection=inspection)

    def record(self, tenant: str, job_id: str) -> JobEnded | None:
        """See `Library.record`. One that cannot be read is none, and is written anew."""
        try:
            return self._record(tenant, job_id)
        except (ObjectNotFound, ValidationError):
            return None

    def _record(self, tenant: str, job_id: str) -> JobEnded:
        return JobEnded.model_validate_json(self._store.get(keys.job_result(tenant, job_id)))

    def _has(self, tenant: str, payload: Payload) -> bool:
        """Return whether `tenant` has uploaded these very bytes.

        Only that gives it what is known of them. That there is an object proves nothing: whoever
        knows another's digest can put anything in that place of its own. So it is read, whole.
        """
        key = keys.tenant_blob(tenant, payload.digest)
        if self._files.get(key.path) is None:
            found = self._store.head(key)
            if found is None or found.size > MAX_FILE_BYTES:
                return False
            try:
                with self._reading:
                    self._store.get(key)
            except (ObjectNotFound, ObjectDamaged):
                return False
            self._files.put(key.path, True)
        return True

    def _share(self, tenant: str, payload: Payload) -> None:
        """Copy a file that `tenant` has proven to hold to where workers may read it by its digest:
        what is below ``tenants/`` is none of theirs.
        """
        key = keys.blob(payload.digest)
        if self._shared.get(key.path) is None:
            with self._reading:
                self._store.put(key, self._store.get(keys.tenant_blob(tenant, payload.digest)))
            self._shared.put(key.path, True)

    def _inspection(self, model: str, facts: str) -> Inspection | None:
        key = keys.model_summary(model, facts[:40])
        found = self._inspections.get(key.path)
        if found is not None:
            return found
        try:
            found = Inspection.model_validate_json(self._told(key))
        except (ObjectNotFound, ValidationError):
            return None
        if self._store.head(keys.blob(found.static_digest)) is None:
            return None
        self._inspections.put(key.path, found)
        return found

    def outcomes(self, actions: Mapping[str, str]) -> Mapping[str, Outcome]:
        """See `Library.outcomes`. One that is damaged, of something else than its place says, or
        whose module is lost or has to be signed anew, counts as none.
        """
        found = {action: self._outcome(pool, action) for action, pool in actions.items()}
        return {action: outcome for action, outcome in found.items() if outcome is not None}

    def _outcome(self, pool: str, action: str) -> Outcome | None:
        key = keys.action_outcome(pool, action)
        found = self._outcomes.get(key.path)
        if found is not None:
            return found
        try:
            found = Outcome.model_validate_json(self._told(key))
        except (ObjectNotFound, ValidationError):
            return None
        if not found.answers(pool, action):
            return None
        archive = found.archive_digest
        if archive is not None and not self._deliverable(pool, archive):
            return None
        self._outcomes.put(key.path, found)
        return found

    def _deliverable(self, pool: str, archive: str) -> bool:
        """Return whether a module is there, signed so that whoever fetches it can verify it."""
        if not self._fits(keys.module_archive(archive), MAX_ARCHIVE_BYTES):
            return False
        places = self._signed(pool, archive)
        if not places or any(self._store.head(place) is not None for place in places):
            return True
        self._rotations += 1  # what tenants have been given lacks the envelope that is made now
        return False

    def _signed(self, pool: str, archive: str) -> list[keys.Key]:
        """Return where envelopes by the keys of `pool` are; none if no key of it is known."""
        signers = self._signers(pool) if self._signers is not None and pool else ()
        return [keys.module_envelope(archive, signer) for signer in sorted(signers)]

    def _told(self, key: keys.Key) -> bytes:
        """Return what a worker has stored, unless it is larger than all that it could tell us.

        Raises:
            ObjectNotFound: nothing is there that is read.
        """
        if not self._fits(key, MAX_TRUSTED_BYTES):
            raise ObjectNotFound(f"{key.path} is not there, or too large to be read")
        return self._store.get(key)

    def _fits(self, key: keys.Key, most: int) -> bool:
        """Return whether an object is there, and of `most` bytes at most."""
        found = self._store.head(key)
        return found is not None and found.size <= most

    def pools(self, names: Sequence[str]) -> Sequence[PoolDescription]:
        """See `Library.pools`. One that is damaged is not known."""
        found = []
        for name in names:
            with contextlib.suppress(ObjectNotFound, ValidationError):
                data = self._store.get(keys.pool_description(name))
                found.append(PoolDescription.model_validate_json(data))
        return found

    def remember(self, told: PoolDescription) -> None:
        """See `Library.remember`."""
        key, data = keys.pool_description(told.pool), told.model_dump_json().encode()
        if self._store.put_if_absent(key, data):
            return
        with contextlib.suppress(ObjectNotFound):
            if self._store.get(key) == data:
                return
        self._store.delete(key)  # a compiler was upgraded
        self._store.put_if_absent(key, data)

    def races(self, core: str) -> Sequence[RaceRecord]:
        """See `Library.races`."""
        found = self._races.get(core)
        if found is None:
            try:
                found = past_races(core, self._store)
            except StoreError:
                return ()
            self._races.put(core, found)
        return found

    def keep_race(self, core: str, record: RaceRecord) -> None:
        """See `Library.keep_race`."""
        keep_race(core, record, self._store)

    def save(self, record: JobEnded, log: bytes | None = None) -> JobEnded:
        """See `Library.save`; StoreError if it is to be called again."""
        tenant, job_id = record.data.tenant, record.data.job_id
        if log is not None:
            self._store.put(keys.blob_of(log), log)
        if record.data.log is not None:
            self._give_log(tenant, record.data.log)
        result = record.data.result
        if result is not None and result.module is not None:
            self._give(tenant, keys.Key(result.module).sha256 or "", _pool_of(result))
        if self._store.put_if_absent(keys.job_result(tenant, job_id), record.encoded()):
            return record
        try:
            return self._record(tenant, job_id)
        except ObjectNotFound:
            raise StoreError(f"the record of job {job_id} is there and is not") from None
        except ValidationError as error:  # damaged, or of another version: nobody can be told it
            self._store.delete(keys.job_result(tenant, job_id))
            reason = f"the record of job {job_id} cannot be read; it is written anew"
            raise StoreError(reason) from error

    def _give(self, tenant: str, digest: str, pool: str) -> None:
        """Copy a module to where its tenant finds it, the archive last: who sees it sees all.

        One that is no longer whole is not given; who fetches it is told that it is gone. Any worker
        can put envelopes beside it: of a pool whose keys are known no others are given.
        """
        archive = keys.module_archive(digest)
        own = keys.given(tenant, archive)
        rotations = self._rotations
        if self._given.get(own.path) == rotations:
            return
        with contextlib.suppress(ObjectNotFound, ObjectDamaged):
            listed = islice(self._store.list(keys.envelopes(digest)), _ENVELOPES)
            for envelope in self._signed(pool, digest) or [each.key for each in listed]:
                place = keys.given(tenant, envelope)
                if self._store.head(place) is None and self._fits(envelope, MAX_ENVELOPE_BYTES):
                    self._store.put_if_absent(place, self._store.get(envelope))
            if self._store.head(own) is None:
                if not self._fits(archive, MAX_ARCHIVE_BYTES):
                    return
                with self._reading:
                    self._store.put(own, self._store.get(archive))
            self._given.put(own.path, rotations)

    def _give_log(self, tenant: str, digest: str) -> None:
        with contextlib.suppress(ObjectNotFound, ObjectDamaged):
            self._store.put(keys.tenant_log(tenant, digest), self._told(keys.blob(digest)))


def _pool_of(result: CompileResult) -> str:
    """Return the pool that has built the module of `result`; its compiler's name is the pool's."""
    return "" if result.chosen is None else result.candidates[result.chosen].compiler


def _worked_on(order: CompileOrder, *, inspected: bool) -> list[Payload]:
    """Return the files of `order` that workers will ask for."""
    found = []
    if order.calibration is not None or not inspected:
        found.append(order.model)
    if order.calibration is not None:
        found.append(order.calibration.samples)
    if order.data is not None:
        found.append(order.data)
    return found
