"""Small modules written by hand, in the form a compiler leaves them, and targets to build for."""

from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.compiler import ArenaPlan, ArenaTensor, Compiled
from tinymlaas.contract.device import (
    CapabilityClass,
    Core,
    FloatAbi,
    Fpu,
    MemoryKind,
    MemoryRegion,
    Mve,
)
from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.toolchains.library import Library, build_library

NAME = "hand"


def tensor(name, shape, dtype, offset, quantization=None):
    spec = TensorSpec(name=name, shape=shape, dtype=dtype, quantization=quantization)
    return ArenaTensor(spec=spec, offset=offset)


def region(name, kind, origin, length):
    return MemoryRegion(name=name, kind=kind, origin=origin, length=length)


def memory(flash_kib, ram_kib, flash_origin=0x08000000, ram_origin=0x20000000):
    return (
        region("flash", MemoryKind.FLASH, flash_origin, flash_kib << 10),
        region("ram", MemoryKind.RAM, ram_origin, ram_kib << 10),
    )


_MEMORY = memory(256, 64)
_SINGLE = {"fpu": Fpu.SINGLE, "float_abi": FloatAbi.HARD, "memory": _MEMORY}
_DOUBLE = {"fpu": Fpu.DOUBLE, "float_abi": FloatAbi.HARD, "memory": _MEMORY}

TARGETS = {
    "m0": CapabilityClass(core=Core.CORTEX_M0, memory=_MEMORY),
    "m0plus": CapabilityClass(core=Core.CORTEX_M0PLUS, memory=_MEMORY),
    "m3": CapabilityClass(core=Core.CORTEX_M3, memory=_MEMORY),
    "m4": CapabilityClass(core=Core.CORTEX_M4, dsp=True, memory=_MEMORY),
    "m4f": CapabilityClass(core=Core.CORTEX_M4, dsp=True, **_SINGLE),
    "m4f-softfp": CapabilityClass(
        core=Core.CORTEX_M4,
        dsp=True,
        fpu=Fpu.SINGLE,
        float_abi=FloatAbi.SOFTFP,
        memory=_MEMORY,
    ),
    "m7": CapabilityClass(core=Core.CORTEX_M7, dsp=True, **_SINGLE),
    "m7d": CapabilityClass(core=Core.CORTEX_M7, dsp=True, **_DOUBLE),
    "m33": CapabilityClass(core=Core.CORTEX_M33, memory=_MEMORY),
    "m33f": CapabilityClass(core=Core.CORTEX_M33, dsp=True, **_SINGLE),
    "m55": CapabilityClass(core=Core.CORTEX_M55, dsp=True, memory=_MEMORY),
    "m55i": CapabilityClass(core=Core.CORTEX_M55, dsp=True, mve=Mve.INTEGER, memory=_MEMORY),
    "m55f": CapabilityClass(core=Core.CORTEX_M55, dsp=True, mve=Mve.FLOAT, **_DOUBLE),
    "rv32imac": CapabilityClass(core=Core.RV32IMAC, memory=_MEMORY),
    "rv32imc": CapabilityClass(core=Core.RV32IMC, memory=_MEMORY),
    "avr5": CapabilityClass(core=Core.AVR, cpu="atmega328p", memory=memory(32, 2, 0, 0x100)),
    "avr51": CapabilityClass(core=Core.AVR, cpu="atmega1280", memory=memory(128, 8, 0, 0x200)),
    "avr6": CapabilityClass(core=Core.AVR, cpu="atmega2560", memory=memory(256, 8, 0, 0x200)),
    "host": CapabilityClass(core=Core.HOST),
}
M4F = TARGETS["m4f"]
HOST = TARGETS["host"]
MSP430 = CapabilityClass(core=Core.MSP430, cpu="msp430f5529", memory=memory(128, 8, 0x4400, 0x2400))


@dataclass(frozen=True)
class Handmade:
    """Source text of one C file and the compiled.json that goes with it."""

    source: str
    compiled: Compiled
    file: str = "gen/hand.c"

    @property
    def files(self) -> dict[str, bytes]:
        return {self.file: self.source.encode()}

    def build(self, target: CapabilityClass) -> Library:
        return build_library(self.files, self.compiled, NAME, target)


def unpacked(library: Library, folder: Path) -> tuple[Path, Path]:
    """Write a library for tools to use; return its file and its folder of headers."""
    archive, header = folder / f"lib{NAME}.a", folder / "include" / f"{NAME}.h"
    header.parent.mkdir(parents=True)
    archive.write_bytes(library.library)
    header.write_bytes(library.header)
    return archive, header.parent


def compiled(inputs, outputs, arena, **more):
    defaults = {
        "compiler": "hand",
        "version": "1",
        "entry": "hand_entry",
        "sources": ("gen/hand.c",),
        "weight_bytes": 0,
    }
    return Compiled(
        inputs=inputs, outputs=outputs, arena=ArenaPlan(size=arena), **{**defaults, **more}
    )


# 16 inputs, 10 outputs; a lookup table for weights, so that rodata has a size to check.
DENSE = Handmade(
    """
#include <stdint.h>
#include <math.h>
static const float weights[10][16] = {{1.5f, -2.0f, 0.25f}, {0, 0, 3.0f, 1e-3f}, {7}};
int32_t hand_entry(uint8_t *arena) {
  const float *x = (const float *)arena;
  float *y = (float *)(arena + 64);
  for (int i = 0; i < 10; i++) {
    float sum = 0.0f;
    for (int j = 0; j < 16; j++) sum += weights[i][j] * x[j];
    y[i] = tanhf(sum);
  }
  return 0;
}
""",
    compiled(
        (tensor("x", (1, 16), DType.FLOAT32, 0),),
        (tensor("y", (1, 10), DType.FLOAT32, 64),),
        104,
        weight_bytes=640,
    ),
)

# int8 matrix product with a 32-bit requantisation, two inputs, two outputs.
INTEGER = Handmade(
    """
#include <stdint.h>
static const int8_t table[32] = {3, -7, 11, 127, -128, 5, 0, 1, 2, -3, 9, 44, -90, 17, 6, -1};
int32_t hand_entry(uint8_t *arena) {
  const int8_t *x = (const int8_t *)arena;
  const int32_t *bias = (const int32_t *)(arena + 16);
  int8_t *y = (int8_t *)(arena + 32);
  int64_t *total = (int64_t *)(arena + 48);
  *total = 0;
  for (int i = 0; i < 16; i++) {
    int32_t sum = bias[i % 4];
    for (int j = 0; j < 16; j++) sum += (int32_t)x[j] * table[(i + j) % 32];
    *total += (int64_t)sum * sum;
    sum = (int32_t)(((int64_t)sum * 1518500250 + (1L << 30)) >> 37);
    y[i] = (int8_t)(sum > 127 ? 127 : sum < -128 ? -128 : sum);
  }
  return 0;
}
""",
    compiled(
        (
            tensor("x", (4, 4), DType.INT8, 0, Quantization(scale=0.05, zero_point=-3)),
            tensor("bias", (4,), DType.INT32, 16),
        ),
        (
            tensor("y", (16,), DType.INT8, 32, Quantization(scale=0.1, zero_point=0)),
            tensor("total", (), DType.INT64, 48),
        ),
        56,
    ),
)

# Spends as many loop turns as its input says; the same C serves to need stack.
LOOP = Handmade(
    """
#include <stdint.h>
int32_t hand_entry(uint8_t *arena) {
  const uint32_t turns = *(const uint32_t *)arena;
  uint32_t state = 1;
  for (uint32_t i = 0; i < turns; i++) {
    state = state * 1664525u + 1013904223u;
    __asm volatile("" : "+r"(state));
  }
  *(uint32_t *)(arena + 16) = state;
  return 0;
}
""",
    compiled(
        (tensor("turns", (1,), DType.INT32, 0),), (tensor("state", (1,), DType.INT32, 16),), 20
    ),
)

STACK = Handmade(
    """
#include <stdint.h>
int32_t hand_entry(uint8_t *arena) {
  const int32_t size = *(const int32_t *)arena;
  volatile uint8_t *block = __builtin_alloca(size);
  for (int32_t i = 0; i < size; i++) block[i] = (uint8_t)i;
  *(int32_t *)(arena + 16) = block[size / 2];
  return 0;
}
""",
    compiled((tensor("size", (1,), DType.INT32, 0),), (tensor("y", (1,), DType.INT32, 16),), 20),
)


def body(statements, declarations="", **more):
    """A module of one int32 in, one int32 out, with this function body."""
    source = (
        f"#include <stdint.h>\n#include <string.h>\n{declarations}\n"
        "int32_t hand_entry(uint8_t *arena) {\n"
        "  const int32_t *x = (const int32_t *)arena;\n"
        "  int32_t *y = (int32_t *)(arena + 16);\n"
        f"  {statements}\n  (void)x; (void)y;\n  return 0;\n}}\n"
    )
    spec = (tensor("x", (1,), DType.INT32, 0),), (tensor("y", (1,), DType.INT32, 16),)
    return Handmade(source, compiled(*spec, **{"arena": 20, **more}))
