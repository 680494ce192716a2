import pytest

from tests.unit.toolchains.handmade import TARGETS
from tinymlaas.contract.device import CapabilityClass, Core, FloatAbi, Fpu, Mve
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.toolchains.cflags import check_extra, machine_flags


@pytest.mark.parametrize(
    ("target", "flags"),
    [
        ("m0plus", "-mthumb -mcpu=cortex-m0plus -mfloat-abi=soft"),
        ("m4", "-mthumb -mcpu=cortex-m4 -mfloat-abi=soft"),
        ("m4f", "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard"),
        ("m4f-softfp", "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=softfp"),
        ("m7", "-mthumb -mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard"),
        ("m7d", "-mthumb -mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard"),
        ("m33", "-mthumb -mcpu=cortex-m33+nodsp+nofp -mfloat-abi=soft"),
        ("m33f", "-mthumb -mcpu=cortex-m33 -mfpu=fpv5-sp-d16 -mfloat-abi=hard"),
        ("rv32imc", "-march=rv32imc -mabi=ilp32"),
        ("avr5", "-mmcu=atmega328p"),
    ],
)
def test_flags_of_a_core(target, flags):
    assert " ".join(machine_flags(TARGETS[target])) == flags


def test_m55_says_its_extensions_as_an_architecture():
    assert machine_flags(TARGETS["m55f"])[1] == "-march=armv8.1-m.main+dsp+mve.fp+fp.dp"
    assert machine_flags(TARGETS["m55i"])[1] == "-march=armv8.1-m.main+dsp+mve"
    assert machine_flags(TARGETS["m55"])[1:] == (
        "-march=armv8.1-m.main+dsp",
        "-mtune=cortex-m55",
        "-mfloat-abi=soft",
    )


@pytest.mark.parametrize(
    "target",
    [
        CapabilityClass(core=Core.CORTEX_M3, fpu=Fpu.SINGLE, float_abi=FloatAbi.HARD),
        CapabilityClass(core=Core.CORTEX_M4, fpu=Fpu.DOUBLE, float_abi=FloatAbi.HARD),
        CapabilityClass(core=Core.CORTEX_M55, mve=Mve.FLOAT),
        CapabilityClass(core=Core.AVR),
    ],
)
def test_a_core_that_does_not_exist_is_refused(target):
    with pytest.raises(ToolchainError):
        machine_flags(target)


def test_allowed_flags_pass():
    flags = ("-O3", "-DUSE_X=1", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-math-errno")
    assert check_extra(flags) == flags


@pytest.mark.parametrize(
    "flag",
    [
        "-I/etc",
        "-include",
        "@file",
        "-fplugin=x.so",
        "-o",
        "-Wl,-T,x",
        "-DX=`id`",
        "-B.",
        "-O2 -B.",
    ],
)
def test_other_flags_are_refused_by_name(flag):
    with pytest.raises(CompilerCrashed, match="forbidden"):
        check_extra(("-O2", flag))
