"""``python -m tinymlaas.signer``: holds a private key and signs what its pool may state.

It says on stdout, in a line of JSON, that it listens (`Ready`), or why it cannot.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from storage.key_folder import signing_key
from storage.provenance import LOCAL_BUILDER, pool_builder
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.log_lines import CONSOLE, LOG_FORMAT_VARIABLE, Cleaner, LineFormatter, secrets_of
from tinymlaas.settings import from_environment
from tinymlaas.signer.leave import Leave
from tinymlaas.signer.ready import Ready
from tinymlaas.signer.serving import Server, leave_nothing, listen

_PR_SET_DUMPABLE = 4
_WRONG_ENVIRONMENT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Sign until told to end; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m tinymlaas.signer", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, metavar="PATH", help="listen here")
    parser.add_argument(
        "--pool",
        metavar="NAME",
        help="sign for this pool's builder and compiler alone",
    )
    parser.add_argument("--keys", type=Path, metavar="DIR", help="folder of the key")
    parser.add_argument(
        "--life", action="store_true", help="end when stdin does, as a worker's own signer must"
    )
    asked = parser.parse_args(arguments)
    _log_to_stderr(logging.WARNING if asked.life else logging.INFO, asked.pool or "")
    _keep_to_ourselves()
    # Before anybody hears that we are ready: who hears it may tell us to end at once.
    life = sys.stdin.fileno() if asked.life else _until_told()
    try:
        builder = pool_builder(asked.pool) if asked.pool else LOCAL_BUILDER
        key = signing_key(asked.keys or from_environment().keys, builder)
        server = Server(key.signer, Leave(builder, asked.pool))
        listener = listen(asked.socket, make_folder=not asked.life)
    except TinymlaasError as error:
        _say(Ready(wrong=error.reasons))
        return _WRONG_ENVIRONMENT
    with listener:
        _say(Ready(str(key.private_path), str(key.public_path), created=key.created))
        server.serve(listener, life)
    if asked.life:
        leave_nothing(asked.socket)
    return 0


def _until_told() -> int:
    """Return a pipe that ends with SIGTERM, which the first process of a container must heed
    itself: for that one the kernel has no default.
    """
    life, end = os.pipe()
    told = False

    def heed(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            os.close(end)

    signal.signal(signal.SIGTERM, heed)
    return life


def _keep_to_ourselves() -> None:
    """Let nobody of our own user read our memory, or trace us; and leave no core with the key."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever started us drains first


def _log_to_stderr(level: int, pool: str) -> None:
    """Write lines as the farm's other processes do, without what these need to make them."""
    who = {"service": "tinymlaas-signer", "process": f"signer {pool}".strip(), "pool": pool}
    form = os.environ.get(LOG_FORMAT_VARIABLE, CONSOLE).strip()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(form, Cleaner(secrets_of(os.environ)), **who))
    logging.basicConfig(level=level, handlers=[handler])


def _say(ready: Ready) -> None:
    print(ready.line(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
