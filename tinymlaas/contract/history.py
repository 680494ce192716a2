"""What came of a race, kept so that the next one of a like model tries the best guess first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import Sha256
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.contract.tensors import DType

Count = Annotated[int, Field(ge=0, le=1 << 60)]


class Raced(Model):
    """One candidate as it came out; numbers are None where they are not known."""

    compiler: str
    kernels: str
    options: dict[str, str] = {}
    status: CandidateStatus
    instructions: Count | None = None
    flash_bytes: Count | None = None
    ram_bytes: Count | None = None


class RacedForm(Model):
    """One form of a model and its candidates; `operators` counts uses by name."""

    format: ModelFormat
    dtype: DType
    macs: Count
    operators: Annotated[dict[str, Count], Field(max_length=1000)]
    entries: Annotated[tuple[Raced, ...], Field(max_length=1000)]


class RaceRecord(Model):
    """A race that was run to its end: all forms of a model that ran against one another."""

    model_digest: Sha256
    forms: Annotated[tuple[RacedForm, ...], Field(min_length=1, max_length=8)]
