"""The attacks by name, and what each is given."""

import json
import pathlib
from dataclasses import dataclass

ATTACKS = {}


class Contained(Exception):
    """The attempt was made and came to nothing; says how that was seen."""


@dataclass
class Place:
    """Where an attack stands: what it is to compile, where to, and what the test has planted."""

    task: dict
    out: pathlib.Path
    plan: dict

    @property
    def entry(self):
        return f"{self.task['name']}_hostile"


def attack(function):
    """Enter an attack. It returns what it got hold of, which is an escape; or raises what stopped
    it (OSError, MemoryError, Contained); or returns None, having left its output to be judged.
    """
    ATTACKS[function.__name__] = function
    return function


def written(place, files, **changes):
    """Write `files` and a ``compiled.json`` that is sound but for `changes`."""
    for path, content in files.items():
        target = place.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    (place.out / "compiled.json").write_text(json.dumps(compiled(place, files, **changes)))


def compiled(place, files, **changes):
    (x,), (y,) = place.task["summary"]["inputs"], place.task["summary"]["outputs"]
    stride = 64 * count_of(place)
    return {
        "compiler": "hostile",
        "version": "1",
        "entry": place.entry,
        "inputs": [{"spec": x, "offset": 0}],
        "outputs": [{"spec": y, "offset": stride}],
        "arena": {"size": 2 * stride, "alignment": 16},
        "sources": [path for path in files if path.endswith((".c", ".cc"))],
        "objects": [path for path in files if path.endswith(".o")],
        "weight_bytes": 0,
        "options": place.task["options"],
        **changes,
    }


def count_of(place):
    count = 1
    for dim in place.task["summary"]["inputs"][0]["shape"]:
        count *= dim
    return count


def relu(place, before="", after="", top=""):
    """Return sound C, with statements before and after its work and declarations on top."""
    n = count_of(place)
    return (
        f"#include <stdint.h>\n{top}\n"
        f"int32_t {place.entry}(uint8_t *arena)\n{{\n"
        "    const float *x = (const float *)arena;\n"
        f"    float *y = (float *)(arena + {64 * n});\n    {before}\n"
        f"    for (int32_t i = 0; i < {n}; i++) y[i] = x[i] > 0.0f ? x[i] : 0.0f;\n"
        f"    {after}\n    return 0;\n}}\n"
    )
