"""The ends of jobs that a client has heard of lately, so that who comes late need not ask."""

from __future__ import annotations

from collections import OrderedDict

from tinymlaas.contract.messages import JobEnded

BYTES = 8 * 1024 * 1024

Key = tuple[str, str]  # tenant and job id


class Ends:
    """The latest ends as they came, up to `limit` bytes; parsed they would take ten times that.

    Older ones are found in the store. For one thread at a time.
    """

    def __init__(self, limit: int = BYTES) -> None:
        """Begin with none."""
        self._limit = limit
        self._bodies: OrderedDict[Key, bytes] = OrderedDict()
        self.size = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._bodies

    def get(self, key: Key) -> JobEnded | None:
        """Return how a job ended, None if that is not known here."""
        body = self._bodies.get(key)
        return None if body is None else JobEnded.model_validate_json(body)

    def put(self, key: Key, body: bytes) -> None:
        """Keep `body`, an encoded end."""
        self.forget(key)
        self._bodies[key] = body
        self.size += len(body)
        while self.size > self._limit:
            self.forget(next(iter(self._bodies)))

    def forget(self, key: Key) -> None:
        """Keep it no longer."""
        self.size -= len(self._bodies.pop(key, b""))
