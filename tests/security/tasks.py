"""The model that hostile compilers are given, and the job of compiling it."""

from __future__ import annotations

import functools

from scheduler.candidates import Candidate, job_for
from tests.services.stub_compiler import FAST, model
from tinymlaas.boards import catalog
from tinymlaas.contract.compiler import CompilerDescription, CompileTask
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.jobs import CandidateJob, Inspection
from workers.models.summary import inspect

BOARD = "nucleo-l4r5zi"  # linked, and run in QEMU


@functools.cache
def inspected() -> tuple[bytes, Inspection]:
    """The model and what is known of it."""
    found = inspect(model(4), "relu.onnx")
    digests = {"source_digest": sha256(found.model), "static_digest": sha256(found.model)}
    return found.model, Inspection(summary=found.summary, **digests)


def job(
    does: str, compiler: CompilerDescription, board: str = FAST, name: str = "net"
) -> CandidateJob:
    """The job that has `compiler` do that."""
    return job_for(
        Candidate(compiler, "", {"does": does}),
        inspected()[1],
        name=name,
        target=catalog.get(board).capability_class(),
        shapes={},
        service="test",
    )


def task(does: str) -> CompileTask:
    """The task of such a job."""
    described = CompilerDescription(name="hostile", version="1", cores=(), operators=())
    return job(does, described).task
