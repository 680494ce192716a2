"""Past races in the store: a hint for the next, never needed, so what is damaged is passed over."""

from __future__ import annotations

from pydantic import ValidationError

from scheduler.history import merged
from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.history import RaceRecord


def past_races(core: str, store: ObjectStore) -> list[RaceRecord]:
    """Return the races on one kind of core, at most 256 of them."""
    found = (_read(info.key, store) for info in store.list(keys.races(core)))
    return [record for record in found if record is not None]


def keep_race(core: str, record: RaceRecord, store: ObjectStore) -> None:
    """Keep `record` in its model's place, with what is known there of the same model."""
    key = keys.race(core, record.model_digest)
    old = _read(key, store)
    if old is not None:
        record = merged(old, record)
    if old == record:
        return
    store.delete(key)
    store.put_if_absent(key, record.model_dump_json().encode())


def _read(key: keys.Key, store: ObjectStore) -> RaceRecord | None:
    try:
        return RaceRecord.model_validate_json(store.get(key))
    except (ObjectNotFound, ObjectDamaged, ValidationError):
        return None
