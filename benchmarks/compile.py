"""How much a whole compile costs beside the TVM calls in it: both timed in this one run.

    python benchmarks/compile.py [MODEL] [--board NAME] [--repeat N]

"TVM alone" is a fresh process that imports TVM, imports the model, legalises, fuses, schedules,
lowers and generates C, and writes nothing. "compile to module" is a fresh `tinymlaas compile` with
an empty store: the same, and besides inspection, cross compiling, linking, the reference, the
simulator, packing and signing. The least of N runs of each is taken, as other work on the machine
only ever adds time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
KWS = ROOT.parent / "shared" / "models" / "mlperf-tiny" / "kws_fp32.tflite"
_ALONE = """
import sys
from pathlib import Path
from tinymlaas.boards import catalog
from workers.compilers.tvm.generate import generate
from workers.models.summary import inspect

path = Path(sys.argv[1])
found = inspect(path.read_bytes(), path.name)
generate(found.model, found.format, catalog.get(sys.argv[2]).capability_class())
"""


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return the wall-clock time of `command`, which must succeed."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return took


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=KWS)
    parser.add_argument("--board", default="nucleo-l4r5zi")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        sys.exit(f"there is no model {arguments.model}: name one")
    python, model, board = sys.executable, str(arguments.model), arguments.board
    alone, whole, cached = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.repeat):
            environment = {**os.environ, "TINYMLAAS_STORE": f"{folder}/store{turn}"}
            compile_ = [python, "-m", "tinymlaas", "compile", model, "--board", board, "-o", folder]
            alone.append(seconds([python, "-c", _ALONE, model, board], environment))
            whole.append(seconds(compile_, environment))
            cached.append(seconds(compile_, environment))
    print(f"{arguments.model.name} for {board}, least of {arguments.repeat} runs")
    print(f"TVM alone             {min(alone):6.2f} s")
    print(f"compile to module     {min(whole):6.2f} s   ratio {min(whole) / min(alone):.2f}")
    print(f"the same from store   {min(cached):6.2f} s")


if __name__ == "__main__":
    main()
