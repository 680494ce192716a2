"""The compiler plugin interface: what goes in (`CompileTask`) and what comes out (`Compiled`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tinymlaas.contract.base import Model
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.model import ModelFormat, ModelSummary
from tinymlaas.contract.tensors import DType, TensorSpec

INTERFACE_VERSION = 1

CIdentifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=48)]
_PART = r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*"  # no leading dot, hence neither "." nor ".."
RelativePath = Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*$", max_length=200)]


class OperatorSupport(Model):
    """The operators of one model format that a compiler takes, by element type.

    `exact` promises the integer results of TensorFlow Lite Micro to the bit: any difference is
    then the compiler's failure, not a matter of tolerance.
    """

    format: ModelFormat
    dtype: DType
    operators: tuple[str, ...]
    exact: bool = False


class CompilerDescription(Model):
    """Answer of ``describe``.

    `build` changes whenever the compiler may produce other bytes from the same task (it goes into
    the action digest with name and version); `kernels` are the kernel libraries to choose from;
    `options` are the option names understood with the values allowed, the first being the default;
    one called ``objective`` is given the job's objective where its values have it. An automatic
    choice tries the options of each of `variants`, where none are named every ``objective``.
    `unavailable` says by name why kernel libraries of `kernels` cannot be used as things are
    installed here. `estimates` says that ``estimate`` is answered, `taps` that a `CompileTask` that
    is `tapped` is understood.
    """

    interface: int = INTERFACE_VERSION
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)]
    version: str
    build: str = ""
    cores: tuple[Core, ...]
    operators: tuple[OperatorSupport, ...]
    kernels: tuple[str, ...] = ("generated",)
    options: dict[str, tuple[str, ...]] = {}
    variants: Annotated[tuple[dict[str, str], ...], Field(max_length=32)] = ()
    unavailable: dict[str, str] = {}
    estimates: bool = False
    taps: bool = False

    @model_validator(mode="after")
    def _offered(self) -> CompilerDescription:
        for variant in self.variants:
            for name, value in variant.items():
                if value not in self.options.get(name, ()):
                    raise ValueError(f"a variant has {name}={value}, which no option offers")
        return self


class CompileTask(Model):
    """``task.json``: one model for one capability class.

    `model` is relative to the folder of ``task.json``; its dynamic dimensions are already fixed.
    `name` prefixes every symbol of the module. `tapped` asks for the same program with copies of
    the tensors between its layers kept, to compare them with the reference's (see `Tap`).
    """

    interface: int = INTERFACE_VERSION
    name: CIdentifier
    model: RelativePath
    format: ModelFormat
    summary: ModelSummary
    target: CapabilityClass
    kernels: str = "generated"
    options: dict[str, str] = {}
    tapped: bool = False


class Support(Model):
    """Answer of ``supports``: no reasons means yes."""

    reasons: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if the compiler takes the task."""
        return not self.reasons


class Estimate(Model):
    """Answer of ``estimate``: bytes of the whole linked image, said before anything is compiled.

    `ram_bytes` is arena, static data and stack. Each should be within `ESTIMATE_ERROR` of the
    linked size. The other two are certain, however wrong the estimate may be: where a board has
    less, the module is not compiled for it. 0 is always true.
    """

    flash_bytes: Annotated[int, Field(ge=0)]
    ram_bytes: Annotated[int, Field(ge=0)]
    flash_at_least: Annotated[int, Field(ge=0)] = 0
    ram_at_least: Annotated[int, Field(ge=0)] = 0


ESTIMATE_ERROR = 0.15


class ArenaTensor(Model):
    """A boundary tensor and its place: `offset` bytes from the start of the arena."""

    spec: TensorSpec
    offset: Annotated[int, Field(ge=0)]


class Tap(Model):
    """A tensor between layers that a tapped module keeps until its inference has ended.

    It is output `output` of operator `layer` of the model as given (in the file's order, of the
    first subgraph; both from 0), in the model's own layout. `operator` names what computes it:
    several of the model's operators where they are computed in one, the last being `layer`.
    `channels` are those of the last axis that `tensor` has, where some were left out: else none.
    """

    layer: Annotated[int, Field(ge=0)]
    output: Annotated[int, Field(ge=0)] = 0
    operator: str
    tensor: ArenaTensor
    channels: tuple[int, ...] = ()


class ArenaPlan(Model):
    """The one writable memory of a module; both figures in bytes."""

    size: Annotated[int, Field(ge=0)]
    alignment: Annotated[int, Field(gt=0)] = 16


class Unlinked(Model):
    """A module that stays source: `reason` says why nothing here can compile it.

    Its `sources` are packed as they are; its numbers are those of the interpreter it is written
    for, run on the host in `arena` bytes.
    """

    reason: str
    interpreter: Literal["tflite-micro"]
    arena: Annotated[int, Field(gt=0)]


class Compiled(Model):
    """``compiled.json``: what ``compile`` has written into its output folder.

    `entry` is a C function ``int32_t entry(uint8_t *arena)`` that runs one inference on the arena
    and returns 0. It must not be called ``<name>_init``, ``_input``, ``_invoke`` or ``_output``:
    the service generates those. `init` is an optional function of the same type, run once by
    ``<name>_init``. `sources` (C11 or C++17) and `objects` (ELF for the target) are paths in the
    output folder, `include_dirs` are folders there. `weight_bytes` counts read-only data as
    emitted. `cflags` are further compiler flags the sources need, from the service's allow-list.
    `extras` are further files that belong beside the sources (a CMake file). `unlinked` is set
    where the sources cannot be compiled here. `taps` are of a tapped task, in the order in which
    they are computed.
    """

    interface: int = INTERFACE_VERSION
    compiler: str
    version: str
    entry: CIdentifier
    init: CIdentifier | None = None
    inputs: tuple[ArenaTensor, ...]
    outputs: tuple[ArenaTensor, ...]
    arena: ArenaPlan
    sources: tuple[RelativePath, ...] = ()
    objects: tuple[RelativePath, ...] = ()
    include_dirs: tuple[RelativePath, ...] = ()
    cflags: tuple[str, ...] = ()
    weight_bytes: int
    options: dict[str, str] = {}
    extras: tuple[RelativePath, ...] = ()
    unlinked: Unlinked | None = None
    taps: tuple[Tap, ...] = ()


class Unsupported(Model):
    """``unsupported.json``: why ``compile`` (exit status 3) cannot take this task after all."""

    status: Literal["unsupported"] = "unsupported"
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]
