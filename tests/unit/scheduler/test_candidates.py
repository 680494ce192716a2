import pytest
from pydantic import ValidationError

from scheduler.candidates import (
    Candidate,
    admit,
    job_for,
    list_candidates,
    reasons_against,
)
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tinymlaas.contract.compiler import CompilerDescription, OperatorSupport
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.model import ModelFormat, OperatorUse
from tinymlaas.contract.report import CandidateReport, Objective
from tinymlaas.contract.tensors import DType


def test_every_kernel_library_is_a_candidate_with_default_options() -> None:
    options = {"speed": ("3", "2"), "align": ("4",)}
    described = [compiler("z"), compiler("a", kernels=("own", "cmsis"), options=options)]
    found = [(c.compiler.name, c.kernels, c.options) for c in list_candidates(described)]
    defaults = {"speed": "3", "align": "4"}
    assert found == [("a", "own", defaults), ("a", "cmsis", defaults), ("z", "generated", {})]


def test_options_follow_the_objective_and_then_the_user() -> None:
    both = {"objective": ("latency", "flash"), "align": ("4", "8")}
    described = [compiler("a", options=both), compiler("b", options={"align": ("4", "8")})]
    found = list_candidates(described, Objective.FLASH, {"align": "8"})
    assert [c.options for c in found] == [{"objective": "flash", "align": "8"}, {"align": "8"}]
    (ram, _) = list_candidates(described, Objective.RAM)
    assert ram.options == {"objective": "latency", "align": "4"}
    (own, _) = list_candidates(described, Objective.LATENCY, {"objective": "flash"})
    assert own.options["objective"] == "flash"


def test_a_race_tries_every_objective_the_jobs_own_first() -> None:
    described = [compiler("a", options={"objective": ("latency", "flash")}), compiler("b")]
    found = list_candidates(described, Objective.FLASH, race=True)
    assert [c.options.get("objective") for c in found] == ["flash", "latency", None]
    fixed = list_candidates(described, Objective.FLASH, {"objective": "latency"}, race=True)
    assert [c.options.get("objective") for c in fixed] == ["latency", None]


def test_a_race_tries_the_variants_a_compiler_names_as_far_as_the_user_leaves_them_open() -> None:
    options = {"align": ("4", "8"), "speed": ("3", "2")}
    variants = ({"speed": "2"}, {"speed": "2", "align": "8"})
    described = [compiler("a", options=options, variants=variants)]
    found = [tuple(c.options.values()) for c in list_candidates(described, race=True)]
    assert found == [("4", "3"), ("4", "2"), ("8", "2")]
    fixed = list_candidates(described, options={"align": "4"}, race=True)
    assert [tuple(c.options.values()) for c in fixed] == [("4", "3"), ("4", "2")]
    assert len(list_candidates(described)) == 1


def test_what_cannot_work_is_told_once_for_all_its_variants() -> None:
    options = {"objective": ("latency", "flash")}
    described = [
        compiler("a", kernels=("own", "arm"), options=options, unavailable={"arm": "no tree"}),
        compiler("b", operators=(), options=options),
    ]
    facts = summary(Relu=DType.FLOAT32)
    steps = admit(list_candidates(described, race=True), facts, BOARD)
    assert [type(step) for step in steps] == [
        Candidate,
        Candidate,
        CandidateReport,
        CandidateReport,
    ]
    assert [(s.compiler, s.kernels, s.reasons) for s in steps[2:]] == [
        ("a", "arm", ("no tree",)),
        ("b", "generated", ("does not read onnx models",)),
    ]


def test_an_option_nobody_has_or_a_value_not_offered_is_refused() -> None:
    described = [compiler("a", options={"align": ("4", "8")}), compiler("b")]
    with pytest.raises(UsageError, match="no compiler has an option speed; there are: align"):
        list_candidates(described, options={"speed": "1"})
    with pytest.raises(UsageError, match="a: option align is 4 or 8, not '5'"):
        list_candidates(described, options={"align": "5"})


@pytest.mark.parametrize(
    ("described", "operators", "weights", "core", "reasons"),
    [
        (compiler(), {"Relu": DType.FLOAT32}, 1250, Core.CORTEX_M4, []),
        (
            compiler(),
            {"Relu": DType.FLOAT32},
            1251,
            Core.CORTEX_M4,
            ["does not fit: the weights alone need 1,251 B of 1,000 B flash (estimated)"],
        ),
        (
            compiler(),
            {"Relu": DType.FLOAT32},
            1,
            Core.AVR,
            ["no code generator for avr (it has cortex-m4)"],
        ),
        (
            compiler(),
            {"Relu": DType.INT8, "Frob": DType.FLOAT32, "Add": DType.FLOAT32},
            1,
            Core.CORTEX_M4,
            [
                "operator 0 (Relu, int8) is not supported",
                "operator 1 (Frob, float32) is not supported",
            ],
        ),
        (
            compiler(operators=()),
            {"Relu": DType.FLOAT32},
            1,
            Core.CORTEX_M4,
            ["does not read onnx models"],
        ),
    ],
)
def test_what_cannot_work_is_said_from_facts_alone(
    described: CompilerDescription,
    operators: dict[str, DType],
    weights: int,
    core: Core,
    reasons: list[str],
) -> None:
    target = BOARD.model_copy(update={"core": core})
    facts = summary(weights, **operators)
    assert reasons_against(Candidate(described, "generated"), facts, target) == reasons


def test_what_a_compiler_has_for_int8_alone_is_said_first() -> None:
    operators = ("Conv", "Add", "Relu", "Pool", "Softmax")
    supports = ((DType.INT8, (*operators, "Reshape")), (DType.FLOAT32, ("Reshape",)))
    described = compiler(
        operators=tuple(
            OperatorSupport(format=ModelFormat.ONNX, dtype=dtype, operators=names)
            for dtype, names in supports
        )
    )

    def against(**used: DType) -> list[str]:
        return reasons_against(Candidate(described, "generated"), summary(1, **used), BOARD)

    first, *others = against(Conv=DType.FLOAT32, Add=DType.FLOAT32, Reshape=DType.FLOAT32)
    assert first.startswith("takes Conv, Add as int8 only, this model is float32")
    assert len(others) == 2
    many = against(**dict.fromkeys(operators, DType.FLOAT32))
    assert many[0].startswith("takes Conv, Add, Relu, Pool, … as int8 only")
    assert against(Conv=DType.INT8) == []
    assert len(against(Conv=DType.FLOAT32, Frob=DType.FLOAT32)) == 2
    assert len(against(Conv=DType.INT16)) == 1


def test_weights_always_fit_where_memory_is_not_limited() -> None:
    host = CapabilityClass(core=Core.HOST)
    candidate = Candidate(compiler(cores=(Core.HOST,)), "generated")
    assert reasons_against(candidate, summary(1 << 40, Relu=DType.FLOAT32), host) == []


def _digest(**changes: object) -> str:
    facts = summary(Relu=DType.FLOAT32)
    described = changes.pop("compiler", compiler())
    kernels, options = changes.pop("kernels", "generated"), changes.pop("options", {"opt": "1"})
    found = changes.pop("inspection", inspection(facts))
    whole = {"name": "net", "target": BOARD, "shapes": {"x": (1, 2)}, "service": "s"} | changes
    return job_for(Candidate(described, kernels, options), found, **whole).action_digest


def test_the_action_digest_covers_all_that_can_change_the_module() -> None:
    other_model = inspection(summary(Relu=DType.FLOAT32)).model_copy(
        update={"source_digest": "b" * 64}
    )
    digests = [
        _digest(),
        _digest(compiler=compiler("other")),
        _digest(compiler=compiler(version="2")),
        _digest(compiler=compiler(build="c")),
        _digest(kernels="cmsis"),
        _digest(options={"opt": "2"}),
        _digest(inspection=other_model),
        _digest(name="other"),
        _digest(target=BOARD.model_copy(update={"dsp": True})),
        _digest(target=BOARD.model_copy(update={"memory": BOARD.memory[:1]})),
        _digest(shapes={"x": (2, 1)}),
        _digest(service="t"),
    ]
    assert len(set(digests)) == len(digests)
    assert _digest() == digests[0]


def test_a_job_carries_what_the_compiler_is_told() -> None:
    facts = summary(Relu=DType.FLOAT32).model_copy(update={"format": ModelFormat.TFLITE})
    candidate = Candidate(compiler(), "generated", {"opt": "1"})
    job = job_for(candidate, inspection(facts), name="net", target=BOARD, shapes={}, service="s")
    assert (job.task.model, job.task.name, job.task.target) == ("model.tflite", "net", BOARD)
    assert (job.source_digest, job.static_digest) == ("a" * 64, "d" * 64)


def test_unsupported_operators_are_told_in_the_models_order() -> None:
    uses = tuple(
        OperatorUse(name=name, dtype=DType.FLOAT32, indices=indices)
        for name, indices in (("Abs", (5,)), ("Frob", (2, 7)), ("Zip", (0,)))
    )
    facts = summary(Relu=DType.FLOAT32).model_copy(update={"operators": uses})
    reasons = reasons_against(
        Candidate(compiler(), "generated"), facts, CapabilityClass(core=Core.CORTEX_M4)
    )
    assert [reason.split(" (")[0] for reason in reasons] == [
        "operator 0",
        "operators 2, 7",
        "operator 5",
    ]


def test_every_place_of_an_unsupported_operator_is_named() -> None:
    several = OperatorUse(name="Frob", dtype=DType.INT8, indices=(1, 4))
    assert several.unsupported == "operators 1, 4 (Frob, int8) are not supported"
    many = OperatorUse(name="Frob", dtype=DType.INT8, indices=tuple(range(20)))
    assert many.unsupported.startswith("operators 0, 1, 2, 3, 4, 5, 6, 7, … (Frob")


@pytest.mark.parametrize("variant", [{"nosuch": "x"}, {"a": "99"}])
def test_a_compiler_whose_variants_it_does_not_offer_is_none(variant: dict[str, str]) -> None:
    sound = compiler(options={"a": ("1", "2")}, variants=({"a": "2"},)).model_dump()
    assert CompilerDescription.model_validate(sound).variants == ({"a": "2"},)
    with pytest.raises(ValidationError, match="which no option offers"):
        CompilerDescription.model_validate(sound | {"variants": [variant]})
