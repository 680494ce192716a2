"""Each image's Python packages, installed as its build installs them, do the image's work.

There is no container engine where these tests run: an environment of the image's lock alone stands
for the image, beside the machine's own toolchains and simulators.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import image_locks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits"
MUST_NOT = {
    "scheduler": ("tvm", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert", "tflite_micro"),
    "worker-tvm": ("tensorflow", "onnx2tf", "keras", "matplotlib"),
    "worker-tflm": ("tvm", "tensorflow", "onnx", "onnxruntime", "onnx2tf"),
    "worker-cmsis-nn": ("tvm", "tensorflow", "onnx", "onnxruntime", "onnx2tf"),
    "worker-prepare": ("tvm", "matplotlib"),
}
ROOTS = dict.fromkeys(MUST_NOT, "workers") | {"scheduler": "scheduler"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("tinymlaas-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A function that makes an image's environment once and returns its folder."""
    made: dict[str, Path] = {}

    def of(image: str) -> Path:
        if image not in made:
            folder = tmp_path_factory.mktemp(image) / "opt"
            uv = str(Path(sys.executable).with_name("uv"))
            python = ("--python", str(folder / "bin" / "python"))
            lock = str(image_locks.path(image))
            strict = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
            for command in (
                [uv, "venv", "--quiet", "--python", image_locks.PYTHON, str(folder)],
                [uv, "pip", "install", "--quiet", *python, *strict, "-r", lock],
                [uv, "pip", "install", "--quiet", *python, "--no-deps", "--no-index", str(wheel)],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True)
            made[image] = folder
        return made[image]

    return of


def run(folder: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess:
    """Run Python of the environment, with nothing of ours about it."""
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    variables = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(folder / "bin" / "python"), *arguments],
        env=variables,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("image", sorted(image_locks.IMAGES))
def test_it_has_what_it_needs_and_nothing_that_it_must_not_have(environment, tmp_path, image):
    folder = environment(image)
    for module in MUST_NOT[image]:
        ran = run(folder, "-c", f"import {module}", home=tmp_path)
        assert "ModuleNotFoundError" in ran.stderr, f"{image} has {module}"
    options = ("--pool", image.removeprefix("worker-")) if image != "scheduler" else ()
    ran = run(folder, "-m", ROOTS[image], *options, home=tmp_path)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False), ran.stderr
    assert "set TINYMLAAS_AMQP_URL and TINYMLAAS_S3_BUCKET" in ran.stderr


def test_everything_of_the_farm_is_imported(environment, tmp_path):
    """What the processes import late, they find too."""
    modules = {
        "scheduler": "tinymlaas.farm.scheduler boto3 pika prometheus_client structlog jinja2",
        "worker-tvm": "tinymlaas.farm.bench workers.task_process workers.stages boto3 tvm",
    }
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    for image, names in modules.items():
        statement = f"import {', '.join(names.split())}, {exporter}"
        ran = run(environment(image), "-c", statement, home=tmp_path)
        assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def quantised(environment, tmp_path_factory) -> Path:
    """What the image of the pool prepare makes of the digits model."""
    home = tmp_path_factory.mktemp("prepare")
    ran = run(
        environment("worker-prepare"),
        *("-m", "tinymlaas", "quantize", str(DIGITS / "digits.onnx")),
        *("--calibration", str(DIGITS / "calibration_digits.npz"), "-o", "digits.tflite"),
        home=home,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return home / "digits.tflite"


@pytest.mark.parametrize(("compiler", "board"), [
    ("cmsis-nn", "nucleo-f446re"),
    ("tflm", "nucleo-f446re"),
    ("tvm", "nucleo-f446re"),
])  # fmt: skip
def test_the_image_of_a_pool_builds_a_module_and_proves_it(
    environment, quantised, tmp_path, compiler, board
):
    ran = run(
        environment(f"worker-{compiler}"),
        *("-m", "tinymlaas", "compile", str(quantised), "--board", board),
        *("--compiler", compiler, "-o", str(tmp_path / "out"), "--json"),
        home=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list((tmp_path / "out").glob("*.zip"))


def test_the_image_of_tvm_takes_a_float_model(environment, tmp_path):
    ran = run(
        environment("worker-tvm"),
        *("-m", "tinymlaas", "compile", str(DIGITS / "digits.onnx"), "--compiler", "tvm"),
        *("--board", "nucleo-f446re", "-o", str(tmp_path / "out")),
        home=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert os.listdir(tmp_path / "out")
