"""Data movement as loops: fill, then strided copies, with memcpy where elements lie together."""

from __future__ import annotations

from dataclasses import replace

from workers.compilers.cmsis_nn.code import Code, constant, function, parameter_names
from workers.compilers.cmsis_nn.generic.loops import index, nest
from workers.compilers.cmsis_nn.layers import MoveLayer, NearestLayer, Region
from workers.compilers.cmsis_nn.special.layers import KernelCode
from workers.compilers.cmsis_nn.strides import merge

_UNSIGNED = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
_INCLUDES = ("<stdint.h>", "<string.h>")


def move(layer: MoveLayer, prefix: str) -> Code:
    """Return `layer` as loops; inputs are numbered as the regions' sources are."""
    inputs = max((region.source for region in layer.regions), default=-1) + 1
    names, _ = parameter_names(inputs, 1)
    body = list(_fill(layer))
    for region in layer.regions:
        body += _copy(merged(region), names[region.source], layer.itemsize)
    source = function(prefix, body, inputs, used=(*names, "out"))
    kernel = KernelCode(function=prefix, source=source, includes=_INCLUDES, alignment=1)
    return Code(kernel)


def _fill(layer: MoveLayer) -> list[str]:
    if layer.fill is None:
        return []
    pattern = layer.fill.to_bytes(layer.itemsize, "little")
    if len(set(pattern)) == 1:
        return [f"memset(out, {pattern[0]}, {layer.size * layer.itemsize}u);"]
    kind = _UNSIGNED[layer.itemsize]
    return [
        f"for (int32_t i = 0; i < {layer.size}; i++) (({kind} *)out)[i] = ({kind}){layer.fill}u;"
    ]


def merged(region: Region) -> Region:
    """Return the same copy with neighbouring dimensions that lie together made one."""
    counts, (sources, targets) = merge(region.counts, region.source_strides, region.target_strides)
    return replace(region, counts=counts, source_strides=sources, target_strides=targets)


def _copy(region: Region, name: str, itemsize: int) -> list[str]:
    if 0 in region.counts:
        return []
    ends = region.counts and region.source_strides[-1] == region.target_strides[-1] == 1
    outer = len(region.counts) - 1 if ends else len(region.counts)
    source = index(region.source_offset, region.source_strides[:outer])
    target = index(region.target_offset, region.target_strides[:outer])
    if ends:
        size = region.counts[-1] * itemsize
        places = f"out + {_times(target, itemsize)}, {name} + {_times(source, itemsize)}"
        line = f"memcpy({places}, {size}u);"
    else:
        kind = _UNSIGNED[itemsize]
        line = f"(({kind} *)out)[{target}] = ((const {kind} *){name})[{source}];"
    return nest(region.counts[:outer], [line])


def _times(place: str, itemsize: int) -> str:
    return place if itemsize == 1 else f"({place}) * {itemsize}"


def nearest(layer: NearestLayer, prefix: str) -> Code:
    """Return a nearest-neighbour resize as copies of whole pixels."""
    batch, height, width, depth = layer.input_shape
    row = width * depth
    line = (
        f"memcpy(out, in + i0 * {height * row} + {prefix}_y[i1] * {row} + "
        f"{prefix}_x[i2] * {depth}, {depth}u), out += {depth};"
    )
    body = nest((batch, len(layer.rows), len(layer.columns)), [line])
    constants = (constant(f"{prefix}_y", layer.rows), constant(f"{prefix}_x", layer.columns))
    source = function(prefix, body, used=("in", "out"))
    kernel = KernelCode(
        function=prefix, source=source, constants=constants, includes=_INCLUDES, alignment=1
    )
    return Code(kernel)
