"""Specialised int8 kernels: one C function a layer, everything about it a constant.

`specialise` returns None where there is no special kernel for a layer on a target; the caller
then uses the generic kernels.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from tinymlaas.contract.device import CapabilityClass
from workers.compilers.cmsis_nn.special import (
    add,
    dsp_conv,
    dsp_dense,
    dsp_depthwise,
    mve_add,
    mve_conv,
    mve_dense,
    mve_depthwise,
    plain_conv,
    plain_depthwise,
    pool,
)
from workers.compilers.cmsis_nn.special.geometry import geometry_of
from workers.compilers.cmsis_nn.special.isa import Family, Isa, isa_of
from workers.compilers.cmsis_nn.special.layers import (
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    KernelCode,
    Layer,
    Options,
    PoolLayer,
)
from workers.compilers.cmsis_nn.special.pack import per_image


def specialise(
    layer: Layer, target: CapabilityClass, prefix: str, options: Options | None = None
) -> KernelCode | None:
    """Return the C of `layer` for `target`, its names beginning with `prefix`, or None."""
    isa, options = isa_of(target), options or Options()
    if isinstance(layer, ConvLayer | DepthwiseLayer):
        return _images(layer, isa, prefix, options)
    if isinstance(layer, DenseLayer):
        return _dense(layer, isa, prefix, options)
    if isinstance(layer, PoolLayer):
        return pool.pool(layer, prefix, options)
    if isa.family is Family.MVE:
        return mve_add.kernel(layer, prefix, options)
    return add.add(layer, isa, prefix, options)


def _dense(layer: DenseLayer, isa: Isa, prefix: str, options: Options) -> KernelCode | None:
    if isa.family is Family.MVE:
        return mve_dense.dense(layer, isa, prefix, options)
    if isa.family is Family.DSP:
        return dsp_dense.dense(layer, isa, prefix, options)
    return plain_conv.dense(layer, isa, prefix, options)


def _images(
    layer: ConvLayer | DepthwiseLayer, isa: Isa, prefix: str, options: Options
) -> KernelCode | None:
    if isinstance(layer, ConvLayer) and geometry_of(layer).pointwise:
        layer = _one_image(layer)
    batch = layer.input_shape[0]
    inner = prefix if batch == 1 else f"{prefix}_image"
    kernel = _image(layer, isa, inner, options)
    if kernel is None or batch == 1:
        return kernel
    sizes = prod(layer.input_shape[1:]), prod(layer.output_shape[1:])
    return per_image(kernel, prefix, batch, *sizes)


def _one_image(layer: ConvLayer) -> ConvLayer:
    """Return a pointwise layer with the images of a batch below one another."""
    batch, height, width, channels = layer.input_shape
    return replace(
        layer,
        input_shape=(1, batch * height, width, channels),
        output_shape=(1, batch * height, width, layer.output_shape[3]),
    )


def _image(
    layer: ConvLayer | DepthwiseLayer, isa: Isa, function: str, options: Options
) -> KernelCode | None:
    if isinstance(layer, ConvLayer):
        if layer.weights.shape[3] != layer.input_shape[3]:
            return None  # grouped
        if geometry_of(layer).whole:
            rows = layer.weights.reshape(layer.weights.shape[0], -1)
            return _dense(DenseLayer(1, rows, layer.bias, layer.quant), isa, function, options)
        kernel = mve_conv.conv(layer, isa, function, options) if isa.family is Family.MVE else None
        if kernel is None and isa.family is not Family.PLAIN:
            kernel = dsp_conv.conv(layer, isa, function, options)
        return kernel or plain_conv.conv(layer, isa, function, options)
    special = {Family.MVE: mve_depthwise.depthwise, Family.DSP: dsp_depthwise.depthwise}
    kernel = None
    if isa.family in special:
        kernel = special[isa.family](layer, isa, function, options)
    return kernel or plain_depthwise.depthwise(layer, isa, function, options)
