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

    Of an ONNX file's protobuf: `fields` over all messages, `packed` integers that are not raw
    bytes, `depth` of messages within messages (a branch of If is three), `tensors` of constants,
    `functions` of the model's own. Of a TFLite file: `elements` of all shapes, names,
    quantisation parameters and index lists. Of a tensor: `rank`, its dimensions.
    """

    file_bytes: int = 64 * 1024 * 1024
    nodes: int = 10_000
    tensor_bytes: int = 256 * 1024 * 1024
    visited: int = 400_000
    activation_bytes: int = 64 * 1024 * 1024
    macs: int = 5_000_000_000
    summary_bytes: int = 1024 * 1024
    fields: int = 1_000_000
    packed: int = 16 * 1024 * 1024
    depth: int = 48
    tensors: int = 40_000
    functions: int = 1_000
    elements: int = 4_000_000
    rank: int = 16


DEFAULT_LIMITS = ModelLimits()
