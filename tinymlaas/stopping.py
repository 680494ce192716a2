"""Being stopped: Ctrl-C, SIGTERM or a closed terminal end the process at once.

Worker threads wait for compilers and simulators and cannot be interrupted. So nothing here waits
for them: the main thread unwinds, the process dies, and the guardian (`workers.guardian`) ends and
removes what it had started.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """The process was told to end. No Exception, so that nothing mistakes it for a failure."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        self.number = number
        super().__init__(signal.Signals(number).name)


def listen() -> None:
    """Have the signals that end a process raise `Stopped` in the main thread, unless ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def die_of(number: int) -> None:
    """End by the signal itself, so that a shell's loop around us ends too."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
