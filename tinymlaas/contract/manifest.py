"""The module manifest: everything a loader, a person or an auditor may ask of an archive."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import ArenaPlan, ArenaTensor, CIdentifier
from tinymlaas.contract.device import CapabilityClass

MODULE_FORMAT = 1


class Level(StrEnum):
    """How a number is known. A number is never printed under another's label.

    host: by the same kernels compiled for this machine, not by the module itself.
    """

    ESTIMATED = "estimated"
    HOST = "host"
    LINKED = "linked"
    SIMULATED = "simulated"
    MEASURED = "measured"


class SectionUse(Model):
    """One section of the linked image: bytes it takes and the region it lies in."""

    section: str
    region: str
    bytes: int


class RegionUse(Model):
    """One region of the board's map: bytes used of its length, and the margin.

    `free` bytes are left, `free_percent` of the length; both are negative where it is too small.
    """

    region: str
    used: int
    length: int
    free: int
    free_percent: float

    @classmethod
    def of(cls, region: str, used: int, length: int) -> RegionUse:
        """Return the use of `used` bytes of `length`."""
        free = length - used
        percent = round(100 * free / length, 1)
        return cls(region=region, used=used, length=length, free=free, free_percent=percent)


class Footprint(Model):
    """What the board's own link says. Bytes.

    `flash_bytes` is the whole linked image (start-up code, module, run-time library, initialised
    data); `ram_bytes` is arena + data + bss + stack, the stack by watermark where the module was
    run. `code_bytes`/`weight_bytes` split the module's own part of the flash.
    """

    level: Level
    flash_bytes: int
    ram_bytes: int
    code_bytes: int
    weight_bytes: int
    arena_bytes: int
    static_bytes: int
    stack_bytes: int | None
    sections: tuple[SectionUse, ...] = ()
    regions: tuple[RegionUse, ...] = ()


class Numerics(Model):
    """Largest differences from the reference over all golden samples.

    `max_rel_error` is `max_abs_error` over the range (max − min) of that output's reference.
    `tolerance` is the bound on `max_rel_error` that was applied. Of several outputs these are of
    the one nearest to its bound, or furthest beyond it; `bit_exact` is of all.
    """

    max_abs_error: float
    max_rel_error: float
    bit_exact: bool
    tolerance: float


class LayerNumerics(Model):
    """One tensor between layers: output of operator `layer` of the model, counted from 0.

    `operator` names all that were computed in one to give it, `layer` the last of them.
    """

    layer: int
    operator: str
    tensor: str
    numerics: Numerics


class Layers(Model):
    """The tensors inside a module against the reference's, in the order they are computed.

    Of the model's `tensors` (all outputs of its operators) the `compared` exist in both: what is
    fused away is in no module. Of these `exact` are the same to the bit. `first` is the first that
    is not, `beyond` the first that is farther off than rounding there explains.
    """

    tensors: int
    compared: int
    exact: int
    first: LayerNumerics | None
    beyond: LayerNumerics | None


class Verification(Model):
    """How the module was proven: where it ran and what came out.

    `machine` is the simulated machine (``mps2-an386``), ``host``, or where a board was that its
    user had answer (never in a manifest; `simulator` is then empty); `instructions` per inference
    (None where they cannot be counted); `stack_bytes` the watermark below the entry point.
    `layers` says where the numbers part from the reference's, where they do by more than rounding
    and the compiler can show its layers.
    """

    level: Level
    machine: str
    simulator: str
    reference: str
    samples: int
    instructions: int | None
    stack_bytes: int | None
    numerics: Numerics
    layers: Layers | None = None


class CompilerUsed(Model):
    """Which compiler made the module, with what."""

    name: str
    version: str
    build: str
    kernels: str
    options: dict[str, str]
    toolchain: str
    cflags: tuple[str, ...]


class FileDigest(Model):
    """SHA-256 and size of one member of the archive."""

    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: int


class ModuleManifest(Model):
    """``manifest.json`` of an inference module archive. All offsets and sizes are bytes."""

    format: int = MODULE_FORMAT
    name: CIdentifier
    action_digest: str
    model_digest: str
    target: CapabilityClass
    inputs: tuple[ArenaTensor, ...]
    outputs: tuple[ArenaTensor, ...]
    arena: ArenaPlan
    compiler: CompilerUsed
    footprint: Footprint
    verification: Verification | None
    files: tuple[FileDigest, ...]
