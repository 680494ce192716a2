"""Candidates for a job: compiler × kernel library × options, and which of them cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tinymlaas.contract.compiler import CompilerDescription, CompileTask
from tinymlaas.contract.device import CapabilityClass, MemoryKind
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.jobs import CandidateJob, Inspection
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective
from tinymlaas.contract.tensors import DType

# Weights may shrink a little in compiling (folded shape constants); far above that they cannot fit.
_WEIGHT_SLACK = 1.25
_LISTED_CORES = 8
_LISTED_OPERATORS = 4
_OBJECTIVE = "objective"


@dataclass(frozen=True)
class Candidate:
    """One way to compile: a compiler with one of its kernel libraries and options."""

    compiler: CompilerDescription
    kernels: str
    options: dict[str, str] = field(default_factory=dict)

    def rejected(self, reasons: Iterable[str]) -> CandidateReport:
        """Return the report of this candidate rejected for `reasons`."""
        return CandidateReport(
            compiler=self.compiler.name,
            kernels=self.kernels,
            options=self.options,
            status=CandidateStatus.REJECTED,
            reasons=tuple(reasons),
        )


def list_candidates(
    descriptions: Sequence[CompilerDescription],
    objective: Objective = Objective.LATENCY,
    options: Mapping[str, str] | None = None,
    *,
    race: bool = False,
) -> list[Candidate]:
    """Return every candidate of the compilers described, in the order of their names.

    An option has its default unless `options` says otherwise; the one called ``objective`` follows
    the job's wherever the compiler offers that value. In a `race` each variant that the compiler
    has is tried as well, as far as `options` leave it open.

    Raises:
        UsageError: no compiler has one of `options`, or one that has it does not offer the value.
    """
    wanted = dict(options or {})
    unknown = sorted(set(wanted).difference(*(each.options for each in descriptions)))
    if unknown:
        known = ", ".join(sorted({name for each in descriptions for name in each.options}))
        raise UsageError(f"no compiler has an option {unknown[0]}; there are: {known or 'none'}")
    return [
        Candidate(description, kernels, variant)
        for description in sorted(descriptions, key=lambda d: d.name)
        for kernels in description.kernels
        for variant in _variants(
            description, _options(description, objective, wanted), wanted, race
        )
    ]


def _reads(compiler: CompilerDescription, format: ModelFormat) -> bool:
    return any(support.format == format for support in compiler.operators)


def _options(
    compiler: CompilerDescription, objective: Objective, wanted: Mapping[str, str]
) -> dict[str, str]:
    chosen = {name: allowed[0] for name, allowed in sorted(compiler.options.items())}
    if objective in compiler.options.get(_OBJECTIVE, ()):
        chosen[_OBJECTIVE] = objective.value
    for name in chosen.keys() & wanted.keys():
        allowed = compiler.options[name]
        if wanted[name] not in allowed:
            raise UsageError(
                f"{compiler.name}: option {name} is {' or '.join(allowed)}, not {wanted[name]!r}"
            )
        chosen[name] = wanted[name]
    return chosen


def _variants(
    compiler: CompilerDescription, chosen: dict[str, str], wanted: Mapping[str, str], race: bool
) -> list[dict[str, str]]:
    """Return `chosen` and, in a race, the compiler's variants of it, each once."""
    named: Iterable[dict[str, str]] = compiler.variants or [
        {_OBJECTIVE: value} for value in compiler.options.get(_OBJECTIVE, ())
    ]
    found = [chosen]
    for variant in named if race else ():
        options = {**chosen, **variant, **{n: wanted[n] for n in chosen.keys() & wanted.keys()}}
        if options not in found:
            found.append(options)
    return found


def admit(
    candidates: Iterable[Candidate], summary: ModelSummary, target: CapabilityClass
) -> list[Candidate | CandidateReport]:
    """Return what may work as it is, and what cannot as a rejection: one for all its variants."""
    admitted: dict[tuple[str, str, object], Candidate | CandidateReport] = {}
    for number, candidate in enumerate(candidates):
        reasons = reasons_against(candidate, summary, target)
        step = candidate.rejected(reasons) if reasons else candidate
        place = (candidate.compiler.name, candidate.kernels, None if reasons else number)
        admitted.setdefault(place, step)
    return list(admitted.values())


def reasons_against(
    candidate: Candidate, summary: ModelSummary, target: CapabilityClass
) -> list[str]:
    """Return why `candidate` cannot work, from facts alone; empty if it may.

    These need no compiler to run: kernels that are not installed, a core it has no code for, an
    operator it does not list, weights larger than all flash. (Of a compiler that makes estimates
    the last is not asked: it may find that it needs but a part of them.)
    """
    if not _reads(candidate.compiler, summary.format):
        return [unread(summary.format)]
    reasons = []
    lacking = candidate.compiler.unavailable.get(candidate.kernels)
    if lacking is not None:
        reasons.append(lacking)
    if target.core not in candidate.compiler.cores:
        cores = [str(core) for core in candidate.compiler.cores]
        known = ", ".join(cores[:_LISTED_CORES]) + (", …" if len(cores) > _LISTED_CORES else "")
        reasons.append(f"no code generator for {target.core} (it has {known})")
    reasons += _only_as_int8(candidate.compiler, summary)
    reasons += unsupported_operators(candidate.compiler, summary)
    flash = target.capacity(MemoryKind.FLASH)
    if (
        flash is not None
        and not candidate.compiler.estimates
        and summary.weight_bytes > _WEIGHT_SLACK * flash
    ):
        reasons.append(
            f"does not fit: the weights alone need {summary.weight_bytes:,} B of "
            f"{flash:,} B flash (estimated)"
        )
    return reasons


def _only_as_int8(compiler: CompilerDescription, summary: ModelSummary) -> list[str]:
    """Return a reason if all that the compiler lacks of a float model it has for int8 ones."""
    known = _known(compiler, summary.format)
    lacking = _lacking(known, summary)
    if not lacking or any(
        use.dtype is not DType.FLOAT32 or (DType.INT8, use.name) not in known for use in lacking
    ):
        return []
    names = list(dict.fromkeys(use.name for use in lacking))
    more = ", …" if len(names) > _LISTED_OPERATORS else ""
    return [
        f"takes {', '.join(names[:_LISTED_OPERATORS])}{more} as int8 only, this model is float32 "
        "(--calibration makes an int8 one)"
    ]


def unread(format: ModelFormat) -> str:
    """Return the reason against a compiler that does not read models of `format`."""
    return f"does not read {format} models"


def unsupported_operators(compiler: CompilerDescription, summary: ModelSummary) -> list[str]:
    """Return a reason for each operator that the compiler does not list, the first one first."""
    lacking = _lacking(_known(compiler, summary.format), summary)
    return [use.unsupported for use in sorted(lacking, key=lambda use: use.indices[0])]


def _known(compiler: CompilerDescription, format: ModelFormat) -> set[tuple[DType, str]]:
    return {
        (support.dtype, operator)
        for support in compiler.operators
        if support.format == format
        for operator in support.operators
    }


def _lacking(known: set[tuple[DType, str]], summary: ModelSummary) -> list[OperatorUse]:
    return [use for use in summary.operators if (use.dtype, use.name) not in known]


def job_for(
    candidate: Candidate,
    inspection: Inspection,
    *,
    name: str,
    target: CapabilityClass,
    shapes: dict[str, tuple[int, ...]],
    service: str,
) -> CandidateJob:
    """Return the job that builds `candidate`.

    The action digest is the SHA-256 of the canonical JSON of model digest, fixed shapes, symbol
    prefix, compiler name, version and build, kernels, options, capability class and the version of
    our own part of the work (`service`).
    """
    compiler = candidate.compiler
    action = {
        "model": inspection.source_digest,
        "shapes": {key: list(value) for key, value in shapes.items()},
        "name": name,
        "compiler": {"name": compiler.name, "version": compiler.version, "build": compiler.build},
        "kernels": candidate.kernels,
        "options": candidate.options,
        "target": target.model_dump(mode="json"),
        "service": service,
    }
    task = CompileTask(
        name=name,
        model="model.onnx" if inspection.summary.format is ModelFormat.ONNX else "model.tflite",
        format=inspection.summary.format,
        summary=inspection.summary,
        target=target,
        kernels=candidate.kernels,
        options=candidate.options,
    )
    return CandidateJob(
        action_digest=digest_of(action),
        task=task,
        compiler=compiler.name,
        source_digest=inspection.source_digest,
        static_digest=inspection.static_digest,
        shapes=shapes,
    )


@dataclass(frozen=True)
class Making:
    """What is asked of all candidates alike, whatever form of the model they are made of."""

    target: CapabilityClass
    name: str = "model"
    objective: Objective = Objective.LATENCY
    options: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    race: bool = False


def jobs_of(
    inspection: Inspection,
    descriptions: Sequence[CompilerDescription],
    making: Making,
    service_of: Callable[[str], str],
) -> list[CandidateJob | CandidateReport]:
    """Return for each candidate of one form of a model the job that builds it, or its rejection
    from facts alone.

    `service_of` says which version of our part of the work goes with a compiler.

    Raises:
        UsageError: see `list_candidates`.
    """
    listed = list_candidates(descriptions, making.objective, making.options, race=making.race)
    return [
        step
        if isinstance(step, CandidateReport)
        else job_for(
            step,
            inspection,
            name=making.name,
            target=making.target,
            shapes=dict(making.shapes),
            service=service_of(step.compiler.name),
        )
        for step in admit(listed, inspection.summary, making.target)
    ]
