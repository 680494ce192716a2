"""Relax modules of one operator each, over many shapes, and a way to run loop functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinymlaas.contract.device import CapabilityClass, Core, FloatAbi, Fpu

CORTEX_M4 = CapabilityClass(core=Core.CORTEX_M4, fpu=Fpu.SINGLE, dsp=True, float_abi=FloatAbi.HARD)
CORTEX_M0PLUS = CapabilityClass(core=Core.CORTEX_M0PLUS)
AVR = CapabilityClass(core=Core.AVR, cpu="atmega2560")
HOST = CapabilityClass(core=Core.HOST)

Build = Callable[..., Any]


def module(build: Build, *shapes: tuple[int, ...], dtype: str = "float32") -> Any:
    """Return a Relax module whose ``main`` is `build` of inputs of `shapes`."""
    from tvm import relax

    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{i}", relax.TensorType(s, dtype)) for i, s in enumerate(shapes)]
    with builder.function("main", params):
        with builder.dataflow():
            out = builder.emit_output(builder.emit(build(*params)))
        builder.emit_func_output(out)
    return builder.get()


def functions(mod: Any) -> dict[str, Any]:
    """Return the loop functions of `mod` after fusion, by name."""
    from tvm import tirx

    from workers.compilers.tvm.pipeline import fuse

    fused = fuse(mod).functions.items()
    return {var.name_hint: func for var, func in fused if isinstance(func, tirx.PrimFunc)}


def rearranged(func: Any, target: CapabilityClass = CORTEX_M4) -> Any:
    """Return `func` as the scheduler leaves it; an exception in the scheduler gets through."""
    from workers.compilers.tvm.schedule.functions import rearrange
    from workers.compilers.tvm.schedule.machine import machine_for

    return rearrange(func, machine_for(target), strict=True)


def run_all(funcs: Mapping[str, Any], arguments: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return what each function writes into its last parameter, compiled for this machine."""
    import tvm

    named = {name: func.with_attr("global_symbol", name) for name, func in funcs.items()}
    library = tvm.compile(tvm.IRModule(named), target={"kind": "llvm", "opt-level": 0})
    results: dict[str, Any] = {}
    for name in funcs:
        tensors = [tvm.runtime.tensor(array) for array in arguments[name]]
        library[name](*tensors)
        results[name] = tensors[-1].numpy()
    return results


def random_arguments(func: Any, seed: int) -> list[Any]:
    """Return an array for every parameter of `func`; outputs begin as NaN or noise."""
    rng = np.random.default_rng(seed)
    arrays = []
    for param in func.params:
        shape = [int(dim.value) for dim in param.ty.shape]
        dtype = str(param.ty.dtype)
        if dtype.startswith("float"):
            arrays.append(rng.standard_normal(shape).astype(dtype))
        else:
            arrays.append(rng.integers(-100, 100, shape).astype(dtype))
    arrays[-1] = np.full_like(arrays[-1], np.nan if arrays[-1].dtype.kind == "f" else 77)
    return arrays


def convolutions(count: int, seed: int) -> dict[str, Any]:
    """Return `count` random convolutions: layouts, strides, dilation, uneven padding, groups."""
    from tvm import relax

    rng = random.Random(seed)
    found: dict[str, Any] = {}
    while len(found) < count:
        groups = rng.choice([1, 1, 1, 2, 3])
        depthwise = rng.random() < 0.3
        per_group = 1 if depthwise else rng.randint(1, 5)
        if depthwise:
            groups = rng.choice([2, 5, 8])
        channels, filters = groups * per_group, groups * rng.randint(1, 6)
        size = [rng.randint(1, 14), rng.randint(1, 14)]
        kernel = [rng.randint(1, 4), rng.randint(1, 4)]
        stride = [rng.randint(1, 3), rng.randint(1, 3)]
        dilation = [rng.randint(1, 2), rng.randint(1, 2)]
        pad = [rng.randint(0, 3) for _ in range(4)]
        reach = [(kernel[i] - 1) * dilation[i] + 1 for i in range(2)]
        if any(size[i] + pad[i] + pad[i + 2] < reach[i] for i in range(2)):
            continue
        nhwc, batch = rng.random() < 0.6, rng.choice([1, 1, 2])
        options = {
            "strides": stride,
            "padding": pad,
            "dilation": dilation,
            "groups": groups,
            "data_layout": "NHWC" if nhwc else "NCHW",
            "kernel_layout": "HWIO" if nhwc else "OIHW",
        }
        shapes = (
            ((batch, *size, channels), (*kernel, per_group, filters), (filters,))
            if nhwc
            else ((batch, channels, *size), (filters, per_group, *kernel), (filters, 1, 1))
        )
        relu = rng.random() < 0.5

        def build(x: Any, w: Any, b: Any, options: Any = options, relu: bool = relu) -> Any:
            out = relax.op.add(relax.op.nn.conv2d(x, w, **options), b)
            return relax.op.nn.relu(out) if relu else out

        label = f"{'nhwc' if nhwc else 'nchw'}_{len(found)}"
        found[label] = module(build, *shapes)
    return found


def others() -> dict[str, Any]:
    """Return operators with other loops: pools, products, reductions, transposed, 1-D, 3-D."""
    from tvm import relax

    op, nn = relax.op, relax.op.nn

    def swish(x: Any) -> Any:
        return op.multiply(x, op.sigmoid(x))

    return {
        "max_pool": module(
            lambda x: nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"), (1, 9, 11, 7)
        ),
        "max_pool_ceil": module(
            lambda x: nn.max_pool2d(x, (3, 2), (2, 2), (0, 1, 1, 0), ceil_mode=True), (2, 3, 8, 7)
        ),
        "avg_pool": module(
            lambda x: nn.avg_pool2d(x, (3, 3), (1, 2), (1, 0, 1, 2), layout="NHWC"), (1, 6, 8, 5)
        ),
        "avg_pool_with_pad": module(
            lambda x: nn.avg_pool2d(x, (2, 3), (2, 1), (1, 1, 0, 1), count_include_pad=True),
            (1, 4, 7, 6),
        ),
        "avg_pool_1d": module(lambda x: nn.avg_pool1d(x, 3, 2, (1, 1)), (1, 4, 13)),
        "max_pool_3d": module(
            lambda x: nn.max_pool3d(x, (2, 2, 2), (2, 1, 2), (1, 0, 1, 0, 1, 1)), (1, 3, 5, 6, 7)
        ),
        "matmul": module(op.matmul, (7, 13), (13, 9)),
        "matmul_vector": module(op.matmul, (1, 130), (130, 37)),
        "matmul_batched": module(op.matmul, (3, 2, 5, 8), (3, 1, 8, 6)),
        "matmul_transposed": module(
            lambda x, w: op.matmul(x, op.permute_dims(w, [1, 0])), (6, 16), (10, 16)
        ),
        "sum": module(lambda x: op.sum(x, [1, 3]), (3, 4, 5, 6)),
        "mean_all": module(lambda x: op.mean(x, None), (4, 9)),
        "mean_keep": module(lambda x: op.mean(x, [1, 2], keepdims=True), (1, 5, 7, 12)),
        "max_last": module(lambda x: op.max(x, [-1]), (6, 31)),
        "min_first": module(lambda x: op.min(x, [0]), (31, 6)),
        "prod": module(lambda x: op.prod(x, [1]), (6, 5)),
        "variance": module(lambda x: op.variance(x, [1]), (4, 17)),
        "softmax": module(lambda x: nn.softmax(x, axis=-1), (3, 10)),
        "softmax_axis": module(lambda x: nn.softmax(x, axis=1), (2, 5, 4)),
        "layer_norm": module(
            lambda x, g, b: nn.layer_norm(x, g, b, axes=[-1]), (2, 3, 16), (16,), (16,)
        ),
        "conv_1d": module(
            lambda x, w: nn.conv1d(x, w, strides=2, padding=(2, 1), dilation=2),
            (1, 3, 17),
            (6, 3, 3),
        ),
        "conv_1d_groups": module(
            lambda x, w: nn.conv1d(x, w, padding=(1, 1), groups=3), (1, 6, 11), (9, 2, 3)
        ),
        "conv_3d": module(
            lambda x, w: nn.conv3d(x, w, strides=(1, 2, 1), padding=(1, 0, 1, 0, 1, 1)),
            (1, 2, 5, 6, 7),
            (4, 2, 3, 2, 3),
        ),
        "transposed": module(
            lambda x, w: nn.conv2d_transpose(x, w, strides=(2, 3), padding=(1, 0, 1, 2)),
            (1, 4, 5, 6),
            (4, 3, 3, 4),
        ),
        "transposed_groups": module(
            lambda x, w: nn.conv2d_transpose(x, w, strides=(2, 2), groups=2),
            (1, 4, 3, 3),
            (4, 2, 2, 2),
        ),
        "swish": module(
            lambda x, w: swish(nn.conv2d(x, w, padding=1)),
            (1, 3, 6, 6),
            (5, 3, 3, 3),
        ),
        "residual": module(
            lambda x, w, r: nn.relu(op.add(op.add(nn.conv2d(x, w, padding=1), r), r)),
            (1, 3, 6, 6),
            (5, 3, 3, 3),
            (1, 5, 6, 6),
        ),
        "argmax": module(lambda x: op.argmax(op.multiply(x, x), axis=1), (4, 9)),
    }


def integer_convolutions() -> dict[str, Any]:
    """Return int8 convolutions with int32 sums."""
    from tvm import relax

    def build(x: Any, w: Any, **options: Any) -> Any:
        return relax.op.nn.conv2d(x, w, out_dtype="int32", **options)

    return {
        "int8_nhwc": module(
            lambda x, w: build(x, w, padding=1, data_layout="NHWC", kernel_layout="HWIO"),
            (1, 7, 6, 8),
            (3, 3, 8, 10),
            dtype="int8",
        ),
        "int8_strided": module(
            lambda x, w: build(x, w, padding=(2, 0, 1, 1), strides=(2, 1)),
            (1, 3, 9, 8),
            (4, 3, 4, 3),
            dtype="int8",
        ),
    }
