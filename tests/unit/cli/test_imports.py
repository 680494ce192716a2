"""An answer from the store takes well under a second: nothing heavy is loaded on that way."""

import subprocess
import sys

from tests.unit.scaffold.project import ROOT

HEAVY = {"ai_edge_litert", "elftools", "numpy", "onnx", "onnxruntime", "tflite", "tvm"}


def test_starting_loads_no_heavy_library() -> None:
    code = "import sys, tinymlaas.cli, tinymlaas.local; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "tinymlaas.local" in loaded
    assert not HEAVY & loaded
