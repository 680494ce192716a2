"""What the farm's processes have in common: signals, and the status they end with.

A process ends with 0 when it was told to, with 2 when its environment is wrong (starting it again
would not help) and with 1 for whatever else.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType

from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.log_lines import LOG_FORMAT_VARIABLE
from tinymlaas.logs import tell_reasons

WRONG_ENVIRONMENT = 2


class Stop:
    """Told by SIGTERM, SIGINT or SIGHUP to end; a second signal says: at once, a third is deadly.

    Whoever dies in the middle of its work has what it started ended by the guardian
    (`workers.guardian`), and its work done by another process.
    """

    def __init__(self, hurry: Callable[[], None] | None = None) -> None:
        """Heed the signals from now on; to be made in the main thread.

        `hurry` is called by the second signal, on a thread of its own, to end what we wait for;
        without it the second is deadly already.
        """
        self._asked = False
        self._hurry = hurry
        # Pipes, for a handler may not take a lock that the thread it interrupts may hold.
        self._first, self._second = os.pipe(), os.pipe()
        self._signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for number in self._signals:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._heed)
        if hurry is not None:
            threading.Thread(target=self._await_second, name="hurry", daemon=True).start()

    @property
    def asked(self) -> bool:
        """Whether we were told to end."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether we were told to end."""
        select.select([self._first[0]], [], [], seconds)
        return self._asked

    def _heed(self, number: int, frame: FrameType | None) -> None:
        last = self._asked or self._hurry is None
        for each in self._signals if last else ():
            signal.signal(each, signal.SIG_DFL)
        pipe, self._asked = self._second if self._asked else self._first, True
        os.write(pipe[1], b"!")

    def _await_second(self) -> None:
        os.read(self._second[0], 1)
        if self._hurry is not None:
            self._hurry()


def die() -> None:
    """End this process now, as kill -9 would."""
    os.kill(os.getpid(), signal.SIGKILL)


def guarded(work: Callable[[], None]) -> int:
    """Do `work`; return the status to end with, after the reasons are told if it failed."""
    try:
        work()
    except TinymlaasError as error:
        # What is wrong may be the environment itself, before the log is begun.
        tell_reasons(error.reasons, os.environ.get(LOG_FORMAT_VARIABLE, "").strip() or None)
        return WRONG_ENVIRONMENT if not error.retryable else 1
    return 0
