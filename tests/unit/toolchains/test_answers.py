"""Answers of jobs that were led astray: whatever they claim, the outside believes what can be."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from tests.unit.toolchains.handmade import DENSE, HOST, M4F, NAME, region
from tinymlaas.contract.device import MemoryKind
from tinymlaas.contract.errors import CompilerCrashed
from workers import sandbox
from workers.toolchains import fit
from workers.toolchains.fitting import Fitted
from workers.toolchains.footprint import Linked
from workers.toolchains.image import ModuleShare, Section
from workers.toolchains.library import Library
from workers.toolchains.linker import Placement
from workers.verify import run
from workers.verify.job import Part, Ran

LIBRARY = Library(b"", b"", {}, (), "")
FLASH, RAM = M4F.memory
SOUND = Placement(FLASH, FLASH, RAM, RAM)
SECTION = Section(".text", 0, 0, 100, writable=False, stored=True, executable=True)


@pytest.fixture
def forged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have every job answer with one value; firmware is compiled to nothing."""

    def forge(value: object) -> None:
        def call(function: str, *args: object, **options: object) -> object:
            return [b""] * len(args[1]) if "compile_parts" in function else value  # type: ignore[arg-type]

        monkeypatch.setattr(sandbox, "call", call)

    return forge


def linked(section: Section = SECTION, arena: int = 0, code: int = 0) -> Linked:
    return Linked((section,), arena, ModuleShare(code, 0))


def named(name: str, size: int = 100) -> Section:
    return Section(name, 0, 0, size, writable=False, stored=True, executable=True)


ELSEWHERE = region("moon", MemoryKind.FLASH, 0, 1 << 30)


@pytest.mark.parametrize(
    ("fitted", "said"),
    [
        (Fitted(linked(named(".text", -1)), SOUND), "sizes that cannot be"),
        (Fitted(linked(arena=8), SOUND), "sizes that cannot be"),
        (Fitted(linked(code=-1), SOUND), "sizes that cannot be"),
        (Fitted(linked(named("\x1b[2J")), SOUND), "a section with an odd name"),
        (Fitted(linked(), None), "memory that the board does not have"),
        (Fitted(linked(), Placement(ELSEWHERE, FLASH, RAM, RAM)), "memory that the board does not"),
    ],
)
def test_a_link_that_cannot_be_is_refused(forged: Any, fitted: Fitted, said: str) -> None:
    forged(fitted)
    with pytest.raises(CompilerCrashed, match=said):
        fit.link(LIBRARY, NAME, M4F)


def test_a_link_that_claims_to_fit_is_judged_by_its_sizes(forged: Any) -> None:
    forged(Fitted(linked(named(".text", FLASH.length + 1)), SOUND))
    with pytest.raises(fit.ModuleDoesNotFit, match="1 bytes too many"):
        fit.link(LIBRARY, NAME, M4F)


MEASUREMENT = struct.pack("<iIII", 0, 9, 0, 100)
WHOLE = 3 * MEASUREMENT + np.zeros(10, np.float32).tobytes()


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        (Ran(1, (Part(1, WHOLE),)), "run nowhere we know"),
        (Ran(-1, (Part(1, WHOLE),)), "run nowhere we know"),
        (Ran(0, ()), "other samples"),
        (Ran(0, (Part(-1, b""), Part(2, WHOLE))), "other samples"),
        (Ran(0, (Part(2, WHOLE), Part(-1, b""))), "other samples|ended early"),
        (Ran(0, (Part(1, WHOLE[:-1]),)), "ended early, after 87 bytes"),
        (Ran(0, (Part(1, WHOLE + b"x"),)), "ended early"),
    ],
)
def test_a_run_that_cannot_be_is_refused(forged: Any, ran: Ran, said: str) -> None:
    forged(ran)
    sample = [np.zeros((1, 16), np.float32)]
    with pytest.raises(run.RunFailed, match=said):
        run.run_module(LIBRARY, NAME, HOST, DENSE.compiled, [sample])


def test_fewer_instructions_than_none_are_refused(forged: Any) -> None:
    empty = struct.pack("<iIII", 0, 4000, 0, 100)
    forged(Ran(0, (Part(1, empty + WHOLE[len(MEASUREMENT) :]),)))
    with pytest.raises(run.RunFailed, match="fewer instructions than an empty call"):
        run.run_module(LIBRARY, NAME, M4F, DENSE.compiled, [[np.zeros((1, 16), np.float32)]])
