"""What came of a race, kept so that the next one of a like model tries the best guess first."""

from __future__ import annotations

from tinymlaas.contract.base import Model
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.contract.tensors import DType


class Raced(Model):
    """One candidate as it came out; numbers are None where they are not known."""

    compiler: str
    kernels: str
    options: dict[str, str] = {}
    quantised: bool = False
    status: CandidateStatus
    instructions: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None


class RaceRecord(Model):
    """One form of a model and its candidates; `operators` counts uses by name."""

    model_digest: str
    format: ModelFormat
    dtype: DType
    macs: int
    operators: dict[str, int]
    entries: tuple[Raced, ...]
