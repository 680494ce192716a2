"""What may go: objects older than asked that nothing younger needs.

An object is kept if it is young, or if one that is kept names its digest: an outcome its module, a
provenance its model, a module's manifest its compiler's inputs. Names are found as what they are,
64 hexadecimal digits, whatever the document around them, so what is added to the layout later is
safe too. All objects under a digest that is named are kept, so a module has its provenance.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.keys import Key
from storage.port import AgedStore, ObjectNotFound
from tinymlaas.contract.errors import UsageError

SHORTEST = timedelta(hours=1)  # longer than any job looks at what it has found
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_MODULES = "modules/"


@dataclass(frozen=True)
class Swept:
    """What a sweep has removed, or would have; sizes in bytes."""

    removed: tuple[Key, ...]
    removed_bytes: int
    kept: int
    kept_bytes: int


def sweep(
    store: AgedStore, older_than: timedelta, now: datetime, *, dry_run: bool = False
) -> Swept:
    """Remove what is older than `older_than` and not needed by anything kept.

    Writers may be at work meanwhile: what is written again while the sweep runs is kept. If it is
    interrupted, no object is left that names one that is gone.

    Raises:
        UsageError: `older_than` is so short that a running job could lose what it has found.
        StoreError: the store cannot be read or written.
    """
    if older_than < SHORTEST:
        raise UsageError("--older-than must be 1h at least")
    limit = now - older_than
    ages: dict[Key, datetime] = {}
    sizes: dict[Key, int] = {}
    for info, written in store.aged():
        ages[info.key], sizes[info.key] = written, info.size
    needed = _needed(store, ages, limit)
    removed = _referrers_first(ages.keys() - needed)
    if not dry_run:
        removed = _remove_all(store, removed, limit)
    gone = set(removed)
    kept = [size for key, size in sizes.items() if key not in gone]
    return Swept(tuple(removed), sum(sizes[key] for key in removed), len(kept), sum(kept))


def _needed(store: AgedStore, ages: dict[Key, datetime], limit: datetime) -> set[Key]:
    """Return all keys that are young or, directly or not, named by one that is."""
    under: dict[bytes, set[Key]] = defaultdict(set)
    for key in ages:
        under[_subject(key)].add(key)
    under.pop(b"", None)  # keys about no digest have nothing to do with one another
    needed = {key for key, written in ages.items() if written >= limit}
    todo = list(needed)
    while todo:
        key = todo.pop()
        for digest in _named(store, key):
            found = under.get(digest, set()) - needed
            needed |= found
            todo += found
    return needed


def _named(store: AgedStore, key: Key) -> set[bytes]:
    """Return the digest the key is about and, but for blobs, which are no documents, those in the
    object.
    """
    digests = {_subject(key)}
    if key.sha256 is not None and not key.path.startswith(_MODULES):
        return digests
    try:
        data = store.get(key)
    except ObjectNotFound:  # removed by somebody since it was listed
        return digests
    return digests | set(_DIGEST.findall(data)) | set(_DIGEST.findall(_signed(data)))


def _subject(key: Key) -> bytes:
    """Return the digest a key is about: its first, for a second one only says who has signed."""
    found = _DIGEST.search(key.path.encode())
    return b"" if found is None else found.group()


def _signed(data: bytes) -> bytes:
    """Return what a DSSE envelope holds in base64, or nothing."""
    try:
        return base64.b64decode(json.loads(data)["payload"])
    except (ValueError, KeyError, TypeError):
        return b""


def _referrers_first(keys: set[Key]) -> list[Key]:
    return sorted(keys, key=lambda key: (key.sha256 is not None, key))


def _remove_all(store: AgedStore, keys: list[Key], limit: datetime) -> list[Key]:
    """Remove outcomes and records first: what is gone no new job will find. Then look again: a
    job that has found an outcome just before has ended by now, and needs its module.
    """
    gone = [key for key in keys if key.sha256 is None and _remove(store, key, limit)]
    content = [key for key in keys if key.sha256 is not None]
    if content:
        ages = {info.key: written for info, written in store.aged()}
        needed = _needed(store, ages, limit)
        gone += [key for key in content if key not in needed and _remove(store, key, limit)]
    return gone


def _remove(store: AgedStore, key: Key, limit: datetime) -> bool:
    """Remove it unless it was written again since it was listed."""
    written = store.written(key)
    return written is not None and written < limit and store.delete(key)
