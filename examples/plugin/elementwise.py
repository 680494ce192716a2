"""A whole compiler in one file: ONNX models of float32 element-wise operators to plain C."""

import json
import pathlib
import sys

import onnx

FORMULAS = {
    "Abs": "fabsf({0})",
    "Add": "{0} + {1}",
    "Exp": "expf({0})",
    "Mul": "{0} * {1}",
    "Neg": "-{0}",
    "Relu": "{0} > 0.0f ? {0} : 0.0f",
    "Sub": "{0} - {1}",
    "Tanh": "tanhf({0})",
}
CORES = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "rv32imac", "host"]
NAME = {"name": "elementwise", "version": "1.0"}


def describe():
    operators = {"format": "onnx", "dtype": "float32", "operators": list(FORMULAS)}
    return {**NAME, "cores": CORES, "operators": [operators]}


def supports(task):
    """Broadcasting and constants are beyond this example: every tensor has the input's shape."""
    summary = task["summary"]
    boundary = [*summary["inputs"], *summary["outputs"]]
    reasons = [f"operator {o['name']}" for o in summary["operators"] if o["name"] not in FORMULAS]
    if any(t["shape"] != boundary[0]["shape"] or t["dtype"] != "float32" for t in boundary):
        reasons.append("tensors of different shape or not float32")
    if task["format"] != "onnx" or summary["weight_bytes"]:
        reasons.append("constants, or another format than ONNX")
    return {"reasons": [f"{reason} not supported" for reason in reasons]}


def compile_model(task, model, out):
    specs = [*task["summary"]["inputs"], *task["summary"]["outputs"]]
    slots = {spec["name"]: None for spec in task["summary"]["inputs"]}
    slots |= {name: None for node in model.graph.node for name in node.output}
    count, stride = 1, 16  # elements in a tensor; bytes from one slot of the arena to the next
    for dim in specs[0]["shape"]:
        count *= dim
    stride = -(-4 * count // 16) * 16
    slots = {name: index * stride for index, name in enumerate(slots)}
    entry, lines = f"{task['name']}_elementwise", []
    for node in model.graph.node:
        args = [f"((float *)(arena + {slots[name]}))[i]" for name in node.input]
        target = f"((float *)(arena + {slots[node.output[0]]}))[i]"
        formula = FORMULAS[node.op_type].format(*args)
        lines.append(f"    for (int32_t i = 0; i < {count}; i++) {target} = {formula};")
    body = "\n".join(lines)
    (out / "model.c").write_text(
        "#include <math.h>\n#include <stdint.h>\n\n"
        f"int32_t {entry}(uint8_t *arena)\n{{\n{body}\n    return 0;\n}}\n"
    )
    place = {side: [{"spec": s, "offset": slots[s["name"]]} for s in task["summary"][side]]
             for side in ("inputs", "outputs")}  # fmt: skip
    arena = {"size": stride * len(slots), "alignment": 16}
    compiled = {"compiler": NAME["name"], "version": NAME["version"], "entry": entry, **place}
    compiled |= {"arena": arena, "sources": ["model.c"], "weight_bytes": 0}
    (out / "compiled.json").write_text(json.dumps(compiled))


def main(verb, task_path="", out=""):
    if verb == "describe":
        return print(json.dumps(describe()))
    task = json.loads(pathlib.Path(task_path).read_text())
    if verb == "supports":
        return print(json.dumps(supports(task)))
    if reasons := supports(task)["reasons"]:
        pathlib.Path(out, "unsupported.json").write_text(json.dumps({"reasons": reasons}))
        sys.exit(3)
    model = onnx.load(pathlib.Path(task_path).parent / task["model"], load_external_data=False)
    compile_model(task, model, pathlib.Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
