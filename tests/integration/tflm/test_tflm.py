import json
import subprocess
import zipfile

import numpy as np
import pytest

from tests.integration.tflm import fake_tree
from tests.unit.cmsis_nn.schema import Model, T
from tinymlaas.contract.compiler import ArenaTensor
from tinymlaas.contract.errors import ToolchainError, UnsupportedModel
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.compilers.cmsis_nn.options import FullyConnectedOptions
from workers.compilers.tflm import tree
from workers.compilers.tflm.emit import Module, source
from workers.verify import tflm_host

pytest.importorskip("tflite_micro", reason="tflite-micro (extra 'tflm') is not installed")

SHAPE = (2, 3, 4)


def model():
    """Reshape (2, 3, 4) to (1, 24), int8: what an interpreter that copies computes too."""
    made = Model()
    source = made.input(T(SHAPE, "int8", 0.5, 3))
    target = made.add(T((2,), "int32", data=np.array([1, 24], np.int32)))
    made.outputs.append(made.op("RESHAPE", (source, target), T((1, 24), "int8", 0.5, 3)))
    return made.to_bytes()


def compiled(cli, path, **environment):
    arguments = ("compile", path, "--board", "nucleo-l4r5zi", "--compiler", "tflm", "--json")
    ran = cli(*arguments, **environment)
    return ran, ran.json


def test_the_planner_finds_the_smallest_arena_that_works():
    data = model()
    arena = tflm_host.smallest_arena(data)
    assert arena % 16 == 0
    values = np.arange(24, dtype=np.int8).reshape(SHAPE)
    ((output,),) = tflm_host.run_samples(data, [[values]], 1, arena)
    assert (output.reshape(-1) == values.reshape(-1)).all()
    with pytest.raises(UnsupportedModel):
        tflm_host.run_samples(data, [[values]], 1, arena - 16)


def test_without_a_tree_the_module_is_source_judged_on_the_host(cli, tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(model())
    ran, result = compiled(cli, path)
    assert ran.status == 0, ran.err
    (report,) = result["candidates"]
    assert (report["status"], report["level"], report["machine"]) == ("built", "host", "host")
    assert report["bit_exact"] is True
    assert report["flash_bytes"] is None
    assert tree.VARIABLE in report["reasons"][0]
    with zipfile.ZipFile(cli.home / result["module"]) as archive:
        names = set(archive.namelist())
        source = archive.read("src/model.cc").decode()
        manifest = json.loads(archive.read("manifest.json"))
    assert {"src/CMakeLists.txt", "src/tiny_module.c", "include/tiny.h"} <= names
    assert "MicroMutableOpResolver<1>" in source
    assert source.count("resolver.Add") == 1
    assert "alignas(16)" in source
    assert manifest["verification"]["simulator"].startswith("tflite-micro ")
    key = cli.home / ".config" / "tinymlaas" / "development.pub"
    again = cli("verify", result["module"], "--rerun", "--key", key)
    assert again.status == 2
    assert "never run" in again.err


@pytest.mark.parametrize("namespace", ["tflite", "tflite::micro"])
def test_with_a_tree_the_module_is_linked_and_simulated(cli, tmp_path, namespace):
    """TFLM moved its classes to another namespace in 2026; a module goes with both."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(model())
    root = fake_tree.make(tmp_path / "tree", namespace)
    ran, result = compiled(cli, path, **{tree.VARIABLE: str(root)})
    assert ran.status == 0, ran.err
    (report,) = result["candidates"]
    assert (report["status"], report["level"]) == ("verified", "simulated")
    assert report["bit_exact"] is True
    assert report["flash_bytes"] > len(model())


def one_operator(*names, dtype="float32"):
    made = Model()
    value = made.input(T((1, 6), dtype))
    for name in names:
        value = made.op(name, (value,), T((1, 6), dtype))
    made.outputs.append(value)
    return made.to_bytes()


def test_a_float_model_is_a_module_too(cli, tmp_path):
    path = tmp_path / "float.tflite"
    path.write_bytes(one_operator("ABS", "NEG"))
    ran, result = compiled(cli, path)
    assert ran.status == 0, ran.err
    (report,) = result["candidates"]
    assert (report["status"], report["level"]) == ("built", "host")
    assert report["max_rel_error"] < 1e-4


def test_operators_that_tflm_lacks_are_rejected_each_with_index_and_name(cli, tmp_path):
    path = tmp_path / "lacking.tflite"
    path.write_bytes(one_operator("ABS", "SIGN", "NEG", "SIGN"))
    ran, result = compiled(cli, path)
    assert ran.status == 2
    (report,) = result["candidates"]
    assert report["reasons"] == ["operators 1, 3 (SIGN, float32) are not supported"]


def test_a_model_whose_layer_has_a_scale_a_channel_is_planned():
    """Where the arena is too small for it TFLM does not fail but crash."""
    made = Model()
    source = made.input(T((1, 64), "int8", 0.5, 0))
    scales = [0.01] * 128
    weights = made.add(T((128, 64), "int8", scales, [0] * 128, data=np.ones((128, 64), np.int8)))
    bias = made.add(T((128,), "int32", scales, [0] * 128, data=np.zeros(128, np.int32)))
    options = FullyConnectedOptions(0, 0, False)
    target = T((1, 128), "int8", 1.0, 0)
    made.outputs.append(made.op("FULLY_CONNECTED", (source, weights, bias), target, options))
    data = made.to_bytes()
    values = np.full((1, 64), 4, np.int8)
    ((output,),) = tflm_host.run_samples(data, [[values]], 1, tflm_host.smallest_arena(data))
    assert output.tolist() == [[1] * 128]  # 64 times 2.0 times 0.01, rounded


def test_variables_get_room_from_the_allocator(tmp_path):
    """The source of a module with variables compiles against TFLM's declarations."""
    tensor = ArenaTensor(spec=TensorSpec(name="x", shape=(8,), dtype=DType.INT8), offset=0)
    module = Module("tiny", b"TFL3" * 4, ["AddReshape"], [tensor], [tensor], 3, 16, 800, 512)
    text = source(module)
    assert "MicroResourceVariables::Create(allocator, 3)" in text
    root = fake_tree.make(tmp_path / "tree", "tflite::micro")
    (tmp_path / "model.cc").write_text(text)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "model.cc"]
    command += [f"-I{root}", f"-I{root}/third_party/flatbuffers/include"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_no_tree_is_named(tmp_path):
    with pytest.raises(ToolchainError, match="is no TFLM source tree"):
        tree.configured({tree.VARIABLE: str(tmp_path)})
    (tmp_path / "tensorflow/lite/micro").mkdir(parents=True)
    (tmp_path / "tensorflow/lite/micro/micro_interpreter.h").write_text("")
    with pytest.raises(ToolchainError, match="third-party headers"):
        tree.configured({tree.VARIABLE: str(tmp_path)})
    assert tree.configured({}) is None


def test_a_changed_tree_is_another_compiler(tmp_path):
    root = fake_tree.make(tmp_path / "tree")
    before = tree.digest(root)
    tree.digest.cache_clear()
    (root / "tensorflow/lite/micro/micro_interpreter.cc").write_text("// changed\n")
    assert tree.digest(root) != before
