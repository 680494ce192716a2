"""TFLite models to Relax, hybrid operators (float activations, int8 weights) included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tvm

CFLAGS = "tinymlaas.cflags"
"""Module attribute: compiler flags, separated by blanks, that the generated code needs."""


def import_tflite(data: bytes) -> tvm.IRModule:
    """Return the Relax module of a TFLite file, weights as constants.

    Hybrid operators quantise their input when they run, as TFLite's own kernels do. A rounding
    there turns on the last bit of the float layers before it, so a model with hybrid operators
    asks (attribute `CFLAGS`) for code that fuses no multiply with an add.

    Raises:
        UnsupportedModel: an operator is hybrid in a way not supported here; names it.
        Exception: whatever TVM's importer raises.
    """
    import tflite
    from tvm.relax.frontend.tflite import from_tflite

    from workers.compilers.tvm.hybrid.converter import HybridConverter
    from workers.compilers.tvm.hybrid.detect import hybrid_operators
    from workers.compilers.tvm.quantised_pooling import PoolingConverter

    model = tflite.Model.GetRootAsModel(data, 0)
    if not hybrid_operators(model.Subgraphs(0), model):
        return from_tflite(model, op_converter=PoolingConverter)
    mod = from_tflite(model, op_converter=HybridConverter)
    return mod.with_attr(CFLAGS, "-ffp-contract=off")
