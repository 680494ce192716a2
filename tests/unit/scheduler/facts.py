"""A model, a compiler and a board, as far as the scheduler knows them."""

from tinymlaas.contract.compiler import CompilerDescription, OperatorSupport
from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.quantisation import OutputError, QuantisationReport
from tinymlaas.contract.tensors import DType

FLASH = MemoryRegion(name="flash", kind=MemoryKind.FLASH, origin=0, length=1000)
RAM = MemoryRegion(name="ram", kind=MemoryKind.RAM, origin=0x2000_0000, length=1000)
BOARD = CapabilityClass(core=Core.CORTEX_M4, memory=(FLASH, RAM))


def summary(weight_bytes: int = 10, **operators: DType) -> ModelSummary:
    return ModelSummary(
        digest="d" * 64,
        format=ModelFormat.ONNX,
        opset=17,
        inputs=(),
        outputs=(),
        operators=tuple(
            OperatorUse(name=name, dtype=dtype, indices=(index,))
            for index, (name, dtype) in enumerate(operators.items())
        ),
        dtype=DType.FLOAT32,
        macs=0,
        weight_bytes=weight_bytes,
        parameters=0,
        estimated_flash_bytes=0,
        estimated_ram_bytes=0,
    )


def inspection(facts: ModelSummary) -> Inspection:
    return Inspection(source_digest="a" * 64, static_digest=facts.digest, summary=facts)


def compiler(name: str = "cc", **changes: object) -> CompilerDescription:
    support = OperatorSupport(
        format=ModelFormat.ONNX, dtype=DType.FLOAT32, operators=("Relu", "Add")
    )
    whole = CompilerDescription(
        name=name, version="1", build="b", cores=(Core.CORTEX_M4,), operators=(support,)
    )
    return whole.model_copy(update=changes)


def quantisation(*errors: float) -> QuantisationReport:
    return QuantisationReport(
        source="onnx",
        activations="int8",
        samples=1,
        inputs=(),
        outputs=(),
        float_bytes=1,
        quantised_bytes=1,
        float_accuracy=None,
        quantised_accuracy=None,
        errors=tuple(
            OutputError(
                name="y", range=1.0, max_error=error, mean_error=0, rms_error=0, sqnr_db=None
            )
            for error in errors
        ),
        float_reference="r",
        quantised_reference="r",
        converter="c",
    )
