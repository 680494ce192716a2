"""Where a module's numbers part from the reference's: a wrong layer is named, and only that."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage import keys
from storage.archive import read_archive
from tests.integration.build.networks import BOARD, build_with, five_layers
from tests.integration.cli.runner import Cli
from tests.integration.cli.test_reference_models import MODELS
from tinymlaas.contract.compiler import Compiled, CompilerDescription, CompileTask
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel
from tinymlaas.contract.manifest import Layers
from tinymlaas.contract.report import CandidateStatus
from workers.compilers.cmsis_nn import build, plugin
from workers.compilers.cmsis_nn.program import Program, Step
from workers.compilers.in_tree import InTreeCompiler
from workers.compilers.plugin import TASK_FILE, Output, task_files
from workers.sandbox import files

Planting = Callable[[str], None]


class InThisProcess(InTreeCompiler):
    """cmsis-nn, compiling here, where a test can change it; it promises bits only if `exact`."""

    def __init__(self, *, exact: bool = True) -> None:
        super().__init__("workers.compilers.cmsis_nn.plugin")
        self.exact = exact

    def describe(self) -> CompilerDescription:
        found = super().describe()
        operators = tuple(o.model_copy(update={"exact": self.exact}) for o in found.operators)
        return found.model_copy(update={"operators": operators})

    def compile(self, task: CompileTask, model: bytes) -> Output:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files.write(folder / "task", task_files(task, model))
            (folder / "out").mkdir()
            compiled = plugin.compile(folder / "task" / TASK_FILE, folder / "out")
            if not isinstance(compiled, Compiled):
                raise UnsupportedModel(*compiled.reasons)
            return Output(compiled, files.read(folder / "out"))


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make one layer's multiplier wrong, as a wrong kernel would: by `factor`."""
    honest = build.optimise

    def planted(origin: str, factor: float = 1.6) -> None:
        def spoilt(step: Step) -> Step:
            if step.origin != origin:
                return step
            quant = step.layer.quant  # type: ignore[union-attr]
            scaled = (quant.multipliers * factor).astype(np.int64)
            multipliers = np.minimum(scaled, 2**31 - 1).astype(np.int32)
            quant = replace(quant, multipliers=multipliers)
            return replace(step, layer=replace(step.layer, quant=quant))  # type: ignore[arg-type]

        def optimise(program: Program, switches: build.Switches) -> Program:
            done = honest(program, switches)
            return replace(done, steps=tuple(spoilt(step) for step in done.steps))

        monkeypatch.setattr(build, "optimise", optimise)

    return planted


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "layers-cache"


@pytest.mark.parametrize(
    "origin",
    [
        "DEPTHWISE_CONV_2D 1",
        *(
            pytest.param(origin, marks=pytest.mark.slow)
            for origin in ("CONV_2D 0", "CONV_2D 2", "FULLY_CONNECTED 4")
        ),
    ],
)
def test_the_wrong_layer_is_named(plant: Planting, cache: Path, origin: str) -> None:
    plant(origin)
    outcome, _, _ = build_with(InThisProcess(), five_layers(), "net.tflite", cache, "portable")
    assert outcome.report.status is CandidateStatus.FAILED
    operator, _, layer = origin.partition(" ")
    wrong, finding = outcome.report.reasons
    assert "computes other numbers than tflite-micro" in wrong
    assert f"first differs at layer {layer} {operator} " in finding
    assert "5 of the model's 5 tensors" in finding


def test_what_is_near_enough_but_not_the_same_says_where_in_its_certificate(
    plant: Callable[..., None], cache: Path
) -> None:
    plant("CONV_2D 2", 0.98)
    found = [
        build_with(InThisProcess(exact=False), five_layers(), "net.tflite", cache, "portable")
        for _ in range(2)
    ]
    (outcome, store, _), (again, _, _) = found
    assert outcome.report.status is CandidateStatus.VERIFIED, outcome.report.reasons
    assert outcome.archive_digest == again.archive_digest
    digest = outcome.archive_digest
    assert digest is not None
    verification = read_archive(store.get(keys.module_archive(digest))).manifest.verification
    assert verification is not None
    layers = verification.layers
    assert isinstance(layers, Layers)
    assert layers.first is not None
    assert (layers.first.layer, layers.first.operator) == (2, "CONV_2D")
    assert (layers.tensors, layers.compared, layers.exact) == (5, 5, 2)


def test_a_right_module_is_not_looked_into(cache: Path) -> None:
    compiler = InThisProcess()
    asked: list[CompileTask] = []
    honest = compiler.compile

    def counted(task: CompileTask, model: bytes) -> Output:
        asked.append(task)
        return honest(task, model)

    compiler.compile = counted  # type: ignore[method-assign]
    outcome, store, _ = build_with(compiler, five_layers(), "net.tflite", cache, "portable")
    assert outcome.report.bit_exact
    assert [task.tapped for task in asked] == [False]
    assert outcome.archive_digest is not None
    archive = read_archive(store.get(keys.module_archive(outcome.archive_digest)))
    assert archive.manifest.verification is not None
    assert archive.manifest.verification.layers is None


def test_a_probe_that_was_stopped_leaves_no_archive_that_lacks_it(
    plant: Callable[..., None], cache: Path
) -> None:
    plant("CONV_2D 2", 0.98)
    compiler = InThisProcess(exact=False)
    honest = compiler.compile

    def stopped(task: CompileTask, model: bytes) -> Output:
        if task.tapped:
            raise CompilerCrashed("it took too long and was stopped")
        return honest(task, model)

    compiler.compile = stopped  # type: ignore[method-assign]
    outcome, store, _ = build_with(compiler, five_layers(), "net.tflite", cache, "portable")
    assert outcome.report.status is CandidateStatus.FAILED
    assert outcome.report.reasons == ("it took too long and was stopped",)
    assert not {"actions", "modules"} & {info.key.path.split("/")[0] for info in store.list()}


def test_all_layers_are_compared_when_somebody_asks(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cli = Cli(tmp_path, tmp_path_factory.getbasetemp() / "cache")
    model = tmp_path / "net.tflite"
    model.write_bytes(five_layers())
    arguments = ("--board", BOARD, "--compiler", "cmsis-nn", "--json", "-o", tmp_path)
    done = cli("compile", model, *arguments)
    assert done.status == 0, done.err
    module = Path(done.json["module"])
    told = cli("verify", module, "--layers", "--json")
    assert told.status == 0, told.err
    rows = told.json["layers"]
    operators = ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [(row["layer"], row["operator"]) for row in rows] == list(enumerate(operators))
    assert all(row["numerics"]["bit_exact"] for row in rows)
    (tmp_path / "other.tflite").write_bytes(five_layers(seed=4))
    other = cli("verify", module, "--layers", "--model", tmp_path / "other.tflite")
    assert (other.status, len(other.lines)) == (2, 1)
    shown = cli("verify", module, "--layers", "--model", model).out
    assert "5 of the model's 5 tensors are in the module; 5 are the reference's" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "origin"),
    [
        ("kws", "DEPTHWISE_CONV_2D 5"),
        ("ic", "CONV_2D 6"),
        ("ad", "FULLY_CONNECTED 3"),
        ("vww", "CONV_2D 14"),
    ],
)
def test_the_wrong_layer_of_a_reference_model_is_named(
    plant: Planting, cache: Path, model: str, origin: str
) -> None:
    data = (MODELS / f"{model}_int8.tflite").read_bytes()
    plant(origin)
    outcome, _, _ = build_with(InThisProcess(), data, f"{model}.tflite", cache, "portable")
    operator, _, layer = origin.partition(" ")
    assert f"first differs at layer {layer} {operator} " in outcome.report.reasons[1]
