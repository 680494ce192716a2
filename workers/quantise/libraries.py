"""The libraries quantisation needs: are they there, which are they, and how they are imported."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version
from typing import Any

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.quantisation import FloatFormat

EXTRA = "quantize"
# No part of the extra: it pins an old onnxruntime exactly.
_ONNX2TF = " and then pip install --no-deps onnx2tf==1.29.24"
# import name → distribution, by the format that needs it
_NEEDS = {
    FloatFormat.ONNX: {"tensorflow": "tensorflow", "onnx2tf": "onnx2tf"},
    FloatFormat.KERAS: {"tensorflow": "tensorflow", "keras": "keras"},
    FloatFormat.TFLITE: {"tensorflow": "tensorflow"},
}
_REFERENCES = {
    "onnxruntime": "onnxruntime",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_micro": "tflite-micro",
}
# Set before the first import of TensorFlow. oneDNN reorders sums by the CPU it finds, and a GPU
# would compute other statistics than the next machine.
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_USE_LEGACY_KERAS": "0",
    "KERAS_BACKEND": "tensorflow",
}


def require(source: FloatFormat) -> str:
    """Return names and versions of the libraries that quantise models of `source`.

    Raises:
        UsageError: one is not installed; names the extra to install.
    """
    needs = _NEEDS[source]
    missing = [dist for module, dist in needs.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f"quantising {source.value} needs {', '.join(missing)}, which is not installed: "
            f"pip install 'tinymlaas[{EXTRA}]'{_ONNX2TF if 'onnx2tf' in missing else ''}"
        )
    return ", ".join(f"{dist} {version(dist)}" for dist in needs.values())


def references() -> str:
    """Return names and versions of the interpreters that judge float and integer models."""
    found = [dist for module, dist in _REFERENCES.items() if importlib.util.find_spec(module)]
    return ", ".join(f"{dist} {version(dist)}" for dist in found)


def tensorflow() -> Any:
    """Import TensorFlow, deterministic and on one thread, and return it.

    To be called once, in a process of its own, before anything else imports TensorFlow.
    """
    os.environ.update(_ENVIRONMENT)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    return tf
