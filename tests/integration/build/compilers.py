"""Compilers of a few lines, right and wrong, for the model y = relu(x @ w) of small_onnx."""

from tests.integration.cli.models import small_onnx
from tinymlaas.contract.compiler import (
    ArenaPlan,
    ArenaTensor,
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import CompilerCrashed
from workers.compilers.plugin import Output

RIGHT = "sum > 0 ? sum : 0"


class Handmade:
    """Writes C whose result is `formula` of the dot product `sum`; counts how often it is asked."""

    origin = "a test"

    def __init__(
        self,
        formula: str = RIGHT,
        before: str = "",
        error: Exception | None = None,
        **output: object,
    ) -> None:
        self.formula, self.before, self.error, self.output = formula, before, error, output
        self.asked = 0
        self.said: Estimate | CompilerCrashed | None = None

    def describe(self) -> CompilerDescription:
        return CompilerDescription(
            name="handmade", version="1", cores=(Core.HOST, Core.CORTEX_M4), operators=()
        )

    def warm_up(self) -> None:
        return None

    def supports(self, task: CompileTask, model: bytes) -> Support:
        return Support()

    def estimate(self, task: CompileTask, model: bytes) -> Estimate | None:
        if isinstance(self.said, CompilerCrashed):
            raise self.said
        return self.said

    def compile(self, task: CompileTask, model: bytes) -> Output:
        self.asked += 1
        if self.error is not None:
            raise self.error
        compiled = Compiled(
            compiler="handmade",
            version="1",
            entry="handmade_run",
            inputs=(ArenaTensor(spec=task.summary.inputs[0], offset=0),),
            outputs=(
                ArenaTensor(spec=task.summary.outputs[0].model_copy(update=self.output), offset=64),
            ),
            arena=ArenaPlan(size=80),
            sources=("m.c",),
            weight_bytes=256,
        )
        return Output(compiled, {"m.c": _source(self.formula, self.before).encode()})


def _source(formula: str, before: str) -> str:
    from onnx import numpy_helper

    weights = numpy_helper.to_array(small_onnx().graph.initializer[0])
    numbers = ", ".join(f"{float(value).hex()}f" for value in weights.ravel())
    return f"""
#include <stdint.h>
#include <math.h>
static const float w[16][4] = {{{numbers}}};
int32_t handmade_run(uint8_t *arena) {{
  const float *x = (const float *)arena;
  float *y = (float *)(arena + 64);
  {before}
  for (int j = 0; j < 4; j++) {{
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += x[i] * w[i][j];
    y[j] = {formula};
  }}
  return 0;
}}
"""
