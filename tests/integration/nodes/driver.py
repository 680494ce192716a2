"""Take one ONNX backend node test through the whole pipeline, as `tinymlaas compile` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.archive import read_archive
from tests.integration.tvm.node_cases import NodeCase
from tinymlaas.contract.errors import Failure, Rejection
from tinymlaas.contract.progress import Silent
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.local import LocalService, Wish
from tinymlaas.settings import Settings
from workers.replay import run_archive

PASSED, REJECTED, WRONG = "passed", "rejected", "WRONG"
# The tolerances of ONNX's own backend test runner (onnx.backend.test.runner).
_RTOL, _ATOL = 1e-3, 1e-7


@dataclass(frozen=True)
class Result:
    """How one case ended; `reason` is empty for `passed`."""

    name: str
    operators: tuple[str, ...]
    status: str
    reason: str = ""


class Driver:
    """Runs cases for one board, with a store of its own and shared toolchain objects."""

    def __init__(self, board: str, folder: Path, cache: Path) -> None:
        self._board = board
        self._folder = folder
        self._cache = cache
        settings = Settings(folder / "store", cache, folder / "keys", ())
        self._service = LocalService(settings, Silent())

    def run(self, case: NodeCase) -> Result:
        """Compile the case's model, verify it, and run it on the case's own vectors."""
        operators = tuple(sorted(set(case.operators)))
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            status, reason = self._judge(case, Path(scratch))
        return Result(case.name, operators, status, reason)

    def _judge(self, case: NodeCase, scratch: Path) -> tuple[str, str]:
        model = scratch / f"{case.name}.onnx"
        model.write_bytes(case.model)
        try:
            done = self._service.compile(model, self._board, Wish("tvm"), scratch)
        except Rejection as error:
            return REJECTED, error.reasons[0]
        except Failure as error:
            return WRONG, str(error)
        result = done.result
        if result.module is None:
            status = REJECTED if result.status == "rejected" else WRONG
            return status, result.reasons[0]
        if result.candidates[0].status is not CandidateStatus.VERIFIED:
            return WRONG, f"only {result.candidates[0].status}"
        return self._own_vectors(case, Path(result.module))

    def _own_vectors(self, case: NodeCase, module: Path) -> tuple[str, str]:
        archive = read_archive(module.read_bytes())
        ran = run_archive(archive, [list(case.inputs)], self._cache)
        for index, (got, wanted) in enumerate(zip(ran.outputs[0], case.outputs, strict=True)):
            try:
                np.testing.assert_allclose(got, wanted, rtol=_RTOL, atol=_ATOL)
            except AssertionError as error:
                first = " ".join(str(error).split())[:160]
                return WRONG, f"output {index} is not what the test expects: {first}"
        return PASSED, ""
