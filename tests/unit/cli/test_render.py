"""Names in a model are anything at all: they must be shown as they are."""

import io

import pytest
from rich.console import Console

from tinymlaas import render
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    ResultStatus,
)
from tinymlaas.contract.tensors import DType, TensorSpec


def shown(monkeypatch, *parts: object, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    console: Console = render.console()
    console.file = io.StringIO()
    render.show(console, *parts)
    return str(console.file.getvalue())


def summary(name: str) -> ModelSummary:
    return ModelSummary(
        digest="0" * 64,
        format=ModelFormat.ONNX,
        opset=17,
        inputs=(TensorSpec(name=name, shape=(1, 2), dtype=DType.FLOAT32),),
        outputs=(),
        operators=(OperatorUse(name=name, dtype=DType.FLOAT32, indices=(0,)),),
        dtype=DType.FLOAT32,
        macs=1,
        weight_bytes=1,
        parameters=1,
        estimated_flash_bytes=1,
        estimated_ram_bytes=1,
    )


def test_what_looks_like_markup_or_an_emoji_is_text(monkeypatch) -> None:
    name = "[/red]:cat:[bold]"
    text = shown(monkeypatch, render.summary(name, summary(name)))
    assert text.count(name) == 3


@pytest.mark.parametrize(
    ("levels", "known"),
    [
        (
            (Level.LINKED, Level.SIMULATED),
            "how known: flash and RAM linked; stack (part of RAM), instructions, error simulated",
        ),
        (
            (Level.LINKED, Level.MEASURED),
            "how known: flash and RAM linked; stack (part of RAM), instructions, error measured",
        ),
        ((Level.ESTIMATED, Level.ESTIMATED), "how known: flash and RAM estimated"),
        ((None, None), None),
    ],
)
def test_every_number_says_how_it_is_known(
    levels: tuple[Level | None, Level | None], known: str | None
) -> None:
    size_level, level = levels
    report = CandidateReport(
        compiler="c",
        kernels="",
        status=CandidateStatus.VERIFIED,
        level=level,
        size_level=size_level,
    )
    result = CompileResult(status=ResultStatus.DONE, candidates=(report,))
    assert render.explanations(result) == ([known] if known else [])


def test_numbers() -> None:
    assert render.number(None) == "–"
    assert render.number(0) == "0"
    assert render.millions(999_999) == "999,999"
    assert render.millions(1_000_000) == "1.00 M"
    assert render.error(0.0, True) == "bit-exact"
    assert render.error(1.5e-7, False) == "1.5e-07"
    assert render.error(None, None) == "–"
