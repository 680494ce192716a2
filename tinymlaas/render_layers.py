"""The layers of a module as a table: each tensor's error against the reference's."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas.contract.manifest import LayerNumerics, Layers
from tinymlaas.words import relative


def layer_table(rows: Iterable[LayerNumerics], found: Layers) -> RenderableType:
    """Return every tensor compared, those that are off by more than rounding in red."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", justify="right")
    table.add_column("operator", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    table.add_column("error", justify="right", no_wrap=True)
    for row in rows:
        numerics = row.numerics
        far = numerics.max_rel_error > numerics.tolerance
        shown = relative(numerics.max_rel_error, numerics.bit_exact)
        table.add_row(
            str(row.layer), row.operator, row.tensor, shown, style="bold red" if far else ""
        )
    of = f"{found.compared} of the model's {found.tensors} tensors are in the module"
    return Group(table, Text(f"{of}; {found.exact} are the reference's to the bit"))


def first_difference(found: Layers) -> str:
    """Return where the numbers part, in a line."""
    blamed = found.beyond or found.first
    if blamed is None:
        return "no layer differs"
    error = blamed.numerics.max_rel_error
    return f"layer {blamed.layer} {blamed.operator} {blamed.tensor!r}: {error:.2g} of its range"
