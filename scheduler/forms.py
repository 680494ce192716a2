"""The forms of a model that race against one another: as it was given, and as quantised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import CandidateReport, CandidateStatus

QUANTISE = "quantise"


@dataclass(frozen=True, slots=True)
class Form:
    """What candidates are made of; `quantisation` is None for the model as it was given."""

    inspection: Inspection
    quantisation: QuantisationReport | None = None


def lacking(refused: bool, reasons: Iterable[str]) -> CandidateReport:
    """Return what stands among the candidates in place of those of a quantised form there is not.

    It was `refused` for a model that has none, else it is our fault that there is none; the model
    as given races all the same.
    """
    status = CandidateStatus.REJECTED if refused else CandidateStatus.FAILED
    return CandidateReport(
        compiler=QUANTISE, kernels="", status=status, reasons=tuple(reasons), quantised=True
    )
