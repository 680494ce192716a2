"""Data movement as loops: fill, then strided copies, with memcpy where elements lie together."""

from __future__ import annotations

from workers.compilers.cmsis_nn.code import Code, function, parameter_names
from workers.compilers.cmsis_nn.layers import MoveLayer, Region
from workers.compilers.cmsis_nn.special.layers import KernelCode

_UNSIGNED = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}


def move(layer: MoveLayer, prefix: str) -> Code:
    """Return `layer` as loops; inputs are numbered as the regions' sources are."""
    inputs = max(region.source for region in layer.regions) + 1 if layer.regions else 0
    names, _ = parameter_names(inputs, 1)
    body = list(_fill(layer))
    for region in layer.regions:
        body += _copy(merged(region), names[region.source], layer.itemsize)
    source = function(prefix, body, inputs, used=(*names, "out"))
    kernel = KernelCode(
        function=prefix, source=source, includes=("<stdint.h>", "<string.h>"), alignment=1
    )
    return Code(kernel)


def _fill(layer: MoveLayer) -> list[str]:
    if layer.fill is None:
        return []
    pattern = layer.fill.to_bytes(layer.itemsize, "little")
    if len(set(pattern)) == 1:
        return [f"memset(out, {pattern[0]}, {layer.size * layer.itemsize}u);"]
    kind = _UNSIGNED[layer.itemsize]
    return [
        f"for (uint32_t i = 0; i < {layer.size}u; i++) (({kind} *)out)[i] = ({kind}){layer.fill}u;"
    ]


def merged(region: Region) -> Region:
    """Return the same copy with neighbouring dimensions that lie together made one."""
    dims = [
        (count, source, target)
        for count, source, target in zip(
            region.counts, region.source_strides, region.target_strides, strict=True
        )
        if count != 1
    ]
    out: list[tuple[int, int, int]] = []
    for count, source, target in dims:
        if out and out[-1][1] == count * source and out[-1][2] == count * target:
            out[-1] = (out[-1][0] * count, source, target)
        else:
            out.append((count, source, target))
    counts, sources, targets = (tuple(d[i] for d in out) for i in range(3))
    return Region(
        region.source, counts, sources, targets, region.source_offset, region.target_offset
    )


def _copy(region: Region, name: str, itemsize: int) -> list[str]:
    together = region.counts and region.source_strides[-1] == region.target_strides[-1] == 1
    outer = len(region.counts) - 1 if together else len(region.counts)
    loops = [f"for (int32_t i{d} = 0; i{d} < {region.counts[d]}; i{d}++)" for d in range(outer)]
    source = _index(region.source_offset, region.source_strides[:outer])
    target = _index(region.target_offset, region.target_strides[:outer])
    if together:
        size = region.counts[-1] * itemsize
        ends = f"out + {_times(target, itemsize)}, {name} + {_times(source, itemsize)}"
        inner = f"memcpy({ends}, {size}u);"
    else:
        kind = _UNSIGNED[itemsize]
        inner = f"(({kind} *)out)[{target}] = ((const {kind} *){name})[{source}];"
    return [*(f"{'  ' * d}{loop}" for d, loop in enumerate(loops)), "  " * outer + inner]


def _index(offset: int, strides: tuple[int, ...]) -> str:
    terms = [f"i{d} * {s}" for d, s in enumerate(strides) if s]
    if offset or not terms:
        terms.insert(0, str(offset))
    return " + ".join(terms)


def _times(index: str, itemsize: int) -> str:
    return index if itemsize == 1 else f"({index}) * {itemsize}"
