"""What the farm's processes have in common: signals, log, and the status they end with.

A process ends with 0 when it was told to, with 2 when its environment is wrong (starting it again
would not help) and with 1 for whatever else.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from tinymlaas.contract.errors import TinymlaasError

WRONG_ENVIRONMENT = 2
_log = logging.getLogger(__name__)


class Stop:
    """Told by SIGTERM or SIGINT. The second such signal ends the process at once: what it has
    started is ended by the guardian (`workers.guardian`), what it was doing is done by another.
    """

    def __init__(self) -> None:
        """Heed the signals from now on; to be made in the main thread."""
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heed)

    @property
    def asked(self) -> bool:
        """Whether we were told to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether we were told to end."""
        return self._event.wait(seconds)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        self._event.set()


def die(seconds: float) -> None:
    """End this process in `seconds`, whatever it is doing then, unless it has ended before."""

    def end() -> None:
        _log.warning("not done after %g s: ending now, another will do it", seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def log_to_stderr(name: str, level: int) -> None:
    """Write the log of `level` and above to stderr, a line each, with who writes it."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    # What these say about lost connections is told by us in a line; theirs are pages.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.getLogger("dramatiq").setLevel(max(level, logging.WARNING))
    for library in ("boto3", "botocore", "urllib3"):
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


def guarded(work: Callable[[], None]) -> int:
    """Do `work`; return the status to end with, after a line for each reason it failed."""
    try:
        work()
    except TinymlaasError as error:
        for reason in error.reasons:
            print(f"error: {reason}", file=sys.stderr, flush=True)
        return WRONG_ENVIRONMENT if not error.retryable else 1
    return 0
