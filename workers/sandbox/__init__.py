"""Parsers, compilers, linkers and simulators run here, where nothing is that is worth having.

`call` runs a function in a job: a fork of a process within bubblewrap (the zygote), in namespaces,
a tmpfs and limits of its own. Bytes go in, bytes come out.
"""

from workers.sandbox.client import (
    NONE,
    REASONS,
    call,
    check,
    configure,
    kind,
    on_stop,
    prepare,
    settings,
    shared,
)
from workers.sandbox.limits import Limits, Step
from workers.sandbox.zygotes import Settings

__all__ = [
    "NONE",
    "REASONS",
    "Limits",
    "Settings",
    "Step",
    "call",
    "check",
    "configure",
    "kind",
    "on_stop",
    "prepare",
    "settings",
    "shared",
]
