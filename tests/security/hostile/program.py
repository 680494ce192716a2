"""A hostile compiler: does the one thing that its option `does` names, and says what came of it.

The last line on stderr, with status 9, is ``<attack>: contained: …`` or ``<attack>: ESCAPED: …``.
The standard library alone, so that it runs wherever a Python does.
"""

import importlib
import json
import pathlib
import sys
import traceback

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # -I leaves it out

from elf import msp430_object  # noqa: E402
from table import ATTACKS, Contained, Place, relu, written  # noqa: E402

MODULES = ["exhausting", "kernel", "lasting", "network", "outputs", "reading", "sources", "writing"]
CORES = ["cortex-m4", "msp430", "host"]


def work(place):
    """No attack: what a good compiler does."""
    if place.task["target"]["core"].startswith("msp430"):
        written(place, {"m.o": msp430_object(place.entry)})
    else:
        written(place, {"m.c": relu(place)})


def attacks():
    """Return all attacks; they are loaded only for this, as good work shall be done soon."""
    for module in MODULES:
        importlib.import_module(module)
    return ATTACKS


def describe():
    operators = {"format": "onnx", "dtype": "float32", "operators": ["Relu"]}
    return {
        "name": "hostile",
        "version": "1",
        "cores": CORES,
        "operators": [operators],
        "options": {"does": sorted(["work", *attacks()])},
    }


def tried(place):
    name = place.task["options"]["does"]
    if name == "work":
        return work(place)
    try:
        got = attacks()[name](place)
    except (Contained, OSError, MemoryError) as error:
        return f"{name}: contained: {type(error).__name__} {error}"
    except Exception:
        traceback.print_exc()
        return f"{name}: BROKEN"
    return None if got is None else f"{name}: ESCAPED: {got}"


def main(verb, task_path="", out=""):
    if verb == "describe":
        return print(json.dumps(describe()))
    if verb == "supports":
        return print('{"reasons": []}')
    task = json.loads(pathlib.Path(task_path).read_text())
    plan = json.loads((FOLDER / "plan.json").read_text())
    said = tried(Place(task, pathlib.Path(out), plan))
    if said is not None:
        print(said.replace("\n", " "), file=sys.stderr, flush=True)
        sys.exit(9)


if __name__ == "__main__":
    main(*sys.argv[1:])
