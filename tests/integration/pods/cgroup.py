"""A memory limit for a container, where this machine has the means."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory")


def make(limit: int) -> Path | None:
    """Make a group below ours that may hold `limit` bytes; None if we may not."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers != "memory":
            continue
        group = Path(f"{_V1}{own}", f"pod-{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / "memory.limit_in_bytes").write_text(str(limit))
            return group
    return None


def remove(group: Path) -> None:
    """Remove a group whose processes have ended, which takes the kernel a moment."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.rmdir(group)
            return
        time.sleep(0.02)
