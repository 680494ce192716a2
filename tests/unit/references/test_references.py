"""What is stored of a reference: used if it is whole, computed anew if it is not."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest

from scheduler.candidates import Candidate, job_for
from storage.keys import Key
from storage.memory import MemoryStore
from tests.integration.build.compilers import Handmade
from tests.integration.cli.models import small_onnx
from tinymlaas.boards import catalog
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import CompilerCrashed
from tinymlaas.contract.jobs import CandidateJob, Inspection
from workers import sandbox
from workers.golden import Golden
from workers.models.golden import golden_inputs
from workers.models.summary import inspect
from workers.references import GOLDEN_SAMPLES, Answers, Reference, reference_of, stored_reference


@pytest.fixture(scope="module")
def job() -> CandidateJob:
    found = inspect(bytes(small_onnx().SerializeToString()), "small.onnx")
    digest = sha256(found.model)
    return job_for(
        Candidate(Handmade().describe(), "generated"),
        Inspection(source_digest=digest, static_digest=digest, summary=found.summary),
        name="small",
        target=catalog.get("host").capability_class(),
        shapes={},
        service="test",
    )


def reference(job: CandidateJob) -> Reference:
    inputs, outputs = (
        tuple(np.ones((GOLDEN_SAMPLES, *spec.shape), spec.dtype.value) for spec in side)
        for side in (job.task.summary.inputs, job.task.summary.outputs)
    )
    return Reference("an implementation", Golden(inputs, outputs), exact=True)


def test_whatever_bit_of_a_directory_entry_flips_the_reference_is_computed_anew_or_right(
    job: CandidateJob,
) -> None:
    store, wanted, asked = MemoryStore(), reference(job), 0

    def compute() -> Reference:
        nonlocal asked
        asked += 1
        return wanted

    stored_reference(job, "tvm", store, compute)
    (info,) = store.list("")
    whole = store.get(info.key)
    start = whole.index(b"PK\x01\x02")  # of the first entry: versions, flags, method, sizes, name
    for place in range(start, whole.index(b"PK\x01\x02", start + 1)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            store.delete(info.key)
            store.put_if_absent(info.key, bytes(damaged))
            found = stored_reference(job, "tvm", store, compute)
            assert (found.name, found.exact) == (wanted.name, wanted.exact)
            assert (found.golden.outputs[0] == wanted.golden.outputs[0]).all()
            assert store.get(info.key) in (whole, bytes(damaged))
    assert asked > 1


class Counting(MemoryStore):
    """Counts what is read."""

    reads = 0

    def get(self, key: Key) -> bytes:
        self.reads += 1
        return super().get(key)


def bomb(size: int) -> bytes:
    """A file whose one output has `size` bytes, a thousand times its own."""
    sink, array = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(array, np.zeros(size, np.uint8))
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("output_0.npy", array.getvalue())
        file.writestr("input_0.npy", array.getvalue()[:200])
    return sink.getvalue()


def _replaced(store: MemoryStore, key: Key, data: bytes) -> None:
    store.delete(key)
    assert store.put_if_absent(key, data)


@pytest.mark.parametrize(
    ("forged", "reads"),
    [(bomb(4 << 20), 1), (bomb(64 << 20), 0), (bytes(64 << 20), 0)],
    ids=["a bomb", "a large bomb", "too large"],
)
def test_what_cannot_be_a_reference_is_not_unpacked_here(
    job: CandidateJob, forged: bytes, reads: int
) -> None:
    store, wanted = Counting(), reference(job)
    stored_reference(job, "tvm", store, lambda: wanted)
    (info,) = store.list("")
    whole = MemoryStore.get(store, info.key)
    _replaced(store, info.key, forged)
    tracemalloc.start()
    try:
        assert stored_reference(job, "tvm", store, lambda: wanted) is wanted, "computed anew"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert store.reads == reads
    assert store.get(info.key) == whole


@pytest.mark.parametrize(
    "name",
    [
        np.frombuffer(b'{"name":"\\u001b[31m","exact":true}', np.uint8),
        np.frombuffer(b'{"name":"","exact":true}', np.uint8),
        np.frombuffer(b"[" * 1500, np.uint8),
        np.array("an implementation"),
    ],
    ids=["escapes", "empty", "deep", "text"],
)
def test_a_reference_whose_name_is_none_is_computed_anew(job: CandidateJob, name: Any) -> None:
    store, wanted = MemoryStore(), reference(job)
    stored_reference(job, "tvm", store, lambda: wanted)
    (info,) = store.list("")
    with np.load(io.BytesIO(store.get(info.key))) as file:
        arrays = dict(file)
    changed = io.BytesIO()
    np.savez(changed, **arrays)
    _replaced(store, info.key, changed.getvalue())
    assert stored_reference(job, "tvm", store, pytest.fail).name == wanted.name
    changed = io.BytesIO()
    np.savez(changed, **arrays | {"name": name})
    _replaced(store, info.key, changed.getvalue())
    assert stored_reference(job, "tvm", store, lambda: wanted) is wanted


def test_what_another_pool_has_stored_is_not_believed(job: CandidateJob) -> None:
    """Who took over one pool's worker would choose what another pool signs as verified."""
    store, ours = MemoryStore(), reference(job)
    golden = Golden(ours.golden.inputs, tuple(7 * each for each in ours.golden.outputs))
    stored_reference(job, "tflm", store, lambda: Reference("forged", golden))
    found = stored_reference(job, "tvm", store, lambda: ours)
    assert (found.name, found.golden.outputs[0].max()) == (ours.name, 1)
    assert stored_reference(job, "tvm", store, pytest.fail).name == ours.name


def _outputs(job: CandidateJob, count: int = GOLDEN_SAMPLES) -> list[list[np.ndarray]]:
    specs = job.task.summary.outputs
    return [[np.ones(spec.shape, spec.dtype.value) for spec in specs] for _ in range(count)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda outputs: outputs[:-1], "other samples"),
        (lambda outputs: [[], *outputs[1:]], "not those of the model"),
        (lambda outputs: [[each[0].astype("f8")] for each in outputs], "not those of the model"),
        (lambda outputs: [[each[0].reshape(-1)] for each in outputs], "not those of the model"),
    ],
)
def test_a_job_that_was_led_astray_gives_no_reference(
    job: CandidateJob, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    forged = Answers("one", change(_outputs(job)), exact=True)
    monkeypatch.setattr(sandbox, "call", lambda *_, **__: forged)
    with pytest.raises(CompilerCrashed, match=said):
        reference_of(b"", job)


def test_nothing_is_allocated_by_a_summary_that_is_out_of_all_bounds(
    job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "call", lambda *_, **__: pytest.fail("it was run"))
    (first,) = job.task.summary.inputs
    vast = job.task.summary.model_copy(
        update={"inputs": (first.model_copy(update={"shape": (2**36,)}),)}
    )
    forged = job.model_copy(update={"task": job.task.model_copy(update={"summary": vast})})
    with pytest.raises(CompilerCrashed, match="inputs and outputs take more than"):
        reference_of(b"", forged)


def test_the_inputs_of_a_reference_are_not_the_jobs_to_choose(
    job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Answers("one", _outputs(job), exact=True)
    monkeypatch.setattr(sandbox, "call", lambda *_, **__: answers)
    found = reference_of(b"", job).golden
    ours = golden_inputs(job.task.summary, GOLDEN_SAMPLES)
    np.testing.assert_array_equal(found.inputs[0], np.stack([each[0] for each in ours]))
    for name in ("\x1b[31m", "", "n" * 101):
        forged = Answers(name, _outputs(job), exact=True)
        monkeypatch.setattr(sandbox, "call", lambda *_, forged=forged, **__: forged)
        with pytest.raises(CompilerCrashed, match="a name that is none"):
            reference_of(b"", job)
