import pytest

from tests.unit.toolchains.handmade import DENSE, INTEGER, compiled, tensor
from tinymlaas.contract.errors import CompilerCrashed
from tinymlaas.contract.tensors import DType
from workers.toolchains import abi


def test_header_says_sizes_types_and_quantisation():
    text = abi.header("kws", INTEGER.compiled)
    for line in (
        "#define KWS_ARENA_BYTES 56u",
        "#define KWS_ARENA_ALIGN 16u",
        "#define KWS_INPUT_COUNT 2u",
        "#define KWS_OUTPUT_COUNT 2u",
        "/* x: int8, 4 x 4, row-major */",
        "#define KWS_INPUT0_TYPE int8_t",
        "#define KWS_INPUT0_ELEMENTS 16u",
        "#define KWS_INPUT0_BYTES 16u",
        "#define KWS_INPUT0_SCALE 0.05",
        "#define KWS_INPUT0_ZERO_POINT (-3)",
        "#define KWS_INPUT1_BYTES 16u",
        "/* total: int64, scalar, row-major */",
        "#define KWS_OUTPUT1_BYTES 8u",
    ):
        assert line in text.splitlines()
    assert "KWS_INPUT1_SCALE" not in text


def test_a_tensor_name_cannot_leave_its_comment():
    evil = tensor("*/ int x; /* \n#error", (1,), DType.INT8, 0)
    text = abi.header("kws", compiled((evil,), (), 16))
    assert "*/ int x" not in text
    assert "\n#error" not in text


@pytest.mark.parametrize("suffix", ["init", "input", "invoke", "output"])
@pytest.mark.parametrize("field", ["entry", "init"])
def test_symbols_of_the_abi_are_taken(suffix, field):
    broken = DENSE.compiled.model_copy(update={field: f"kws_{suffix}"})
    with pytest.raises(CompilerCrashed, match=f"kws_{suffix}"):
        abi.source("kws", broken)


@pytest.mark.parametrize(
    ("offset", "arena", "said"), [(8, 8, "outside"), (2, 16, "misaligned"), (13, 16, "outside")]
)
def test_a_tensor_must_lie_well_in_the_arena(offset, arena, said):
    broken = compiled((tensor("x", (1,), DType.INT32, offset),), (), arena)
    with pytest.raises(CompilerCrashed, match=f"tensor x .*{said}"):
        abi.source("kws", broken)
