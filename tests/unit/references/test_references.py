"""What is stored of a reference: used if it is whole, computed anew if it is not."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.candidates import Candidate, job_for
from storage.memory import MemoryStore
from tests.integration.build.compilers import Handmade
from tests.integration.cli.models import small_onnx
from tinymlaas.boards import catalog
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.jobs import CandidateJob, Inspection
from workers.golden import Golden
from workers.models.summary import inspect
from workers.references import GOLDEN_SAMPLES, Reference, stored_reference


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

    stored_reference(job, store, compute)
    (info,) = store.list("")
    whole = store.get(info.key)
    start = whole.index(b"PK\x01\x02")  # of the first entry: versions, flags, method, sizes, name
    for place in range(start, whole.index(b"PK\x01\x02", start + 1)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            store.delete(info.key)
            store.put_if_absent(info.key, bytes(damaged))
            found = stored_reference(job, store, compute)
            assert (found.name, found.exact) == (wanted.name, wanted.exact)
            assert (found.golden.outputs[0] == wanted.golden.outputs[0]).all()
            assert store.get(info.key) in (whole, bytes(damaged))
    assert asked > 1
