"""A network of five layers for the tests of what happens between them, and how it is built."""

from __future__ import annotations

from pathlib import Path

from scheduler.candidates import Candidate, job_for
from storage import keys
from storage.memory import MemoryStore
from storage.signing import LocalSigner
from tests.unit.cmsis_nn.networks import KIND, conv, depthwise, filter_of, int32, weights_of
from tests.unit.cmsis_nn.schema import Model, T
from tinymlaas.boards import catalog
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.progress import Silent
from workers.build import Workbench, build
from workers.compilers.cmsis_nn.options import FullyConnectedOptions
from workers.compilers.plugin import Compiler
from workers.compilers.registry import Registry
from workers.models.summary import inspect

BOARD = "nucleo-l4r5zi"


def five_layers(seed: int = 3) -> bytes:
    """CONV_2D, DEPTHWISE_CONV_2D, CONV_2D, RESHAPE, FULLY_CONNECTED; all of int8. The weights of
    the last are drawn by `seed`.
    """
    model = Model()
    one = conv(model, model.input(T((1, 6, 6, 3), *KIND)), weights_of((4, 3, 3, 3)), (1, 6, 6, 4))
    two = depthwise(model, one, weights_of((1, 3, 3, 4)), (1, 6, 6, 4))
    three = conv(model, two, weights_of((5, 1, 1, 4), 2), (1, 6, 6, 5))
    flat = model.op("RESHAPE", (three, int32(model, [1, 180])), T((1, 180), *KIND))
    numbers = (flat, *filter_of(model, weights_of((4, 180), seed), 0))
    options = FullyConnectedOptions(0, 0, False)
    model.outputs.append(model.op("FULLY_CONNECTED", numbers, T((1, 4), *KIND), options))
    return model.to_bytes()


def build_with(
    compiler: Compiler, data: bytes, name: str, cache: Path, kernels: str, board: str = BOARD
) -> tuple[Outcome, MemoryStore, CandidateJob]:
    """Build the model `data`, of a file called `name`, with `compiler` alone, in a new store."""
    store = MemoryStore()
    found = inspect(data, name)
    store.put(keys.blob_of(found.model), found.model)
    inspection = Inspection(
        source_digest=sha256(data), static_digest=sha256(found.model), summary=found.summary
    )
    job = job_for(
        Candidate(compiler.describe(), kernels),
        inspection,
        name="net",
        target=catalog.get(board).capability_class(),
        shapes={},
        service="test",
    )
    registry = Registry({compiler.describe().name: compiler}, {})
    bench = Workbench(registry, store, LocalSigner.generate(), cache, Silent())
    return build(job, bench), store, job
