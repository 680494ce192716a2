"""Run a module's samples on a board that answers over a link."""

from __future__ import annotations

from collections.abc import Sequence

from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.tensors import TensorSpec
from workers.verify import streams
from workers.verify.board.links import Link
from workers.verify.board.protocol import Board, Facts
from workers.verify.job import RunResult
from workers.verify.streams import Sample


def run_on_board(
    link: Link,
    module: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    samples: Sequence[Sample],
    patience: float,
) -> RunResult:
    """Run `samples` on the module whose archive has the SHA-256 `module`.

    Instructions are known where the core has a counter of them, the stack never.

    Raises:
        BoardFailed: the board is silent for `patience` seconds, or says that it failed.
        LinkFailed: the way to it is broken.
        VerificationError: another module is on it.
    """
    board = Board(link, patience)
    facts = board.hello()
    _check(facts, module, link)
    empty = board.init().count
    answers, counts = [], []
    for number, sample in enumerate(samples):
        counts.append(board.run(number, streams.raw(sample, inputs)).count - empty)
        got = b"".join(board.read(i, spec.nbytes) for i, spec in enumerate(outputs))
        answers.append(streams.arrays(got, 0, outputs))
    counted = tuple(counts) if facts.counts_instructions and min(counts, default=0) > 0 else ()
    return RunResult(
        outputs=tuple(answers),
        instructions=max(counted, default=None),
        instructions_by_sample=counted,
        stack_bytes=None,
        machine=f"the board at {link.name}",
        simulator="",
        level=Level.MEASURED,
    )


def _check(facts: Facts, module: str, link: Link) -> None:
    if facts.module != module:
        raise VerificationError(
            f"the board at {link.name} runs another module (archive {facts.module[:12]}…, not "
            f"{module[:12]}…): flash the harness of this one"
        )
