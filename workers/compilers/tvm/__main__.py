"""``python -m workers.compilers.tvm describe | supports TASK.json | compile TASK.json OUT/``."""

from __future__ import annotations

import sys
from pathlib import Path

from tinymlaas.contract.compiler import CompileTask, Unsupported
from workers.compilers.tvm import plugin

USAGE = "usage: describe | supports TASK.json | compile TASK.json OUT/"
EXIT_USAGE = 2
EXIT_UNSUPPORTED = 3


def main(arguments: list[str]) -> int:
    """Answer one call of the compiler plugin interface; return the exit status."""
    match arguments:
        case ["describe"]:
            print(plugin.describe().model_dump_json(indent=1))
        case ["supports", task]:
            print(plugin.supports(_read(task)).model_dump_json(indent=1))
        case ["compile", task, out]:
            answer = plugin.compile(Path(task), Path(out))
            return EXIT_UNSUPPORTED if isinstance(answer, Unsupported) else 0
        case _:
            print(USAGE, file=sys.stderr)
            return EXIT_USAGE
    return 0


def _read(path: str) -> CompileTask:
    return CompileTask.model_validate_json(Path(path).read_bytes())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
