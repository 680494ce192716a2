"""What a person reads: tables and lines for the terminal, made from contract types only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas import words
from tinymlaas.contract.manifest import RegionUse, SectionUse, Verification
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import CandidateStatus, CompileResult, RunReport, name_of
from tinymlaas.contract.tensors import TensorSpec
from tinymlaas.words import millions, number

_PIPED_COLUMNS = 120
_STYLES = {
    CandidateStatus.VERIFIED: "green",
    CandidateStatus.BUILT: "yellow",
    CandidateStatus.REJECTED: "red",
    CandidateStatus.FAILED: "bold red",
    CandidateStatus.SKIPPED: "dim",
}


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


def candidates(result: CompileResult) -> Table:
    """Return the table of all candidates: the chosen one marked, Pareto-optimal ones starred."""
    table = _table("Candidates", "", "candidate")
    table.padding = (0, 0)  # one space between columns leaves room for the longest word of a name
    table.add_column("status", no_wrap=True)
    judged = words.judged(result.candidates)
    for heading in ("flash B", "RAM B", "instr.", "error", *(("right",) * judged)):
        table.add_column(heading, justify="right", no_wrap=True)
    for index, report in enumerate(result.candidates):
        right = "–" if report.accuracy is None else f"{report.accuracy:.1%}"
        table.add_row(
            Text(words.mark(result, index), style="green"),
            name_of(report),
            Text(report.status.value, style=_STYLES[report.status]),
            number(report.flash_bytes),
            number(report.ram_bytes),
            millions(report.instructions),
            words.error(report),
            *((right,) * judged),
        )
    return table


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
        parts += [candidates(result), *map(Text, words.explanations(result)), ""]
    for report in words.shown_fits(result):
        title = f"Fit on {board} ({report.compiler}, {report.size_level})"
        parts.append(fit(report.sections, report.regions, title))
        parts += map(Text, words.estimate(report))
    return Group(*parts)


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
