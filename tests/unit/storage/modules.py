"""A small real module archive, for the tests of storage and packing."""

from __future__ import annotations

from storage.provenance import Builder, ExternalParameters, sign_module
from storage.signing import LocalSigner
from tinymlaas.contract.compiler import ArenaPlan, ArenaTensor
from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.manifest import (
    CompilerUsed,
    Footprint,
    Level,
    ModuleManifest,
    Numerics,
    Verification,
)
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.pack import pack

TARGET = CapabilityClass(
    core=Core.CORTEX_M4,
    memory=(
        MemoryRegion(name="flash", kind=MemoryKind.FLASH, origin=0x0800_0000, length=1 << 20),
        MemoryRegion(name="ram", kind=MemoryKind.RAM, origin=0x2000_0000, length=128 << 10),
    ),
)
INPUT = TensorSpec(name="x", shape=(2, 3), dtype=DType.FLOAT32)
OUTPUT = TensorSpec(name="y", shape=(), dtype=DType.INT64)

MEMBERS = {
    "include/net.h": b"#pragma once\n",
    "lib/libnet.a": bytes(range(256)) * 4,
    "src/net.c": b"int net(void) { return 0; }\n",
    "src/empty.c": b"",
}


def manifest(**changes: object) -> ModuleManifest:
    whole = ModuleManifest(
        name="net",
        action_digest="a" * 64,
        model_digest="b" * 64,
        target=TARGET,
        inputs=(ArenaTensor(spec=INPUT, offset=0),),
        outputs=(ArenaTensor(spec=OUTPUT, offset=32),),
        arena=ArenaPlan(size=64),
        compiler=CompilerUsed(
            name="tvm",
            version="0.27.0.post1",
            build="c0ffee",
            kernels="generated",
            options={"unroll": "4", "pad": "no"},
            toolchain="arm-none-eabi-gcc 12.2.1",
            cflags=("-O2",),
        ),
        footprint=Footprint(
            level=Level.LINKED,
            flash_bytes=4000,
            ram_bytes=900,
            code_bytes=1000,
            weight_bytes=1024,
            arena_bytes=64,
            static_bytes=8,
            stack_bytes=None,
        ),
        verification=Verification(
            level=Level.SIMULATED,
            machine="mps2-an386",
            simulator="QEMU 7.2",
            reference="onnxruntime",
            samples=2,
            instructions=12345,
            stack_bytes=96,
            numerics=Numerics(
                max_abs_error=1e-7, max_rel_error=1.5e-7, bit_exact=False, tolerance=1e-4
            ),
        ),
        files=(),
    )
    return whole.model_copy(update=changes)


def archive(**changes: object) -> bytes:
    return pack(manifest(**changes), MEMBERS)


def asked(**changes: object) -> ExternalParameters:
    whole = ExternalParameters(
        model="b" * 64,
        name="net",
        target=TARGET,
        compiler="auto",
        shapes={"x": (2, 3)},
        options={},
    )
    return whole.model_copy(update=changes)


def envelope(data: bytes, signer: LocalSigner) -> bytes:
    return sign_module(data, asked(), signer, Builder(version={"tinymlaas": "0.1.0"}))
