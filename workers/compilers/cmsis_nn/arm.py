"""Kernel library ``arm``: the same calls, resolved by Arm's own sources.

How much scratch a call needs is asked of the tree itself: its size functions are compiled and
run on this machine, in the variant for the target's kind of core.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinymlaas.contract.device import CapabilityClass, Mve
from tinymlaas.contract.errors import ToolchainError
from workers.compilers.cmsis_nn.arm_tree import ArmTree
from workers.compilers.cmsis_nn.code import Code

HEADER = '#include "arm_nnfunctions.h"\n'
_PREFIX = "arm_"
_TIMEOUT = 120.0


def functions(codes: Sequence[Code]) -> tuple[str, ...]:
    """Return the public functions of Arm's that `codes` call."""
    called = [Path(name).stem for code in codes for name in code.library]
    names = [name for name in called if name.startswith(_PREFIX)]
    names += ["arm_vector_sum_s8" for code in codes if "arm_vector_sum_s8" in code.kernel.source]
    return tuple(dict.fromkeys(names))


def own_files(codes: Sequence[Code]) -> list[str]:
    """Return the files of our own library that `codes` need beside Arm's."""
    return [n for code in codes for n in code.library if not n.startswith(_PREFIX)]


def with_scratch(codes: Sequence[Code], target: CapabilityClass, tree: ArmTree) -> list[Code]:
    """Return `codes` with the scratch that Arm's kernels want on `target`.

    Raises:
        ToolchainError: the tree's size functions do not compile or run here.
        UsageError: the tree does not define a function that is needed.
    """
    suffix = "_mve" if target.mve is not Mve.NONE else "_dsp" if target.dsp else ""
    asked = [number for number, code in enumerate(codes) if code.sizer]
    sizes = dict(zip(asked, _sizes([codes[n] for n in asked], suffix, tree), strict=True))
    vectors = target.mve is not Mve.NONE
    return [
        code.with_scratch(sizes[number], sums=vectors) if number in sizes else code
        for number, code in enumerate(codes)
    ]


def _sizes(codes: Sequence[Code], suffix: str, tree: ArmTree) -> list[int]:
    if not codes:
        return []
    expressions = [code.sizer.format(core=suffix) for code in codes]
    blocks = [
        "{" + "".join(code.declarations) + f'printf("%ld\\n", (long){expression});' + "}\n"
        for code, expression in zip(codes, expressions, strict=True)
    ]
    text = f"#include <stdio.h>\n{HEADER}int main(void) {{\n{''.join(blocks)}return 0;\n}}\n"
    names = tuple(dict.fromkeys(expression.partition("(")[0] for expression in expressions))
    with tempfile.TemporaryDirectory(prefix="tinymlaas-sizes-") as folder:
        source, program = Path(folder, "sizes.c"), Path(folder, "sizes")
        source.write_text(text)
        paths = [str(tree.root / path) for path in tree.sources(names)]
        flags = ["-w", "-ffunction-sections", "-Wl,--gc-sections", f"-I{tree.root / 'Include'}"]
        _run(["gcc", *flags, str(source), *paths, "-o", str(program)])
        return [int(line) for line in _run([str(program)]).split()]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"asking CMSIS-NN for its buffer sizes failed: {error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ToolchainError(f"asking CMSIS-NN for its buffer sizes failed: {lines[0]}")
    return done.stdout


def copy_tree(tree: ArmTree, names: Sequence[str], out: Path) -> tuple[str, ...]:
    """Copy the sources behind `names`, and all headers, into `out`; return the sources' paths."""
    sources = tree.sources(names)
    for path in (*sources, *tree.headers()):
        target = out / "cmsis_nn" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((tree.root / path).read_bytes())
    return tuple(f"cmsis_nn/{path}" for path in sources)
