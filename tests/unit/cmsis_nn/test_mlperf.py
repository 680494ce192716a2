"""The four MLPerf Tiny int8 models on this machine, bit for bit TFLM's outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.running import ALL_OFF, HOST, Oracle, assert_equal, compiled
from workers.compilers.cmsis_nn.build import build
from workers.compilers.cmsis_nn.switches import OPTIONS, Switches

FOLDER = Path(__file__).parents[4] / "shared" / "models" / "mlperf-tiny"
MODELS = ("ad", "kws", "ic", "vww")
_RANDOM = 20
# arena bytes of direct CMSIS-NN calls without an interpreter: ours may not be larger
ARENA_GOALS = {"ad": 768, "kws": 16_000, "ic": 49_728, "vww": 64_512}
DATA_GOALS = {"ad": 270_880, "kws": 28_976, "ic": 81_432, "vww": 60_000}

pytestmark = pytest.mark.shared


def content(name: str) -> bytes:
    path = FOLDER / f"{name}_int8.tflite"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there: the reference models lie beside the project")
    return path.read_bytes()


def samples(shape: tuple[int, ...]) -> list[np.ndarray]:
    """A ramp, both ends of the range, and random tensors."""
    rng = np.random.default_rng(3)
    ramp = (np.arange(np.prod(shape)) % 256 - 128).reshape(shape)
    ends = [np.full(shape, end) for end in (-128, 127)]
    random = [rng.integers(-128, 128, shape) for _ in range(_RANDOM)]
    return [sample.astype(np.int8) for sample in (ramp, *ends, *random)]


def one_changed() -> list[object]:
    """Every option alone at every value but its default."""
    return [
        pytest.param({name: value}, id=f"{name}-{value}", marks=pytest.mark.slow)
        for name, allowed in OPTIONS.items()
        for value in allowed[1:]
    ]


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, id="optimised"), pytest.param(ALL_OFF, id="plain"), *one_changed()],
)
@pytest.mark.parametrize("name", MODELS)
def test_equals_tflm(name: str, options: dict[str, str], tmp_path: Path) -> None:
    data = content(name)
    oracle, module = Oracle(data), compiled(data, tmp_path, options)
    program = module.built.program
    distinct = set()
    for sample in samples(program.values[program.inputs[0]].shape):
        (want,) = oracle.run([sample], 1)
        assert_equal(module.run([sample]), [want], name)
        distinct.add(want.tobytes())
    assert len(distinct) > 1  # a model that answers the same to everything proves nothing


@pytest.mark.parametrize("name", MODELS)
def test_sizes_stay_within_the_goals(name: str) -> None:
    built = build(content(name), "m_run", HOST, Switches(specialise=False))
    assert built.layout.size <= ARENA_GOALS[name]
    assert built.weight_bytes <= DATA_GOALS[name]


def test_dead_channels_leave_what_the_models_readme_says() -> None:
    built = build(content("vww"), "m_run", HOST, Switches(specialise=False))
    weights = [s.layer.weights for s in built.program.steps if hasattr(s.layer, "weights")]
    assert sum(w.size for w in weights) <= 29_580
