"""How many bytes of messages the scheduler holds that it has not yet dealt with."""

from __future__ import annotations

import threading

BYTES = 32 * 1024 * 1024
_LOOK_SECONDS = 0.5


class Budget:
    """What comes in waits while too much is in; what is in is never made to wait.

    Requests may carry their files, and the broker has tens of thousands of them for us: they must
    not pile up in memory while the store takes these files more slowly than they come.
    """

    def __init__(self, limit: int = BYTES) -> None:
        """Let in what comes while fewer than `limit` bytes are in."""
        self._limit = limit
        self._free = threading.Condition()
        self._closed = False
        self.held = 0

    def admit(self, size: int) -> bool:
        """Wait until there is room, then take `size` bytes in; False if it was closed meanwhile."""
        with self._free:
            while self.held >= self._limit and not self._closed:
                self._free.wait(_LOOK_SECONDS)
            if not self._closed:
                self.held += size
            return not self._closed

    def add(self, size: int) -> None:
        """Take `size` bytes in without waiting."""
        with self._free:
            self.held += size

    def release(self, size: int) -> None:
        """Let `size` bytes go."""
        with self._free:
            self.held -= size
            self._free.notify()

    def close(self) -> None:
        """Let nothing in any more, and nobody wait."""
        with self._free:
            self._closed = True
            self._free.notify_all()
