"""What `deploy/node/seccomp/tinymlaas-worker.json` refuses, beside a container without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.pods import seccomp
from tests.integration.pods.container import Container, run
from tests.unit.scaffold.project import ROOT

PROBE = ("python", "-m", "tests.integration.pods.probe_calls")
# Of those that a user without any capability may make, so that it is the filter that refuses.
FREE = {
    "io_uring_setup", "kcmp", "keyctl", "process_vm_readv", "process_vm_writev", "ptrace", "shmget",
}  # fmt: skip


def tried(filter: bytes, log: Path) -> dict[str, str]:
    tests = (ROOT / "tests",)
    status, said = run(Container(PROBE, extra=tests, directory=str(ROOT), filter=filter), log)
    assert status == 0, said
    found: dict[str, str] = json.loads(said)
    return found


def test_what_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    found = tried(seccomp.compiled(seccomp.worker()), tmp_path / "log")
    assert found.pop("unshare user") == "done"
    assert found.pop("clone3") == "ENOSYS", "the C library takes clone then"
    assert set(found.values()) == {"EPERM"}, found


def test_it_is_the_filter_that_refuses(tmp_path: Path) -> None:
    found = tried(b"", tmp_path / "log")
    assert {name for name in FREE if found[name] == "EPERM"} == set(), found


def test_without_what_ours_adds_there_is_no_namespace(tmp_path: Path) -> None:
    found = tried(seccomp.compiled(seccomp.runtime_default()), tmp_path / "log")
    assert found["unshare user"] == "EPERM"


@pytest.mark.parametrize("rule", seccomp.worker()["syscalls"], ids=lambda rule: rule["names"][0])
def test_every_rule_says_why_and_names_calls(rule: dict[str, object]) -> None:
    """In words that runc, crun and CRI-O all read."""
    assert rule["comment"]
    assert set(rule) <= {"comment", "names", "action", "errnoRet", "args"}
    names = rule["names"]
    assert isinstance(names, list)
    assert names == sorted(set(names))
    assert any(seccomp.known(name) for name in names)
