"""What the first process of a container must do besides its work: bury others' dead.

Whatever loses its parent becomes the first process's, and stays as a zombie until that asks how it
ended. A worker's tasks leave such orphans (guardians, sandboxes), some with each task, and would
have the container run out of process ids in time. Python waits for nobody whom it has not started.
"""

from __future__ import annotations

import contextlib
import os
import signal

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def leave_the_first_process() -> bool:
    """Return False at once, or True in a child if we are the first process of a container.

    The first then waits for all that end, passes signals on, and ends as the child does.
    """
    if os.getpid() != 1:
        return False
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none is lost while nobody heeds it
    child = os.fork()
    if child != 0:
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: _pass_on(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if child != 0:
        _bury(child)
    return True


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended, and so do we
        os.kill(child, number)


def _bury(child: int) -> None:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
