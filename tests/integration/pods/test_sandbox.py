"""The sandbox in a container of a pod under Pod Security `restricted`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.pods import seccomp
from tests.integration.pods.container import Container, Mount, run
from tests.unit.scaffold.project import ROOT

DIGITS = ROOT / "examples" / "digits"
CHECK = "from workers import sandbox; sandbox.check()"


def contained(*arguments: str, **changes: object) -> Container:
    """Return a worker's container with our tests in its image."""
    facts: dict[str, object] = {
        "arguments": arguments,
        "variables": {"HOME": "/tmp"},
        "mounts": [Mount("/tmp", size=4 << 30)],
        "directory": str(ROOT),
        "extra": (ROOT / "tests", ROOT / "examples", ROOT / "pyproject.toml", ROOT / "scripts"),
    }
    return Container(**facts | changes)  # type: ignore[arg-type]


def pytest_inside(log: Path, *words: str, seconds: float = 300.0) -> None:
    """Run tests of ours within."""
    command = ("python", "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *words)
    status, said = run(contained(*command), log, seconds)
    assert status == 0, said[-4000:]
    assert " passed" in said


def test_a_job_sees_no_process_but_its_own(tmp_path: Path) -> None:
    status, said = run(contained("python", "-m", "tests.integration.pods.victim"), tmp_path / "log")
    assert status == 0, said
    found = json.loads(said)
    assert found.pop("listed") == found.pop("self")
    assert found == {"a child's own": "is not there"}


def test_memory_threads_and_processes_are_counted(tmp_path: Path) -> None:
    tests = "tests/integration/sandbox/test_sandbox.py"
    pytest_inside(tmp_path / "log", tests, "-k", "sees_nothing or memory or threads")


def test_who_may_not_make_namespaces_is_told_what_lacks(tmp_path: Path) -> None:
    plain = seccomp.compiled(seccomp.runtime_default())
    command = ("python", "-c", CHECK)
    status, said = run(contained(*command, filter=plain), tmp_path / "log")
    assert status == 1
    last = said.strip().splitlines()[-1]
    assert "Failure: there is no sandbox: " in last
    assert "deploy/node/README.md" in last


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["tests/integration/sandbox", "tests/security/test_escape.py"])
def test_whole_suites_hold_inside(suite: str, tmp_path: Path) -> None:
    pytest_inside(tmp_path / "log", suite, "-m", "not slow", seconds=1800)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "simulator"),
    [
        ("nucleo-l4r5zi", "mps2-an386"),
        ("arduino-mega2560", "simavr"),
        ("esp32-c3-devkitm-1", "virt"),
        ("mps3-an547", "mps3-an547"),
        ("host", "host"),
    ],
)
def test_every_step_runs_inside(board: str, simulator: str, tmp_path: Path) -> None:
    """TensorFlow quantises, TVM and our own compile, gcc and ld link, QEMU and simavr run, LiteRT,
    onnxruntime and TFLM compute the reference.
    """
    given = ("--calibration", str(DIGITS / "calibration_digits.npz"))
    command = ("python", "-m", "tinymlaas", "compile", str(DIGITS / "digits.onnx"), "--json")
    container = contained(*command, "--board", board, *given, "-o", "/tmp/out")
    status, said = run(container, tmp_path / "log", 900)
    assert status == 0, said[-4000:]
    report = json.loads(said[said.index("{") :])
    candidates = {(each["compiler"], each["status"]) for each in report["candidates"]}
    assert ("cmsis-nn", "verified") in candidates
    fits = simulator != "simavr"  # of AVR's 8 KiB the float weights would take all
    assert (("tvm", "verified") in candidates) == fits
    assert report["quantisation"] is not None
    chosen = report["candidates"][report["chosen"]]
    assert chosen["sandbox"] == "bubblewrap"
    assert chosen["machine"].startswith(simulator)
