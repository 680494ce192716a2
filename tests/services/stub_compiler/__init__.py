"""An out-of-tree compiler that does as it is told, for tests of the farm.

    stub = install(tmp_path / "stub")              # TINYMLAAS_COMPILERS=<tmp_path>/stub
    order = stub.order("tenant", "n17", milliseconds="250")
    ...
    stub.journal()                                 # who was compiled when

It compiles one Abs, Neg or Relu of float32 (see `model`). For the board `FAST`, for
which nothing here can link or run anything, it writes an object: 0.15 s beside the compile. For
others (``board="host"``) it writes sound C, which is linked, run and compared like any other
module: 0.4 s. The order's `name` tells one action from another (same model: one inspection for
all). Options:

- ``milliseconds``: how long it takes: 0, 10, 20 … 90, 100, 150 … 950, 1000, 2000, 3000, 5000,
  10000, 60000 or 600000; other values are refused.
- ``does``: ``work``; ``crash`` (a segmentation fault); ``kill`` (SIGKILL to the worker process
  above it, found by its command line ``… workers --pool …``; it says so on stderr first); ``fork``
  (leaves three children that sleep ten minutes, in its process group; their ids are in
  `children`); ``memory`` (asks for 64
  GiB); ``print`` (20 lines on stderr in its time); ``refuse`` (unsupported); ``wrong`` (computes
  other numbers). All but ``work`` happen after `milliseconds`, but ``fork`` before.

After `mend` it works whatever it is told. Each compile leaves a line in the journal when it begins
and one when its files are written.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tinymlaas.contract.messages import CompileOrder, Payload

FAST = "msp-exp430fr5994"


class Entry(NamedTuple):
    """A line of the journal; `task` is the SHA-256 of what was asked, `time` of the epoch."""

    event: str
    name: str
    task: str
    pid: int
    time: float


@dataclass(frozen=True)
class Stub:
    """An installed stub compiler: its folder goes into TINYMLAAS_COMPILERS."""

    folder: Path
    name: str

    def journal(self) -> list[Entry]:
        """Return all that was begun and ended, in the order of time."""
        file = self.folder / "journal"
        lines = file.read_text().splitlines() if file.exists() else []
        return [Entry(**json.loads(line)) for line in lines]

    def begun(self) -> list[str]:
        """Return the names of the modules whose compile was begun, in the order of time."""
        return [entry.name for entry in self.journal() if entry.event == "begin"]

    def children(self) -> list[int]:
        """Return the ids of the processes that ``fork`` has left."""
        file = self.folder / "children"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def mend(self) -> None:
        """Have it work whatever it is told: the fix of its faults."""
        (self.folder / "mended").touch()

    def order(
        self,
        tenant: str,
        name: str,
        *,
        does: str = "work",
        milliseconds: str = "0",
        board: str = FAST,
        **changes: Any,
    ) -> CompileOrder:
        """Return an order for a module `name` that only this compiler is to build."""
        return CompileOrder(
            tenant=tenant,
            name=name,
            model=changes.pop("model", None) or Payload.of(model(), tenant, "relu.onnx"),
            board=board,
            compiler=self.name,
            options={"does": does, "milliseconds": milliseconds},
            **changes,
        )


def install(folder: Path, name: str = "stub", version: str = "1") -> Stub:
    """Put a stub compiler called `name` into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in ("program.py", "elf.py"):
        shutil.copy(Path(__file__).parent / source, folder / source)
    command = '["python3", "-I", "-S", "program.py"]'
    (folder / "compiler.toml").write_text(
        f'name = "{name}"\nversion = "{version}"\ncommand = {command}\n'
    )
    return Stub(folder, name)


def model(size: int = 16, operator: str = "Relu") -> bytes:
    """Return an ONNX model of one element-wise `operator` on `size` float32 elements."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "stub",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, size))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, size))],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())
