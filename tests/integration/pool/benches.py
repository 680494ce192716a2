"""The handmade compiler in a task's own process."""

from __future__ import annotations

from pathlib import Path

from storage.directory import DirectoryStore
from storage.key_folder import signing_key
from tests.integration.build.compilers import Handmade
from tinymlaas.contract.compiler import CompilerDescription, OperatorSupport
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.progress import Silent
from tinymlaas.contract.tensors import DType
from workers.build import Workbench
from workers.compilers.registry import Registry


class Described(Handmade):
    def describe(self) -> CompilerDescription:
        known = OperatorSupport(
            format=ModelFormat.ONNX, dtype=DType.FLOAT32, operators=("MatMul", "Relu")
        )
        return super().describe().model_copy(update={"operators": (known,)})


def open_bench(where: str) -> Workbench:
    folder = Path(where)
    registry = Registry({"handmade": Described()}, {})
    signer = signing_key(folder / "keys").signer
    store = DirectoryStore(folder / "store")
    return Workbench(registry, store, signer, folder / "cache", Silent())
