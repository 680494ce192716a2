"""Kernel library ``arm`` against a tree of its shape: our own kernels laid out as CMSIS-NN's are.

Arm's sources themselves are not at hand, so what is proven is the way to them: which files are
taken, that size functions are asked in the target's variant, and that calls get their scratch.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.running import HOST, Oracle
from tests.unit.cmsis_nn.schema import Model, T
from tests.unit.cmsis_nn.test_passes import conv, depthwise
from tests.unit.cmsis_nn.test_plugin import task_of
from tinymlaas.contract.compiler import Compiled, CompileTask
from tinymlaas.contract.device import CapabilityClass, Core, Mve
from tinymlaas.contract.errors import ToolchainError, UsageError
from workers.compilers import cmsis_nn
from workers.compilers.cmsis_nn import plugin
from workers.compilers.cmsis_nn.arm_tree import ROOT_VARIABLE, ArmTree
from workers.compilers.cmsis_nn.build import build
from workers.compilers.cmsis_nn.options import AddOptions, FullyConnectedOptions, SoftmaxOptions
from workers.compilers.cmsis_nn.switches import Switches
from workers.compilers.registry import discover
from workers.sandbox import files
from workers.toolchains.library import build_library

KERNELS = Path(cmsis_nn.__file__).parent / "kernels"
KIND = ("int8", 0.05, -7)
_FUNCTIONS = {
    "ConvolutionFunctions": ("arm_convolve_wrapper_s8", "arm_depthwise_conv_wrapper_s8"),
    "FullyConnectedFunctions": ("arm_fully_connected_s8", "arm_fully_connected_per_channel_s8"),
    "BasicMathFunctions": ("arm_elementwise_add_s8",),
    "SoftmaxFunctions": ("arm_softmax_s8",),
    "PoolingFunctions": ("arm_avgpool_s8",),
}
_SIZES = """\
#include "arm_nnfunctions.h"
static int32_t taps(const cmsis_nn_dims *filter) {
  return filter->h * filter->w;
}
int32_t arm_convolve_wrapper_s8_get_buffer_size{0}(
    const cmsis_nn_conv_params *p, const cmsis_nn_dims *in, const cmsis_nn_dims *filter,
    const cmsis_nn_dims *out) {
  return p && out ? taps(filter) * in->c * {1} : 0;
}
int32_t arm_depthwise_conv_wrapper_s8_get_buffer_size{0}(
    const cmsis_nn_dw_conv_params *p, const cmsis_nn_dims *in, const cmsis_nn_dims *filter,
    const cmsis_nn_dims *out) {
  return p && in ? taps(filter) * out->c * {1} : 0;
}
int32_t arm_fully_connected_s8_get_buffer_size{0}(const cmsis_nn_dims *filter) {
  return {1} == 4 ? filter->c * 4 : 0;
}
int32_t arm_avgpool_s8_get_buffer_size{0}(const int width, const int channels) {
  return width * channels;
}
"""
_SUM = """\
#include "arm_nnfunctions.h"
arm_cmsis_nn_status arm_vector_sum_s8(int32_t *sums, const int32_t columns, const int32_t rows,
                                      const int8_t *data, const int32_t left, const int32_t right,
                                      const int32_t *bias) {
  for (int32_t r = 0; r < rows; r++) {
    sums[r] = bias[r];
    for (int32_t c = 0; c < columns; c++) sums[r] += (data[r * columns + c] + right) * left;
  }
  return ARM_CMSIS_NN_SUCCESS;
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write the tree; kernels fill their scratch, so that one too small is seen."""
    root = tmp_path / "CMSIS-NN"
    (root / "Include").mkdir(parents=True)
    for header in KERNELS.glob("*.h"):
        (root / "Include" / header.name).write_text(header.read_text())
    declarations = ['#include "arm_nn_types.h"']
    for folder, names in _FUNCTIONS.items():
        (root / "Source" / folder).mkdir(parents=True)
        for name in names:
            text = (KERNELS / f"{name}.c").read_text()
            text = text.replace(f"static arm_cmsis_nn_status {name}", f"arm_cmsis_nn_status {name}")
            text = text.replace(f"static void {name}", f"void {name}")
            text = text.replace("(void)ctx;", "memset(ctx->buf, 0x5A, (size_t)ctx->size);")
            head = text[text.index(name) :].partition(") {")[0]
            kind = "void" if "softmax" in name else "arm_cmsis_nn_status"
            declarations.append(f"{kind} {head});")
            source = f"#include <string.h>\n{text}"
            (root / "Source" / folder / f"{name}.c").write_text(source)
    for suffix, factor in (("", 1), ("_dsp", 2), ("_mve", 4)):
        text = _SIZES.replace("{0}", suffix).replace("{1}", str(factor))
        (root / "Source" / "ConvolutionFunctions" / f"sizes{suffix}.c").write_text(text)
        for line in text.split("\nint32_t ")[1:]:
            declarations.append(f"int32_t {line.partition(') {')[0]});")
    (root / "Source" / "NNSupportFunctions").mkdir()
    (root / "Source" / "NNSupportFunctions" / "arm_vector_sum_s8.c").write_text(_SUM)
    declarations.append(_SUM[_SUM.index("arm_cmsis") :].partition(") {")[0] + ");")
    (root / "Include" / "arm_nnfunctions.h").write_text("\n".join(declarations) + "\n")
    return root


def network() -> Model:
    model = Model()
    rng = np.random.default_rng(4)

    def data(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape).astype(np.int8)

    source = model.input(T((1, 6, 6, 3), *KIND))
    one = conv(model, source, data(4, 3, 3, 3), (1, 6, 6, 4))
    two = depthwise(model, one, data(1, 3, 3, 4), (1, 6, 6, 4))
    total = model.op("ADD", (one, two), T((1, 6, 6, 4), *KIND), AddOptions(1, False))
    flat = model.op(
        "RESHAPE",
        (total, model.add(T((2,), "int32", data=np.array([1, 144], np.int32)))),
        T((1, 144), *KIND),
    )
    weights = model.add(T((5, 144), "int8", 0.003, 0, data(5, 144)))
    dense = model.op(
        "FULLY_CONNECTED",
        (flat, weights, -1),
        T((1, 5), "int8", 0.2, 0),
        FullyConnectedOptions(0, 0, False),
    )
    model.outputs.append(
        model.op("SOFTMAX", (dense,), T((1, 5), "int8", 1 / 256, -128), SoftmaxOptions(1.0))
    )
    return model


def compile_with(
    tree: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, target: CapabilityClass = HOST
) -> Compiled:
    monkeypatch.setenv("TINYMLAAS_CMSIS_NN_ROOT", str(tree))
    path = task_of(network().to_bytes(), folder / "in", kernels="arm")
    task = CompileTask.model_validate_json(path.read_bytes())
    assert plugin.supports(task).ok
    path.write_text(task.model_copy(update={"target": target}).model_dump_json())
    (folder / "out").mkdir()
    compiled = plugin.compile(path, folder / "out")
    assert isinstance(compiled, Compiled)
    return compiled


def test_the_sandbox_sees_the_tree_and_runs_its_size_functions(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYMLAAS_CMSIS_NN_ROOT", str(tree))
    path = task_of(network().to_bytes(), tmp_path / "in", kernels="arm")
    task = CompileTask.model_validate_json(path.read_bytes())
    made = discover().get("cmsis-nn").compile(task, network().to_bytes())
    here = compile_with(tree, tmp_path / "here", monkeypatch)
    assert made.compiled == here
    assert made.files == files.read(tmp_path / "here" / "out")


@pytest.mark.parametrize("vectors", [False, True], ids=["plain", "mve"])
def test_module_calls_the_trees_kernels(
    vectors: bool, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = CapabilityClass(core=Core.HOST, mve=Mve.INTEGER if vectors else Mve.NONE)
    compiled = compile_with(tree, tmp_path, monkeypatch, core)
    out = tmp_path / "out"
    names = [Path(source).name for source in compiled.sources]
    assert "arm_convolve_wrapper_s8.c" in names
    assert "arm_avgpool_s8.c" not in names
    assert ("arm_vector_sum_s8.c" in names) == vectors
    library = tmp_path / "lib.so"
    sources = [str(out / s) for s in compiled.sources]
    include = [f"-I{out / d}" for d in compiled.include_dirs]
    subprocess.run(
        ["gcc", "-std=c11", "-shared", "-fPIC", *include, *sources, "-o", str(library)], check=True
    )
    raw = np.zeros(compiled.arena.size + 64, np.uint8)
    start = -raw.ctypes.data % 16
    arena = raw[start : start + compiled.arena.size]
    loaded, oracle = ctypes.CDLL(str(library)), Oracle(network().to_bytes())
    rng = np.random.default_rng(6)
    for _ in range(5):
        given = rng.integers(-128, 128, (1, 6, 6, 3)).astype(np.int8)
        (want,) = oracle.run([given], 1)
        place = compiled.inputs[0].offset
        arena[place : place + given.nbytes] = given.reshape(-1).view(np.uint8)
        assert loaded.net_run(ctypes.c_void_p(arena.ctypes.data)) == 0
        place = compiled.outputs[0].offset
        np.testing.assert_array_equal(arena[place : place + 5].view(np.int8), want.reshape(-1))


@pytest.mark.parametrize(
    ("core", "factor"),
    [
        (CapabilityClass(core=Core.CORTEX_M0PLUS), 1),
        (CapabilityClass(core=Core.CORTEX_M4, dsp=True), 2),
        (CapabilityClass(core=Core.CORTEX_M55, dsp=True, mve=Mve.INTEGER), 4),
    ],
    ids=["plain", "dsp", "mve"],
)
def test_scratch_is_what_the_tree_says_for_the_core(
    core: CapabilityClass, factor: int, tree: Path
) -> None:
    built = build(network().to_bytes(), "net_run", core, Switches(), ArmTree(tree))
    assert f"ctx = {{scratch, {27 * factor}}}" in built.source  # conv: 3 × 3 × 3
    assert f"ctx = {{scratch, {36 * factor}}}" in built.source  # depthwise: 3 × 3 × 4
    assert ("arm_vector_sum_s8" in built.source) == (factor == 4)


def test_same_tree_same_bytes(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for run in ("one", "other"):
        compile_with(tree, tmp_path / run, monkeypatch)
        out = tmp_path / run / "out"
        files = sorted(p for p in out.rglob("*") if p.is_file())
        written.append({p.relative_to(out): p.read_bytes() for p in files})
    assert written[0] == written[1]


def test_objects_of_the_tree_are_built_once_a_core(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    m4 = CapabilityClass(core=Core.CORTEX_M4, dsp=True)
    m3 = CapabilityClass(core=Core.CORTEX_M3)
    kept, libraries = [], []
    for number, core in enumerate((m4, m4, m3)):
        folder = tmp_path / str(number)
        compiled = compile_with(tree, folder, monkeypatch, core)
        library = build_library(files.read(folder / "out"), compiled, "net", core, cache=cache)
        libraries.append(library.library)
        kept.append({path: path.stat().st_mtime_ns for path in cache.iterdir()})
    assert len(kept[0]) == len(compiled.sources) - 1  # all but the model's own
    assert kept[0] == kept[1]
    assert libraries[0] == libraries[1]
    assert len(kept[2]) == 2 * len(kept[0])
    compiled = compile_with(tree, tmp_path / "alone", monkeypatch, m4)
    alone = build_library(files.read(tmp_path / "alone" / "out"), compiled, "net", m4)
    assert alone.library == libraries[0]


def test_a_folder_that_is_no_tree_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ToolchainError, match="is no CMSIS-NN tree"):
        compile_with(tmp_path / "nothing", tmp_path, monkeypatch)


def test_a_tree_that_lacks_a_function_is_refused(tree: Path) -> None:
    (tree / "Source" / "SoftmaxFunctions" / "arm_softmax_s8.c").unlink()
    with pytest.raises(UsageError, match="does not define arm_softmax_s8"):
        ArmTree(tree).sources(["arm_softmax_s8"])


def test_a_tree_that_does_not_compile_is_told(tree: Path) -> None:
    path = tree / "Source" / "ConvolutionFunctions" / "sizes.c"
    path.write_text(path.read_text() + "this is no C\n")
    with pytest.raises(ToolchainError, match="asking CMSIS-NN for its buffer sizes failed"):
        build(network().to_bytes(), "net_run", HOST, Switches(), ArmTree(tree))


def test_the_tree_is_in_the_version(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    versions = [plugin.describe().version]
    monkeypatch.setenv(ROOT_VARIABLE, str(tree))
    versions.append(plugin.describe().version)
    header = tree / "Include" / "arm_nnfunctions.h"
    header.write_text(header.read_text() + "// changed\n")
    versions.append(plugin.describe().version)
    assert len(set(versions)) == 3
    assert all(version.startswith("7.0") for version in versions)
