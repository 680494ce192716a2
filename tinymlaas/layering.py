"""Compare a finished module with the reference layer by layer, on request."""

from __future__ import annotations

from pathlib import Path

from storage import keys
from storage.memory import MemoryStore
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.progress import Progress
from tinymlaas.modules import Checked
from tinymlaas.rebuilding import job_again
from tinymlaas.sandboxing import contain
from tinymlaas.settings import from_environment
from tinymlaas.signer.starting import OwnersSigner
from workers import replay
from workers.build import Workbench
from workers.compilers.registry import discover
from workers.golden import decode_golden, samples_of
from workers.probing import Found, Probe, can_probe
from workers.stages import promises_exactness
from workers.verify import tflm_host


def layers(checked: Checked, model: Path | None, progress: Progress) -> Found:
    """Compile the module's program again with its tensors kept, run it and compare every tensor.

    The probe must compute what the module in the archive computes, else it shows nothing. `model`
    is the model file, where the store does not have it any more.

    Raises:
        UsageError: the model is not at hand or another one, or the compiler cannot show its layers.
        CannotProbe: what is compiled today is not the module in the archive.
        Failure: a step of ours broke.
    """
    archive = checked.archive
    contain()
    settings = from_environment()
    registry = discover(settings.compilers)
    compiler = registry.get(archive.manifest.compiler.name)
    if not can_probe(compiler):
        able = sorted(name for name, each in registry.compilers.items() if can_probe(each))
        raise UsageError(
            f"{archive.manifest.compiler.name} cannot show its layers; these can: {', '.join(able)}"
        )
    signer, cache = OwnersSigner(settings), settings.toolchain_cache
    bench = Workbench(registry, MemoryStore(), signer, cache, progress)
    job = job_again(archive, checked.asked, model, bench)
    golden = decode_golden(archive.members)
    progress.stage("module", "running it")
    ran = replay.run_archive(archive, samples_of(golden.inputs, golden.samples), cache)
    progress.stage("module", "comparing layer by layer")
    before = archive.manifest.verification
    by_tflm = before is not None and before.reference.startswith(tflm_host.DISTRIBUTION)
    exact = by_tflm and promises_exactness(compiler.describe(), job.task.summary)
    data = bench.store.get(keys.blob(job.static_digest))
    found = Probe(job, compiler, data, exact, cache).look(golden, ran.outputs)
    progress.end("module", "compared")
    return found
