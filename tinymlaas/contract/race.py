"""What a race is run for: the weight of each objective, and limits that no winner may break."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.report import Objective

NEAR = 0.02
"""Candidates within this share of the best are as good as it; the smaller one is taken."""

_NUMBER = {
    Objective.LATENCY: "instructions",
    Objective.FLASH: "flash_bytes",
    Objective.RAM: "ram_bytes",
}


class Numbers(Protocol):
    """What is known of a candidate; None where it is not."""

    @property
    def instructions(self) -> int | None:
        """Per inference."""
        ...

    @property
    def flash_bytes(self) -> int | None:
        """Code and constants."""
        ...

    @property
    def ram_bytes(self) -> int | None:
        """Arena, data and stack."""
        ...


def number_of(candidate: Numbers, objective: Objective) -> int | None:
    """Return the number of `candidate` that `objective` is to make small."""
    number: int | None = getattr(candidate, _NUMBER[objective])
    return number


Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=1 << 40)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Limits(Model):
    """What a module may take at most; None is no limit.

    `error` is the largest difference from the model as given, as a share of the output's range: a
    quantised candidate's quantisation counts. `accuracy` is the least share of labelled samples
    that must come out right. A number that is not known does not keep a limit.
    """

    flash_bytes: Bytes | None = None
    ram_bytes: Bytes | None = None
    instructions: Annotated[int, Field(ge=0, le=1 << 60)] | None = None
    error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    accuracy: Share | None = None


class Race(Model):
    """How candidates are compared.

    The cost of a candidate is the weighted geometric mean of its numbers, each divided by the
    least of all candidates that may win; without `weights` only the job's objective counts.
    """

    weights: Annotated[dict[Objective, Weight], Field(max_length=3)] = {}
    limits: Limits = Limits()

    def of(self, objective: Objective) -> dict[Objective, float]:
        """Return the weights, scaled so that they sum to 1; `objective` alone if there are none."""
        weights = self.weights or {objective: 1.0}
        total = sum(weights.values())
        return {each: weights[each] / total for each in Objective if each in weights}
