"""Being stopped: Ctrl-C, SIGTERM or a closed terminal end the process at once.

Worker threads wait for compilers and simulators and cannot be interrupted. So nothing here waits
for them: the main thread unwinds, the process dies, and the guardian (`workers.guardian`) ends and
removes what it had started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """The process was told to end. No Exception, so that nothing mistakes it for a failure."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Within this context have the signals that end a process raise `Stopped` in the main thread,
    unless they are ignored; then end by the same signal, so that a shell's loop around us ends too.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)
    try:
        yield
    except Stopped as stop:
        print(f"stopped by {stop}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), stop.number)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        if signal.getsignal(each) is _raise:
            signal.signal(each, signal.SIG_DFL)  # who asks twice need not wait for us to unwind
    raise Stopped(number)
