"""A Keras 3 model (``.keras``) as a source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import InvalidModel, UnsupportedModel, UsageError
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.models.limits import DEFAULT_LIMITS
from workers.models.shapes import Shapes
from workers.models.wording import one_line
from workers.quantise import libraries
from workers.quantise.converter import convert
from workers.quantise.source import Boundary
from workers.zips import ZipLimits, open_zip

Array = NDArray[Any]

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_keras(data: bytes) -> bool:
    """Return whether `data` is a ZIP file or an HDF5 file, which no other format accepted is."""
    return data.startswith((b"PK\x03\x04", _HDF5))


class KerasModel:
    """A functional or sequential model, run by Keras itself on TensorFlow."""

    remarks: tuple[str, ...] = ()

    def __init__(self, data: bytes, name: str, shapes: Shapes, scratch: Path) -> None:
        """Load a ``.keras`` file without running any code that it may hold.

        Raises:
            InvalidModel: it is no such file, or is damaged.
            UnsupportedModel: it holds code or layers that are not Keras's own.
            UsageError: `shapes` names no input, or leaves a dimension open.
        """
        check(data, name)
        self._tf = libraries.tensorflow()
        import keras

        self.reference = f"Keras {version('keras')}"
        path = scratch / "model.keras"
        path.write_bytes(data)
        try:
            self._model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # whatever a deserialised layer may raise
            raise UnsupportedModel(f"{name}: Keras cannot load it: {one_line(error)}") from error
        self.boundary = self._boundary(name, shapes)

    def _boundary(self, name: str, shapes: Shapes) -> Boundary:
        inputs = getattr(self._model, "inputs", None)
        if not inputs:
            raise UnsupportedModel(
                f"{name}: a subclassed model has no fixed inputs; save a functional one"
            )
        known = [tensor.name for tensor in inputs]
        unknown = sorted(set(shapes) - set(known))
        if unknown:
            raise UsageError(f"--shape: there is no input '{unknown[0]}'; it has {known}")
        given = tuple(_spec(tensor, name, shapes.get(tensor.name)) for tensor in inputs)
        answers = self._call(*[np.zeros(spec.shape, spec.dtype.value) for spec in given])
        names = [tensor.name for tensor in self._model.outputs]
        outputs = tuple(
            TensorSpec(name=n, shape=tuple(a.shape), dtype=DType(a.dtype.name))
            for n, a in zip(names, answers, strict=True)
        )
        return Boundary(given, outputs)

    def _call(self, *inputs: Any) -> list[Any]:
        nest = self._tf.nest
        structure = getattr(self._model, "input", None)  # a sequential model has none
        given = nest.pack_sequence_as(structure, inputs)
        return list(nest.flatten(self._model(given, training=False)))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `FloatModel.run`."""
        return [np.asarray(output) for output in self._call(*inputs)]

    def quantise(self, samples: Sequence[Sequence[Array]], activations: Activations) -> bytes:
        """See `FloatModel.quantise`."""
        given = self.boundary.inputs
        return convert(self._tf, self._call, given, samples, activations)


def check(data: bytes, name: str) -> None:
    """Refuse what is no ``.keras`` file before Keras opens it.

    Raises:
        InvalidModel: with what it is instead, or what is wrong with it.
    """
    if data.startswith(_HDF5):
        raise InvalidModel(f"{name}: is HDF5 of Keras 2; load it and save it as .keras")
    if len(data) > DEFAULT_LIMITS.file_bytes:
        raise InvalidModel(f"{name}: is larger than {DEFAULT_LIMITS.file_bytes >> 20} MiB")
    try:
        archive = open_zip(data, ZipLimits(unpacked_bytes=4 * DEFAULT_LIMITS.file_bytes))
        if not _MEMBERS.issubset(archive.namelist()):
            raise InvalidModel(f"{name}: is a ZIP file, but no .keras model")
        json.loads(archive.read("config.json"))
    except InvalidModel:
        raise
    except Exception as error:  # whatever zlib, zipfile and json trip over is the file's fault
        raise InvalidModel(f"{name}: damaged .keras file: {one_line(error)}") from None


def _spec(tensor: Any, name: str, shape: tuple[int, ...] | None) -> TensorSpec:
    """Return the input's spec; an open first dimension is the batch, of which there is one."""
    dims = list(tensor.shape)
    if dims and dims[0] is None:
        dims[0] = 1
    if shape is not None:
        if len(shape) != len(dims) or any(
            d not in (None, s) for d, s in zip(tensor.shape, shape, strict=True)
        ):
            raise UsageError(f"--shape {tensor.name}: the model's input is {tensor.shape}")
        dims = list(shape)
    if None in dims:
        raise UsageError(
            f"{name}: input '{tensor.name}' is {tuple(tensor.shape)}; "
            f"fix it with --shape {tensor.name}=D,D,…"
        )
    return TensorSpec(name=tensor.name, shape=tuple(dims), dtype=DType(str(tensor.dtype)))
