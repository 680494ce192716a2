"""What orchestrates never loads a parser, a compiler or a reader of object files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.unit.models.builders import tiny_onnx
from tests.unit.scaffold.project import ROOT

# Libraries that read what users or compilers have written.
READERS = {
    "ai_edge_litert",
    "elftools",
    "flatbuffers",
    "keras",
    "onnx",
    "onnx2tf",
    "onnxruntime",
    "tensorflow",
    "tflite",
    "tflite_micro",
    "tvm",
}
CODE = """
import json, sys
from pathlib import Path
from tinymlaas import local
done = local.open_service().compile(Path("model.onnx"), "mps2-an386", local.Wish(), Path())
tried = [report.status.value for report in done.result.candidates]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([done.result.status.value, tried, modules]))
"""


def test_a_whole_race_loads_no_parser_into_the_process_that_signs_and_stores(
    tmp_path: Path,
) -> None:
    (tmp_path / "model.onnx").write_bytes(tiny_onnx())
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "TINYMLAAS_STORE": str(tmp_path / "store"),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    status, tried, modules = json.loads(done.stdout)
    assert status == "done"
    assert "verified" in tried
    assert "workers" in modules
    assert not READERS & set(modules)
