import json
import zipfile

import numpy as np
import pytest

from tests.integration.tflm import fake_tree
from tests.unit.cmsis_nn.schema import Model, T
from tinymlaas.contract.errors import ToolchainError, UnsupportedModel
from workers.compilers.tflm import tree
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
