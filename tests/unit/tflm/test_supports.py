"""What tflm says of a model before it compiles it."""

from pathlib import Path

from tests.unit.cmsis_nn.test_plugin import small, task_of
from tinymlaas.contract.compiler import CompileTask
from tinymlaas.contract.model import OperatorUse
from tinymlaas.contract.tensors import DType
from workers.compilers.tflm import plugin


def test_operators_it_lacks_are_told_in_the_models_order(tmp_path: Path) -> None:
    path = task_of(small().to_bytes(), tmp_path)
    task = CompileTask.model_validate_json(path.read_bytes())
    uses = tuple(
        OperatorUse(name=name, dtype=DType.INT8, indices=indices)
        for name, indices in (("UNIQUE", (7,)), ("ADD", (0,)), ("CUSTOM Own", (3, 9)))
    )
    odd = task.model_copy(update={"summary": task.summary.model_copy(update={"operators": uses})})
    assert plugin.supports(odd).reasons == (
        "operators 3, 9 (CUSTOM Own, int8) are not supported",
        "operator 7 (UNIQUE, int8) is not supported",
    )
