"""An OCI seccomp profile (JSON) as the BPF program that a container runtime makes of it."""

from __future__ import annotations

import json
import tempfile
from typing import Any

import pyseccomp

from tests.unit.scaffold.project import ROOT

NODE = ROOT / "deploy" / "node" / "seccomp"
_NAMESPACES = 0x7E020000  # all that clone(2) can make
_OPERATORS = {
    "SCMP_CMP_EQ": pyseccomp.EQ,
    "SCMP_CMP_NE": pyseccomp.NE,
    "SCMP_CMP_MASKED_EQ": pyseccomp.MASKED_EQ,
}


def worker() -> dict[str, Any]:
    """Return the profile of workers."""
    found: dict[str, Any] = json.loads((NODE / "tinymlaas-worker.json").read_text())
    return found


def runtime_default() -> dict[str, Any]:
    """Return what stands for a runtime's default profile: ours without what ours adds.

    It is stricter than containerd's in what has nothing to do with us (SysV memory, io_uring, …).
    """
    told = worker()
    told["syscalls"] = [each for each in told["syscalls"] if not _added(each)]
    forks = {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    allow = {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [forks]}
    told["syscalls"].append(allow)
    return told


def _added(rule: dict[str, Any]) -> bool:
    return bool(rule["comment"].startswith("ADDED"))


def compiled(told: dict[str, Any]) -> bytes:
    """Return the program for this machine's processor. Names it has no call of are left out."""
    rules = pyseccomp.SyscallFilter(_action(told["defaultAction"], told.get("defaultErrnoRet", 1)))
    for rule in told["syscalls"]:
        action = _action(rule["action"], rule.get("errnoRet", 1))
        arguments = [_argument(each) for each in rule.get("args", ())]
        for name in rule["names"]:
            if known(name):
                rules.add_rule(action, name, *arguments)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def known(name: str) -> bool:
    """Return whether this processor has a system call of that name."""
    number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)
    return isinstance(number, int) and number >= 0


def _action(name: str, errno: int) -> Any:
    actions = {"SCMP_ACT_ALLOW": pyseccomp.ALLOW, "SCMP_ACT_ERRNO": pyseccomp.ERRNO(errno)}
    return actions[name]


def _argument(told: dict[str, Any]) -> Any:
    operator = _OPERATORS[told["op"]]
    if operator == pyseccomp.MASKED_EQ:
        return pyseccomp.Arg(told["index"], operator, told["value"], told.get("valueTwo", 0))
    return pyseccomp.Arg(told["index"], operator, told["value"])
