"""How large a model may be before anything of ours, or of a library, looks into it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelLimits:
    """Upper bounds of what is inspected. A microcontroller's flash is far below all of them.

    `file_bytes` is the size of the file, `nodes` counts operators over all (sub)graphs,
    `tensor_bytes` bounds one tensor's storage and `visited` the flatbuffer tables and vector
    elements followed while verifying (a crafted file can refer to one table many times).
    `activation_bytes` bounds the estimated RAM and `macs` the work of one inference: the reference
    has to run it too. `summary_bytes` bounds what is said of it, as JSON: names in a model may have
    any length, messages may not.
    """

    file_bytes: int = 64 * 1024 * 1024
    nodes: int = 10_000
    tensor_bytes: int = 256 * 1024 * 1024
    visited: int = 400_000
    activation_bytes: int = 64 * 1024 * 1024
    macs: int = 5_000_000_000
    summary_bytes: int = 1024 * 1024


DEFAULT_LIMITS = ModelLimits()
