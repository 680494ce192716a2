"""Every float TFLite operator that we rebuild computes what LiteRT computes."""

import json
import subprocess
import sys

import pytest

from tests.integration.quantise.models import ROOT
from workers.quantise.tflite_ops import KERNELS

pytestmark = pytest.mark.slow
pytest.importorskip("tensorflow", reason="TensorFlow (extra 'quantize') is not installed")

# LiteRT's reference kernels lack the first two, we the rest.
REFUSED = {"elu", "floor ceil round", "compare", "floor div", "cast"}
# The converter writes others in their place, or writes them only for half-precision weights.
UNTRIED = {"BROADCAST_TO", "DEQUANTIZE", "EXPAND_DIMS", "PRELU", "RELU_0_TO_1", "SQUEEZE"}

_RUN = """
import json
from tests.integration.quantise.operators import differences
print(json.dumps(differences()))
"""


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-c", _RUN]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def test_rebuilt_operators_compute_what_litert_computes(found):
    off = {case: off for case, (_, off) in found.items() if case not in REFUSED}
    assert len(off) > 75
    assert {case: worst for case, worst in off.items() if worst > 1e-5} == {}


def test_every_operator_is_tried(found):
    tried = {name for operators, _ in found.values() for name in operators}
    assert set(KERNELS) - tried == UNTRIED


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_rebuilt_is_refused_by_name(found, case):
    operators, reason = found[case]
    assert reason.startswith("UnsupportedModel")
    assert any(name in reason for name in operators)
