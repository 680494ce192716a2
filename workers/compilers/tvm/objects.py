"""A program as one ELF object, for cores without a C compiler here.

TVM's LLVM back end compiles the loop functions. The entry and the constants are LLVM assembly that
it links in: whatever is imported so must be inlined to stay, hence the thin entry around it.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.cexpr import ITEMSIZE
from workers.compilers.tvm.emit import used_constants
from workers.compilers.tvm.kernel import Kernel
from workers.compilers.tvm.layout import Layout
from workers.compilers.tvm.program import Buffer, Program
from workers.compilers.tvm.workspaces import LoopFunction

if TYPE_CHECKING:
    import tvm

MSP430 = {"kind": "llvm", "mtriple": "msp430-unknown-elf", "vector-width": 16}
_ADDRESSES = 1 << 16
_LLVM_TYPES = {"float32": "float", "float64": "double", "bool": "i8"}


def emit_object(
    entry: str,
    program: Program,
    kernels: Mapping[str, Kernel],
    layout: Layout,
    functions: Mapping[str, LoopFunction],
    machine: Mapping[str, object] = MSP430,
) -> bytes:
    """Return an ELF object for `machine` (a TVM target) whose function ``int32_t entry(uint8_t
    *arena)`` runs `program`; `functions` are the loop functions behind `kernels`.

    Raises:
        UnsupportedModel: the arena is larger than the addresses there are.
    """
    import tvm
    from tvm import tirx

    if layout.size > _ADDRESSES:
        raise UnsupportedModel(f"needs {layout.size} bytes of RAM; 16-bit pointers reach 65536")
    target = tvm.target.Target(dict(machine))
    prefix = entry.removesuffix("run")
    funcs = {
        tvm.ir.GlobalVar(prefix + kernels[name].name): _pointers(functions[name], kernels[name])
        for name in dict.fromkeys(call.kernel for call in program.calls)
    }
    assembly = "\n".join(_assembly(entry, prefix, program, kernels, layout))
    arena = tirx.Var("arena", tvm.ir.PointerType(tvm.ir.PrimType("uint8")))
    inner = tirx.Evaluate(tirx.call_extern("int32", f"{entry}_inner", arena))
    call = tirx.SeqStmt([inner, tirx.stmt.Return(tirx.const(0, "int32"))])
    body = tirx.AttrStmt(
        tirx.const(0, "int32"), "pragma_import_llvm", tvm.ir.StringImm(assembly), call
    )
    funcs[tvm.ir.GlobalVar(entry)] = tirx.PrimFunc([arena], body, tvm.ir.PrimType("int32"))
    named = {
        var: func.with_attr("global_symbol", var.name_hint).with_attr("target", target)
        for var, func in funcs.items()
    }
    # What C calls by name (fabsf) LLVM has as intrinsics.
    lowered = tirx.transform.LowerIntrin()(tvm.IRModule(named))
    module = tvm.get_global_func("target.build.llvm")(lowered, target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.o")
        module.write_to_file(str(path), "o")
        return path.read_bytes()


def _pointers(function: LoopFunction, kernel: Kernel) -> tvm.tirx.PrimFunc:
    """Return the function on raw pointers; unused workspaces become locals that LLVM drops."""
    from tvm import tirx
    from tvm.ir import PointerType, PrimType

    pointers, views = [], []
    tensors = len(kernel.parameters) - kernel.workspaces
    for number, (buffer, parameter) in enumerate(
        zip(function.func.params, kernel.parameters, strict=True)
    ):
        if number >= tensors and not parameter.used:
            views.append(tirx.AllocBuffer(buffer))
            continue
        pointer = tirx.Var(f"{buffer.name}_ptr", PointerType(PrimType(str(buffer.ty.dtype))))
        pointers.append(pointer)
        views.append(tirx.DeclBuffer(buffer, data=pointer))
    return tirx.PrimFunc(pointers, tirx.SeqStmt([*views, function.func.body]))


def _assembly(
    entry: str, prefix: str, program: Program, kernels: Mapping[str, Kernel], layout: Layout
) -> Iterator[str]:
    """Yield LLVM assembly of the constants and of ``<entry>_inner``, which makes the calls."""
    for number, buffer in used_constants(program):
        yield f"@c{number} = internal constant {_array(buffer)}"
    steps = list(_steps(program, kernels, layout))
    places = sorted({p for _, arguments in steps for p in arguments if isinstance(p, int)})
    declared = {kernel: len(arguments) for kernel, arguments in steps}
    for kernel, count in declared.items():
        yield f"declare void @{prefix}{kernel}({', '.join(['ptr'] * count)})"
    yield "declare void @llvm.memcpy.p0.p0.i16(ptr, ptr, i16, i1)"
    yield f"define i32 @{entry}_inner(ptr %arena) {{"
    for place in places:
        yield f"  %a{place} = getelementptr i8, ptr %arena, i16 {place}"
    for kernel, arguments in steps:
        yield f"  call void @{prefix}{kernel}({', '.join(map(_pointer, arguments))})"
    yield from _copies(program, layout)
    yield "  ret i32 0"
    yield "}"


def _steps(
    program: Program, kernels: Mapping[str, Kernel], layout: Layout
) -> Iterator[tuple[str, list[int | str]]]:
    """Yield kernel and arguments of each call: offsets in the arena, or names of constants."""
    for call, scratch in zip(program.calls, layout.workspaces, strict=True):
        kernel = kernels[call.kernel]
        buffers = (*call.inputs, *call.outputs)
        arguments: list[int | str] = [layout.buffers.get(n, f"@c{n}") for n in buffers]
        workspaces = kernel.parameters[len(buffers) :]
        arguments += [at for at, p in zip(scratch, workspaces, strict=True) if p.used]
        yield kernel.name, arguments


def _pointer(argument: int | str) -> str:
    return f"ptr {argument}" if isinstance(argument, str) else f"ptr %a{argument}"


def _copies(program: Program, layout: Layout) -> Iterator[str]:
    for number, (source, destination) in enumerate(program.copies):
        nbytes = program.buffers[source].nbytes
        yield f"  %d{number} = getelementptr i8, ptr %arena, i16 {layout.buffers[destination]}"
        origin = f"@c{source}"
        if source in layout.buffers:
            origin = f"%s{number}"
            yield f"  {origin} = getelementptr i8, ptr %arena, i16 {layout.buffers[source]}"
        yield (
            f"  call void @llvm.memcpy.p0.p0.i16(ptr %d{number}, ptr {origin}, i16 {nbytes}, i1 0)"
        )


def _array(buffer: Buffer) -> str:
    """Return a constant as an LLVM array; floats as the hexadecimal double LLVM wants."""
    assert buffer.constant is not None  # noqa: S101 - for the type checker
    values = buffer.constant.tolist()
    kind = _LLVM_TYPES.get(buffer.dtype) or f"i{8 * ITEMSIZE[buffer.dtype]}"
    if buffer.dtype.startswith("float"):
        items = (f"{kind} 0x{struct.pack('>d', value).hex().upper()}" for value in values)
    else:
        items = (f"{kind} {int(value)}" for value in values)
    return f"[{len(values)} x {kind}] [{', '.join(items)}]"
