"""What a person reads: tables and lines for the terminal, made from contract types only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas.contract.manifest import Level, RegionUse, SectionUse, Verification
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    RunReport,
    total_error,
)
from tinymlaas.contract.report import candidate_name as report_name
from tinymlaas.contract.tensors import TensorSpec

_PIPED_COLUMNS = 120
_SMALL_ERROR = 1e-3  # a share of the range; larger ones read better in percent
_INT8_EXACT = "="
_LISTED_REASONS = 3
_STYLES = {
    CandidateStatus.VERIFIED: "green",
    CandidateStatus.BUILT: "yellow",
    CandidateStatus.REJECTED: "red",
    CandidateStatus.FAILED: "bold red",
    CandidateStatus.SKIPPED: "dim",
}


def number(value: int | None, unit: str = "") -> str:
    """Return `value` with thousands separators, or a dash where it is not known."""
    return "–" if value is None else f"{value:,}{unit}"


def relative(value: float, bit_exact: bool | None) -> str:
    """Return a relative error, or that there is none."""
    if bit_exact and not value:
        return "bit-exact"
    return f"{value:.1e}" if value < _SMALL_ERROR else f"{value:.1%}"


def error(report: CandidateReport) -> str:
    """Return how far a candidate is from the model as given, quantising included.

    A module that equals a quantised form to the bit is as far off as that form is.
    """
    value = total_error(report)
    if value is None:
        return "–"
    equal = bool(report.bit_exact) and report.quantised and value > 0
    return relative(value, report.bit_exact) + _INT8_EXACT * equal


def millions(value: int | None) -> str:
    """Return a count of instructions: exact below a million, else in millions."""
    if value is None or value < 1_000_000:
        return number(value)
    return f"{value / 1e6:.2f} M"


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: names from outside may look like markup.

    What goes into a file or pipe is not folded to the 80 columns of a terminal that is not there.
    """
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream is not None and stream.isatty()
    width = None if terminal or "COLUMNS" in os.environ else _PIPED_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def _table(title: str, *left: str) -> Table:
    """Return an empty table narrow enough for 80 columns, its text columns `left`."""
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in left:
        table.add_column(heading, overflow="fold")
    return table


def facts_table(title: str) -> Table:
    """Return an empty table of facts: a bold name and what it is."""
    table = Table(title=title or None, title_justify="left", box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def candidate_name(report: CandidateReport) -> str:
    """Return what a candidate is called: one rejected by facts alone stands for all variants."""
    by_facts = report.status is CandidateStatus.REJECTED and report.action_digest is None
    options = {} if by_facts else report.options
    return report_name(report.compiler, report.kernels, options, quantised=report.quantised)


def candidates(result: CompileResult) -> Table:
    """Return the table of all candidates: the chosen one marked, Pareto-optimal ones starred."""
    table = _table("Candidates", "", "candidate")
    table.padding = (0, 0)  # one space between columns leaves room for the longest word of a name
    table.add_column("status", no_wrap=True)
    judged = _judged(result.candidates)
    for heading in ("flash B", "RAM B", "instr.", "error", *(("right",) * judged)):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, report in enumerate(result.candidates):
        mark = f"{'➜' if index == result.chosen else ' '}{'*' if report.pareto else ' '}"
        right = "–" if report.accuracy is None else f"{report.accuracy:.1%}"
        table.add_row(
            Text(mark, style="green"),
            candidate_name(report),
            Text(report.status.value, style=_STYLES[report.status]),
            number(report.flash_bytes),
            number(report.ram_bytes),
            millions(report.instructions),
            error(report),
            *((right,) * judged),
        )
    return table


def _judged(reports: Sequence[CandidateReport]) -> bool:
    return any(report.accuracy is not None for report in reports)


def _levels(reports: Sequence[CandidateReport]) -> list[str]:
    """Say how the numbers are known: the sizes, and what only a run can tell."""
    sized = [r for r in reports if r.size_level and r.flash_bytes is not None]
    ran = [r for r in reports if r.level and r.max_rel_error is not None]
    known = [f"flash and RAM {_known(sized, 'size_level')}"] if sized else []
    told = "instructions, error, right" if _judged(reports) else "instructions, error"
    known += [f"{told} and the stack in RAM {_known(ran, 'level')}"] if ran else []
    return [f"how known: {'; '.join(known)}"] if known else []


def _known(reports: Sequence[CandidateReport], field: str) -> str:
    """Return the level that most of `reports` have in `field`, and which have another."""
    levels = [str(getattr(report, field)) for report in reports]
    most = max(dict.fromkeys(levels), key=levels.count)
    pairs = zip(reports, levels, strict=True)
    others = [f"{candidate_name(r)}: {level}" for r, level in pairs if level != most]
    return f"{most} ({', '.join(others)})" if others else most


def explanations(result: CompileResult) -> list[str]:
    """Return lines on how the numbers are known, on the choice, and on what is against others."""
    lines = _levels(result.candidates)
    for index, report in enumerate(result.candidates):
        name = candidate_name(report)
        if index == result.chosen:
            lines.append(f"{name}: {_chosen(report)}")
        elif report.lost:
            lines.append(f"{name}: not chosen: {report.lost}")
        if report.reasons:
            lines.append(f"{name}: {report.status}: {_in_short(report.reasons)}")
    return [*lines, *_legend(result.candidates)]


def _in_short(reasons: Sequence[str]) -> str:
    """Return the reasons as one line; of many the first, which says most."""
    if len(reasons) <= _LISTED_REASONS:
        return "; ".join(reasons)
    return f"{reasons[0]} (and {len(reasons) - 1} more reasons: --json lists all)"


def _legend(reports: Sequence[CandidateReport]) -> Iterator[str]:
    """Yield what the marks in the table mean, as far as there are any."""
    if any(report.pareto for report in reports):
        yield (
            "* Pareto-optimal: no other is at least as good in flash, RAM and instructions and "
            "better in one"
        )
    if any(r.quantised and total_error(r) is not None for r in reports):
        yield (
            "error of int8: from the float model, as --max-error counts it: what quantising did to "
            "the calibration samples and what compiling did"
        )
    if any(error(report).endswith(_INT8_EXACT) for report in reports):
        yield f"{_INT8_EXACT} equal to the int8 model bit for bit: all of its error is quantising"


def _chosen(report: CandidateReport) -> str:
    why = f"chosen: {report.won}; " if report.won else "chosen, "
    how = f"{why}{'found in the store' if report.cached else 'built now'}"
    if report.level is Level.HOST:
        return f"{how}; its model was run by the interpreter on the host"
    if report.status is CandidateStatus.BUILT:
        return f"{how}; not run, so its numbers are not proven"
    return f"{how}; outputs checked on {report.machine}"


def fit(sections: Iterable[SectionUse], regions: Iterable[RegionUse], title: str) -> Table:
    """Return the fit verdict: bytes by section, each region's use of its length, and the margin.

    RAM is arena, static data and, where the module was run, its stack.
    """
    table = _table(title, "region", "section")
    for heading in ("bytes", "of", "free", "free %"):
        table.add_column(heading, justify="right")
    rows = list(sections)
    for region in regions:
        for section in rows:
            if section.region == region.region:
                table.add_row("", section.section, number(section.bytes), "", "", "")
        style = "bold red" if region.free < 0 else "bold"
        margin = (number(region.free), f"{region.free_percent:.1f}%")
        used = (number(region.used), number(region.length), *margin)
        table.add_row(region.region, "", *used, style=style)
    return table


def compile_result(result: CompileResult, board: str) -> RenderableType:
    """Return everything a person wants to know of a finished compile."""
    parts: list[RenderableType] = []
    if result.candidates:
        parts += [candidates(result), *map(Text, explanations(result)), ""]
    for index, report in enumerate(result.candidates):
        misfit = result.chosen is None and report.status is CandidateStatus.REJECTED
        if report.regions and (index == result.chosen or misfit):
            title = f"Fit on {board} ({report.compiler}, {report.size_level})"
            parts.append(fit(report.sections, report.regions, title))
            parts += map(Text, _estimate(report))
    return Group(*parts)


def _estimate(report: CandidateReport) -> Iterator[str]:
    """Yield how far off what was said before compiling is."""
    pairs = (
        ("flash", report.estimated_flash_bytes, report.flash_bytes),
        ("RAM", report.estimated_ram_bytes, report.ram_bytes),
    )
    parts = [
        f"{what} {said:,} B ({said / is_ - 1:+.1%})" for what, said, is_ in pairs if said and is_
    ]
    if parts:
        yield f"estimated before compiling: {', '.join(parts)}"


def summary(name: str, found: ModelSummary) -> RenderableType:
    """Return what `tinymlaas inspect` shows of a model."""
    facts = facts_table(name)
    opset = f", opset {found.opset}" if found.opset else ""
    facts.add_row("format", f"{found.format}{opset}")
    facts.add_row("activations", str(found.dtype))
    for label, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            facts.add_row(label, describe_tensor(tensor))
    facts.add_row("MACs", number(found.macs))
    facts.add_row("weights", f"{found.weight_bytes:,} B in {found.parameters:,} parameters")
    facts.add_row("flash", f"{found.estimated_flash_bytes:,} B (estimated, whatever the compiler)")
    facts.add_row("RAM", f"{found.estimated_ram_bytes:,} B (estimated, whatever the compiler)")
    facts.add_row("SHA-256", found.digest)
    operators = _table("", "operator", "dtype")
    operators.add_column("count", justify="right")
    for use in found.operators:
        operators.add_row(use.name, str(use.dtype), number(len(use.indices)))
    return Group(facts, operators)


def describe_tensor(tensor: TensorSpec) -> str:
    """Return ``name 1×49×10×1 int8 (scale …, zero point …)``."""
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    text = f"{tensor.name} {shape} {tensor.dtype}"
    if tensor.quantization:
        quantization = tensor.quantization
        text += f" (scale {quantization.scale:g}, zero point {quantization.zero_point})"
    return text


def quantisation(report: QuantisationReport) -> Iterator[str]:
    """Yield the report as lines of text."""
    yield f"model       {report.model}"
    yield f"size        {report.quantised_bytes:,} B (float: {report.float_bytes:,} B)"
    samples = f"{report.samples} calibration sample{'s' * (report.samples != 1)}"
    if report.float_accuracy is not None and report.quantised_accuracy is not None:
        yield (
            f"accuracy    {report.quantised_accuracy:.2%} (float: {report.float_accuracy:.2%}) "
            f"on the {samples}"
        )
    for error in report.errors:
        sqnr = "exact" if error.sqnr_db is None else f"SQNR {error.sqnr_db:.1f} dB"
        yield (
            f"error       {error.name}: max {error.max_error:.2%}, mean {error.mean_error:.2%}, "
            f"RMS {error.rms_error:.2%} of the float output's range, {sqnr}; on the {samples}"
        )
    yield f"made by     {report.converter}"
    yield f"compared    {report.quantised_reference} with {report.float_reference}"


def verification(found: Verification) -> Table:
    """Return the numbers of one verification, each with how it is known."""
    table = facts_table("")
    numerics = found.numerics
    simulator = found.simulator.partition(" (")[0]  # without the distribution's package version
    # Of a board there is no more than its user's word that it is one.
    table.add_row("ran on", f"{found.machine} ({simulator or 'as its user says'})")
    table.add_row("reference", f"{found.reference}, {found.samples} golden samples")
    table.add_row("max abs error", f"{numerics.max_abs_error:.3g}")
    bound = f"{numerics.max_rel_error:.3g} of the output's range (allowed {numerics.tolerance:g})"
    table.add_row("max rel error", bound)
    table.add_row("bit-exact", "yes" if numerics.bit_exact else "no")
    table.add_row("instructions", f"{number(found.instructions)} per inference ({found.level})")
    table.add_row("stack", f"{number(found.stack_bytes)} B ({found.level})")
    return table


def run_report(report: RunReport) -> Table:
    """Return what `tinymlaas run` shows."""
    table = facts_table("")
    table.add_row("ran on", f"{report.machine}, {report.samples} samples ({report.level})")
    if report.accuracy is not None:
        right = round(report.accuracy * report.samples)
        table.add_row("accuracy", f"{report.accuracy:.2%} ({right} of {report.samples})")
    table.add_row("instructions", f"{number(report.instructions)} per inference at most")
    table.add_row("stack", f"{number(report.stack_bytes)} B")
    return table


def show(console: Console, *parts: RenderableType) -> None:
    """Print `parts` one under the other."""
    for part in parts:
        console.print(part)
