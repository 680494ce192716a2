"""Requests, candidates and results: what a user asks and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tinymlaas.contract.base import Model
from tinymlaas.contract.manifest import LayerNumerics, Level, RegionUse, SectionUse, Verification
from tinymlaas.contract.quantisation import QuantisationReport


class Objective(StrEnum):
    """What to make small: instructions per inference, flash or RAM."""

    LATENCY = "latency"
    FLASH = "flash"
    RAM = "ram"


class CandidateStatus(StrEnum):
    """verified: ran and computed the right numbers. built: linked, could not be run. rejected:
    cannot work, see reasons. failed: broke, which is our fault. skipped: not tried, or not to the
    end, as time was up or another was good enough.
    """

    VERIFIED = "verified"
    BUILT = "built"
    REJECTED = "rejected"
    FAILED = "failed"
    SKIPPED = "skipped"


class CandidateReport(Model):
    """One compiler's attempt. Byte counts and instructions are None where they are not known.

    `size_level` says how flash, arena and sections are known, and RAM but for the stack in it;
    `level` how stack, instructions and errors are, or the sizes if the module was not run. The
    errors are against the model that was compiled; of one quantised on the way (`quantised`)
    `quantisation_error` is its own largest difference from the model as given, as a share of the
    output's range. `accuracy` is of labelled samples run as `level` says, None without labels.
    `estimated_flash_bytes` and `estimated_ram_bytes` were said before anything was compiled.
    `sandbox` is what the compiler ran in: ``bubblewrap``, or ``none`` where a user asked for that.

    The last three are of the race: whether no other verified candidate is at least as good in
    flash, RAM and instructions and better in one; one line on why it was not chosen (empty where
    `reasons` tell, and for the chosen one); and one on why it was (empty for all others).
    """

    compiler: str
    kernels: str
    options: dict[str, str] = {}
    status: CandidateStatus
    reasons: tuple[str, ...] = ()
    action_digest: str | None = None
    module_digest: str | None = None
    cached: bool = False
    sandbox: str | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    stack_bytes: int | None = None
    arena_bytes: int | None = None
    instructions: int | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    bit_exact: bool | None = None
    machine: str | None = None
    level: Level | None = None
    size_level: Level | None = None
    sections: tuple[SectionUse, ...] = ()
    regions: tuple[RegionUse, ...] = ()
    quantised: bool = False
    quantisation_error: float | None = None
    accuracy: float | None = None
    estimated_flash_bytes: int | None = None
    estimated_ram_bytes: int | None = None
    pareto: bool = False
    lost: str = ""
    won: str = ""


def total_error(report: CandidateReport) -> float | None:
    """Return how far outputs were found to be from the model as given, a share of the range.

    For a quantised candidate it is the sum of what quantising and compiling did, each the largest
    difference on its own samples and over its own range: an estimate, no bound for other inputs.
    """
    if report.max_rel_error is None or (report.quantised and report.quantisation_error is None):
        return None
    return report.max_rel_error + (report.quantisation_error or 0.0)


def candidate_name(
    compiler: str, kernels: str, options: Mapping[str, str], *, quantised: bool = False
) -> str:
    """Return compiler, kernels if it has several, and what sets a candidate apart in a race."""
    name = compiler if kernels in ("", "generated") else f"{compiler}/{kernels}"
    for option, value in options.items():
        if option == "objective":
            name += f" {value}"
        elif value == "off":
            name += f" {option}=off"
    return f"{name} int8" if quantised else name


def name_of(report: CandidateReport) -> str:
    """Return what a candidate is called: one rejected by facts alone stands for all variants."""
    by_facts = report.status is CandidateStatus.REJECTED and report.action_digest is None
    options = {} if by_facts else report.options
    return candidate_name(report.compiler, report.kernels, options, quantised=report.quantised)


class ResultStatus(StrEnum):
    """How a job ended."""

    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"


class CompileResult(Model):
    """What `tinymlaas compile --json` prints. `module` is the archive's path, `chosen` an index
    into `candidates`; `quantisation` is that of the model as quantised on the way, whichever form
    was chosen, its `model` the float file's name.
    """

    status: ResultStatus
    reasons: tuple[str, ...] = ()
    module: str | None = None
    action_digest: str | None = None
    chosen: int | None = None
    candidates: tuple[CandidateReport, ...] = ()
    quantisation: QuantisationReport | None = None


class ErrorReport(Model):
    """What any command prints with ``--json`` in place of its result if there is none."""

    status: ResultStatus
    reasons: tuple[str, ...]


class VerifyReport(Model):
    """What `tinymlaas verify --json` prints; `verification` is None for a module never run.

    `signer` is the first of `signers`, the fingerprints of the distinct keys that count; `builder`
    is the one they speak for. `remarks` are lines that a user should read. `layers` are all tensors
    compared, with ``--layers``.
    """

    status: str = "ok"
    signer: str
    signers: tuple[str, ...] = ()
    builder: str = ""
    remarks: tuple[str, ...] = ()
    rerun: bool
    verification: Verification | None
    layers: tuple[LayerNumerics, ...] = ()


class RunReport(Model):
    """What `tinymlaas run --json` prints.

    `accuracy` is the share of samples whose largest output is the label's, None without labels;
    `instructions` is the largest count of one sample.
    """

    samples: int
    accuracy: float | None
    instructions: int | None
    stack_bytes: int | None
    machine: str
    level: Level
    outputs: tuple[tuple[tuple[float, ...], ...], ...]
