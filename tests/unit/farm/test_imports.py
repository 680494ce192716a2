"""The scheduler's process loads no model library, no compiler and nothing that quantises."""

from __future__ import annotations

import subprocess
import sys

from tests.unit.scaffold.project import ROOT

HEAVY = {"ai_edge_litert", "numpy", "onnx", "onnxruntime", "tensorflow", "tflite", "tvm"}
CODE = """
import sys
import scheduler.__main__
from tinymlaas.farm.environment import from_environment
from tinymlaas.farm.scheduler import default_pools
variables = {"TINYMLAAS_AMQP_URL": "amqp://x", "TINYMLAAS_S3_BUCKET": "x", "HOME": "/nonexistent"}
print(*default_pools(from_environment(variables)))
print(*sys.modules)
"""


def test_starting_a_scheduler_loads_no_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pools, modules = done.stdout.splitlines()
    assert "prepare" in pools.split()
    assert "scheduler.core" in modules.split()
    assert not HEAVY & set(modules.split())
    assert not {name for name in modules.split() if name.startswith("workers.compilers.tvm")}
