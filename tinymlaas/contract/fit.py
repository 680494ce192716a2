"""Which boards can run a model: by estimate, and where it was tried by what came of it."""

from __future__ import annotations

from enum import StrEnum

from tinymlaas.contract.base import Model
from tinymlaas.contract.device import Core
from tinymlaas.contract.manifest import Level


class Verdict(StrEnum):
    """fits: also if the estimate is as much too low as it may be. tight: only the link can tell.
    unlikely: the estimate is too large by more than it should err, though nothing proves it. no:
    certainly too large with the compiler that needs least, or no compiler takes the model for this
    core. After a verification `fits`
    and `no` are final.
    """

    FITS = "fits"
    TIGHT = "tight"
    UNLIKELY = "unlikely"
    NO = "no"


class BoardFit(Model):
    """One board. Sizes are bytes, of a candidate of the compiler that leaves most room; `level`
    says how they are known.

    Capacities are those of all regions. `module_digest` is of the module that was verified.
    """

    board: str
    mcu: str
    core: Core
    flash_capacity: int
    ram_capacity: int
    verdict: Verdict
    level: Level | None = None
    compiler: str | None = None
    kernels: str | None = None
    options: dict[str, str] = {}
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None
    reasons: tuple[str, ...] = ()
    module_digest: str | None = None


class FitReport(Model):
    """What `tinymlaas fit --json` prints: boards that can run the model first, smallest first."""

    model: str
    boards: tuple[BoardFit, ...]
