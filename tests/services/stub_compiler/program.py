"""The stub compiler itself: one element-wise operator to C, with what its options ask beside it.

A program of its own, run as docs/compiler-plugins.md says, with the standard library alone so that
it starts in 20 ms. See the package's docstring for what the options mean.
"""

import ctypes
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import tomllib

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # -I leaves it out
from elf import msp430_object

FORMULAS = {
    "Abs": "x[i] < 0.0f ? -x[i] : x[i]",
    "Neg": "-x[i]",
    "Relu": "x[i] > 0.0f ? x[i] : 0.0f",
}
CORES = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "rv32imac", "msp430"]
CORES += ["host"]
DOES = ["work", "crash", "kill", "fork", "memory", "print", "refuse", "wrong"]
MILLISECONDS = ["0", *(str(n) for n in range(10, 100, 10)), *(str(n) for n in range(100, 1000, 50))]
MILLISECONDS += ["1000", "2000", "3000", "5000", "10000", "60000", "600000"]
WORKER = (b"workers", b"--pool")
FOLDER = pathlib.Path(__file__).parent


def config():
    return tomllib.loads((FOLDER / "compiler.toml").read_text())


def journal(event, task, data):
    """Append one line; a write of this size to a file opened to append is never torn."""
    facts = {
        "event": event,
        "name": task["name"],
        "task": hashlib.sha256(data).hexdigest(),
        "pid": os.getpid(),
        "time": time.time(),
    }
    file = os.open(FOLDER / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(facts).encode() + b"\n")
    os.close(file)


def describe():
    known = config()
    operators = {"format": "onnx", "dtype": "float32", "operators": list(FORMULAS)}
    return {
        "name": known["name"],
        "version": known["version"],
        "build": "stub",
        "cores": CORES,
        "operators": [operators],
        "options": {"does": DOES, "milliseconds": MILLISECONDS},
    }


def supports(task):
    names = [use["name"] for use in task["summary"]["operators"]]
    if len(names) != 1 or names[0] not in FORMULAS or task["summary"]["weight_bytes"]:
        return {"reasons": ["the stub takes one Abs, Neg or Relu and nothing else"]}
    return {"reasons": []}


def ancestors():
    """Yield the ids of the processes above us, the nearest first."""
    pid = os.getppid()
    while pid > 1:
        yield pid
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill_worker():
    """Kill the worker process that we work for, as a machine without memory would."""
    for pid in ancestors():
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if all(word in words for word in WORKER):
            os.kill(pid, signal.SIGKILL)
            time.sleep(60)  # whoever tidies up after the worker ends us
    sys.exit("no worker process above this one")


def fork_children(count):
    """Leave children that outlive us unless somebody ends them; note their ids."""
    sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    pids = [subprocess.Popen(sleeper).pid for _ in range(count)]
    with (FOLDER / "children").open("a") as file:
        file.writelines(f"{pid}\n" for pid in pids)


def fill_memory():
    blocks = []
    while len(blocks) < 4096:  # 64 GiB
        blocks.append(b"m" * (16 * 1024 * 1024))


def misbehave(does, seconds):
    if does == "fork":
        fork_children(3)
    if does == "print":
        for number in range(20):
            print(f"line {number}", file=sys.stderr, flush=True)
            time.sleep(seconds / 20)
        return
    if does == "kill":
        print("about to kill the worker", file=sys.stderr, flush=True)
    time.sleep(seconds)
    if does == "crash":
        ctypes.string_at(0)
    if does == "kill":
        kill_worker()
    if does == "memory":
        fill_memory()


def compile_model(task, out, wrong):
    summary = task["summary"]
    (x,), (y,) = summary["inputs"], summary["outputs"]
    count = 1
    for dim in x["shape"]:
        count *= dim
    stride = -(-4 * count // 16) * 16
    entry = f"{task['name']}_stub"
    objects = task["target"]["core"].startswith("msp430")
    if objects:
        (out / "stub.o").write_bytes(msp430_object(entry))
    formula = "7.0f" if wrong else FORMULAS[summary["operators"][0]["name"]]
    source = (
        "#include <stdint.h>\n\n"
        f"int32_t {entry}(uint8_t *arena)\n{{\n"
        "    const float *x = (const float *)arena;\n"
        f"    float *y = (float *)(arena + {stride});\n"
        f"    for (int32_t i = 0; i < {count}; i++) y[i] = {formula};\n"
        "    return 0;\n}\n"
    )
    if not objects:
        (out / "stub.c").write_text(source)
    known = config()
    compiled = {
        "compiler": known["name"],
        "version": known["version"],
        "entry": entry,
        "inputs": [{"spec": x, "offset": 0}],
        "outputs": [{"spec": y, "offset": stride}],
        "arena": {"size": 2 * stride, "alignment": 16},
        "objects": ["stub.o"] if objects else [],
        "sources": [] if objects else ["stub.c"],
        "weight_bytes": 0,
        "options": task["options"],
    }
    (out / "compiled.json").write_text(json.dumps(compiled))


def main(verb, task_path="", out=""):
    if verb == "describe":
        return print(json.dumps(describe()))
    data = pathlib.Path(task_path).read_bytes()
    task = json.loads(data)
    if verb == "supports":
        return print(json.dumps(supports(task)))
    does = task["options"]["does"]
    if (FOLDER / "mended").exists():
        does = "work"
    journal("begin", task, data)
    misbehave(does, int(task["options"]["milliseconds"]) / 1000)
    if does == "refuse":
        reasons = {"reasons": ["the stub was told to refuse"]}
        pathlib.Path(out, "unsupported.json").write_text(json.dumps(reasons))
        sys.exit(3)
    compile_model(task, pathlib.Path(out), does == "wrong")
    journal("end", task, data)


if __name__ == "__main__":
    main(*sys.argv[1:])
