"""Errors that come out of a sandbox: of one of a few classes, with short printable reasons."""

from __future__ import annotations

import importlib
import json
from typing import Any

from tinymlaas.contract.errors import CompilerCrashed, TinymlaasError

_MOST_REASONS = 20
# Which may come out: a job may say that an input is bad or that a step has failed, and no more.
# Classes are named, not imported: most jobs end well, and some stand in modules that load slowly.
_PLACES = {
    "UsageError": "tinymlaas.contract.errors",
    "InvalidModel": "tinymlaas.contract.errors",
    "UnsupportedModel": "tinymlaas.contract.errors",
    "VerificationError": "tinymlaas.contract.errors",
    "Failure": "tinymlaas.contract.errors",
    "CompilerCrashed": "tinymlaas.contract.errors",
    "ToolchainError": "tinymlaas.contract.errors",
    "LinkOverflow": "workers.toolchains.firmware",
    "TimedOut": "workers.toolchains.process",
    "CannotSimulate": "workers.verify.machines",
    "RunFailed": "workers.verify.job",
    "StackTooDeep": "workers.verify.qemu",
    "CannotProbe": "workers.probing",
}


def encode(error: TinymlaasError) -> str:
    """Return `error` as text; a class that may not come out becomes its nearest parent that may."""
    known = (kind.__name__ for kind in type(error).__mro__)
    name = next((name for name in known if name in _PLACES), "CompilerCrashed")
    return json.dumps({"error": name, "reasons": error.reasons[:_MOST_REASONS]})


def decode(value: Any) -> TinymlaasError:
    """Return the error that `value`, from inside, says; an unreadable one is a crash."""
    said = value if isinstance(value, dict) else {}
    name, reasons = said.get("error"), said.get("reasons")
    if not isinstance(name, str) or name not in _PLACES or not isinstance(reasons, list):
        return CompilerCrashed("it ended with an error that cannot be read")
    if not all(isinstance(each, str) for each in reasons):
        return CompilerCrashed("it ended with an error that cannot be read")
    kind = getattr(importlib.import_module(_PLACES[name]), name)
    found: TinymlaasError = kind(*(reasons[:_MOST_REASONS] or ["it gave no reason"]))
    return found
