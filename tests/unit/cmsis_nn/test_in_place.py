"""A result may take an operand's place only if nobody still reads what it overwrites."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.running import Oracle, compiled
from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    MulOptions,
    StridedSliceOptions,
    SubOptions,
)

KIND = ("int8", 0.05, -7)
_ELEMENTWISE = {"ADD": AddOptions(0, False), "MUL": MulOptions(0), "SUB": SubOptions(0, False)}


def _frame_of_itself(name: str, shape: tuple[int, ...], begin: list[int]) -> bytes:
    """Return a model that combines a value with a slice of itself, broadcast."""
    model = Model()
    ends = [first + size for first, size in zip(begin, shape, strict=True)]
    bounds = [
        model.add(T((3,), "int32", data=np.array(values, np.int32)))
        for values in (begin, ends, [1, 1, 1])
    ]
    whole = model.op("RELU", (model.input(T((1, 4, 8), *KIND)),), T((1, 4, 8), *KIND))
    options = StridedSliceOptions(0, 0, 0, 0, 0, False)
    part = model.op("STRIDED_SLICE", (whole, *bounds), T(shape, *KIND), options)
    model.outputs.append(model.op(name, (whole, part), T((1, 4, 8), *KIND), _ELEMENTWISE[name]))
    return model.to_bytes()


@pytest.mark.parametrize("name", _ELEMENTWISE)
@pytest.mark.parametrize(
    ("shape", "begin"),
    [((1, 1, 8), [0, 0, 0]), ((1, 4, 1), [0, 0, 0]), ((1, 1, 8), [0, 1, 0])],
    ids=["first-row", "first-column", "second-row"],
)
def test_a_slice_that_is_broadcast_outlives_the_first_row(
    name: str, shape: tuple[int, ...], begin: list[int], tmp_path: Path
) -> None:
    data = _frame_of_itself(name, shape, begin)
    sample = np.random.default_rng(1).integers(-128, 128, (1, 4, 8)).astype(np.int8)
    (got,) = compiled(data, tmp_path).run([sample])
    (expected,) = Oracle(data).run([sample], 1)
    assert np.array_equal(got, expected)
