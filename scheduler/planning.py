"""From an order to the work it needs: quantise, inspect, one build a candidate, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scheduler.candidates import Making, jobs_of
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.jobs import CandidateJob, Inspection
from tinymlaas.contract.messages import CompileOrder, Payload
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    InspectTask,
    JudgeTask,
    ModelFile,
    QuantiseTask,
    Work,
)
from tinymlaas.contract.report import CandidateReport, CandidateStatus

AUTO = "auto"

Boards = Callable[[str], DeviceProfile]


@dataclass(frozen=True, slots=True)
class Need:
    """One piece of work: what comes out is named `action`, `pool` can do it.

    `service` is the version of our part of the work that the name was made for.
    """

    action: str
    pool: str
    work: Work
    service: str


def inspection_facts(order: CompileOrder, service: str) -> str:
    """Return the digest of all but the model that an inspection depends on."""
    shapes = {name: list(shape) for name, shape in order.shapes.items()}
    return digest_of({"shapes": shapes, "service": service})


def quantising(order: CompileOrder, service: str) -> Need:
    """Return the need for an integer model; the order has a calibration."""
    calibration = order.calibration
    assert calibration is not None  # noqa: S101 - for the type checker: the caller has asked
    task = QuantiseTask(
        model=_file(order.model),
        samples=_file(calibration.samples, "calibration"),
        activations=calibration.activations,
        shapes=order.shapes,
    )
    facts = {
        "quantise": order.model.digest,
        "samples": calibration.samples.digest,
        "activations": calibration.activations,
        "inspection": inspection_facts(order, service),
    }
    return Need(digest_of(facts), PREPARE_POOL, task, service)


def inspecting(order: CompileOrder, quantised: str | None, service: str) -> Need:
    """Return the need for an inspection of the order's model, or of its quantised form."""
    own = ModelFile(digest=quantised, filename="quantised.tflite") if quantised else None
    model = own or _file(order.model)
    facts = {"inspect": model.digest, "facts": inspection_facts(order, service)}
    task = InspectTask(model=model, shapes=order.shapes)
    return Need(digest_of(facts), PREPARE_POOL, task, service)


def _file(payload: Payload, what: str = "model") -> ModelFile:
    """Return the file under a name that says nothing of whose it is: reasons name it, and these
    reach all who have asked for the same, or will.
    """
    ending = ".tflite" if payload.filename.endswith(".tflite") else ""
    return ModelFile(digest=payload.digest, filename=what + ending)


def building(
    order: CompileOrder,
    inspection: Inspection,
    described: Sequence[CompilerDescription],
    boards: Boards,
    service_of: Callable[[str], str],
) -> list[Need | CandidateReport]:
    """Return for each candidate of a form the build it needs, or its rejection from facts alone.

    `service_of` says which version of our part of the work a pool has.

    Raises:
        Rejection: board, compiler, kernels or options are not acceptable.
    """
    device = order.device or boards(order.board or "")
    chosen = wanted(order.compiler, described)
    making = Making(
        device.capability_class(),
        order.name,
        order.objective,
        order.options,
        order.shapes,
        race=order.compiler == AUTO,
    )
    compilers = {each.name: each for each in chosen}
    return [
        step
        if isinstance(step, CandidateReport)
        else _build(step, compilers[step.compiler], service_of(step.compiler))
        for step in jobs_of(inspection, chosen, making, service_of)
    ]


def _build(job: CandidateJob, compiler: CompilerDescription, service: str) -> Need:
    task = BuildTask(job=job, version=compiler.version, build=compiler.build)
    return Need(job.action_digest, compiler.name, task, service)


def judging(order: CompileOrder, module: str, pool: str, service: str) -> Need:
    """Return the need for the accuracy of a module that `pool` has built; the order has data."""
    data = order.data
    assert data is not None  # noqa: S101 - for the type checker: the caller has asked
    facts = {"judge": module, "samples": data.digest, "service": service}
    task = JudgeTask(module=module, samples=_file(data, "data"))
    return Need(digest_of(facts), pool, task, service)


def candidate_of(need: Need) -> CandidateJob:
    """Return what a need of a build is to build."""
    assert isinstance(need.work, BuildTask)  # noqa: S101 - for the type checker
    return need.work.job


def away(pool: str) -> CandidateReport:
    """Return the report for a compiler whose pool nobody has heard of."""
    reason = f"pool {pool} was away and is not known yet: start a worker of it, then ask again"
    return CandidateReport(
        compiler=pool, kernels="", status=CandidateStatus.FAILED, reasons=(reason,)
    )


def wanted(choice: str, described: Sequence[CompilerDescription]) -> list[CompilerDescription]:
    """Return the compilers to try: all, or the one named, perhaps with one of its kernels.

    Raises:
        UsageError: there is none; says which there are.
    """
    name, slash, kernels = choice.partition("/")
    ordered = sorted(described, key=lambda each: each.name)
    chosen = [each for each in ordered if choice == AUTO or each.name == name]
    if not chosen:
        known = ", ".join(each.name for each in ordered) or "none"
        raise UsageError(f"no compiler is called '{name}'; there are: {known}")
    if not slash:
        return chosen
    if kernels not in chosen[0].kernels:
        known = ", ".join(chosen[0].kernels)
        raise UsageError(f"{name} has no kernels called '{kernels}'; there are: {known}")
    return [chosen[0].model_copy(update={"kernels": (kernels,)})]
