"""Names in a model are anything at all: they must be shown as they are."""

import io

import pytest
from rich.console import Console

from tinymlaas import render, words
from tinymlaas.contract.manifest import Level, RegionUse
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


def report(name: str, size_level: Level | None, level: Level | None, **more) -> CandidateReport:
    numbers = {} if size_level is None else {"flash_bytes": 5_000, "ram_bytes": 1_000}
    numbers |= {} if level is None else {"instructions": 100, "max_rel_error": 0.0}
    fixed = {"kernels": "", "status": CandidateStatus.VERIFIED}
    known = {"size_level": size_level, "level": level}
    return CandidateReport.model_validate({"compiler": name} | fixed | known | numbers | more)


LINKED = ("c", Level.LINKED, Level.SIMULATED)
RUN = "instructions, error and the stack in RAM"


@pytest.mark.parametrize(
    ("levels", "known"),
    [
        ([LINKED], [f"how known: flash and RAM linked; {RUN} simulated"]),
        (
            [("c", Level.LINKED, Level.MEASURED)],
            [f"how known: flash and RAM linked; {RUN} measured"],
        ),
        ([("c", Level.ESTIMATED, None)], ["how known: flash and RAM estimated"]),
        (
            [LINKED, LINKED, ("d", Level.ESTIMATED, Level.HOST)],
            [f"how known: flash and RAM linked (d: estimated); {RUN} simulated (d: host)"],
        ),
        ([("c", None, None)], []),
    ],
)
def test_every_number_says_how_it_is_known(levels: list, known: list[str]) -> None:
    reports = tuple(report(*each) for each in levels)
    result = CompileResult(status=ResultStatus.DONE, candidates=reports)
    assert words.explanations(result) == known


def test_the_chosen_one_is_marked_and_starred_too(monkeypatch) -> None:
    reports = (report(*LINKED, pareto=True), report(*LINKED, pareto=True), report(*LINKED))
    result = CompileResult(status=ResultStatus.DONE, chosen=1, candidates=reports)
    text = shown(monkeypatch, render.candidates(result))
    rows = [line.split("c ")[0] for line in text.splitlines() if "verified" in line]
    assert [row.strip() for row in rows] == ["*", "➜*", ""]


def test_names_are_not_broken_in_80_columns(monkeypatch) -> None:
    large = {"flash_bytes": 1_234_567, "ram_bytes": 123_456, "instructions": 1_234_560_000}
    name = {"compiler": "cmsis-nn", "kernels": "portable", "quantised": True, "accuracy": 1.0}
    options = {"objective": "latency", "specialise": "off"}
    one = report(*LINKED, **large, **name, options=options)
    result = CompileResult(status=ResultStatus.DONE, candidates=(one,))
    text = shown(monkeypatch, render.candidates(result))
    for word in ("cmsis-nn/portable", "specialise=off", "1,234,567", "1234.56 M", "100.0%"):
        assert word in text


def test_the_error_of_the_estimate_is_told(monkeypatch) -> None:
    use = RegionUse.of("flash", 5_000, 10_000)
    said = {"estimated_flash_bytes": 4_500, "estimated_ram_bytes": 1_100, "regions": (use,)}
    result = CompileResult(
        status=ResultStatus.DONE, chosen=0, candidates=(report(*LINKED, **said),)
    )
    text = shown(monkeypatch, render.compile_result(result, "board"))
    assert "estimated before compiling: flash 4,500 B (-10.0%), RAM 1,100 B (+10.0%)" in text


def test_numbers() -> None:
    assert words.number(None) == "–"
    assert words.number(0) == "0"
    assert words.millions(999_999) == "999,999"
    assert words.millions(1_000_000) == "1.00 M"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"max_rel_error": 0.0, "bit_exact": True}, "bit-exact"),
        ({"max_rel_error": 1.5e-7, "bit_exact": False}, "1.5e-07"),
        ({"max_rel_error": 0.071}, "7.1%"),
        ({"max_rel_error": None}, "–"),
        ({"max_rel_error": 0.0, "bit_exact": True, "quantisation_error": 0.149}, "14.9%="),
        ({"max_rel_error": 0.01, "bit_exact": False, "quantisation_error": 0.149}, "15.9%"),
        ({"max_rel_error": 0.0, "bit_exact": True, "quantisation_error": None}, "–"),
    ],
)
def test_int8_does_not_look_more_exact_than_the_float_model(known: dict, text: str) -> None:
    one = report(*LINKED, quantised="quantisation_error" in known, **known)
    assert words.error(one) == text
    result = CompileResult(status=ResultStatus.DONE, candidates=(one,))
    told = "\n".join(words.explanations(result))
    assert ("= equal to the int8 model" in told) == text.endswith("=")
    assert ("error of int8: from the float model" in told) == (text in ("14.9%=", "15.9%"))


def test_many_reasons_are_one_line_and_the_chosen_one_is_told_why() -> None:
    rejected = {"status": CandidateStatus.REJECTED}
    many = tuple(f"operator {i} is not supported" for i in range(5))
    won = report(*LINKED, won="the least flash (5,000) of 2", machine="mps2-an386", cached=True)
    reports = (
        report("a", None, None, reasons=many[:2], **rejected),
        report("b", None, None, reasons=many, **rejected),
        won,
    )
    result = CompileResult(status=ResultStatus.DONE, candidates=reports, chosen=2)
    assert words.explanations(result)[1:] == [
        "a: rejected: operator 0 is not supported; operator 1 is not supported",
        "b: rejected: operator 0 is not supported (and 4 more reasons: --json lists all)",
        "c: chosen: the least flash (5,000) of 2; found in the store; outputs checked on "
        "mps2-an386",
    ]
