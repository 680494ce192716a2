"""What a step of a job may use at most; docs/sandbox.md has the table and says why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from tinymlaas.contract.errors import UsageError

VARIABLE = "TINYMLAAS_SANDBOX_LIMITS"

_MIB, _GIB = 1 << 20, 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": _MIB, "G": _GIB}
_VALUE = re.compile(r"(\d{1,9})(?:([KMG])i?B?)?")
_LEAST = {"memory": 64 * _MIB, "files": 16 * _MIB, "descriptors": 256}
_THREADS = 8  # of each process that there may be: libraries start one for each processor


class Step(StrEnum):
    """What is done inside; every step has limits of its own."""

    INSPECT = "inspect"
    QUANTISE = "quantise"
    ESTIMATE = "estimate"
    COMPILE = "compile"
    LINK = "link"
    REFERENCE = "reference"
    SIMULATE = "simulate"


@dataclass(frozen=True)
class Limits:
    """Limits of one job.

    `memory` is what all its processes may hold together in bytes, the files they have written
    included; `files` the size of its tmpfs; `processes` how many there may be at once; `seconds`
    the wall clock; `cpu` the processor seconds of any one process; `descriptors` of one process;
    `answer` what may come out, and `log` what it may print, in bytes.
    """

    memory: int
    files: int
    seconds: int
    processes: int = 64
    cpu: int = 3600
    descriptors: int = 256
    answer: int = 128 * _MIB
    log: int = 4 * _MIB

    @property
    def threads(self) -> int:
        """How many threads all processes may have together."""
        return _THREADS * self.processes


DEFAULTS: Mapping[Step, Limits] = {
    Step.INSPECT: Limits(memory=3 * _GIB, files=256 * _MIB, seconds=120, cpu=240),
    Step.QUANTISE: Limits(memory=8 * _GIB, files=2 * _GIB, seconds=1800, processes=256),
    Step.ESTIMATE: Limits(memory=3 * _GIB, files=256 * _MIB, seconds=60, cpu=120),
    Step.COMPILE: Limits(
        memory=6 * _GIB, files=1 * _GIB, seconds=600, cpu=1200, processes=128, answer=512 * _MIB
    ),
    Step.LINK: Limits(
        memory=4 * _GIB, files=1 * _GIB, seconds=900, cpu=1200, processes=128, answer=512 * _MIB
    ),
    Step.REFERENCE: Limits(memory=4 * _GIB, files=256 * _MIB, seconds=300, cpu=600),
    Step.SIMULATE: Limits(memory=4 * _GIB, files=512 * _MIB, seconds=600, cpu=1200, processes=128),
}


def parse(text: str) -> dict[Step, Limits]:
    """Return the limits of all steps, changed by ``step.limit=value`` items with commas.

    ``compile.memory=2GiB, simulate.seconds=900``; sizes in bytes or with KiB, MiB, GiB.

    Raises:
        UsageError: an item is malformed; each has its reason.
    """
    found, wrong = dict(DEFAULTS), []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            step, changes = _item(item)
        except ValueError as error:
            wrong.append(f"{VARIABLE}: '{item[:80]}': {error}")
        else:
            found[step] = replace(found[step], **changes)
    if wrong:
        raise UsageError(*wrong)
    return found


def at_most(limits: Mapping[Step, Limits], memory: int | None) -> dict[Step, Limits]:
    """Return `limits` with no step given more than `memory` bytes (None: as they are)."""
    if memory is None:
        return dict(limits)
    return {step: replace(each, memory=min(each.memory, memory)) for step, each in limits.items()}


def _item(item: str) -> tuple[Step, dict[str, int]]:
    name, equals, value = (part.strip() for part in item.partition("="))
    step, dot, limit = name.partition(".")
    if not (equals and dot):
        raise ValueError("write step.limit=value")
    if step not in list(Step):
        raise ValueError(f"there is no step '{step}'; there are {', '.join(Step)}")
    known = [field.name for field in fields(Limits)]
    if limit not in known:
        raise ValueError(f"there is no limit '{limit}'; there are {', '.join(known)}")
    number = _VALUE.fullmatch(value)
    if number is None:
        raise ValueError("the value is a number, perhaps with KiB, MiB or GiB")
    amount = int(number[1]) * _UNITS[number[2] or ""]
    if amount < _LEAST.get(limit, 1):
        raise ValueError(f"at least {_LEAST.get(limit, 1):,}")
    return Step(step), {limit: amount}
