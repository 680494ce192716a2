"""One contract for every compiler: ours and the example from outside."""

from pathlib import Path

import numpy as np
import pytest

from tests.contract.compilers.cases import run_on_host, task_of
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import DType
from workers.compilers.plugin import Compiler
from workers.compilers.registry import discover

EXAMPLE = Path(__file__).parents[3] / "examples" / "plugin"


@pytest.fixture(params=["tvm", "elementwise"])
def compiler(request: pytest.FixtureRequest) -> Compiler:
    return discover([EXAMPLE]).get(request.param)


def test_describe_names_operators_and_cores(compiler: Compiler) -> None:
    description = compiler.describe()
    assert Core.CORTEX_M4 in description.cores
    assert any("Relu" in support.operators for support in description.operators)


def test_supports_what_it_describes(compiler: Compiler) -> None:
    task, data = task_of(["Add", "Relu"])
    assert compiler.supports(task, data).ok


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BOOL])
def test_refusal_names_the_operator(compiler: Compiler, dtype: DType) -> None:
    task, data = task_of(["Frobnicate"], dtype=dtype)
    support = compiler.supports(task, data)
    assert not support.ok
    assert any("Frobnicate" in reason for reason in support.reasons)


def test_compiled_code_computes_the_model(compiler: Compiler, tmp_path: Path) -> None:
    task, data = task_of(["Add", "Relu", "Mul", "Neg"])
    made = compiler.compile(task, data)
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((2, 3, 4)).astype(np.float32) for _ in range(2))
    (got,) = run_on_host(tmp_path, made, [a, b])
    np.testing.assert_array_equal(got, -(np.maximum(a + b, 0) * b))


def test_same_task_same_bytes(compiler: Compiler) -> None:
    task, data = task_of(["Sub", "Tanh"])
    assert compiler.compile(task, data) == compiler.compile(task, data)


def test_compile_refuses_what_it_cannot_do(compiler: Compiler) -> None:
    task, data = task_of(["Frobnicate"])
    with pytest.raises(UnsupportedModel, match="Frobnicate"):
        compiler.compile(task, data)
