"""The door: every model passes here before any library looks into it."""

from __future__ import annotations

from tinymlaas.contract.errors import InvalidModel
from tinymlaas.contract.model import ModelFormat
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.lookalikes import lookalike
from workers.models.onnx_checks import check_onnx
from workers.models.tflite_checks import check_tflite
from workers.models.tflite_schema import IDENTIFIER


def sniff(data: bytes, name: str, limits: ModelLimits = DEFAULT_LIMITS) -> ModelFormat:
    """Return the format of `data` after checking the whole file; `name` is used in reasons only.

    TFLite files carry an identifier; ONNX files carry none, so that what is neither TFLite nor of
    another known kind is read as ONNX. The file's name decides nothing.

    Raises:
        InvalidModel: empty, too large, of another kind, damaged, or using a forbidden feature.
    """
    if not data:
        raise InvalidModel(f"{name}: the file is empty")
    if len(data) > limits.file_bytes:
        raise InvalidModel(f"{name}: {len(data)} bytes; models up to {limits.file_bytes} are taken")
    try:
        if data[4:8] == IDENTIFIER:
            check_tflite(data, limits)
            return ModelFormat.TFLITE
        if name.endswith(".tflite"):
            raise InvalidModel(_neither(data, "a TFLite"))
        if lookalike(data):
            raise InvalidModel(_neither(data, "an ONNX or TFLite"))
        check_onnx(data, limits)
    except InvalidModel as error:
        raise InvalidModel(*(f"{name}: {reason}" for reason in error.reasons)) from error
    return ModelFormat.ONNX


def _neither(data: bytes, wanted: str) -> str:
    what = lookalike(data)
    return f"not {wanted} model: " + (f"it looks like {what}" if what else "unknown contents")
