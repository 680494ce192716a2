"""What comes while a sweep is at work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage import keys
from storage.keys import Key
from storage.memory import MemoryStore
from storage.retention import sweep

ARCHIVE = keys.module_archive(keys.blob_of(b"zip").sha256 or "")
OUTCOME = keys.action_outcome("cc", "1" * 64)
LOG = keys.blob_of(b"log")


class Busy(MemoryStore):
    """A job that has just found the outcome ends while the outcome is being removed."""

    now = datetime.now(UTC)
    jobs = 0

    def delete(self, key: Key) -> bool:
        if key == OUTCOME:
            self.jobs += 1
            record = b'{"module": "%s"}' % ARCHIVE.path.encode()
            job = keys.job_result("a", "1")
            assert self.put_if_absent(job, record)
            self._written[job] = self.now
        return super().delete(key)


def test_what_a_job_has_just_found_is_not_removed() -> None:
    store = Busy()
    store.put(ARCHIVE, b"zip")
    store.put(LOG, b"log")
    store.put_if_absent(OUTCOME, b'{"archive_digest": "%s"}' % (ARCHIVE.sha256 or "").encode())
    later = store.now = datetime.now(UTC) + timedelta(days=2)
    swept = sweep(store, timedelta(days=1), later)
    assert store.jobs == 1
    assert swept.removed == (OUTCOME, LOG)
    assert store.get(ARCHIVE) == b"zip"
