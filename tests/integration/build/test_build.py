"""One candidate from task to stored module: what is wrong is never stored as good."""

import errno
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scheduler.candidates import Candidate, job_for
from storage import keys
from storage.archive import read_archive
from storage.memory import MemoryStore
from storage.signing import LocalSigner
from storage.verify import trusted_key, verify_module
from tests.integration.build.compilers import RIGHT, Handmade
from tests.integration.cli.models import small_onnx
from tinymlaas.boards import catalog
from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel, VerificationError
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.progress import Silent
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.contract.tensors import DType, Quantization
from workers.build import Workbench, build, module_of
from workers.compilers.registry import Registry
from workers.models.summary import inspect
from workers.replay import replay_golden

MODEL = bytes(small_onnx().SerializeToString())


@dataclass
class Bench:
    compiler: Handmade
    store: MemoryStore
    signer: LocalSigner
    cache: Path

    def build(self, board: str = "host") -> tuple[Outcome, CandidateJob]:
        return self.build_for(catalog.get(board).capability_class())

    def build_for(self, target: CapabilityClass) -> tuple[Outcome, CandidateJob]:
        found = inspect(MODEL, "small.onnx")
        self.store.put(keys.blob_of(found.model), found.model)
        job = job_for(
            Candidate(self.compiler.describe(), "generated"),
            Inspection(
                source_digest=sha256(MODEL),
                static_digest=sha256(found.model),
                summary=found.summary,
            ),
            name="small",
            target=target,
            shapes={},
            service="test",
        )
        return build(job, self.workbench), job

    @property
    def workbench(self) -> Workbench:
        registry = Registry({"handmade": self.compiler}, {})
        return Workbench(registry, self.store, self.signer, self.cache, Silent())

    @property
    def stored(self) -> list[str]:
        return [info.key.path.split("/")[0] for info in self.store.list()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Handmade(), MemoryStore(), LocalSigner.generate(), tmp_path / "cache")


def test_a_right_module_is_built_once_and_signed_for_whoever_asks(bench: Bench) -> None:
    outcome, job = bench.build()
    assert outcome.report.status is CandidateStatus.VERIFIED
    assert outcome.report.level is Level.MEASURED
    archive, envelope = module_of(outcome, job, bench.workbench)
    trusted = trusted_key(bench.signer.public_key.pem)
    manifest = verify_module(archive, envelope, [trusted]).manifest
    assert manifest.action_digest == job.action_digest
    again, _ = bench.build()
    assert (again.report.cached, bench.compiler.asked) == (True, 1)
    bench.signer = LocalSigner.generate()
    same, anew = module_of(again, job, bench.workbench)
    assert same == archive
    with pytest.raises(VerificationError, match="trusted key"):
        verify_module(same, anew, [trusted])
    assert verify_module(same, anew, [trusted_key(bench.signer.public_key.pem)])
    assert bench.compiler.asked == 1


@pytest.mark.parametrize(
    ("formula", "before", "reason"),
    [
        ("sum", "", "computes other numbers than onnxruntime"),
        (f"({RIGHT}) + 1e-2f", "", "computes other numbers than onnxruntime"),
        ("NAN", "", "computes other numbers than onnxruntime"),
        (RIGHT, "y[0] += 1; return 0;", "computes other numbers than onnxruntime"),
        (RIGHT, "return 7;", "invoke returned"),
        (RIGHT, "*(volatile int *)0 = 1;", "crashed on host: SIGSEGV"),
        (RIGHT, "extern void *no_such_thing(void); no_such_thing();", "needs no_such_thing"),
        (RIGHT, "no C at all", "rejects src/m.c"),
    ],
)
def test_a_wrong_module_is_our_failure_and_is_not_kept(
    bench: Bench, formula: str, before: str, reason: str
) -> None:
    bench.compiler = Handmade(formula, before)
    outcome, job = bench.build()
    assert outcome.report.status is CandidateStatus.FAILED
    assert reason in outcome.report.reasons[0]
    assert not {"actions", "modules"} & {*bench.stored}
    bench.compiler = Handmade()  # the same job is tried again, not answered from the store
    assert bench.build()[0].report.status is CandidateStatus.VERIFIED
    assert bench.build()[1] == job


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "z"},
        {"shape": (4, 1)},
        {"dtype": DType.INT32},
        {"quantization": Quantization(scale=0.5, zero_point=1)},
    ],
)
def test_tensors_other_than_the_model_s_are_refused(bench: Bench, wrong: dict[str, object]) -> None:
    bench.compiler = Handmade(**wrong)
    outcome, _ = bench.build()
    assert outcome.report.status is CandidateStatus.FAILED
    assert outcome.report.reasons == ("handmade: its outputs are not those of the model",)


@pytest.mark.parametrize(
    ("error", "status", "reason", "asked"),
    [
        (UnsupportedModel("no Frob"), CandidateStatus.REJECTED, "no Frob", 1),
        (CompilerCrashed("it broke"), CandidateStatus.FAILED, "it broke", 2),
        (OSError(errno.ENOSPC, "full", "/x"), CandidateStatus.FAILED, "/x: full", 2),
    ],
)
def test_refusals_are_remembered_and_failures_tried_again(
    bench: Bench, error: Exception, status: CandidateStatus, reason: str, asked: int
) -> None:
    bench.compiler = Handmade(error=error)
    for _ in range(2):
        outcome, _ = bench.build()
        assert (outcome.report.status, outcome.report.reasons) == (status, (reason,))
    assert bench.compiler.asked == asked


def test_a_misfit_is_rejected_with_its_table_and_remembered(bench: Bench) -> None:
    bench.compiler = Handmade(before="static const char big[3 << 20] = {1}; y[0] = big[(int)x[0]];")
    for _ in range(2):
        outcome, _ = bench.build("nucleo-l4r5zi")
        assert outcome.report.status is CandidateStatus.REJECTED
        assert "flash of 2,048 kB" in outcome.report.reasons[0]
        flash = next(use for use in outcome.report.regions if use.region == "flash")
        assert flash.used > flash.length
        assert sum(use.bytes for use in outcome.report.sections if use.region == "flash") == (
            flash.used
        )
    assert bench.compiler.asked == 1


def test_golden_vectors_that_were_changed_are_noticed(bench: Bench) -> None:
    outcome, job = bench.build()
    read = read_archive(module_of(outcome, job, bench.workbench)[0])
    assert replay_golden(read, bench.cache).numerics.max_rel_error <= 1e-4
    wrong = bytearray(read.members["verify/output_0.bin"])
    wrong[3] ^= 0x40  # the exponent of the first number
    changed = {**read.members, "verify/output_0.bin": bytes(wrong)}
    with pytest.raises(VerificationError, match="run again on host the module is off by"):
        replay_golden(type(read)(read.manifest, changed, read.digest, ""), bench.cache)


def test_the_reference_is_run_once_for_all_candidates_of_a_model(bench: Bench) -> None:
    """What the store has is what the next candidate is judged by, unless it is damaged."""
    assert bench.build()[0].report.status is CandidateStatus.VERIFIED
    (info,) = bench.store.list("references/")
    with np.load(io.BytesIO(bench.store.get(info.key))) as file:
        arrays = dict(file)
    changed = io.BytesIO()
    np.savez(changed, **arrays | {"output_0": arrays["output_0"] + 1})
    bench.store.delete(info.key)
    bench.store.put_if_absent(info.key, changed.getvalue())
    outcome, _ = bench.build("nucleo-l4r5zi")
    assert outcome.report.status is CandidateStatus.FAILED
    short = io.BytesIO()
    np.savez(short, **arrays | {"output_0": arrays["output_0"][:1]})
    for damaged in (short.getvalue(), changed.getvalue()[:-40], b"", b"PK"):
        bench.store.delete(info.key)
        bench.store.put_if_absent(info.key, damaged)
        outcome, job = bench.build("nucleo-l4r5zi")
        assert outcome.report.status is CandidateStatus.VERIFIED
        bench.store.delete(keys.action_outcome(job.compiler, job.action_digest))


def test_the_estimate_is_kept_beside_what_was_linked(bench: Bench) -> None:
    bench.compiler.said = Estimate(flash_bytes=3000, ram_bytes=900)
    report = bench.build("nucleo-l4r5zi")[0].report
    assert report.status is CandidateStatus.VERIFIED
    assert (report.estimated_flash_bytes, report.estimated_ram_bytes) == (3000, 900)
    assert report.flash_bytes not in (None, 3000)


def test_an_estimate_that_breaks_costs_no_module(bench: Bench) -> None:
    bench.compiler.said = CompilerCrashed("estimate took longer than 60 s and was stopped")
    report = bench.build("nucleo-l4r5zi")[0].report
    assert (report.status, report.reasons) == (CandidateStatus.VERIFIED, ())
    assert report.estimated_flash_bytes is None


@pytest.mark.parametrize(
    ("certain", "reasons"),
    [
        ({"flash_at_least": (2 << 20) + 1}, ("needs 20,480 kB flash of 2,048 kB (estimated)",)),
        ({"ram_at_least": (640 << 10) + 1}, ("needs 30,720 kB RAM of 640 kB (estimated)",)),
        ({"flash_at_least": 2 << 20, "ram_at_least": 640 << 10}, ()),
        ({}, ()),  # a guess alone turns nothing away: the link decides
    ],
)
def test_what_is_certainly_too_large_is_not_compiled(
    bench: Bench, certain: dict[str, int], reasons: tuple[str, ...]
) -> None:
    flash = 20 << 20
    bench.compiler.said = Estimate(flash_bytes=flash, ram_bytes=30 << 20, **certain)
    outcome, _ = bench.build("nucleo-l4r5zi")
    assert bench.compiler.asked == (0 if reasons else 1)
    report = outcome.report
    assert report.reasons == reasons
    assert report.estimated_flash_bytes == flash
    if reasons:
        assert (report.status, report.flash_bytes) == (CandidateStatus.REJECTED, None)
        again = bench.build("nucleo-l4r5zi")[0].report
        assert (again.cached, again.reasons) == (True, reasons)


def test_a_stack_alone_that_is_too_deep_is_no_fit_and_shows_its_numbers(bench: Bench) -> None:
    before = "volatile char deep[3000]; for (int i = 0; i < 3000; i++) deep[i] = (char)i;"
    roomy, _ = bench.build("nucleo-l4r5zi")
    linked = next(use for use in roomy.report.regions if use.region == "ram")
    stack = roomy.report.stack_bytes
    assert stack is not None
    bench.compiler = Handmade(before=before)
    target = catalog.get("nucleo-l4r5zi").capability_class()
    room = linked.used - stack + 2048  # more than arena and data, less than the stack as well
    memory = tuple(
        region.model_copy(update={"length": room}) if region.name == "ram" else region
        for region in target.memory
    )
    outcome, _ = bench.build_for(target.model_copy(update={"memory": memory}))
    report = outcome.report
    assert report.status is CandidateStatus.REJECTED
    assert report.stack_bytes is not None
    assert report.stack_bytes >= 3000
    (reason,) = report.reasons
    over = linked.used - stack + report.stack_bytes - room
    assert reason.endswith(f"{over:,} bytes too many")
    assert f"stack {report.stack_bytes:,} bytes" in reason
    (ram,) = (use for use in report.regions if use.region == "ram")
    assert (ram.length, ram.free) == (room, -over)
    assert ("stack", report.stack_bytes) in {(s.section, s.bytes) for s in report.sections}
