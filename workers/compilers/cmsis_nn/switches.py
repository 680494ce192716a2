"""The compiler's options: which passes run, and what the specialised kernels make small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_ON_OFF = ("on", "off")

OPTIONS: dict[str, tuple[str, ...]] = {
    "objective": ("latency", "flash"),
    "specialise": _ON_OFF,
    "constant-folding": _ON_OFF,
    "pad-fusion": _ON_OFF,
    "activation-fusion": _ON_OFF,
    "special-cases": _ON_OFF,
    "dead-channels": _ON_OFF,
    "reshape-removal": _ON_OFF,
    "in-place": _ON_OFF,
    "placement": _ON_OFF,
}
# Generic kernels are shared by layers that specialised ones are made for one by one: slower, but
# smaller where there are many.
VARIANTS: tuple[dict[str, str], ...] = (
    {"objective": "latency"},
    {"objective": "flash"},
    {"objective": "latency", "specialise": "off"},  # which only specialised kernels heed
)


@dataclass(frozen=True)
class Switches:
    """The options as the compiler uses them."""

    objective: Literal["latency", "flash"] = "latency"
    specialise: bool = True
    constant_folding: bool = True
    pad_fusion: bool = True
    activation_fusion: bool = True
    special_cases: bool = True
    dead_channels: bool = True
    reshape_removal: bool = True
    in_place: bool = True
    placement: bool = True


def parse(options: Mapping[str, str]) -> Switches:
    """Return the switches for `options`, whose values the service has checked."""
    chosen = {name: options.get(name, allowed[0]) for name, allowed in OPTIONS.items()}
    objective: Literal["latency", "flash"] = (
        "flash" if chosen.pop("objective") == "flash" else "latency"
    )
    return Switches(objective, **{k.replace("-", "_"): v == "on" for k, v in chosen.items()})
