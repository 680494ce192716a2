"""One contract for every compiler: ours and the example from outside."""

from pathlib import Path

import numpy as np
import pytest

from tests.contract.compilers.cases import run_on_host, task_of, write_task
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


def test_supports_what_it_describes(compiler: Compiler, tmp_path: Path) -> None:
    task, data = task_of(["Add", "Relu"])
    assert compiler.supports(task, write_task(tmp_path, task, data)).ok


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BOOL])
def test_refusal_names_the_operator(compiler: Compiler, tmp_path: Path, dtype: DType) -> None:
    task, data = task_of(["Frobnicate"], dtype=dtype)
    support = compiler.supports(task, write_task(tmp_path, task, data))
    assert not support.ok
    assert any("Frobnicate" in reason for reason in support.reasons)


def test_compiled_code_computes_the_model(compiler: Compiler, tmp_path: Path) -> None:
    task, data = task_of(["Add", "Relu", "Mul", "Neg"])
    folder, out = write_task(tmp_path / "in", task, data), tmp_path / "out"
    out.mkdir()
    compiled = compiler.compile(folder, out)
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((2, 3, 4)).astype(np.float32) for _ in range(2))
    (got,) = run_on_host(out, compiled, [a, b])
    np.testing.assert_array_equal(got, -(np.maximum(a + b, 0) * b))


def test_same_task_same_bytes(compiler: Compiler, tmp_path: Path) -> None:
    task, data = task_of(["Sub", "Tanh"])
    outputs = []
    for run in ("one", "other"):
        folder, out = write_task(tmp_path / run / "in", task, data), tmp_path / run / "out"
        out.mkdir()
        compiler.compile(folder, out)
        outputs.append({p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert outputs[0] == outputs[1]


def test_compile_refuses_what_it_cannot_do(compiler: Compiler, tmp_path: Path) -> None:
    task, data = task_of(["Frobnicate"])
    folder, out = write_task(tmp_path / "in", task, data), tmp_path / "out"
    out.mkdir()
    with pytest.raises(UnsupportedModel, match="Frobnicate"):
        compiler.compile(folder, out)
