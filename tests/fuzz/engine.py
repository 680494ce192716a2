"""Draw mutants with hypothesis, give them to their target, and say what does not hold."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import boxed
from tests.fuzz.bytes_ import apply
from tests.fuzz.inside import TAKEN, UNTYPED, Hang
from tests.fuzz.targets import Target
from tinymlaas.contract.errors import TinymlaasError

SECONDS = 10  # of one case; the slowest sound ones take some hundredths
_MEMORY = 2 << 30  # that a case may ask for beyond what the process has at its start
_BATCH = 100  # mutants a child inspects
_LONGEST = 2000  # characters of a reason
_SHOWN = 300

_NUMBER = st.integers(0, (1 << 32) - 1)


class Found(AssertionError):
    """Something that must hold does not."""


@dataclass
class Tally:
    """Counts of one target; `found` are those that broke something, with what was broken.

    `crashed` have killed the child that inspected them, and only that.
    """

    cases: int = 0
    refused: int = 0
    crashed: list[tuple[str, bytes]] = field(default_factory=list)
    found: list[tuple[str, bytes]] = field(default_factory=list)


def limit_memory() -> None:
    """Have the process end with a MemoryError where a case asks for far too much."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def mutants(target: Target) -> st.SearchStrategy[bytes]:
    """Return a strategy: a seed, changed once or a few times."""
    numbers = st.tuples(_NUMBER, _NUMBER, _NUMBER)
    steps = st.lists(st.tuples(st.sampled_from(target.mutations), numbers), min_size=1, max_size=4)

    def changed(drawn: tuple[bytes, list[tuple]]) -> bytes:
        data, changes = drawn
        for mutation, values in changes:
            data = apply(data, mutation, values, target.seeds)
        return data

    return st.tuples(st.sampled_from(target.seeds), steps).map(changed)


def run(target: Target, cases: int, number: int, last: Path | None = None) -> Tally:
    """Run `cases` mutants drawn from the random seed `number`.

    `last` gets each case before it is tried: what is in it when the process dies has killed it.
    """
    tally = Tally()
    waiting: list[bytes] = []
    # A found case is shrunk, then the rest of the cases is left: one at a time is mended.
    quiet = settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )

    @seed(number)
    @quiet
    @given(mutants(target))
    def case(data: bytes) -> None:
        tally.cases += 1
        if last is not None:
            last.write_bytes(data)
        if target.check is None:
            waiting.append(data)
        else:
            worst[:] = [data]
            tally.refused += _refused(target, data)

    worst: list[bytes] = []
    try:
        case()
    except Exception as error:  # any exception of a case, shrunk by hypothesis
        tally.found.append((f"{type(error).__name__}: {error}"[:_SHOWN], worst[0]))
    for start in range(0, len(waiting), _BATCH):
        _inspect(waiting[start : start + _BATCH], tally)
    return tally


def _inspect(batch: list[bytes], tally: Tally) -> None:
    for data, told in zip(batch, boxed.inspect_all(batch), strict=True):
        tally.refused += told != TAKEN
        if told.startswith(boxed.CRASHED):
            tally.crashed.append((told[:_SHOWN], data))
        if told.startswith(UNTYPED) or (told != TAKEN and not _sayable(told)):
            tally.found.append((told[:_SHOWN], data))


def _refused(target: Target, data: bytes) -> bool:
    assert target.check is not None
    try:
        with _in_time():
            target.check(data)
    except TinymlaasError as error:
        if not error.reasons or not all(_sayable(reason) for reason in error.reasons):
            raise Found(f"a reason that cannot be shown: {error.reasons!a}") from error
        return True
    except target.typed:
        return True
    except Hang:
        raise Found(f"took longer than {SECONDS} s") from None
    return False


def _sayable(reason: str) -> bool:
    """Whether a reason is one line for a terminal, and neither empty nor endless."""
    return bool(reason.strip()) and reason.isprintable() and len(reason) <= _LONGEST


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
