"""The C for every core, compiled strictly; the object back end, run where it can be."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from onnx import helper

from tests.integration.tvm import harness
from tests.integration.tvm.onnx_models import build, reference
from tinymlaas.contract.device import CapabilityClass, Core, FloatAbi, Fpu
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from workers.compilers.tvm import generate as stages
from workers.compilers.tvm import objects
from workers.compilers.tvm.generate import generate

RNG = np.random.default_rng(0)
ARM = ["arm-none-eabi-gcc", "-mthumb"]
HARD = CapabilityClass(core=Core.CORTEX_M4, fpu=Fpu.SINGLE, dsp=True, float_abi=FloatAbi.HARD)
TARGETS = {
    "m0": (CapabilityClass(core=Core.CORTEX_M0), [*ARM, "-mcpu=cortex-m0"]),
    "m4f": (HARD, [*ARM, "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]),
    "rv32": (
        CapabilityClass(core=Core.RV32IMAC),
        ["riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs"],
    ),
    "avr": (CapabilityClass(core=Core.AVR, cpu="atmega2560"), ["avr-gcc", "-mmcu=atmega2560"]),
}
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-maybe-uninitialized"]


def network() -> bytes:
    """Convolution, quantisation, pooling, dense layer, softmax, and an index as second output."""
    constants = {
        "w": RNG.normal(0, 1, (4, 1, 3, 3)).astype(np.float32),
        "b": RNG.normal(0, 1, 4).astype(np.float32),
        "s": np.float32(0.1),
        "z": np.int8(-3),
        "d": RNG.normal(0, 1, (64, 3)).astype(np.float32),
        "shape": np.array([1, 64], dtype=np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("QuantizeLinear", ["r", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["f"]),
        node("AveragePool", ["f"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["p", "shape"], ["flat"]),
        node("MatMul", ["flat", "d"], ["logits"]),
        node("Softmax", ["logits"], ["y"], axis=1),
        node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
    ]
    return build(nodes, {"x": (1, 1, 8, 8)}, ["y", "class"], constants)


def _exported(symbols) -> set[str]:
    return {
        symbol.name
        for symbol in symbols
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] != "SHN_UNDEF"
    }


@pytest.mark.parametrize("name", TARGETS)
def test_strict_c_for_every_core(name, tmp_path):
    target, compiler = TARGETS[name]
    made = generate(network(), ModelFormat.ONNX, target)
    source = tmp_path / "model.c"
    source.write_text(made.source)
    flags = [*STRICT, "-fno-strict-aliasing", "-O2", *made.cflags]
    subprocess.run([*compiler, *flags, "-c", source, "-o", tmp_path / "model.o"], check=True)
    with (tmp_path / "model.o").open("rb") as file:
        elf = ELFFile(file)
        sizes = {s.name: s["sh_size"] for s in elf.iter_sections()}
        symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    assert sizes.get(".data", 0) == sizes.get(".bss", 0) == 0
    assert _exported(symbols) == {"model_run"}
    undefined = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF"}
    doubles = {"__aeabi_dadd", "__aeabi_dmul", "__aeabi_f2d", "__adddf3", "__muldf3"}
    assert not undefined & doubles, "computes in double"


def test_what_avr_lacks_is_refused():
    target, _ = TARGETS["avr"]
    for operator in ("Erf", "Asinh"):
        model = build([helper.make_node(operator, ["x"], ["y"])], {"x": (4,)}, ["y"])
        with pytest.raises(UnsupportedModel, match=operator):
            generate(model, ModelFormat.ONNX, target)
    model = build([helper.make_node("Cast", ["x"], ["y"], to=11)], {"x": (4,)}, ["y"])
    with pytest.raises(UnsupportedModel, match="float64"):
        generate(model, ModelFormat.ONNX, target)


def test_msp430_object():
    made = generate(network(), ModelFormat.ONNX, CapabilityClass(core=Core.MSP430), "net")
    assert made.source == ""
    elf = ELFFile(io.BytesIO(made.obj))
    assert elf["e_machine"] == "EM_MSP430"
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    defined = _exported(symbols)
    assert "net_run" in defined
    assert all(name.startswith("net_") for name in defined)
    assert elf.get_section_by_name(".rodata")["sh_size"] >= made.weight_bytes
    assert not any(s.name in (".data", ".bss") and s["sh_size"] for s in elf.iter_sections())


def test_arena_beyond_16_bit_addresses_is_refused():
    model = build([helper.make_node("Softmax", ["x"], ["y"])], {"x": (1, 40000)}, ["y"])
    with pytest.raises(UnsupportedModel, match="65536"):
        generate(model, ModelFormat.ONNX, CapabilityClass(core=Core.MSP430))


def test_objects_compute_what_the_c_does(monkeypatch, tmp_path):
    """The same back end with this machine for a target, as no MSP430 simulator is at hand."""
    machine = {"kind": "llvm", "mtriple": "x86_64-linux-gnu"}
    here = lambda *parts: objects.emit_object(*parts, machine=machine)  # noqa: E731
    monkeypatch.setattr(stages, "emit_object", here)
    model = network()
    made = generate(model, ModelFormat.ONNX, CapabilityClass(core=Core.MSP430))
    inputs = [RNG.normal(0, 1, (1, 1, 8, 8)).astype(np.float32)]
    expected = reference(model, inputs)
    for got, wanted in zip(harness.run(made, inputs, tmp_path), expected, strict=True):
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
