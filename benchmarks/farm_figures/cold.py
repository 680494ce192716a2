"""What the farm adds to a job that has to be compiled: beside the same compile in one process."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.farm_figures.figure import Figure
from benchmarks.farm_figures.load import Client, connected
from tests.services.farm import RunningFarm
from tinymlaas.contract.messages import CompileOrder, Payload
from tinymlaas.contract.progress import Silent

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"
COMPILER, BOARD = "tvm", "nucleo-l4r5zi"
_TIMES = 5
_MOST_PERCENT = 10.0


def cold(farm: RunningFarm) -> list[Figure]:
    """Compile models of new digests here and there in turn."""
    here, there = [], []
    with connected(farm.amqp_url, farm.names) as client, tempfile.TemporaryDirectory() as folder:
        local = _Local(Path(folder))
        for number in range(_TIMES + 1):
            mine, theirs = local.compile(_fresh(2 * number)), _job(client, _fresh(2 * number + 1))
            if number:  # what a process pays once is paid now
                here.append(mine)
                there.append(theirs)
    ours, alone = statistics.median(there), statistics.median(here)
    beside = f"{ours:.2f} s on the farm, {alone:.2f} s in one process (medians of {_TIMES})"
    percent = (ours / alone - 1) * 100
    return [
        Figure(
            "cold", f"digits by {COMPILER}", percent, "% more", most=_MOST_PERCENT, beside=beside
        )
    ]


def _fresh(number: int) -> bytes:
    """Return the model with another digest: what it computes is the same."""
    import onnx

    model = onnx.load(MODEL, load_external_data=False)
    model.doc_string = f"copy {number}"
    return bytes(model.SerializeToString())


def _job(client: Client, data: bytes) -> float:
    payload = Payload.of(data, "a", MODEL.name)
    order = CompileOrder(tenant="a", name="digits", model=payload, board=BOARD, compiler=COMPILER)
    sent = client.submit(order)
    client.await_ended(len(client.jobs))
    if sent.state != "done":
        raise AssertionError(f"a cold job ended {sent.state}")
    return sent.seconds


class _Local:
    """`tinymlaas compile` in this process, which has imported all it needs after the first."""

    def __init__(self, folder: Path) -> None:
        from tinymlaas.local import LocalService
        from tinymlaas.settings import KEYS_VARIABLE, STORE_VARIABLE, from_environment

        self._folder = folder
        settings = from_environment(
            {**os.environ, STORE_VARIABLE: str(folder / "store"), KEYS_VARIABLE: str(folder)}
        )
        self._service = LocalService(settings, Silent())

    def compile(self, data: bytes) -> float:
        from tinymlaas.contract.report import ResultStatus
        from tinymlaas.local import Wish

        path, out = self._folder / MODEL.name, self._folder / "out"
        path.write_bytes(data)
        out.mkdir(exist_ok=True)
        began = time.perf_counter()
        answer = self._service.compile(path, BOARD, Wish(compiler=COMPILER), out)
        taken = time.perf_counter() - began
        if answer.result.status is not ResultStatus.DONE:
            raise AssertionError(f"the compile ended {answer.result.status}")
        return taken
